package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

var sendCases = []Case{
	{
		Topic: "send", Name: "receipt",
		Sentence: "A Receipt says where a record was written and what it survives there.",
		Run: func(t *T) {
			s := t.Stream(1)
			receipts := t.Send(s, "a", "b", "c")
			msgs := t.Consume(Streams(s)).Wants("a", "b", "c")
			for i, rc := range receipts {
				Equal(t, "shard", rc.Shard, msgs[i].Shard)
				Equal(t, "sequence", rc.Seq, msgs[i].Seq)
				if !slices.Contains(t.F.Classes, rc.Class) || rc.Class == driver.ClassNone {
					t.Errorf("class %v is not among Features.Classes %v", rc.Class, t.F.Classes)
				}
			}
		},
	},
	{
		Topic: "send", Name: "time",
		Sentence: "zero is the time of sending",
		Needs:    needsTimestamps,
		Run: func(t *T) {
			s := t.Stream(1)
			before := time.Now().Add(-t.F.TimeUnit)
			rc := t.Send(s, "now")[0]
			after := time.Now()
			got := t.Consume(Streams(s)).Wants("now")[0].Time
			if got.Before(before) || got.After(after) {
				t.Errorf("time %v is not between %v and %v", got, before, after)
			}
			if !rc.Time.Equal(got) {
				t.Errorf("the receipt says %v, the message %v", rc.Time, got)
			}
		},
	},
	{
		Topic: "send", Name: "own time",
		Sentence: "a record's own Time is kept",
		Needs:    needsTimestamps,
		Run: func(t *T) {
			s := t.Stream(1)
			times := []time.Time{
				time.Date(2001, 2, 3, 4, 5, 6, 789_123_456, time.UTC),
				time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC),
				time.Date(2100, 1, 1, 0, 0, 0, 0, time.FixedZone("east", 3600)),
			}
			var recs []driver.Record
			for _, at := range times {
				recs = append(recs, driver.Record{Stream: s, Value: []byte("x"), Time: at})
			}
			t.Writer().Send(recs...)
			for i, m := range t.Consume(Streams(s)).Read(len(times)) {
				if want := times[i].Truncate(t.F.TimeUnit); !m.Time.Equal(want) {
					t.Errorf("time: got %v, want %v (Features.TimeUnit is %v)", m.Time, want, t.F.TimeUnit)
				}
			}
		},
	},
	{
		Topic: "send", Name: "at most once",
		Sentence: "With [AtMostOnce] the sequence number is not known and Class is ClassNone.",
		Needs:    needsDurability(driver.AtMostOnce),
		Run: func(t *T) {
			s := t.Stream(1)
			w := t.Producer(driver.ProducerConfig{Durability: driver.AtMostOnce})
			rc := w.Send(driver.Record{Stream: s, Value: []byte("x")})[0]
			Equal(t, "sequence", rc.Seq, driver.Seq{})
			Equal(t, "class", rc.Class, driver.ClassNone)
			t.Consume(Streams(s)).Wants("x")
		},
	},
	{
		Topic: "send", Name: "exactly once",
		Sentence: "the backend removes repeats within its window, see Features.Dedup",
		Needs:    needsDurability(driver.ExactlyOnce),
		Run: func(t *T) {
			if !t.F.Dedup.Retry {
				t.Errorf("Features has exactly once, but Dedup says that it removes nothing")
			}
			s := t.Stream(1)
			w := t.Producer(driver.ProducerConfig{Durability: driver.ExactlyOnce})
			recs, want := numbered(s, 100)
			w.Send(recs...)
			t.Consume(Streams(s)).Wants(want...)
		},
	},
	{
		Topic: "send", Name: "done once in order",
		Sentence: "If it returns nil then done is called exactly once, in order per shard, from a goroutine that must not be blocked",
		Run: func(t *T) {
			s := t.Stream(1)
			w := t.Writer()
			const n = 1000
			var mu sync.Mutex
			var order []int
			for i := range n {
				err := w.Produce(t.Ctx(), driver.Record{Stream: s, Value: []byte("x")}, func(_ driver.Receipt, err error) {
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Errorf("record %d: %v", i, err)
					}
					order = append(order, i)
				})
				if err != nil {
					t.Fatalf("Produce: %v", err)
				}
			}
			if err := w.Flush(t.Ctx()); err != nil {
				t.Fatalf("Flush: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(order) != n || !slices.IsSorted(order) {
				t.Errorf("done was called %d times for %d records, sorted: %v", len(order), n, slices.IsSorted(order))
			}
		},
	},
	{
		Topic: "send", Name: "target shard",
		Sentence: "On is the target that names the shard with index i",
		Needs:    needsShards,
		Run: func(t *T) {
			s := t.Stream(3)
			var recs []driver.Record
			for i := range 9 {
				recs = append(recs, driver.Record{Stream: s, Shard: driver.On(int32(i % 3)), Key: []byte("the same"), Value: fmt.Appendf(nil, "%d", i%3)})
			}
			for i, rc := range t.Writer().Send(recs...) {
				Equal(t, "shard of the receipt", rc.Shard, driver.Shard{Stream: s, Index: int32(i % 3)})
			}
			for _, m := range t.Consume(Streams(s)).Read(9) {
				Equal(t, "shard of the message sent to shard "+string(m.Value), fmt.Sprint(m.Shard.Index), string(m.Value))
			}
		},
	},
	{
		Topic: "send", Name: "no such shard",
		Sentence: "The error that done gets is nil (written), ErrUnknown (it may have been written) or something else (it was not).",
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Writer().Try(driver.Record{Stream: s, Shard: driver.On(7), Value: []byte("lost")})[0]
			if o.Err == nil || errors.Is(o.Err, driver.ErrUnknown) {
				t.Errorf("a record for shard 7 of 1: got error %v, want one that says that it was not written", o.Err)
			}
			t.Send(s, "next")
			t.Consume(Streams(s)).Wants("next")
		},
	},
	{
		Topic: "send", Name: "same key same shard",
		Sentence: "In the zero value the backend's partitioner chooses: by the key's hash where there is a key.",
		Needs:    all(needsShards, needsKeys),
		Run: func(t *T) {
			s := t.Stream(4)
			var recs []driver.Record
			for i := range 200 {
				recs = append(recs, driver.Record{Stream: s, Key: fmt.Appendf(nil, "key %d", i%50), Value: []byte("x")})
			}
			shard := make(map[string]int32)
			used := make(map[int32]bool)
			check := func(receipts []driver.Receipt) {
				for i, rc := range receipts {
					key := string(recs[i].Key)
					if was, ok := shard[key]; ok && was != rc.Index {
						t.Errorf("%s went to shard %d and to %d", key, was, rc.Index)
					}
					shard[key] = rc.Index
					used[rc.Index] = true
				}
			}
			check(t.Writer().Send(recs...))
			check(t.Producer(driver.ProducerConfig{}).Send(recs...)) // another producer agrees
			if len(used) != 4 {
				t.Errorf("50 keys went to %d shards of 4", len(used))
			}
		},
	},
	{
		Topic: "send", Name: "creates the stream",
		Sentence: "Autocreate: producing to a stream that is missing creates it.",
		Needs:    needsAutocreate,
		Run: func(t *T) {
			s := t.Name()
			t.Send(s, "first")
			t.Consume(Streams(s)).Wants("first")
		},
	},
	{
		Topic: "send", Name: "stream names",
		Sentence: "CheckStream says why name cannot name a stream on any backend: names are 1 to 249 bytes of UTF-8 without control characters, and neither . nor ..",
		Run: func(t *T) {
			for _, name := range []string{"", ".", "..", strings.Repeat("a", 250), "a\x00b", "a\nb", "\xff"} {
				o := t.Writer().Try(driver.Record{Stream: name, Value: []byte("x")})[0]
				if o.Err == nil || errors.Is(o.Err, driver.ErrUnknown) {
					t.Errorf("stream %q: got error %v, want one that says that nothing was written", name, o.Err)
				}
			}
			long := t.Name()
			for _, name := range []string{t.Name() + "-A_b.c", strings.Repeat("n", 249-len(long)) + long} {
				t.H.Create(t.TB, name, 1)
				t.Send(name, "x")
				t.Consume(Streams(name)).Wants("x")
			}
			twin := t.Name()
			upper, lower := twin+"-X", twin+"-x"
			t.H.Create(t.TB, upper, 1)
			t.H.Create(t.TB, lower, 1)
			t.Send(upper, "upper")
			t.Send(lower, "lower")
			t.Consume(Streams(upper)).Wants("upper")
			t.Consume(Streams(lower)).Wants("lower")
		},
	},
	{
		Topic: "send", Name: "flush",
		Sentence: "Flush waits until every record taken before the call is settled.",
		Run: func(t *T) {
			s := t.Stream(1)
			w := t.Producer(driver.ProducerConfig{Linger: time.Hour}) // Flush does not wait for company
			var mu sync.Mutex
			settled := 0
			for range 100 {
				if err := w.Produce(t.Ctx(), driver.Record{Stream: s, Value: []byte("x")}, func(driver.Receipt, error) {
					mu.Lock()
					settled++
					mu.Unlock()
				}); err != nil {
					t.Fatalf("Produce: %v", err)
				}
			}
			if err := w.Flush(t.Ctx()); err != nil {
				t.Fatalf("Flush: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			Equal(t, "settled when Flush returned", settled, 100)
		},
	},
	{
		Topic: "send", Name: "close flushes",
		Sentence: "Close flushes within ctx and ends the producer.",
		Run: func(t *T) {
			s := t.Stream(1)
			p, err := t.Driver().Producer(t.Ctx(), driver.ProducerConfig{Linger: time.Hour})
			if err != nil {
				t.Fatalf("Producer: %v", err)
			}
			settled := make(chan error, 1)
			if err := p.Produce(t.Ctx(), driver.Record{Stream: s, Value: []byte("x")}, func(_ driver.Receipt, err error) { settled <- err }); err != nil {
				t.Fatalf("Produce: %v", err)
			}
			if err := p.Close(t.Ctx()); err != nil {
				t.Fatalf("Close: %v", err)
			}
			select {
			case err := <-settled:
				if err != nil {
					t.Errorf("the record that Close flushed: %v", err)
				}
			default:
				t.Errorf("Close returned before the record was settled")
			}
			err = p.Produce(t.Ctx(), driver.Record{Stream: s, Value: []byte("y")}, func(driver.Receipt, error) { t.Errorf("done after Close") })
			t.Is("Produce after Close", err, driver.ErrClosed)
			t.Consume(Streams(s)).Wants("x")
		},
	},
	{
		Topic: "send", Name: "context ends after",
		Sentence: "Produce takes the record, waiting only for room in the buffer, within ctx, which never reaches the send itself.",
		Run: func(t *T) {
			s := t.Stream(1)
			w := t.Producer(driver.ProducerConfig{Linger: time.Hour})
			recs, want := numbered(s, 20)
			settled := make(chan error, len(recs))
			for _, r := range recs {
				ctx, cancel := context.WithCancel(t.Ctx())
				if err := w.Produce(ctx, r, func(_ driver.Receipt, err error) { settled <- err }); err != nil {
					t.Fatalf("Produce: %v", err)
				}
				cancel()
			}
			if err := w.Flush(t.Ctx()); err != nil {
				t.Fatalf("Flush: %v", err)
			}
			for range recs {
				select {
				case err := <-settled:
					if err != nil {
						t.Fatalf("a record whose Produce context ended after it was taken: %v", err)
					}
				default:
					t.Fatalf("Flush returned before all records were settled")
				}
			}
			t.Consume(Streams(s)).Wants(want...)
		},
	},
	{
		Topic: "send", Name: "small buffer",
		Sentence: "bytes in flight before Produce waits; zero is the driver's default",
		Run: func(t *T) {
			s := t.Stream(1)
			w := t.Producer(driver.ProducerConfig{MaxBytes: 4096})
			recs, want := numbered(s, 50)
			for i := range recs {
				recs[i].Value = append(recs[i].Value, strings.Repeat(" ", 1000)...)
				want[i] = string(recs[i].Value)
			}
			w.Send(recs...)
			t.Consume(Streams(s)).Wants(want...)
		},
	},
	{
		Topic: "order", Name: "per producer and shard",
		Sentence: "Its methods may be called by any number of goroutines.",
		Run: func(t *T) {
			shards := 1
			if t.F.Shards {
				shards = 2
			}
			s := t.Stream(shards)
			w := t.Writer()
			const goroutines, each = 4, 150
			var all sync.WaitGroup
			for g := range goroutines {
				all.Go(func() {
					var settled sync.WaitGroup
					for i := range each {
						settled.Add(1)
						r := driver.Record{Stream: s, Shard: driver.On(int32(i % shards)), Value: fmt.Appendf(nil, "%d %d", g, i)}
						if err := w.Produce(t.Ctx(), r, func(_ driver.Receipt, err error) {
							if err != nil {
								t.Errorf("send: %v", err)
							}
							settled.Done()
						}); err != nil {
							t.Errorf("Produce: %v", err)
							settled.Done()
						}
					}
					settled.Wait()
				})
			}
			t.Within("the sends", all.Wait)
			last := make(map[string]int)
			for _, m := range t.Consume(Streams(s)).Read(goroutines * each) {
				var g, i int
				fmt.Sscan(string(m.Value), &g, &i)
				key := fmt.Sprint(g, " in shard ", m.Shard.Index)
				if was, ok := last[key]; ok && i != was+shards {
					t.Fatalf("message %d of goroutine %s comes after %d", i, key, was)
				}
				last[key] = i
			}
		},
	},
	{
		Topic: "order", Name: "position means one message",
		Sentence: "A Seq is a sequence number: the place of a message within its shard.",
		Run: func(t *T) {
			s := t.Stream(1)
			recs, _ := numbered(s, 300)
			receipts := t.Writer().Send(recs...)
			a, b := t.Consume(Streams(s)).Read(300), t.Reader(nil, nil).Open(t.Open(), Streams(s)).Read(300)
			for i := range a {
				if a[i].Seq != b[i].Seq || string(a[i].Value) != string(b[i].Value) || receipts[i].Seq != a[i].Seq {
					t.Fatalf("message %d is %q at %v for one reader, %q at %v for another, and was written at %v",
						i, a[i].Value, a[i].Seq, b[i].Value, b[i].Seq, receipts[i].Seq)
				}
			}
		},
	},
}

// numbered are n records for a stream with one shard, and their values.
func numbered(stream string, n int) ([]driver.Record, []string) {
	recs, values := make([]driver.Record, n), make([]string, n)
	for i := range recs {
		values[i] = fmt.Sprintf("message %d", i)
		recs[i] = driver.Record{Stream: stream, Value: []byte(values[i])}
	}
	return recs, values
}
