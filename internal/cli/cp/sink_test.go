package cp

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// A restart moves each shard back when it is first claimed, and never again:
// shards that are found later have their claims then, while a unit is open.
func TestRestartOfShardsFoundLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := memory.NewStore()
		if err := s.Create("b", memory.Options{}); err != nil {
			t.Fatal(err)
		}
		d := s.Driver(memory.Options{})
		defer d.Close(ctx)
		at := func(i int32, n uint64) driver.Position {
			return driver.Position{Shard: driver.Shard{Stream: "a", Index: i}, Next: driver.SeqOf(n)}
		}
		open := func(c *claims) driver.Owner {
			c.claimed = func(_, _ []driver.Position) {}
			o, err := sink{d, c}.Owner(ctx, driver.OwnerConfig{Name: "n"})
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		claim := func(o driver.Owner, want ...driver.Position) {
			t.Helper()
			begin := make([]driver.Position, len(want))
			for i, p := range want {
				begin[i] = driver.Position{Shard: p.Shard}
			}
			got, err := o.Claim(ctx, begin)
			if d := cmp.Diff(want, got); err != nil || d != "" {
				t.Errorf("%v: %s", err, d)
			}
		}
		unit := func(o driver.Owner) driver.Tx {
			t.Helper()
			tx, err := o.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return tx
		}
		move := func(tx driver.Tx, to ...driver.Position) {
			t.Helper()
			var moves []driver.Move
			for _, p := range to {
				moves = append(moves, driver.Move{Shard: p.Shard, To: p.Next})
			}
			if err := tx.Commit(ctx, moves); err != nil {
				t.Fatal(err)
			}
		}
		before := open(&claims{})
		claim(before, at(0, 0), at(1, 0), at(2, 0))
		move(unit(before), at(0, 10), at(1, 11), at(2, 12))

		c := &claims{restart: true}
		o := open(c)
		claim(o, at(0, 0))
		tx := unit(o)
		found := make(chan struct{})
		go func() { defer close(found); claim(o, at(1, 0)) }()
		synctest.Wait()
		select {
		case <-found:
			t.Error("a shard was moved while a unit was open")
		default:
		}
		move(tx, at(0, 5))
		<-found
		claim(o, at(0, 5), at(1, 0)) // again, as when a session is opened anew
		move(unit(o), at(1, 6))
		if err := unit(o).Abort(ctx); err != nil {
			t.Error(err)
		}
		claim(open(c), at(0, 5), at(1, 6), at(2, 0))
	})
}

// A message costs no allocation, but for headers that its driver allocates.
func TestRecordAllocations(t *testing.T) {
	for _, headers := range []int{0, 3} {
		t.Run(fmt.Sprint(headers, " headers"), func(t *testing.T) {
			w := newWorld(t, 1, 0)
			s := ss.New(w.src.Driver(memory.Options{}), ss.Options{})
			defer s.Close(t.Context())
			p, err := s.Producer(t.Context(), ss.ProducerConfig{Stream: "a"})
			if err != nil {
				t.Fatal(err)
			}
			const n = 1000
			for range n {
				r := ss.Record{Key: []byte("k"), Value: []byte("v"), Headers: make([]ss.Header, headers)}
				if err := p.Enqueue(t.Context(), r, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			c, err := s.Consumer(t.Context(), ss.ConsumerConfig{Streams: []string{"a"}, Start: ss.Earliest})
			if err != nil {
				t.Fatal(err)
			}
			f, _ := testFactory(w.env)
			copying := newCopier(&Options{f: f}, &pair{dst: parse(t, "redis://h/b")})
			var records recorder
			for b, err := range c.Batches(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got := testing.AllocsPerRun(10, func() {
					records.reset()
					for m := range b.Messages() {
						if r := copying.record(&records, m); len(r.Headers) != headers {
							t.Fatalf("%d headers, want %d", len(r.Headers), headers)
						}
					}
				}) / float64(b.Len())
				want := 0.0
				if headers > 0 {
					want = 1
				}
				if got > want+0.01 {
					t.Errorf("%.2f allocations a message, want %v", got, want)
				}
				break
			}
		})
	}
}
