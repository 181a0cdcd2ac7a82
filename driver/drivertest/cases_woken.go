package drivertest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// The cases of this file try as many rounds as fit into wokenTime, between these
// bounds, and send so many messages in each.
const (
	wokenTime  = 500 * time.Millisecond
	wokenLeast = 10
	wokenMost  = 500
	wokenSends = 6
)

// closeWoken closes members of a group while messages come to them: in each round
// join makes one or more, and one after the other is closed while its Fetch is woken
// by message after message. It returns the values of all that was sent.
func (t *T) closeWoken(stream string, join func() []*Reader) (sent []string) {
	t.Helper()
	w := t.Writer()
	begun := time.Now()
	for round := 0; round < wokenLeast || round < wokenMost && time.Since(begun) < wokenTime; round++ {
		leaves := join()
		var closing sync.WaitGroup
		for i := range wokenSends {
			value := fmt.Sprintf("%d of round %d", i, round)
			w.Send(driver.Record{Stream: stream, Value: []byte(value)})
			sent = append(sent, value)
			for j, r := range leaves {
				if i == (round+j)%wokenSends {
					closing.Go(r.Stop)
				}
			}
		}
		t.Within("Close", closing.Wait)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	return sent
}

var wokenCases = []Case{
	{
		Topic: "settle", Name: "close while it is woken",
		Sentence: "What has no verdict when the consumer is closed is delivered to others at once.",
		Needs:    needsVerdicts,
		Run: func(t *T) {
			s, c := t.Stream(1), Group(t.Name())
			c.Streams, c.MaxBytes = []string{s}, 1 // a message at a time
			stays := t.Consume(c)
			came := make(map[string]bool)
			take := func() {
				stays.mu.Lock()
				msgs := stays.msgs
				stays.msgs = nil
				stays.mu.Unlock()
				stays.Settle(driver.VerdictAck, 0, msgs...)
				for _, m := range msgs {
					came[string(m.Value)] = true
				}
			}
			sent := t.closeWoken(s, func() []*Reader {
				take()
				return []*Reader{t.Consume(c), t.Consume(c), t.Consume(c)}
			})
			missing := func() []string {
				take()
				return slices.DeleteFunc(slices.Clone(sent), func(v string) bool { return came[v] })
			}
			closed := time.Now()
			for left := missing(); len(left) > 0; left = missing() {
				// What nobody has given back comes after the time-out, and not before.
				if time.Since(closed) > t.F.AckTimeout/2 {
					t.Fatalf("%q have not come to the member that stays, %v after the others were closed", short(left), time.Since(closed))
				}
				time.Sleep(time.Millisecond)
			}
		},
	},
	{
		Topic: "group", Name: "close while it is woken",
		Sentence: "Revoked says that the consumer no longer reads these shards.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			seen := new(tally)
			sent := t.closeWoken(s, func() []*Reader {
				r := t.counting(t.Driver(), Group(g, s), seen)
				r.Shards(1)
				return []*Reader{r}
			})
			last := t.counting(t.Driver(), Group(g, s), seen)
			last.Next(s, 0, t.Bound(s, 0).Next)
			last.Stop()
			seen.each(t, sent)
		},
	},
}

// A tally is how often each message was read.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
}

func (n *tally) add(msgs []Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil {
		n.seen = make(map[string]int)
	}
	for _, m := range msgs {
		n.seen[string(m.Value)]++
	}
}

// each fails unless each of the messages was read once.
func (n *tally) each(t *T, want []string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	var lost, again []string
	for _, v := range want {
		switch n.seen[v] {
		case 0:
			lost = append(lost, v)
		case 1:
		default:
			again = append(again, v)
		}
	}
	if len(lost)+len(again) > 0 {
		t.Errorf("members that all left in order have not read %q, and read more than once %q", short(lost), short(again))
	}
}

// counting is a member that counts what it has read as done when its shards go, and
// then commits. What it has read of shards that are lost comes to others.
func (t *T) counting(d driver.Driver, c driver.ConsumerConfig, n *tally) *Reader {
	t.Helper()
	var r *Reader
	r = t.Reader(nil, func(shards []driver.Shard, lost bool) {
		r.mu.Lock()
		if lost {
			r.msgs = slices.DeleteFunc(r.msgs, func(m Msg) bool { return slices.Contains(shards, m.Shard) })
			r.mu.Unlock()
			return
		}
		msgs, next := r.msgs, maps.Clone(r.next)
		r.msgs = nil
		r.mu.Unlock()
		n.add(msgs) // before the position is kept
		for _, sh := range shards {
			if err := r.TryCommit(sh.Stream, sh.Index, next[sh]); err != nil {
				t.Errorf("commit while Revoked runs: %v", err)
			}
		}
	})
	return r.Open(d, c)
}
