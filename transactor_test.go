package seastreamer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

// units opens a streamer on a store of its own, stream "s" with n messages
// and stream "out" without, whose calls fail as planned.
func units(t *testing.T, shards, n int, plan drivertest.Plan) (*seastreamer.Streamer, *memory.Store) {
	t.Helper()
	store := memory.NewStore()
	for name, shards := range map[string]int{"s": shards, "out": 1} {
		if err := store.Create(name, memory.Options{Shards: shards}); err != nil {
			t.Fatal(err)
		}
	}
	return onStore(t, store, n, plan), store
}

func onStore(t *testing.T, store *memory.Store, n int, plan drivertest.Plan) *seastreamer.Streamer {
	t.Helper()
	d := store.Driver(memory.Options{})
	if plan != nil {
		d = drivertest.Faults(d, plan)
	}
	s := seastreamer.New(d, seastreamer.Options{})
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	fill(t, s, 0, n)
	return s
}

func transactor(t *testing.T, s *seastreamer.Streamer, c seastreamer.TransactorConfig) *seastreamer.Transactor {
	t.Helper()
	c.Name = "job"
	c.Input.Streams = []string{"s"}
	c.Input.Start = seastreamer.Earliest
	tr, err := s.Transactor(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// copyAll copies what there is from s to out, and returns how many messages
// each unit had.
func copyAll(t *testing.T, s *seastreamer.Streamer, c seastreamer.TransactorConfig) (sizes []int) {
	t.Helper()
	var err error
	if c.Input.Until, err = s.End(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	tr := transactor(t, s, c)
	for tx, err := range tr.Units(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, relay(tx))
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sizes
}

// relay is a loop body: it sends what it reads.
func relay(tx *seastreamer.Tx) (n int) {
	for m := range tx.Messages() {
		if tx.Send(seastreamer.Record{Stream: "out", Value: m.Value()}) != nil {
			break
		}
		n++
	}
	return n
}

// output is what out holds.
func output(t *testing.T, s *seastreamer.Streamer) (got []string) {
	t.Helper()
	until, err := s.End(t.Context(), "out")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Consumer(t.Context(), seastreamer.ConsumerConfig{Streams: []string{"out"}, Start: seastreamer.Earliest, Until: until})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for m, err := range c.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(m.Value()))
	}
	return got
}

func numbers(from, to int) (s []string) {
	for i := from; i < to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

func TestUnitsGoOnWhereTheOutputStands(t *testing.T) {
	s, _ := units(t, 1, 2500, nil)
	equal(t, "the sizes of the units", copyAll(t, s, seastreamer.TransactorConfig{MaxMessages: 999, CommitEvery: time.Minute}), []int{999, 999, 502})
	equal(t, "the sizes of the second run", len(copyAll(t, s, seastreamer.TransactorConfig{})), 0)
	fill(t, s, 2500, 2600)
	equal(t, "the sizes of the third run", copyAll(t, s, seastreamer.TransactorConfig{CommitEvery: time.Minute}), []int{100})
	equal(t, "the output", output(t, s), numbers(0, 2600))
}

func TestUnitsAreBoundedInBytes(t *testing.T) {
	s, _ := units(t, 1, 0, nil)
	p, err := s.Producer(t.Context(), seastreamer.ProducerConfig{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := p.Send(t.Context(), seastreamer.Record{Value: make([]byte, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range copyAll(t, s, seastreamer.TransactorConfig{MaxBytes: 4000}) {
		if n > 4 {
			t.Errorf("a unit of 4000 bytes has %d messages of 1000", n)
		}
	}
	equal(t, "how many came out", len(output(t, s)), 10)
}

// A unit ends when its time is up, counted from its first message.
func TestUnitsEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := units(t, 1, 1, nil)
		tr := transactor(t, s, seastreamer.TransactorConfig{CommitEvery: time.Second})
		var took []time.Duration
		for tx, err := range tr.Units(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			relay(tx)
			if took = append(took, time.Since(begun)); len(took) == 2 {
				break
			}
			time.Sleep(3 * time.Second)
			fill(t, s, 1, 2)
		}
		equal(t, "how long the units took", took, []time.Duration{time.Second, time.Second})
		synctest.Wait()
		equal(t, "the output", output(t, s), numbers(0, 1)) // a break aborts
	})
}

func TestABreakAborts(t *testing.T) {
	s, _ := units(t, 1, 10, nil)
	tr := transactor(t, s, seastreamer.TransactorConfig{MaxMessages: 4})
	for tx := range tr.Units(t.Context()) {
		relay(tx)
		break
	}
	func() {
		defer func() { _ = recover() }()
		for tx := range tr.Units(t.Context()) {
			for m := range tx.Messages() {
				equal(t, "the first message after a break", string(m.Value()), "0")
				equal(t, "Resumed after a break", tx.Resumed(), true)
				panic("here")
			}
		}
	}()
	equal(t, "the output after a break and a panic", len(output(t, s)), 0)
	n := 0
	for tx, err := range tr.Units(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n += relay(tx); n == 10 {
			tr.Units(t.Context()) // makes nothing happen by itself
			fill(t, s, 10, 11)
		}
		if n == 11 {
			break
		}
	}
	equal(t, "the output", output(t, s), numbers(0, 10))
}

func TestEndStopsEarly(t *testing.T) {
	s, _ := units(t, 1, 10, nil)
	until, _ := s.End(t.Context(), "s")
	tr := transactor(t, s, seastreamer.TransactorConfig{CommitEvery: time.Minute, Input: seastreamer.ConsumerConfig{Until: until}})
	var sizes []int
	for tx, err := range tr.Units(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for m := range tx.Messages() {
			n++
			if err := tx.Send(seastreamer.Record{Stream: "out", Value: m.Value()}); err != nil {
				t.Fatal(err)
			}
			if n == 3 {
				tx.End()
				break
			}
		}
		sizes = append(sizes, n)
	}
	equal(t, "the sizes", sizes, []int{3, 3, 3, 1})
	equal(t, "the output", output(t, s), numbers(0, 10))
}

// What a loop body must not do ends the loop with an error and commits nothing.
func TestUnitsThatAreRefused(t *testing.T) {
	big := seastreamer.Record{Stream: "out", Value: make([]byte, 2<<20)}
	for name, c := range map[string]struct {
		body func(*seastreamer.Tx)
		kind error
	}{
		"left early":     {func(tx *seastreamer.Tx) { tx.Messages()(func(seastreamer.Message) bool { return false }) }, seastreamer.ErrInvalid},
		"not read":       {func(*seastreamer.Tx) {}, seastreamer.ErrInvalid},
		"too large":      {func(tx *seastreamer.Tx) { relay(tx); _ = tx.Send(big) }, seastreamer.ErrTooLarge},
		"without stream": {func(tx *seastreamer.Tx) { relay(tx); _ = tx.Send(seastreamer.Record{}) }, seastreamer.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := units(t, 1, 5, nil)
			var kept *seastreamer.Tx
			for tx, err := range transactor(t, s, seastreamer.TransactorConfig{}).Units(t.Context()) {
				if tx == nil {
					if !errors.Is(err, c.kind) {
						t.Errorf("the loop ended with %v, want one that is %v", err, c.kind)
					}
					break
				}
				if kept != nil {
					t.Fatal("the unit came again")
				}
				kept = tx
				c.body(tx)
			}
			if err := kept.Send(seastreamer.Record{Stream: "out"}); !errors.Is(err, seastreamer.ErrClosed) {
				t.Errorf("Send after the unit: %v", err)
			}
			equal(t, "the output", len(output(t, s)), 0)
		})
	}
}

// Faults that are temporary are passed over, and nothing is lost or doubled.
func TestUnitsUnderFaults(t *testing.T) {
	aborted := &seastreamer.Error{Kind: seastreamer.ErrAborted}
	unknown := &seastreamer.Error{Kind: seastreamer.ErrUnknown}
	down := &seastreamer.Error{Kind: seastreamer.ErrUnavailable}
	for name, plan := range map[string]drivertest.Plan{
		"aborted":              drivertest.Nth(drivertest.OpUnit, 2, drivertest.Fault{Err: aborted}),
		"aborted again":        drivertest.First(drivertest.OpUnit, 3, drivertest.Fault{Err: aborted}),
		"unknown, not there":   drivertest.Nth(drivertest.OpUnit, 2, drivertest.Fault{Err: unknown}),
		"unknown, there":       drivertest.Nth(drivertest.OpUnit, 2, drivertest.Fault{Err: unknown, Late: true}),
		"the last, there":      drivertest.Nth(drivertest.OpUnit, 10, drivertest.Fault{Err: unknown, Late: true}),
		"send":                 drivertest.Nth(drivertest.OpSend, 250, drivertest.Fault{Err: down}),
		"begin":                drivertest.Nth(drivertest.OpBegin, 3, drivertest.Fault{Err: down}),
		"claim when reopening": both(drivertest.Nth(drivertest.OpUnit, 2, drivertest.Fault{Err: unknown}), drivertest.Nth(drivertest.OpClaim, 2, drivertest.Fault{Err: down})),
		"owner when reopening": both(drivertest.Nth(drivertest.OpUnit, 2, drivertest.Fault{Err: unknown, Late: true}), drivertest.Nth(drivertest.OpOwner, 2, drivertest.Fault{Err: unknown})),
		"abort":                both(drivertest.Nth(drivertest.OpSend, 250, drivertest.Fault{Err: down}), drivertest.Nth(drivertest.OpAbort, 1, drivertest.Fault{Err: unknown})),
		"fetch":                drivertest.Nth(drivertest.OpFetch, 2, drivertest.Fault{Err: down}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := units(t, 1, 1000, plan)
				copyAll(t, s, seastreamer.TransactorConfig{MaxMessages: 100})
				equal(t, "the output", output(t, s), numbers(0, 1000))
			})
		})
	}
}

