package drivertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"go.uber.org/goleak"
)

var featureCases = []Case{
	{
		Topic: "features", Name: "durabilities",
		Sentence: "Durabilities that a producer may ask for.",
		Run: func(t *T) {
			for _, d := range []driver.Durability{driver.AtLeastOnce, driver.AtMostOnce, driver.ExactlyOnce} {
				p, err := t.Driver().Producer(t.Ctx(), driver.ProducerConfig{Durability: d})
				if t.F.Has(d) != (err == nil) {
					t.Errorf("Features.Has(%v) is %v, but a producer that asks for it gets error %v", d, t.F.Has(d), err)
				}
				if err == nil {
					t.closeAtEnd("producer", p.Close)
				}
			}
			if len(t.F.Durabilities) == 0 {
				t.Errorf("Features.Durabilities is empty: nothing could be sent")
			}
		},
	},
	{
		Topic: "features", Name: "committer",
		Sentence: "a position per shard: its consumers are Committers",
		Run: func(t *T) {
			s := t.Stream(1)
			c := Streams(s)
			if t.F.Ack != driver.AckNone {
				c = Group(t.Name(), s)
			}
			_, is := t.Consume(c).Consumer.(driver.Committer)
			Equal(t, "a consumer is a Committer", is, t.F.Ack == driver.AckPosition)
		},
	},
	{
		Topic: "features", Name: "settler",
		Sentence: "a verdict per message: its consumers are Settlers",
		Needs:    needsAnyGroup,
		Run: func(t *T) {
			_, is := t.Consume(Group(t.Name(), t.Stream(1))).Consumer.(driver.Settler)
			Equal(t, "a group's consumer is a Settler", is, t.F.Ack == driver.AckMessage)
			if is && t.F.AckTimeout <= 0 {
				t.Errorf("Features.AckTimeout is %v: the core could not extend", t.F.AckTimeout)
			}
		},
	},
	{
		Topic: "features", Name: "no more and no less",
		Sentence: "Features says what a backend can do.",
		Run: func(t *T) {
			s := t.Stream(1)
			at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
			t.Writer().Send(
				driver.Record{Stream: s, Key: []byte("k"), Value: []byte("v"), Headers: []driver.Header{{Key: "h", Value: []byte("v")}}, Time: at},
				driver.Record{Stream: s, Key: []byte{}, Value: []byte{}},
				driver.Record{Stream: s, Key: nil, Value: nil},
			)
			m := t.Consume(Streams(s)).Read(3)
			for _, f := range []struct {
				name       string
				claims, is bool
			}{
				{"Keys", t.F.Keys, string(m[0].Key) == "k" && m[1].Key != nil && m[2].Key == nil},
				{"Headers", t.F.Headers, len(m[0].Headers) == 1},
				{"Tombstones", t.F.Tombstones, m[1].Value != nil && m[2].Value == nil},
				{"Timestamps", t.F.Timestamps, m[0].Time.Equal(at)},
			} {
				if f.claims != f.is {
					t.Errorf("Features.%s is %v, but what came back says %v", f.name, f.claims, f.is)
				}
			}
			o := t.Writer().Try(driver.Record{Stream: t.Name(), Value: []byte("x")})[0]
			if t.F.Autocreate != (o.Err == nil) {
				t.Errorf("Features.Autocreate is %v, but sending to a missing stream gets error %v", t.F.Autocreate, o.Err)
			}
		},
	},
	{
		Topic: "features", Name: "says who it is",
		Sentence: "the backend's name, also its URL scheme",
		Run: func(t *T) {
			if t.F.Backend == "" || t.F.Needs == "" || len(t.F.Classes) == 0 {
				t.Errorf("Features %+v lacks Backend, Needs or Classes", t.F)
			}
			if t.F.Timestamps && t.F.TimeUnit <= 0 {
				t.Errorf("Features.Timestamps are kept, but TimeUnit is %v", t.F.TimeUnit)
			}
		},
	},
	{
		Topic: "features", Name: "the same for every client",
		Sentence: "Features says what this backend can do, as it is configured and as its server's version allows.",
		Run: func(t *T) {
			a, b := t.Driver().Features(), t.Open().Features()
			if a.Ack != b.Ack || a.Shards != b.Shards || a.MaxRecord != b.MaxRecord || a.Backend != b.Backend {
				t.Errorf("one client says %+v and another %+v", a, b)
			}
		},
	},
}

