package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

func isNotFound(err error) bool { return errors.Is(err, driver.ErrNotFound) }

// End is the stable end of streams.
func (t *T) End(streams ...string) seastreamer.Checkpoint {
	t.Helper()
	end, err := t.Streamer().End(t.Ctx(), streams...)
	if err != nil {
		t.Fatalf("End(%q): %v", streams, err)
	}
	return end
}

var loopCases = []Case{
	{
		Topic: "until", Name: "ends the loop",
		Sentence: "Until ends the loop there, see [Streamer.End].",
		Run: func(t *T) {
			s := t.Stream(1)
			recs, want := numbered(s, 100)
			t.Writer().Send(recs...)
			cfg := From(s)
			cfg.Until = t.End(s)
			t.Send(s, "after the end")
			c := t.Consumer(cfg)
			t.Same("messages", t.Rest(c), want)
			t.Same("messages of a second range", t.Rest(c), nil)
		},
	},
	{
		Topic: "until", Name: "of an empty stream",
		Sentence: "A bounded read ends at the stable end",
		Run: func(t *T) {
			s := t.Stream(1)
			cfg := From(s)
			cfg.Until = t.End(s)
			t.Same("messages", t.Rest(t.Consumer(cfg)), nil)
		},
	},
	{
		Topic: "until", Name: "reached before it begins",
		Sentence: "When the context ends, its cause is yielded; when the consumer is closed, Until is reached or a bounded source has ended, the loop ends silently.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a")
			cfg := From(s)
			cfg.Start = seastreamer.Latest
			cfg.Until = t.End(s)
			t.Same("messages", t.Rest(t.Consumer(cfg)), nil)
		},
	},
	{
		Topic: "until", Name: "of many shards",
		Sentence: "Until ends the loop there, see [Streamer.End].",
		Needs:    needsShards,
		Run: func(t *T) {
			a, b := t.Stream(3), t.Stream(1)
			var recs []driver.Record
			for i := range 60 { // the third shard stays empty
				recs = append(recs, driver.Record{Stream: a, Shard: driver.On(int32(i % 2)), Value: fmt.Appendf(nil, "%02d", i)})
			}
			recs = append(recs, driver.Record{Stream: b, Value: []byte("other")})
			t.Writer().Send(recs...)
			cfg := From(a, b)
			cfg.Until = t.End(a, b)
			Equal(t, "shards of the end", len(cfg.Until), 4)
			got := t.Rest(t.Consumer(cfg))
			slices.Sort(got)
			Equal(t, "messages", len(slices.Compact(got)), 61)
		},
	},
	{
		Topic: "seek", Name: "consumer",
		Sentence: "Seek moves the shards given, or all that the consumer reads, to another place.",
		Needs:    needsSeekSeq,
		Run: func(t *T) {
			s := t.Stream(1)
			receipts := t.Send(s, "a", "b", "c")
			c := t.Consumer(From(s))
			t.Gets(c, "a", "b", "c")
			for _, step := range []struct {
				to   driver.Start
				want []string
			}{{driver.From(receipts[1].Seq), []string{"b", "c"}}, {driver.Earliest, []string{"a", "b"}}} {
				if err := c.Seek(t.Ctx(), step.to); err != nil {
					t.Fatalf("Seek(%v): %v", step.to, err)
				}
				t.Gets(c, step.want...)
			}
			if err := c.Seek(t.Ctx(), driver.Latest); err != nil {
				t.Fatalf("Seek(latest): %v", err)
			}
			t.Send(s, "d")
			t.Gets(c, "d")
			t.Is("seek of a shard that is not read", c.Seek(t.Ctx(), driver.Earliest, driver.Shard{Stream: s, Index: 9}), driver.ErrNotFound)
		},
	},
	{
		Topic: "seek", Name: "consumer by time",
		Sentence: "Seek moves the shards given, or all that the consumer reads, to another place.",
		Needs:    needsSeekTime,
		Run: func(t *T) {
			s := t.Stream(1)
			at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
			for i, v := range []string{"a", "b", "c"} {
				t.Writer().Send(driver.Record{Stream: s, Value: []byte(v), Time: at.Add(time.Duration(i) * time.Minute)})
			}
			c := t.Consumer(From(s))
			t.Gets(c, "a", "b", "c")
			if err := c.Seek(t.Ctx(), driver.Since(at.Add(time.Second))); err != nil {
				t.Fatalf("Seek: %v", err)
			}
			t.Gets(c, "b", "c")
		},
	},
	{
		Topic: "seek", Name: "a stale acknowledgement",
		Sentence: "Prefetched messages of them are dropped, and acknowledgements of what was delivered before have no effect any more.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b", "c")
			cfg := Member(g, s)
			cfg.Ack = seastreamer.AckExplicit
			c := t.Consumer(cfg)
			stale := t.Take(c, 3)
			if err := c.Seek(t.Ctx(), driver.Earliest); err != nil {
				t.Fatalf("Seek: %v", err)
			}
			for _, m := range stale {
				m.Ack()
				select {
				case <-m.Lost():
				default:
					t.Errorf("Lost of %q is not closed", m.Value())
				}
			}
			Equal(t, "position", t.Commit(c)[receipts[0].Shard], receipts[0].Seq)
			t.Close("consumer", c)
			t.Gets(t.Consumer(cfg), "a")
		},
	},
	{
		Topic: "cancel", Name: "yields the cause",
		Sentence: "An error is yielded once, last.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a")
			c := t.Consumer(From(s))
			cause := errors.New("somebody pulled the plug")
			for range 2 {
				ctx, cancel := context.WithCancelCause(t.Ctx())
				var yields []string
				for m, err := range c.Messages(ctx) {
					if err != nil {
						yields = append(yields, err.Error())
						t.Is("error of a cancelled loop", err, cause)
						continue
					}
					yields = append(yields, string(m.Value()))
					cancel(cause)
				}
				cancel(nil)
				t.Same("yields", yields, []string{"a", cause.Error()})
				t.Send(s, "a") // the consumer is intact and may be ranged over again
			}
		},
	},
	{
		Topic: "cancel", Name: "one loop at a time",
		Sentence: "A Consumer has one loop at a time; its other methods may be called from anywhere.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b")
			c := t.Consumer(From(s))
			t.Loop(c, func(seastreamer.Message) bool {
				t.Is("a second loop", t.Loop(c, func(seastreamer.Message) bool { return false }), driver.ErrInvalid)
				return false
			})
			t.Gets(c, "a", "b")
		},
	},
	{
		Topic: "close", Name: "from the loop body",
		Sentence: "It is idempotent, and a loop body may call it: it never waits for one.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b", "c")
			c := t.Consumer(From(s))
			n := 0
			t.Within("the loop", func() {
				err := t.Loop(c, func(seastreamer.Message) bool {
					n++
					if n == 2 {
						t.Close("consumer", c)
					}
					return true
				})
				if err != nil {
					t.Errorf("the loop over a consumer that closes yields %v", err)
				}
			})
			Equal(t, "messages before the loop ended", n, 2)
			_, err := c.Commit(t.Ctx())
			t.Is("Commit after Close", err, driver.ErrClosed)
			t.Is("Seek after Close", c.Seek(t.Ctx(), driver.Earliest), driver.ErrClosed)
		},
	},
	{
		Topic: "close", Name: "streamer",
		Sentence: "Close closes the consumers, producers and transactors that are still open, each as its own Close does, and then the backend.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a")
			st := t.Streamer()
			c := t.Consumer(From(s))
			p, err := st.Producer(t.Ctx(), seastreamer.ProducerConfig{Stream: s})
			if err != nil {
				t.Fatalf("Producer: %v", err)
			}
			if err := p.Enqueue(t.Ctx(), driver.Record{Value: []byte("b")}, nil); err != nil {
				t.Fatalf("Enqueue: %v", err)
			}
			t.Gets(c, "a", "b")
			t.Close("streamer", st)
			t.Same("messages of a closed consumer", t.Rest(c), nil)
			_, err = p.Send(t.Ctx(), driver.Record{Value: []byte("c")})
			t.Is("Send after Close", err, driver.ErrClosed)
			_, err = st.Consumer(t.Ctx(), From(s))
			t.Is("Consumer after Close", err, driver.ErrClosed)
		},
	},
	{
		Topic: "send", Name: "enqueue",
		Sentence: "Unless Enqueue returns an error, done is called exactly once, in order per shard, with the outcome; it must not block.",
		Run: func(t *T) {
			s := t.Stream(1)
			p, err := t.Streamer().Producer(t.Ctx(), seastreamer.ProducerConfig{Stream: s})
			if err != nil {
				t.Fatalf("Producer: %v", err)
			}
			var mu sync.Mutex
			var got []string
			for i := range 100 {
				if err := p.Enqueue(t.Ctx(), driver.Record{Value: fmt.Appendf(nil, "%d", i)}, func(r driver.Receipt, err error) {
					mu.Lock()
					defer mu.Unlock()
					got = append(got, fmt.Sprint(i, " ", err))
				}); err != nil {
					t.Fatalf("Enqueue: %v", err)
				}
			}
			if err := p.Flush(t.Ctx()); err != nil {
				t.Fatalf("Flush: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			var want []string
			for i := range 100 {
				want = append(want, fmt.Sprint(i, " <nil>"))
			}
			t.Same("outcomes", got, want)
		},
	},
	{
		Topic: "gap", Name: "stops by default",
		Sentence: "end the loop with a *GapError; another loop goes on behind it",
		Needs:    all(needsTrim, needsGroups),
		Run: func(t *T) {
			s, g, receipts := trimmed(t)
			c := t.Consumer(Member(g, s))
			err := t.Loop(c, func(m seastreamer.Message) bool { t.Errorf("message %q comes before the gap", m.Value()); return false })
			var gap *driver.GapError
			if !errors.As(err, &gap) {
				t.Fatalf("the loop yields %v, want a gap", err)
			}
			checkGap(t, gap, driver.GapError{Shard: receipts[0].Shard, From: receipts[0].Seq, To: receipts[2].Seq, Cause: driver.GapTrimmed})
			t.Gets(c, "c", "d")
		},
	},
	{
		Topic: "gap", Name: "goes on where it is chosen",
		Sentence: "tell the Observer and go on behind the gap",
		Needs:    all(needsTrim, needsGroups),
		Run: func(t *T) {
			s, g, receipts := trimmed(t)
			gaps := make(chan *driver.GapError, 10)
			o := seastreamer.Observer{Gap: func(g *driver.GapError) { gaps <- g }}
			cfg := Member(g, s)
			cfg.OnGap = seastreamer.GapContinue
			t.Gets(t.ConsumerOn(t.StreamerOn(t.H.Open(t.TB), o), cfg), "c", "d")
			select {
			case gap := <-gaps:
				checkGap(t, gap, driver.GapError{Shard: receipts[0].Shard, From: receipts[0].Seq, To: receipts[2].Seq, Cause: driver.GapTrimmed})
			default:
				t.Errorf("the observer was told of no gap")
			}
		},
	},
	{
		Topic: "group", Name: "the loop body finishes first",
		Sentence: "RevokeTimeout is how long a shard that goes to another member waits for the loop body; zero is five seconds.",
		Needs:    all(needsGroups, needsShards),
		Run: func(t *T) {
			s, g := t.Stream(2), t.Name()
			receipts := t.Writer().Send(
				driver.Record{Stream: s, Shard: driver.On(0), Value: []byte("0")},
				driver.Record{Stream: s, Shard: driver.On(1), Value: []byte("1")},
			)
			// The first member works on both messages while the second joins:
			// the shard that moves is handed over after its message is done.
			revoked := make(chan struct{}, 10)
			cfg := Member(g, s)
			cfg.RevokeTimeout = t.H.Patience
			cfg.Revoked = func(context.Context, []driver.Shard, bool) { revoked <- struct{}{} }
			a := t.Consumer(cfg)
			t.Eventually("the first member has both shards", func() bool { return len(a.Assignment()) == 2 })
			second := make(chan *Reader, 1)
			var loop sync.WaitGroup
			ctx, stop := context.WithCancel(t.Ctx())
			n := 0
			loop.Go(func() {
				for _, err := range a.Messages(ctx) {
					if err != nil {
						return
					}
					if n++; n == 2 {
						second <- t.Reader(nil, nil).Open(t.Open(), Group(g, s))
					}
				}
			})
			var b *Reader
			t.Within("the second message", func() { b = <-second })
			moved := b.Shards(1)[0]
			Equal(t, "the second member begins", b.Begin(s, moved), receipts[moved].Seq.Succ())
			t.Within("Revoked", func() { <-revoked })
			stop()
			t.Within("the end of the loop", loop.Wait)
		},
	},
	{
		Topic: "features", Name: "each setting alone",
		Sentence: "What a backend lacks, [Features] says, and a configuration that needs it is refused when it is opened, naming the feature.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a")
			for _, set := range []struct {
				name string
				has  bool
				cfg  seastreamer.ConsumerConfig
			}{
				{"Group", t.F.Ack != driver.AckNone, seastreamer.ConsumerConfig{Group: t.Name()}},
				{"Start", t.F.SeekSeq, seastreamer.ConsumerConfig{Start: driver.From(driver.SeqOf(0))}},
				{"Start", t.F.SeekTime, seastreamer.ConsumerConfig{Start: driver.Since(time.Unix(0, 0))}},
				{"Isolation", t.F.Isolation, seastreamer.ConsumerConfig{Isolation: driver.Uncommitted}},
				{"Ack", true, seastreamer.ConsumerConfig{Ack: seastreamer.AckExplicit}},
				{"Ack", true, seastreamer.ConsumerConfig{Ack: seastreamer.AckOnDelivery}},
				{"OnGap", true, seastreamer.ConsumerConfig{OnGap: seastreamer.GapContinue}},
				{"CommitEvery", true, seastreamer.ConsumerConfig{CommitEvery: time.Second}},
				{"MaxBytes", true, seastreamer.ConsumerConfig{MaxBytes: 1000}},
				{"Until", true, seastreamer.ConsumerConfig{Until: t.End(s)}},
			} {
				set.cfg.Streams = []string{s}
				if set.cfg.Start == (driver.Start{}) {
					set.cfg.Start = driver.Earliest
				}
				c, err := t.Streamer().Consumer(t.Ctx(), set.cfg)
				checkSetting(t, set.name, set.has, err)
				if err == nil {
					t.Gets(c, "a")
					t.Close("consumer", c)
				}
			}
			for d := driver.AtLeastOnce; d <= driver.ExactlyOnce; d++ {
				p, err := t.Streamer().Producer(t.Ctx(), seastreamer.ProducerConfig{Stream: s, Durability: d})
				checkSetting(t, "Durability", t.F.Has(d), err)
				if err == nil {
					t.Close("producer", p)
				}
			}
		},
	},
	{
		Topic: "features", Name: "settings that make no sense",
		Sentence: "Refused together with Group.",
		Run: func(t *T) {
			s := t.Stream(1)
			for name, cfg := range map[string]seastreamer.ConsumerConfig{
				"no stream":       {},
				"twice":           {Streams: []string{s, s}},
				"no name":         {Streams: []string{".."}},
				"Until and Group": {Streams: []string{s}, Group: "g", Until: seastreamer.Checkpoint{}},
				"Until elsewhere": {Streams: []string{s}, Until: seastreamer.Checkpoint{{Stream: "other"}: {}}},
				"unknown Ack":     {Streams: []string{s}, Ack: 99},
			} {
				_, err := t.Streamer().Consumer(t.Ctx(), cfg)
				t.Is(name, err, driver.ErrInvalid)
			}
			_, err := t.Streamer().Consumer(t.Ctx(), From(t.Name()))
			t.Is("a missing stream", err, driver.ErrNotFound)
		},
	},
}

// trimmed is a stream of a, b, c and d whose first two were trimmed before the
// group that stands at a has read them.
func trimmed(t *T) (stream, group string, receipts []driver.Receipt) {
	t.Helper()
	stream, group = t.Stream(1), t.Name()
	receipts = t.Send(stream, "a", "b", "c", "d")
	r := t.Consume(Group(group, stream))
	r.Shards(1)
	r.Commit(stream, 0, receipts[0].Seq)
	r.Stop()
	t.H.Trim(t.TB, receipts[0].Shard, receipts[2].Seq)
	return stream, group, receipts
}

func checkSetting(t *T, name string, has bool, err error) {
	t.Helper()
	switch {
	case has && err != nil:
		t.Errorf("%s alone, which Features claims: %v", name, err)
	case !has && (!errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), name)):
		t.Errorf("%s alone, which Features does not claim: got error %v, want one that is %q and names it", name, err, errors.ErrUnsupported)
	}
}