func both(a, b drivertest.Plan) drivertest.Plan {
	return func(op drivertest.Op, n int) drivertest.Fault {
		if f := a(op, n); f != (drivertest.Fault{}) {
			return f
		}
		return b(op, n)
	}
}

// Whoever opens a transactor of a name ends the one that is open, whose unit
// leaves nothing.
func TestTheNewestOwnerHasTheName(t *testing.T) {
	s, store := units(t, 1, 10, nil)
	old := transactor(t, s, seastreamer.TransactorConfig{MaxMessages: 5})
	other := onStore(t, store, 0, nil)
	taken := false
	for tx, err := range old.Units(t.Context()) {
		if err != nil {
			if !errors.Is(err, seastreamer.ErrFenced) || !taken {
				t.Errorf("the old one ended with %v", err)
			}
			break
		}
		relay(tx)
		copyAll(t, other, seastreamer.TransactorConfig{})
		taken = true
	}
	equal(t, "the output", output(t, s), numbers(0, 10))
}

// One that opens anew, since it does not know what became of a unit, does not
// take the name back from who has it by then.
func TestWhoWasTakenOverDoesNotComeBack(t *testing.T) {
	unknown := drivertest.Fault{Err: seastreamer.ErrUnknown}
	for name, plan := range map[string]drivertest.Plan{
		"a unit":              drivertest.Nth(drivertest.OpUnit, 2, unknown),
		"and the unit before": drivertest.First(drivertest.OpUnit, 2, unknown),
		"and a claim":         both(drivertest.Nth(drivertest.OpUnit, 2, unknown), drivertest.Nth(drivertest.OpClaim, 2, drivertest.Fault{Err: seastreamer.ErrUnavailable})),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, store := units(t, 1, 10, plan)
				until, err := s.End(t.Context(), "s")
				if err != nil {
					t.Fatal(err)
				}
				c := seastreamer.TransactorConfig{MaxMessages: 5, Input: seastreamer.ConsumerConfig{Until: until}}
				old := transactor(t, s, c)
				var heir *seastreamer.Transactor
				var ended error
				n := 0
				for tx, err := range old.Units(t.Context()) {
					if ended = err; err != nil {
						break
					}
					relay(tx)
					if n++; n == 2 {
						heir = transactor(t, onStore(t, store, 0, nil), c)
					}
				}
				if !errors.Is(ended, seastreamer.ErrFenced) || heir == nil {
					t.Errorf("the old one ended with %v", ended)
				}
				for tx, err := range heir.Units(t.Context()) {
					if err != nil {
						t.Fatalf("who has taken over ended with %v", err)
					}
					relay(tx)
				}
				for _, tr := range []*seastreamer.Transactor{old, heir} {
					if err := tr.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				equal(t, "the output", output(t, s), numbers(0, 10))
			})
		})
	}
}

