package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

var consumeCases = []Case{
	{
		Topic: "consume", Name: "earliest",
		Sentence: "the first message there is",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b")
			r := t.Consume(Streams(s))
			r.Wants("a", "b")
			t.Send(s, "c")
			r.Wants("c")
		},
	},
	{
		Topic: "consume", Name: "latest",
		Sentence: "after the last message there is when the consumer begins",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "old", "older")
			r := t.Consume(driver.ConsumerConfig{Streams: []string{s}}) // the zero Start
			r.Shards(1)
			t.Send(s, "new")
			r.Wants("new")
		},
	},
	{
		Topic: "consume", Name: "missing stream",
		Sentence: "It returns ErrNotFound for a missing stream and never creates one.",
		Run: func(t *T) {
			s := t.Name()
			for range 2 { // the first does not create it
				c := Streams(s)
				c.Events = t.Reader(nil, nil).eventsOf()
				_, err := t.Driver().Consumer(t.Ctx(), c)
				t.Is("Consumer of a missing stream", err, driver.ErrNotFound)
			}
			_, err := t.Driver().Bounds(t.Ctx(), []string{s})
			t.Is("Bounds of a missing stream", err, driver.ErrNotFound)
		},
	},
	{
		Topic: "consume", Name: "batches",
		Sentence: "A Batch is a run of messages of one shard, with ascending sequence numbers.",
		Run: func(t *T) {
			s := t.Stream(1)
			recs, _ := numbered(s, 500)
			t.Writer().Send(recs...)
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			var last driver.Seq
			for n := 0; n < 500; {
				for _, b := range fetch(t, r) {
					Equal(t, "shard", b.Shard(), driver.Shard{Stream: s})
					Equal(t, "generation", b.Gen(), r.gen)
					for i := range b.Len() {
						if q := b.Seq(i); n+i > 0 && !last.Less(q) {
							t.Fatalf("sequence %v comes after %v", q, last)
						}
						last = b.Seq(i)
						if size := b.Size(i); size < len(b.Value(i)) || size > 4096 {
							t.Fatalf("Size of a message of %d bytes is %d", len(b.Value(i)), size)
						}
						if b.Attempt(i) != 1 {
							t.Fatalf("Attempt is %d on first delivery", b.Attempt(i))
						}
					}
					if b.Len() > 0 && !last.Less(b.Next()) {
						t.Fatalf("Next is %v after the message at %v", b.Next(), last)
					}
					n += b.Len()
					b.Release()
				}
			}
		},
	},
	{
		Topic: "consume", Name: "a budget below a message",
		Sentence: "prefetch budget in bytes; zero is the driver's default",
		Run: func(t *T) {
			s := t.Stream(1)
			recs, want := numbered(s, 20)
			t.Writer().Send(recs...)
			c := Streams(s)
			c.MaxBytes = 1 // then it is a message at a time
			t.Consume(c).Wants(want...)
		},
	},
	{
		Topic: "consume", Name: "next reaches the end",
		Sentence: "Next its stable end, which is the first sequence number that a reader of committed messages has to wait for",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b", "c")
			r := t.Consume(Streams(s))
			r.Wants("a", "b", "c")
			r.Next(s, 0, t.Bound(s, 0).Next)
		},
	},
	{
		Topic: "consume", Name: "bounds",
		Sentence: "First is the sequence number of its first message (or its Next when it has none)",
		Run: func(t *T) {
			s := t.Stream(1)
			empty := t.Bound(s, 0)
			Equal(t, "First of an empty shard", empty.First, empty.Next)
			receipts := t.Send(s, "a", "b")
			b := t.Bound(s, 0)
			Equal(t, "First", b.First, receipts[0].Seq)
			if !receipts[1].Seq.Less(b.Next) {
				t.Errorf("Next is %v and the last message at %v", b.Next, receipts[1].Seq)
			}
		},
	},
	{
		Topic: "consume", Name: "fetch keeps what it had",
		Sentence: "A Fetch whose context ends loses nothing: what it had comes with the next call.",
		Run: func(t *T) {
			s := t.Stream(1)
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			recs, want := numbered(s, 200)
			var got []string
			for i := 0; len(got) < len(want); i++ {
				if i < 20 {
					t.Writer().Send(recs[i*10 : i*10+10]...)
				}
				ctx, cancel := context.WithCancel(t.Ctx())
				var batches []driver.Batch
				var err error
				var running sync.WaitGroup
				running.Go(func() { batches, err = r.Fetch(ctx, nil) })
				cancel()
				t.Within("a Fetch whose context has ended", running.Wait)
				if err == nil && len(batches) == 0 {
					t.Fatalf("Fetch with a context that has ended returned neither a batch nor an error")
				}
				for _, b := range batches {
					got = append(got, values(Copy(b))...)
				}
				if i >= 20 && len(got) < len(want) {
					for _, b := range fetch(t, r) {
						got = append(got, values(Copy(b))...)
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("read %q, want %q", short(got), short(want))
			}
		},
	},
	{
		Topic: "consume", Name: "fetch appends",
		Sentence: "Fetch blocks until it has something, appends it to into and returns it.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a")
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			into := fetch(t, r)
			t.Send(s, "b")
			for len(into) == 0 || into[len(into)-1].Len() == 0 || string(into[len(into)-1].Value(0)) != "b" {
				had := len(into)
				var err error
				t.Within("Fetch", func() { into, err = r.Fetch(t.Ctx(), into) })
				if err != nil || len(into) <= had {
					t.Fatalf("Fetch returned %d batches after %d and error %v", len(into), had, err)
				}
			}
			var got []string
			for _, b := range into {
				got = append(got, values(Copy(b))...)
			}
			if !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("read %q, want a and b", got)
			}
		},
	},
	{
		Topic: "consume", Name: "bytes stay valid",
		Sentence: "Its bytes stay valid as long as the garbage collector can see them, or until Release, whichever is first.",
		Run: func(t *T) {
			s := t.Stream(1)
			recs, want := numbered(s, 300)
			t.Writer().Send(recs[:100]...)
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			var held []driver.Batch
			for n := 0; n < 300; {
				if n == 100 {
					t.Writer().Send(recs[100:]...) // what comes later does not overwrite what is held
				}
				for _, b := range fetch(t, r) {
					held = append(held, b)
					n += b.Len()
				}
			}
			var got []string
			for _, b := range held {
				for i := range b.Len() {
					got = append(got, string(b.Value(i)))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("held batches read %q, want %q", short(got), short(want))
			}
		},
	},
	{
		Topic: "consume", Name: "many goroutines read a batch",
		Sentence: "Any number of goroutines may read it.",
		Run: func(t *T) {
			s := t.Stream(1)
			recs, _ := numbered(s, 100)
			for i := range recs {
				if t.F.Headers {
					recs[i].Headers = []driver.Header{{Key: "k", Value: []byte("v")}}
				}
			}
			t.Writer().Send(recs...)
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			batches := fetch(t, r)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for _, b := range batches {
						Copy(b)
					}
				})
			}
			t.Within("reading batches", all.Wait)
		},
	},
	{
		Topic: "consume", Name: "many streams",
		Sentence: "at least one, no duplicates",
		Run: func(t *T) {
			a, b := t.Stream(1), t.Stream(1)
			t.Send(a, "a")
			t.Send(b, "b")
			msgs := t.Consume(Streams(a, b)).Read(2)
			for _, m := range msgs {
				if want := map[string]string{a: "a", b: "b"}[m.Shard.Stream]; want != string(m.Value) {
					t.Errorf("%q was read from %v", m.Value, m.Shard)
				}
			}
		},
	},
	{
		Topic: "shard", Name: "no group reads every shard",
		Sentence: "\"\" keeps no progress: the consumer gets every shard",
		Needs:    needsShards,
		Run: func(t *T) {
			s := t.Stream(3)
			readers := []*Reader{t.Consume(Streams(s)), t.Consume(Streams(s))}
			var recs []driver.Record
			for i := range 30 {
				recs = append(recs, driver.Record{Stream: s, Shard: driver.On(int32(i % 3)), Value: fmt.Appendf(nil, "%02d", i)})
			}
			t.Writer().Send(recs...)
			for _, r := range readers {
				Equal(t, "shards", fmt.Sprint(r.Shards(3)), "[0 1 2]")
				got := values(r.Read(30))
				slices.Sort(got)
				if len(slices.Compact(got)) != 30 {
					t.Errorf("read %q, want 00 to 29", got)
				}
			}
		},
	},
	{
		Topic: "shard", Name: "bounds of every shard",
		Sentence: "Bounds is the first message and the stable end of every shard of the streams named.",
		Needs:    needsShards,
		Run: func(t *T) {
			a, b := t.Stream(2), t.Stream(1)
			rc := t.Writer().Send(driver.Record{Stream: a, Shard: driver.On(1), Value: []byte("x")})[0]
			bounds, err := t.Driver().Bounds(t.Ctx(), []string{a, b})
			if err != nil || len(bounds) != 3 {
				t.Fatalf("Bounds = %v, %v, want three shards", bounds, err)
			}
			for sh, bound := range bounds {
				if filled := sh == rc.Shard; filled != bound.First.Less(bound.Next) {
					t.Errorf("bound of %v is %v", sh, bound)
				}
			}
		},
	},
	{
		Topic: "shard", Name: "assigned as numbers",
		Sentence: "The driver resolves Start and the group's progress to numbers first, and the core answers where to begin.",
		Run: func(t *T) {
			s := t.Stream(1)
			receipts := t.Send(s, "a", "b")
			Equal(t, "earliest", t.Consume(Streams(s)).Begin(s, 0), receipts[0].Seq)
			Equal(t, "latest", t.Consume(driver.ConsumerConfig{Streams: []string{s}}).Begin(s, 0), t.Bound(s, 0).Next)
		},
	},
	{
		Topic: "shard", Name: "assigned overrides",
		Sentence: "It returns the generation that batches of these shards carry from now on, and positions that override the ones given (only those that differ).",
		Run: func(t *T) {
			s := t.Stream(1)
			receipts := t.Send(s, "a", "b", "c")
			r := t.Reader(func(at []driver.Position) ([]driver.Position, error) {
				return []driver.Position{{Shard: at[0].Shard, Next: receipts[2].Seq}}, nil
			}, nil).Open(t.Driver(), Streams(s))
			r.Wants("c")
		},
	},
	{
		Topic: "shard", Name: "assigned refuses",
		Sentence: "An error ends the consumer.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a")
			refused := errors.New("the checkpoint cannot be read")
			r := t.Reader(func([]driver.Position) ([]driver.Position, error) { return nil, refused }, nil)
			c := Streams(s)
			c.Events = r.eventsOf()
			opened, err := t.Driver().Consumer(t.Ctx(), c)
			if err == nil {
				// The error may come from Consumer or from the first Fetch.
				var batches []driver.Batch
				t.Within("Fetch", func() { batches, err = opened.Fetch(t.Ctx(), nil) })
				if len(batches) > 0 {
					t.Errorf("Fetch returned %d batches", len(batches))
				}
				if err := opened.Close(t.Ctx()); err != nil {
					t.Errorf("close the consumer: %v", err)
				}
			}
			t.Is("a consumer whose Assigned fails", err, refused)
		},
	},
	{
		Topic: "shard", Name: "revoked before close returns",
		Sentence: "Before it returns it has called Revoked for what was assigned.",
		Run: func(t *T) {
			s := t.Stream(1)
			r := t.Consume(Streams(s))
			r.Shards(1)
			r.Stop()
			if e := r.Events(); len(e) != 2 || e[1] != "revoked 0" {
				t.Errorf("events %q, want an assignment and a revocation", e)
			}
		},
	},
}

// fetch is one Fetch of a prepared reader.
func fetch(t *T, r *Reader) []driver.Batch {
	t.Helper()
	var batches []driver.Batch
	var err error
	t.Within("Fetch", func() { batches, err = r.Fetch(t.Ctx(), nil) })
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	return batches
}

// eventsOf are the events of a reader that is not opened.
func (r *Reader) eventsOf() driver.Events {
	return driver.Events{Assigned: r.onAssigned, Revoked: r.onRevoked}
}
