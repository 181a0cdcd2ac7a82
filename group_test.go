package seastreamer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
)

// twoShards opens a store whose stream s has two shards with n messages each.
func twoShards(t *testing.T, n int) *seastreamer.Streamer {
	t.Helper()
	s, err := memory.Open(t.Context(), "memory://", memory.Options{Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	p, err := s.Producer(t.Context(), seastreamer.ProducerConfig{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * n {
		r := seastreamer.Record{Shard: seastreamer.On(int32(i % 2)), Value: fmt.Append(nil, i/2)}
		if _, err := p.Send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// stored is the group's progress: where a new member would begin.
func stored(t *testing.T, s *seastreamer.Streamer, group string) seastreamer.Checkpoint {
	t.Helper()
	c := consumer(t, s, seastreamer.ConsumerConfig{Group: group, CommitEvery: -1})
	defer c.Close(t.Context())
	synctest.Wait()
	cp, err := c.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func TestProgressIsStoredEveryCommitEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, 10)
		var mu sync.Mutex
		var commits []string
		began := time.Now()
		observed := seastreamer.Observer{Commit: func(at []seastreamer.Position, err error) {
			mu.Lock()
			defer mu.Unlock()
			commits = append(commits, fmt.Sprint(time.Since(began), " ", at[0].Next, " ", err))
		}}
		d, _ := seastreamer.As[*memory.Store](s)
		o := seastreamer.New(d.Driver(memory.Options{}), seastreamer.Options{Observer: observed})
		c := consumer(t, o, seastreamer.ConsumerConfig{Group: "g", CommitEvery: 3 * time.Second})
		n := 0
		for _, err := range c.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // a body that takes its time: in the bubble it costs none
			if n++; n == 8 {
				break
			}
		}
		if err := o.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(commits) != 3 {
			t.Errorf("commits: %q, want one at 3s, one at 6s and one of Close at 8s", commits)
		}
		if got := stored(t, s, "g")[seastreamer.Shard{Stream: "s"}]; got != seastreamer.SeqOf(7) {
			t.Errorf("stored progress is %v, want 7: all but the message that the loop left early", got)
		}
	})
}

func TestRevokeWaitsForTheLoopBody(t *testing.T) {
	for _, c := range []struct {
		body time.Duration
		took time.Duration // until the second member has the shard
		next string        // what it begins with
	}{
		{2 * time.Second, 2 * time.Second, "1"},
		{time.Minute, 5 * time.Second, "0"}, // RevokeTimeout
	} {
		synctest.Test(t, func(t *testing.T) {
			s := twoShards(t, 3)
			one := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", CommitEvery: -1})
			inBody := make(chan seastreamer.Message)
			var lost bool
			var loop sync.WaitGroup
			loop.Go(func() {
				for m, err := range one.Messages(t.Context()) {
					if err != nil {
						t.Error(err)
					}
					if m.Shard().Index == 0 {
						m.Ack()
						continue
					}
					inBody <- m
					time.Sleep(c.body)
					select {
					case <-m.Lost():
						lost = true
					default:
					}
					break
				}
				if c.body < 5*time.Second {
					one.Close(context.Background())
				}
			})
			m := <-inBody
			began := time.Now()
			two := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
			for o, err := range two.Messages(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if o.Shard() != m.Shard() {
					continue
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("body of %v: the other member got the shard after %v, want %v", c.body, took, c.took)
				}
				if got := string(o.Value()); got != "0" {
					t.Errorf("body of %v: it begins with %s, want 0: the body left the loop early", c.body, got)
				}
				break
			}
			loop.Wait()
			if want := c.body > 5*time.Second; lost != want {
				t.Errorf("body of %v: lost = %v when it ends, want %v", c.body, lost, want)
			}
		})
	}
}

func TestRevokeCommitsWhatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := twoShards(t, 100)
		got := map[string]int{}
		var mu sync.Mutex
		var loops sync.WaitGroup
		member := func(every time.Duration) *seastreamer.Consumer {
			c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", CommitEvery: -1})
			loops.Go(func() {
				for m, err := range c.Messages(t.Context()) {
					if err != nil {
						t.Error(err)
					}
					time.Sleep(every)
					mu.Lock()
					got[fmt.Sprint(m.Shard(), m.Seq())]++
					mu.Unlock()
				}
			})
			return c
		}
		one := member(time.Second)
		time.Sleep(30 * time.Second)
		two := member(time.Second)
		time.Sleep(30 * time.Second)
		if err := one.Close(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Minute)
		if err := two.Close(t.Context()); err != nil {
			t.Error(err)
		}
		loops.Wait()
		twice := 0
		for _, n := range got {
			twice += n - 1
		}
		// Close does not wait for the body, so the message in hand then comes
		// again; the shard that moved between live members does not repeat.
		if len(got) != 200 || twice > 1 {
			t.Errorf("%d of 200 messages, %d repeated, want all and at most one", len(got), twice)
		}
	})
}