func TestALostPositionIsRefused(t *testing.T) {
	s, store := units(t, 1, 10, nil)
	copyAll(t, s, seastreamer.TransactorConfig{})
	store.LosePositions("job")
	_, err := s.Transactor(t.Context(), seastreamer.TransactorConfig{Name: "job", Input: seastreamer.ConsumerConfig{Streams: []string{"s"}}})
	if !errors.Is(err, seastreamer.ErrLost) {
		t.Errorf("opened with %v, want one that is ErrLost", err)
	}
}

// Messages that were trimmed before they were processed end the loop, and the
// next loop goes on behind them.
func TestAGapEndsTheLoopOverUnits(t *testing.T) {
	s, store := units(t, 1, 10, nil)
	copyAll(t, s, seastreamer.TransactorConfig{})
	fill(t, s, 10, 1000)
	if err := store.Trim(driver.Shard{Stream: "s"}, driver.SeqOf(900)); err != nil {
		t.Fatal(err)
	}
	until, _ := s.End(t.Context(), "s")
	tr := transactor(t, s, seastreamer.TransactorConfig{Input: seastreamer.ConsumerConfig{Until: until}})
	var gap *seastreamer.GapError
	for _, err := range tr.Units(t.Context()) {
		if !errors.As(err, &gap) {
			t.Fatalf("the loop began with %v, want a gap", err)
		}
	}
	for tx, err := range tr.Units(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		relay(tx)
	}
	equal(t, "the output", output(t, s), slices.Concat(numbers(0, 10), numbers(900, 1000)))
}

