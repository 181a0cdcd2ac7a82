package drivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// holder reads with a member that fetches only when it is told to: what it has
// fetched it holds until the time-out, since nothing extends it.
func (t *T) holder(group, stream string, n int) (*Reader, []Msg) {
	t.Helper()
	r := t.Reader(nil, nil).Prepare(t.Open(), Group(group, stream))
	for len(r.msgs) < n {
		batches, err := r.Fetch(t.Ctx(), nil)
		if !r.take(batches, err, false) {
			t.Fatalf("fetch with a member of a group: %v", r.err)
		}
	}
	return r, r.msgs
}

// attempts are the messages as "value attempt".
func attempts(msgs []Msg) []string {
	s := make([]string, len(msgs))
	for i, m := range msgs {
		s[i] = fmt.Sprintf("%s %d", m.Value, m.Attempt)
	}
	return s
}

// nothingBut checks that a new member of the group gets no message but the one
// that is sent to it now.
func (t *T) nothingBut(group, stream string) {
	t.Helper()
	t.Send(stream, "last")
	r := t.Consume(Group(group, stream))
	r.Settle(driver.VerdictAck, 0, r.Wants("last")...)
	r.Stop()
}

var settleCases = []Case{
	{
		Topic: "settle", Name: "acknowledged is done",
		Sentence: "VerdictAck: it is done.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b", "c")
			r := t.Consume(Group(g, s))
			m := r.Wants("a", "b", "c")
			for range 2 { // given again, as after a reply that was lost
				r.Settle(driver.VerdictAck, 0, m...)
			}
			r.Stop()
			t.nothingBut(g, s)
		},
	},
	{
		Topic: "settle", Name: "runs of verdicts",
		Sentence: "A Settlement is one verdict on messages [From, To) of a batch.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			recs, _ := numbered(s, 20)
			t.Writer().Send(recs...)
			r := t.Reader(nil, nil).Prepare(t.Open(), Group(g, s))
			var all []driver.Settlement
			for n := 0; n < 20; {
				batches, err := r.Fetch(t.Ctx(), nil)
				if err != nil {
					t.Fatalf("Fetch: %v", err)
				}
				for _, b := range batches {
					n += b.Len()
					all = append(all, driver.Settlement{Batch: b, From: 0, To: b.Len()}) // the zero verdict is VerdictAck
				}
			}
			if err := r.Consumer.(driver.Settler).Settle(t.Ctx(), all); err != nil {
				t.Fatalf("Settle: %v", err)
			}
			r.Stop()
			t.nothingBut(g, s)
		},
	},
	{
		Topic: "settle", Name: "close gives to others",
		Sentence: "What has no verdict when the consumer is closed is delivered to others at once.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b", "c")
			r := t.Consume(Group(g, s))
			m := r.Wants("a", "b", "c")
			r.Settle(driver.VerdictAck, 0, m[0], m[2])
			r.Stop()
			t.Consume(Group(g, s)).Wants("b")
		},
	},
	{
		Topic: "settle", Name: "without a verdict comes again",
		Sentence: "it delivers again, to this member or another, what was not settled within Features.AckTimeout",
		Needs:    needsVerdicts,
		Hasty:    true,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			t.holder(g, s, 2)
			r := t.Consume(Group(g, s))
			msgs := r.Read(2)
			t.Same("deliveries", slices.Sorted(slices.Values(attempts(msgs))), []string{"a 2", "b 2"})
			r.Settle(driver.VerdictAck, 0, msgs...)
			r.Stop()
			t.nothingBut(g, s)
		},
	},
	{
		Topic: "settle", Name: "nack",
		Sentence: "It is delivered again, to any member, no sooner than After from now, and counts as an attempt.",
		Needs:    needsVerdicts,
		Hasty:    true,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a")
			r := t.Consume(Group(g, s))
			r.Settle(driver.VerdictNack, 0, r.Wants("a")...)
			m := r.Read(1)
			t.Same("after a nack", attempts(m), []string{"a 2"})
			after := t.F.AckTimeout + t.F.AckTimeout/2 // a wait that outlasts the time-out
			begun := time.Now()
			r.Settle(driver.VerdictNack, after, m...)
			m = r.Read(1)
			t.Same("after another", attempts(m), []string{"a 3"})
			if waited := time.Since(begun); waited < after {
				t.Errorf("it came after %v, sooner than After, which is %v", waited, after)
			}
			r.Settle(driver.VerdictAck, 0, m...)
			r.Stop()
			t.nothingBut(g, s)
		},
	},
	{
		Topic: "settle", Name: "return",
		Sentence: "It may be delivered to any member at once, and this does not count as an attempt.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			h, held := t.holder(g, s, 2)
			h.Settle(driver.VerdictReturn, 0, held...)
			m := t.Consume(Group(g, s)).Read(2)
			t.Same("deliveries", slices.Sorted(slices.Values(attempts(m))), []string{"a 1", "b 1"})
		},
	},
	{
		Topic: "settle", Name: "extend",
		Sentence: "VerdictExtend: it is being worked on, the time-out begins anew.",
		Needs:    needsVerdicts,
		Hasty:    true,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			h, held := t.holder(g, s, 2)
			r := t.Consume(Group(g, s))
			until := time.Now().Add(t.F.AckTimeout * 2)
			for time.Now().Before(until) {
				h.Settle(driver.VerdictExtend, 0, held[0])
				time.Sleep(t.F.AckTimeout / 10) // the time-out itself is what is waited for
			}
			t.Same("what the other member got meanwhile", attempts(r.Read(1)), []string{"b 2"})
			h.Settle(driver.VerdictAck, 0, held[0])
		},
	},
	{
		Topic: "settle", Name: "a verdict that comes too late",
		Sentence: "Verdicts on messages that this consumer no longer holds do nothing",
		Needs:    needsVerdicts,
		Hasty:    true,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a")
			h, held := t.holder(g, s, 1)
			r := t.Consume(Group(g, s))
			m := r.Wants("a") // the time-out has given it to r
			for _, v := range []driver.Verdict{driver.VerdictNack, driver.VerdictReturn, driver.VerdictExtend} {
				h.Settle(v, 0, held...)
			}
			r.Settle(driver.VerdictAck, 0, m...)
			for _, v := range []driver.Verdict{driver.VerdictNack, driver.VerdictReturn, driver.VerdictExtend} {
				h.Settle(v, 0, held...)
			}
			r.Stop()
			t.nothingBut(g, s)
		},
	},
	{
		Topic: "settle", Name: "members share the messages",
		Sentence: "the broker hands out messages, not shards",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			shards := 1
			if t.F.Shards {
				shards = 2
			}
			s, g := t.Stream(shards), t.Name()
			const n = 200
			recs := make([]driver.Record, n)
			for i := range recs {
				recs[i] = driver.Record{Stream: s, Shard: driver.On(int32(i % shards)), Value: fmt.Appendf(nil, "%03d", i)}
			}
			members := []*Reader{t.Consume(Group(g, s)), t.Reader(nil, nil).Open(t.Open(), Group(g, s))}
			t.Writer().Send(recs...)
			seen := make(map[string]int)
			t.Eventually("all messages", func() bool {
				for _, r := range members {
					r.mu.Lock()
					msgs := r.msgs
					r.msgs = nil
					r.mu.Unlock()
					if len(msgs) == 0 {
						continue
					}
					r.Settle(driver.VerdictAck, 0, msgs...)
					for _, m := range msgs {
						seen[string(m.Value)]++
					}
				}
				return len(seen) == n
			})
			for _, v := range slices.Sorted(maps.Keys(seen)) {
				if seen[v] != 1 {
					t.Errorf("message %s was delivered %d times to members that acknowledged it", v, seen[v])
				}
			}
			members[0].Stop()
			members[1].Stop()
			t.nothingBut(g, s)
		},
	},
	{
		Topic: "settle", Name: "start only without progress",
		Sentence: "where the group has no progress, or there is no group",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "old")
			c := Group(g, s)
			c.Start = driver.Latest
			r := t.Consume(c)
			r.Stop()
			t.Send(s, "while nobody read") // a group that has read nothing has its place
			r = t.Consume(c)
			r.Settle(driver.VerdictAck, 0, r.Wants("while nobody read")...)
			r.Stop()
			t.nothingBut(g, s) // Earliest has no say either
		},
	},
	{
		Topic: "settle", Name: "groups do not know each other",
		Sentence: "where the group has no progress, or there is no group",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b")
			r := t.Consume(Group(t.Name(), s))
			r.Settle(driver.VerdictAck, 0, r.Wants("a", "b")...)
			t.Consume(Group(t.Name(), s)).Wants("a", "b")
			t.Consume(Streams(s)).Wants("a", "b")
		},
	},
	{
		Topic: "settle", Name: "a Fetch whose context ends",
		Sentence: "A Fetch whose context ends loses nothing: what it had comes with the next call.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			r := t.Reader(nil, nil).Prepare(t.Open(), Group(g, s))
			recs, want := numbered(s, 100)
			w, ctx := t.Writer(), t.Ctx()
			go func() {
				for _, rec := range recs {
					_ = w.Produce(ctx, rec, func(driver.Receipt, error) {}) // what is missing is found below
				}
			}()
			for begun := time.Now(); len(r.msgs) < len(want); {
				if time.Since(begun) > t.H.Patience {
					t.Fatalf("%d messages of %d came within %v", len(r.msgs), len(want), t.H.Patience)
				}
				ctx, cancel := context.WithTimeout(t.Ctx(), 2*time.Millisecond)
				batches, err := r.Fetch(ctx, nil)
				cut := ctx.Err() != nil
				cancel()
				if !r.take(batches, err, cut) {
					t.Fatalf("Fetch: %v", r.err)
				}
			}
			t.Same("messages", values(r.msgs), want)
			r.Settle(driver.VerdictAck, 0, r.msgs...)
			r.Stop()
			t.nothingBut(g, s)
		},
	},
	{
		Topic: "settle", Name: "missing stream",
		Sentence: "It returns ErrNotFound for a missing stream and never creates one.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s := t.Name()
			for range 2 {
				_, err := t.Driver().Consumer(t.Ctx(), Group(t.Name(), s))
				t.Is("a group's consumer of a missing stream", err, driver.ErrNotFound)
			}
		},
	},
	{
		Topic: "settle", Name: "no seek",
		Sentence: "a group that keeps a verdict per message (Features.Ack) cannot be moved by its members",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s := t.Stream(1)
			c := t.Consumer(Member(t.Name(), s))
			t.Is("seek of a group", c.Seek(t.Ctx(), seastreamer.Latest), errors.ErrUnsupported)
			if at := t.Commit(c); at != nil {
				t.Errorf("Commit: got the checkpoint %v of a group without positions", at)
			}
		},
	},
	{
		Topic: "settle", Name: "trimmed before it was read",
		Sentence: "A *GapError says that messages are missing; the next Fetch goes on behind them.",
		Needs:    all(needsVerdicts, needsTrim),
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Consume(Group(g, s)).Stop()
			receipts := t.Send(s, "a", "b", "c", "d")
			t.H.Trim(t.TB, receipts[0].Shard, receipts[2].Seq)
			r := t.Consume(Group(g, s))
			gap := r.Gap()
			if gap.Shard != receipts[0].Shard || receipts[0].Seq.Less(gap.From) || gap.To != receipts[2].Seq {
				t.Errorf("gap %v, want one that holds %v up to %v", gap, receipts[0].Seq, receipts[2].Seq)
			}
			r.Wants("c", "d")
		},
	},
	{
		Topic: "settle", Name: "trimmed while it was out",
		Sentence: "A *GapError says that messages are missing; the next Fetch goes on behind them.",
		Needs:    all(needsVerdicts, needsTrim),
		Hasty:    true, // a backend may see only then that messages are gone
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b", "c")
			h, _ := t.holder(g, s, 3)
			t.H.Trim(t.TB, receipts[0].Shard, receipts[2].Seq)
			h.Stop()
			r := t.Consume(Group(g, s))
			r.Settle(driver.VerdictAck, 0, r.Wants("c")...)
			for at := receipts[0].Seq; at.Less(receipts[1].Seq.Succ()); {
				gap := r.Gap()
				Equal(t, "begin of the gap", gap.From, at)
				if at = gap.To; at == receipts[0].Seq.Succ() {
					at = receipts[1].Seq // in two gaps or in one
				}
			}
			r.Stop()
			t.nothingBut(g, s)
		},
	},
	{
		Topic: "ack", Name: "on advance, and handed back",
		Sentence: "With AckOnAdvance, asking for the next message acknowledges the one before; a break, return or panic does not, and the next range begins with it.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b", "c")
			c := t.Consumer(Member(g, s))
			t.Gets(c, "a", "b")
			t.Gets(c, "b", "c")
			t.Close("consumer", c)
			m := t.Gets(t.Consumer(Member(g, s)), "c")
			Equal(t, "attempt of what was in hand", m[0].Attempt(), 2)
		},
	},
	{
		Topic: "ack", Name: "nacked messages go to the broker",
		Sentence: "Nack says that the message could not be processed: it is delivered again after the given time, as a batch of its own, while later messages pass.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b", "c")
			cfg := Member(g, s)
			cfg.CommitEvery = time.Second
			var got []string
			err := t.Loop(t.Consumer(cfg), func(m seastreamer.Message) bool {
				got = append(got, fmt.Sprintf("%s %d", m.Value(), m.Attempt()))
				if string(m.Value()) == "a" && m.Attempt() < 3 {
					m.Nack(time.Millisecond)
				}
				return len(got) < 5
			})
			if err != nil {
				t.Fatalf("Messages: %v", err)
			}
			for _, want := range []string{"a 1", "a 2", "a 3", "b 1", "c 1"} {
				if !slices.Contains(got, want) {
					t.Errorf("deliveries %q, without %q", got, want)
				}
			}
		},
	},
	{
		Topic: "ack", Name: "extended while it is worked on",
		Sentence: "AckTimeout is how long a message of a group may stay without a verdict before it is delivered again, with AckMessage.",
		Needs:    needsVerdicts,
		Hasty:    true,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			slow := t.Consumer(Member(g, s))
			t.Gets(slow, "a") // in hand, and b waits
			r := t.Consume(Group(g, s))
			time.Sleep(2 * t.F.AckTimeout) // the time-out itself is what is waited for
			t.Send(s, "c")
			m := r.Read(1)
			if string(m[0].Value) != "c" && string(m[0].Value) != "b" {
				t.Errorf("the other member got %q, which was worked on", m[0].Value)
			}
		},
	},
	{
		Topic: "ack", Name: "on delivery, with verdicts",
		Sentence: "AckOnDelivery: a batch is acknowledged and, with a group, committed before its first message is handed over. At most once.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a")
			cfg := Member(g, s)
			cfg.Ack = seastreamer.AckOnDelivery
			c := t.Consumer(cfg)
			t.Gets(c, "a")
			t.Close("consumer", c)
			t.nothingBut(g, s)
		},
	},
}
