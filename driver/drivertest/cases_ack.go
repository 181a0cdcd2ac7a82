package drivertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

var ackCases = []Case{
	{
		Topic: "ack", Name: "on advance",
		Sentence: "With AckOnAdvance, asking for the next message acknowledges the one before; a break, return or panic does not, and the next range begins with it.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b", "c")
			c := t.Consumer(Member(g, s))
			t.Gets(c, "a", "b") // leaves with b in hand
			Equal(t, "position", t.Commit(c)[receipts[0].Shard], receipts[1].Seq)
			t.Gets(c, "b", "c") // this range begins with it
			Equal(t, "position", t.Commit(c)[receipts[0].Shard], receipts[2].Seq)
			t.Close("consumer", c)
			t.Gets(t.Consumer(Member(g, s)), "c")
		},
	},
	{
		Topic: "ack", Name: "before leaving",
		Sentence: "with AckOnAdvance it serves to acknowledge before leaving the loop",
		Needs:    needsAnyGroup,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b", "c")
			c := t.Consumer(Member(g, s))
			t.Loop(c, func(m seastreamer.Message) bool {
				m.Ack()
				return string(m.Value()) != "b"
			})
			t.Close("consumer", c)
			t.Gets(t.Consumer(Member(g, s)), "c")
		},
	},
	{
		Topic: "ack", Name: "panic does not",
		Sentence: "a break, return or panic does not",
		Needs:    needsAnyGroup,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			c := t.Consumer(Member(g, s))
			func() {
				defer func() { recover() }()
				t.Loop(c, func(m seastreamer.Message) bool {
					if string(m.Value()) == "b" {
						panic("the loop body fails")
					}
					return true
				})
			}()
			t.Close("consumer", c)
			t.Gets(t.Consumer(Member(g, s)), "b")
		},
	},
	{
		Topic: "ack", Name: "explicit in any order",
		Sentence: "AckExplicit: only Ack does, in any order and from any goroutine. At least once.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b", "c", "d")
			cfg := Member(g, s)
			cfg.Ack = seastreamer.AckExplicit
			c := t.Consumer(cfg)
			m := t.Take(c, 4)
			shard := receipts[0].Shard
			for _, step := range []struct {
				ack  int
				want driver.Seq
			}{{2, receipts[0].Seq}, {0, receipts[1].Seq}, {1, receipts[3].Seq}} {
				m[step.ack].Ack()
				Equal(t, fmt.Sprintf("position when message %d is acknowledged too", step.ack), t.Commit(c)[shard], step.want)
			}
			t.Close("consumer", c)
			t.Gets(t.Consumer(cfg), "d")
		},
	},
	{
		Topic: "ack", Name: "explicit from many goroutines",
		Sentence: "AckExplicit: only Ack does, in any order and from any goroutine. At least once.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			recs, _ := numbered(s, 400)
			receipts := t.Writer().Send(recs...)
			cfg := Member(g, s)
			cfg.Ack = seastreamer.AckExplicit
			c := t.Consumer(cfg)
			msgs := t.Take(c, 400)
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() {
					for j := i; j < len(msgs); j += 4 {
						msgs[j].Ack()
					}
				})
			}
			t.Within("the acknowledgements", all.Wait)
			if at := t.Commit(c)[receipts[0].Shard]; at.Less(receipts[399].Seq.Succ()) {
				t.Errorf("position %v, want the end behind %v", at, receipts[399].Seq)
			}
		},
	},
	{
		Topic: "ack", Name: "what is not acknowledged comes again",
		Sentence: "only Ack does, in any order and from any goroutine",
		Needs:    needsAnyGroup,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b", "c")
			cfg := Member(g, s)
			cfg.Ack = seastreamer.AckExplicit
			for range 2 {
				c := t.Consumer(cfg)
				t.Gets(c, "a", "b", "c")
				t.Close("consumer", c)
			}
		},
	},
	{
		Topic: "ack", Name: "on delivery",
		Sentence: "AckOnDelivery: a batch is acknowledged and, with a group, committed before its first message is handed over. At most once.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a")
			cfg := Member(g, s)
			cfg.Ack = seastreamer.AckOnDelivery
			var commits atomic.Int32
			plan := func(op Op, n int) Fault {
				if op != OpCommit {
					return Fault{}
				}
				if commits.Add(1); n == 1 {
					return Fault{}
				}
				return Fault{Err: driver.ErrFenced} // what Close commits comes too late
			}
			c := t.ConsumerOn(t.faulty(plan, seastreamer.Observer{}), cfg)
			t.Loop(c, func(seastreamer.Message) bool {
				Equal(t, "commits before the first message", commits.Load(), 1)
				return false
			})
			t.Close("consumer", c)
			t.Send(s, "b")
			t.Gets(t.Consumer(Member(g, s)), "b")
		},
	},
	{
		Topic: "ack", Name: "a batch as a whole",
		Sentence: "asking for the next batch acknowledges the one before as a whole",
		Needs:    needsAnyGroup,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			recs, want := numbered(s, 50)
			t.Writer().Send(recs...)
			c := t.Consumer(Member(g, s))
			n := 0
			for b, err := range c.Batches(t.Ctx()) {
				if err != nil {
					t.Fatalf("Batches: %v", err)
				}
				t.Same("batch", texts(slices.Collect(b.Messages())), want[n:n+b.Len()])
				n += b.Len()
				if n == 50 {
					b.Ack()
					break
				}
			}
			t.Close("consumer", c)
			t.Send(s, "after")
			t.Gets(t.Consumer(Member(g, s)), "after")
		},
	},
	{
		Topic: "ack", Name: "commits by itself",
		Sentence: "CommitEvery is how often a group's progress is stored; zero is one second, negative leaves it to Commit and Close.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b")
			stored := make(chan driver.Position, 100)
			o := seastreamer.Observer{Commit: func(at []driver.Position, err error) {
				for _, p := range at {
					if err == nil {
						stored <- p
					}
				}
			}}
			cfg := Member(g, s)
			cfg.CommitEvery = 10 * time.Millisecond
			c := t.ConsumerOn(t.StreamerOn(t.H.Open(t.TB), o), cfg)
			t.Gets(c, "a", "b")
			t.Within("a commit of the first message", func() {
				for p := range stored {
					if p.Next == receipts[1].Seq {
						return
					}
				}
			})
		},
	},
	{
		Topic: "ack", Name: "close commits",
		Sentence: "Close commits what is done, leaves the group, and ends the consumer and its goroutines within ctx.",
		Needs:    needsAnyGroup,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b", "c")
			c := t.Consumer(Member(g, s))
			t.Gets(c, "a", "b", "c")
			t.Close("consumer", c)
			t.Close("consumer", c) // it is idempotent
			t.Gets(t.Consumer(Member(g, s)), "c")
		},
	},
	{
		Topic: "ack", Name: "own checkpoint",
		Sentence: "without a group it only returns it, for you to store",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b", "c")
			c := t.Consumer(From(s))
			t.Gets(c, "a", "b")
			saved, err := t.Commit(c).MarshalText()
			if err != nil {
				t.Fatalf("MarshalText: %v", err)
			}
			t.Close("consumer", c)
			cfg := From(s)
			cfg.Start = seastreamer.Latest
			cfg.Assigned = func(context.Context, []driver.Shard) (seastreamer.Checkpoint, error) {
				var at seastreamer.Checkpoint
				err := at.UnmarshalText(saved)
				return at, err
			}
			t.Gets(t.Consumer(cfg), "b", "c")
		},
	},
	{
		Topic: "ack", Name: "group that has read nothing",
		Sentence: "Nothing is ever reset silently.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "old")
			cfg := Member(g, s)
			cfg.Start = seastreamer.Latest
			c := t.Consumer(cfg)
			t.Eventually("the shard is assigned", func() bool { return len(c.Assignment()) == 1 })
			t.Commit(c)
			t.Close("consumer", c)
			t.Send(s, "while nobody read")
			t.Gets(t.Consumer(cfg), "while nobody read")
		},
	},
	{
		Topic: "nack", Name: "comes again",
		Sentence: "Nack says that the message could not be processed: it is delivered again after the given time, as a batch of its own, while later messages pass.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b", "c")
			var got []string
			err := t.Loop(t.Consumer(From(s)), func(m seastreamer.Message) bool {
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
		Topic: "nack", Name: "holds the position",
		Sentence: "Until it is done it holds the shard's position.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b", "c")
			c := t.Consumer(Member(g, s))
			t.Loop(c, func(m seastreamer.Message) bool {
				if string(m.Value()) == "a" {
					m.Nack(time.Hour)
				}
				return string(m.Value()) != "c"
			})
			Equal(t, "position", t.Commit(c)[receipts[0].Shard], receipts[0].Seq)
			t.Close("consumer", c)
			t.Gets(t.Consumer(Member(g, s)), "a", "b", "c")
		},
	},
	{
		Topic: "nack", Name: "explicit",
		Sentence: "Nack says that the message could not be processed: it is delivered again after the given time, as a batch of its own, while later messages pass.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b")
			cfg := Member(g, s)
			cfg.Ack = seastreamer.AckExplicit
			c := t.Consumer(cfg)
			m := t.Take(c, 2)
			m[0].Nack(0)
			m[1].Ack()
			Equal(t, "position while a is out", t.Commit(c)[receipts[0].Shard], receipts[0].Seq)
			again := t.Take(c, 1)[0]
			Equal(t, "value", string(again.Value()), "a")
			Equal(t, "attempt", again.Attempt(), 2)
			again.Ack()
			if at := t.Commit(c)[receipts[0].Shard]; !receipts[1].Seq.Less(at) {
				t.Errorf("position %v when everything is done, want one behind %v", at, receipts[1].Seq)
			}
		},
	},
	{
		Topic: "nack", Name: "before the end",
		Sentence: "Until ends the loop there, see [Streamer.End].",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b")
			cfg := From(s)
			cfg.Until = t.End(s)
			seen := make(map[string]int)
			if err := t.Loop(t.Consumer(cfg), func(m seastreamer.Message) bool {
				if seen[string(m.Value())]++; m.Attempt() == 1 {
					m.Nack(0)
				}
				return true
			}); err != nil {
				t.Fatalf("Messages: %v", err)
			}
			Equal(t, "deliveries before the loop ended", fmt.Sprint(seen), "map[a:2 b:2]")
		},
	},
	{
		Topic: "nack", Name: "nothing to hand back",
		Sentence: "The zero Message is no message: Ack and Nack do nothing with it",
		Run: func(t *T) {
			var none seastreamer.Message
			none.Ack()
			none.Nack(0)
			s := t.Stream(1)
			t.Send(s, "a", "b")
			var got []string
			var before seastreamer.Message
			t.Loop(t.Consumer(From(s)), func(m seastreamer.Message) bool {
				got = append(got, string(m.Value()))
				before.Nack(0) // it is done already
				before = m
				return len(got) < 2
			})
			t.Same("messages", got, []string{"a", "b"})
		},
	},
}