func TestTransactorsThatAreRefused(t *testing.T) {
	s, _ := units(t, 1, 1, nil)
	in := func(change func(*seastreamer.TransactorConfig)) seastreamer.TransactorConfig {
		c := seastreamer.TransactorConfig{Name: "job", Input: seastreamer.ConsumerConfig{Streams: []string{"s"}}}
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		config seastreamer.TransactorConfig
		kind   error
	}{
		"no name":              {in(func(c *seastreamer.TransactorConfig) { c.Name = "" }), seastreamer.ErrInvalid},
		"a name with a slash":  {in(func(c *seastreamer.TransactorConfig) { c.Name = "a/b" }), seastreamer.ErrInvalid},
		"an ack mode":          {in(func(c *seastreamer.TransactorConfig) { c.Input.Ack = seastreamer.AckExplicit }), seastreamer.ErrInvalid},
		"a group of one":       {in(func(c *seastreamer.TransactorConfig) { c.Input.Group = "g" }), seastreamer.ErrInvalid},
		"shared without group": {in(func(c *seastreamer.TransactorConfig) { c.Shared = true }), seastreamer.ErrInvalid},
		"negative":             {in(func(c *seastreamer.TransactorConfig) { c.MaxBytes = -1 }), seastreamer.ErrInvalid},
		"a stream that is not": {in(func(c *seastreamer.TransactorConfig) { c.Input.Streams = []string{"nowhere"} }), seastreamer.ErrNotFound},
	} {
		if _, err := s.Transactor(t.Context(), c.config); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want one that is %v", name, err, c.kind)
		}
	}
}

// Members of a group share the shards; each message is in the output once,
// although members come and go in the middle of units.
func TestSharedTransactors(t *testing.T) {
	const shards, total = 6, 3000
	s, store := units(t, shards, total, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	member := func(life int) {
		st := onStore(t, store, 0, nil)
		tr, err := st.Transactor(ctx, seastreamer.TransactorConfig{Name: "job", Shared: true, MaxMessages: 20,
			Input: seastreamer.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: seastreamer.Earliest}})
		if err != nil {
			if ctx.Err() != nil {
				err = nil // it comes when all is done
			}
			done <- err
			return
		}
		for tx, err := range tr.Units(ctx) {
			if err != nil && ctx.Err() == nil {
				done <- err
				return
			}
			if err != nil {
				break
			}
			relay(tx)
			if life--; life == 0 {
				break // without a commit, and then it leaves
			}
		}
		done <- tr.Close(context.Background())
	}
	members := []int{5, 9, 14, -1, -1}
	for _, life := range members {
		go member(life)
	}
	left := len(members)
	for len(output(t, s)) < total && t.Context().Err() == nil {
		select {
		case err := <-done:
			if left--; err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	for range left { // on a quick machine some have not lived their lives
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	got := output(t, s)
	slices.Sort(got)
	want := numbers(0, total)
	slices.Sort(want)
	equal(t, "how many came out", len(got), total)
	equal(t, "the output", got, want)
}