var endCases = []Case{
	{
		Topic: "cancel", Name: "before the call",
		Sentence: "Every method returns within its context.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a")
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			w := t.Writer()
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			t.Within("calls whose context has ended", func() {
				t.Driver().Bounds(ctx, []string{s})
				c := Streams(s)
				c.Events = t.Reader(nil, nil).eventsOf()
				if c, err := t.Driver().Consumer(ctx, c); err == nil {
					t.closeAtEnd("consumer", c.Close)
				}
				if p, err := t.Driver().Producer(ctx, driver.ProducerConfig{}); err == nil {
					t.closeAtEnd("producer", p.Close)
				}
				r.Fetch(ctx, nil)
				r.Consumer.Seek(ctx, 9, map[driver.Shard]driver.Start{{Stream: s}: driver.Earliest})
				w.Flush(ctx)
			})
		},
	},
	{
		Topic: "cancel", Name: "fetch that waits",
		Sentence: "Every method returns within its context.",
		Run: func(t *T) {
			s := t.Stream(1)
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			for range 10 {
				ctx, cancel := context.WithCancel(context.Background())
				var batches []driver.Batch
				var err error
				var running sync.WaitGroup
				running.Go(func() { batches, err = r.Fetch(ctx, nil) })
				cancel()
				t.Within("Fetch of an empty stream", running.Wait)
				for _, b := range batches {
					if b.Len() > 0 {
						t.Errorf("Fetch of an empty stream returned messages %q", values(Copy(b)))
					}
				}
				if err == nil && len(batches) == 0 {
					t.Errorf("Fetch returned neither a batch nor an error")
				}
			}
			t.Send(s, "a")
			for n := 0; n == 0; {
				for _, b := range fetch(t, r) {
					n += b.Len()
				}
			}
		},
	},
	{
		Topic: "cancel", Name: "send given up",
		Sentence: "What is not settled by then is given up with ErrUnknown.",
		Run: func(t *T) {
			s := t.Stream(1)
			p, err := t.Driver().Producer(t.Ctx(), driver.ProducerConfig{})
			if err != nil {
				t.Fatalf("Producer: %v", err)
			}
			const n = 200
			settled := make(chan error, 2*n)
			taken := 0
			recs, _ := numbered(s, n)
			for _, r := range recs {
				if p.Produce(t.Ctx(), r, func(_ driver.Receipt, err error) { settled <- err }) == nil {
					taken++
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			t.Within("Close whose context has ended", func() { p.Close(ctx) })
			written := 0
			t.Within("the outcomes", func() {
				for range taken {
					switch err := <-settled; {
					case err == nil:
						written++
					case !errors.Is(err, driver.ErrUnknown):
						t.Errorf("outcome after a Close without time: %v, want none or %v", err, driver.ErrUnknown)
					}
				}
			})
			t.Consume(Streams(s)).Read(written)
		},
	},
	{
		Topic: "close", Name: "wakes fetch",
		Sentence: "Close ends the consumer, waking a Fetch that waits, and leaves the group.",
		Run: func(t *T) {
			s := t.Stream(1)
			r := t.Consume(Streams(s))
			r.Shards(1)
			t.Within("Close", func() { r.Stop() }) // waits for the Fetch too
			t.Is("Fetch when the consumer is closed", r.err, driver.ErrClosed)
		},
	},
	{
		Topic: "close", Name: "from another goroutine",
		Sentence: "Commit (see [Committer]) and Close may come from others at any time.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b", "c")
			r := t.Consume(Group(g, s))
			r.Wants("a", "b", "c")
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() {
					for _, rc := range receipts {
						if err := r.TryCommit(s, 0, rc.Seq.Succ()); err != nil && !errors.Is(err, driver.ErrFenced) && !errors.Is(err, driver.ErrClosed) {
							t.Errorf("commit while closing: %v", err)
						}
					}
				})
			}
			r.Stop()
			t.Within("commits", all.Wait)
		},
	},
	{
		Topic: "close", Name: "driver",
		Sentence: "Close releases the client. The core has closed consumers and producers by then.",
		Run: func(t *T) {
			s := t.Stream(1)
			d := t.H.Open(t.TB)
			if err := d.Close(t.Ctx()); err != nil {
				t.Fatalf("Close: %v", err)
			}
			_, err := d.Bounds(t.Ctx(), []string{s})
			t.Is("Bounds of a closed driver", err, driver.ErrClosed)
			_, err = d.Producer(t.Ctx(), driver.ProducerConfig{})
			t.Is("Producer of a closed driver", err, driver.ErrClosed)
			c := Streams(s)
			c.Events = t.Reader(nil, nil).eventsOf()
			_, err = d.Consumer(t.Ctx(), c)
			t.Is("Consumer of a closed driver", err, driver.ErrClosed)
		},
	},
	{
		Topic: "leak", Name: "no goroutine",
		Sentence: "Close releases the client.",
		Run: func(t *T) {
			s := t.Stream(1)
			before := goleak.IgnoreCurrent()
			d := t.H.Open(t.TB)
			inner := &T{TB: t.TB, H: t.H, F: t.F, name: t.name, driver: d}
			inner.Send(s, "a", "b")
			inner.Consume(Streams(s)).Wants("a", "b")
			if t.F.Ack != driver.AckNone {
				inner.Consume(Group(t.Name(), s)).Wants("a", "b")
			}
			inner.close()
			if err := d.Close(t.Ctx()); err != nil {
				t.Errorf("close the driver: %v", err)
			}
			if err := leaks(t.H.foreign(before)); err != nil {
				t.Errorf("goroutines are left: %v", err)
			}
		},
	},
	{
		Topic: "restart", Name: "what was acknowledged is there",
		Sentence: "survives the death of that process (kill -9), not of the machine",
		Needs:    needsRestart,
		Run: func(t *T) {
			s := t.Stream(1)
			recs, want := numbered(s, 100)
			for i, rc := range t.Writer().Send(recs...) {
				if rc.Class < driver.ClassProcess {
					t.Fatalf("the receipt of record %d says %v, which a restart does not survive", i, rc.Class)
				}
			}
			r := t.Consume(Streams(s))
			r.Wants(want...)
			t.H.Restart(t.TB)
			t.Reader(nil, nil).Open(t.Open(), Streams(s)).Wants(want...)
			t.Send(s, "after")
			r.Wants("after") // the reader has found its way back by itself
		},
	},
	{
		Topic: "stall", Name: "a server that says nothing",
		Sentence: "Every method returns within its context.",
		Needs:    needsStall,
		Run: func(t *T) {
			d := t.H.Stall(t.TB)
			short := func() context.Context {
				ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				t.end(cancel)
				return ctx
			}
			t.Within("Bounds", func() {
				if _, err := d.Bounds(short(), []string{"s"}); err == nil {
					t.Errorf("Bounds of a server that says nothing returned no error")
				}
			})
			c := Streams("s")
			c.Events = t.Reader(nil, nil).eventsOf()
			t.Within("Consumer, Fetch and Close", func() {
				k, err := d.Consumer(short(), c)
				if err != nil {
					return
				}
				if batches, err := k.Fetch(short(), nil); err == nil {
					t.Errorf("Fetch returned %d batches from a server that says nothing", len(batches))
				}
				k.Close(short())
			})
			t.Within("Producer, Produce, Flush and Close", func() {
				p, err := d.Producer(short(), driver.ProducerConfig{MaxBytes: 1000})
				if err != nil {
					return
				}
				outcomes := make(chan error, 100)
				taken := 0
				for range 100 {
					if err := p.Produce(short(), driver.Record{Stream: "s", Value: make([]byte, 500)}, func(_ driver.Receipt, err error) { outcomes <- err }); err != nil {
						break // there is no more room
					}
					taken++
				}
				if taken == 100 {
					t.Errorf("100 records of 500 bytes were taken into a buffer of 1,000")
				}
				if err := p.Flush(short()); err == nil && taken > 0 {
					t.Errorf("Flush to a server that says nothing returned no error")
				}
				p.Close(short())
				for range taken {
					if err := <-outcomes; err == nil {
						t.Errorf("a record was acknowledged by a server that says nothing")
					}
				}
			})
			t.Within("Close", func() { d.Close(short()) })
		},
	},
}
