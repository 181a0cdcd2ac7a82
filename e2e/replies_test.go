//go:build unix

package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/redis"
	"github.com/seastreamer/seastreamer/e2e/faultnet"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// Replies that never come: the server has done what it was asked, and the
// producer cannot know. A proxy forwards every request and swallows the replies
// that the seed chooses, and all behind them on their connection.
//
// REPLIES_SENDS=1000000 is the full number of messages in each test.

// someReplies cuts before the share of the replies to a command that the seed
// chooses, and before the hundredth in any case.
func someReplies(p *faultnet.Proxy, share float64, command string) {
	chosen := p.Share(share, command, faultnet.CutBefore)
	p.OnReply(func(kind string, k int64) faultnet.Fate {
		if kind == command && k == 100 {
			return faultnet.CutBefore
		}
		return chosen(kind, k)
	})
}

// lostReplies sends n messages to each stream of some accounts, with so many of each
// under way at once, and returns when all have an outcome.
func lostReplies(t *testing.T, p *seastreamer.Producer, l *accounts, n, window int) {
	t.Helper()
	var wg sync.WaitGroup
	for _, stream := range l.names {
		wg.Go(func() {
			room := make(chan struct{}, window)
			for range n {
				room <- struct{}{}
				body, done := l.next(stream)
				err := p.Enqueue(t.Context(), seastreamer.Record{Stream: stream, Value: body}, func(r seastreamer.Receipt, err error) {
					done(r, err)
					<-room
				})
				if err != nil {
					t.Errorf("Enqueue: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Errorf("Flush: %v", err)
	}
	if e := l.other.Load(); e != nil {
		t.Errorf("a message was not written: %v", *e)
	}
}

func TestRedisRepliesLost(t *testing.T) {
	_, seed := seeded(t)
	n := fromEnv(t, "REPLIES_SENDS", 20_000)
	for _, run := range []struct {
		name       string
		durability seastreamer.Durability
		streams    int
		window     int
		command    string  // by which it writes
		share      float64 // of the replies to it
		sends      int
	}{
		// Here a lost reply is one message of unknown outcome.
		{"one at a time", seastreamer.AtLeastOnce, 1, 1, "XADD", 0.01, n / 2},
		// Here it takes with it all that is under way behind it.
		{"pipelined", seastreamer.AtLeastOnce, 4, 100, "XADD", 0.001, n / 4},
		// Here the producer finds out, and sends again only what is not there.
		{"exactly once", seastreamer.ExactlyOnce, 4, 4, "EVALSHA", 0.01, n / 4},
	} {
		t.Run(run.name, func(t *testing.T) {
			s := redistest.ForTest(t, redistest.Options{AppendOnly: true})
			proxy, err := faultnet.Listen(s.Addr(1), faultnet.Options{Seed: seed, Requests: faultnet.RESP, Replies: faultnet.RESP})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(proxy.Close)
			someReplies(proxy, run.share, run.command)
			st, err := redis.Open(t.Context(), "redis://"+proxy.Addr(), redis.Options{})
			if err != nil {
				t.Fatal(err)
			}
			l := newAccounts(seed, "news", run.streams)
			p, err := st.Producer(t.Context(), seastreamer.ProducerConfig{Stream: l.names[0], Durability: run.durability})
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			lostReplies(t, p, l, run.sends/run.streams, run.window)
			took := time.Since(begun)
			if err := p.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := st.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
			waitFor(t, "the server finishes what it was sent", func() bool { return proxy.Counts().Open == 0 })
			counts, sum := proxy.Counts(), l.sums()
			t.Logf("seed %d: %d sends in %v, %d connections cut, %d replies to %s swallowed", seed, sum.sent, took.Round(time.Millisecond), counts.Cuts, counts.Unanswered[run.command], run.command)
			c := &claims{t: t}
			defer c.end()
			c.check(counts.Cuts > 0, "%d connections were cut", counts.Cuts)
			c.check(sum.unresolved == 0 && sum.notWritten == 0, "each of %d messages was acknowledged or is of unknown outcome: %d and %d", sum.sent, sum.acked, sum.unknown)
			cold, witness := both(t, s, l)
			for who, v := range map[string]verdict{"a fresh client": cold, "redis-cli": witness} {
				c.check(v.sound() && v.lost == 0, "%s reads %v", who, v)
			}
			if run.durability == seastreamer.ExactlyOnce {
				c.check(sum.unknown == 0, "%d are of unknown outcome, want none: the producer finds out", sum.unknown)
				return
			}
			swallowed := int(counts.Unanswered[run.command])
			c.check(witness.arrived == swallowed, "%d of unknown outcome are there, as many as replies were swallowed: %d", witness.arrived, swallowed)
			if run.window == 1 {
				c.check(sum.unknown == swallowed && sum.unknown == int(counts.Cuts), "there are no others, and as many as cuts: %d", counts.Cuts)
				return
			}
			// What was written into a connection just as it ended may have left.
			c.check(sum.unknown >= swallowed, "%d more of unknown outcome did not arrive", sum.unknown-swallowed)
		})
	}
}
