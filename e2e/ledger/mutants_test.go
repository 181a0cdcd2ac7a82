//go:build unix

package ledger

import (
	"context"
	"errors"
	"testing"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// A mutant is a bug that was planted on purpose into a part of what is
// otherwise done right. The checker must find it, and must find nothing where
// the bug is taken out.
type mutant struct {
	name string
	run  func(t *testing.T, bug bool) finding
	// caught says that what was found is this bug and not something else.
	caught func(f finding) bool
	// right is what must hold without the bug; nil is exactly once.
	right func(f finding) bool
}

// A finding is what the checker and the stall detector say.
type finding struct {
	Verdict
	stalled bool
}

func lost(f finding) bool      { return f.Lost > 0 }
func twice(f finding) bool     { return f.Twice > 0 }
func reordered(f finding) bool { return f.Reordered > 0 }
func corrupt(f finding) bool   { return f.Corrupt > 0 }
func stalled(f finding) bool   { return f.stalled }
func atLeast(f finding) bool   { return f.AtLeast() }

var mutants = []mutant{
	{"M-1 ack before write", ackBeforeWrite, lost, nil},
	{"M-2 commit before output", commitBeforeOutput, lost, atLeast},
	{"M-3 retry on unknown", retryOnUnknown, twice, nil},
	{"M-4 rejected delivery advances position", rejectedAdvances, lost, nil},
	{"M-5 drop on close", dropOnClose, lost, nil},
	{"M-6 reorder on retry", reorderOnRetry, reordered, nil},
	{"M-7 reset to latest on gap", resetOnGap, lost, nil},
	{"M-8 tail-window progress", tailWindow, twice, nil},
	{"M-9 wait for the last record", waitForLast, stalled, nil},
	{"M-10 no fsync", noSync, lost, nil},
	{"M-11 the CRC skips the header", crcSkipsHeader, corrupt, nil},
	{"M-12 a zombie's commit is accepted", zombieCommits, twice, nil},
	{"M-13 a new shard is read from its end", newShardFromEnd, lost, nil},
	{"M-14 a consumer is deleted with pending entries", deletePending, lost, nil},
	{"M-15 a partial record of a pipe is swallowed", swallowPartial, lost, nil},
}

// TestCheckerCatchesPlantedBugs is the test of the tests: 15 of 15.
func TestCheckerCatchesPlantedBugs(t *testing.T) {
	caught := 0
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			right := m.right
			if right == nil {
				right = func(f finding) bool { return f.Exactly() }
			}
			f := m.run(t, false)
			if !right(f) || f.stalled || f.Messages == 0 {
				t.Errorf("without the bug: %v (stalled %v), want nothing wrong", f.Verdict, f.stalled)
			}
			f = m.run(t, true)
			if m.caught(f) {
				caught++
				t.Logf("caught: %v (stalled %v)", f.Verdict, f.stalled)
			} else {
				t.Errorf("NOT CAUGHT: %v (stalled %v)", f.Verdict, f.stalled)
			}
		})
	}
	t.Logf("%d of %d planted bugs caught", caught, len(mutants))
	if len(mutants) != 15 {
		t.Errorf("there are %d mutants, want 15", len(mutants))
	}
}

// A testbed is a tiny world in this process: streams in and out with two shards.
type testbed struct {
	t     *testing.T
	store *memory.Store
	s     *seastreamer.Streamer
	books *Books
	saw   *Check
}

func newTestbed(t *testing.T) *testbed {
	t.Helper()
	store := memory.NewStore()
	for _, name := range []string{"in", "out", "progress", "in.0", "in.1"} {
		shards := 2
		if name != "in" && name != "out" {
			shards = 1
		}
		if err := store.Create(name, memory.Options{Shards: shards}); err != nil {
			t.Fatal(err)
		}
	}
	b := &testbed{t: t, store: store, books: NewBooks(Plan{Run: "r", Writers: 1, Messages: 300, Shards: 2, Keys: 10})}
	b.s = b.streamer(store.Driver(memory.Options{}))
	b.saw = b.books.Check()
	return b
}

func (b *testbed) streamer(d driver.Driver) *seastreamer.Streamer {
	s := seastreamer.New(d, seastreamer.Options{})
	b.t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func (b *testbed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// record is message id as it is sent.
func (b *testbed) record(stream string, id int64) seastreamer.Record {
	p := &b.books.Plan
	return seastreamer.Record{Stream: stream, Shard: seastreamer.On(p.Shard(id)), Key: []byte(p.Key(id)),
		Value: Message{Run: p.Run, Stream: "in", ID: id}.Append(nil)}
}

// write sends all messages and notes what becomes of them.
func (b *testbed) write(s *seastreamer.Streamer) {
	b.t.Helper()
	p, err := s.Producer(b.t.Context(), seastreamer.ProducerConfig{})
	b.must(err)
	for id := range b.books.Plan.Messages {
		err := p.Enqueue(b.t.Context(), b.record("in", id), func(_ seastreamer.Receipt, err error) { b.books.Sent(0, id, err) })
		b.must(err)
	}
	b.must(p.Close(b.t.Context()))
}

// read reads a stream to its end and holds it against the books.
func (b *testbed) read(stream string) finding {
	b.t.Helper()
	for m := range b.until(b.s, stream) {
		b.saw.Saw(m.Shard().Index, m.Key(), m.Value())
	}
	return b.found()
}

func (b *testbed) found() finding { return finding{Verdict: b.saw.Verdict()} }

// until yields what a stream holds now.
func (b *testbed) until(s *seastreamer.Streamer, stream string) func(func(seastreamer.Message) bool) {
	return func(yield func(seastreamer.Message) bool) {
		end, err := s.End(b.t.Context(), stream)
		b.must(err)
		c, err := s.Consumer(b.t.Context(), seastreamer.ConsumerConfig{Streams: []string{stream}, Start: seastreamer.Earliest, Until: end})
		b.must(err)
		defer c.Close(context.Background())
		for m, err := range c.Messages(b.t.Context()) {
			b.must(err)
			if !yield(m) {
				return
			}
		}
	}
}

var errCrash = errors.New("the process has died here")
