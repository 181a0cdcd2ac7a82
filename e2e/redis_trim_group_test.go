//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/redis"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestRedisTrimUnderTheGroup trims and deletes what a group has not read yet and
// what is pending with a member that has died. Whatever is left is delivered and
// acknowledged by somebody, what the dead member had is told as a gap, and
// nothing stays pending or keeps anybody busy for ever. What is trimmed before
// the group has read it is told, too, as far as it is noticed: members look ten
// times a second, and here it comes and goes within milliseconds. How much goes
// unnoticed is measured.
//
// REDIS_TRIMS=1000 does it a thousand times.
func TestRedisTrimUnderTheGroup(t *testing.T) {
	rnd, seed := seeded(t)
	rounds := fromEnv(t, "REDIS_TRIMS", 30)
	s := redistest.ForTest(t, redistest.Options{})
	m := &trimmed{t: t, s: s, rnd: rnd, lost: map[seastreamer.Seq]bool{}, deleted: map[seastreamer.Seq]bool{}}
	s.Call(t, 1, "XGROUP", "CREATE", "news", "readers", "0", "MKSTREAM")
	g := &group{got: map[seastreamer.Seq]int{}}
	ctx, stop := context.WithCancel(t.Context())
	var members sync.WaitGroup
	defer members.Wait()
	defer stop()
	for range 2 {
		st, err := redis.Open(t.Context(), s.URL(), redis.Options{AckTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close(context.Background())
		k, err := st.Consumer(t.Context(), seastreamer.ConsumerConfig{Streams: []string{"news"}, Group: "readers", MaxBytes: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		members.Go(func() {
			if err := g.read(ctx, k); err != nil {
				t.Errorf("a member: %v", err)
			}
		})
	}

	pending := map[seastreamer.Seq]bool{} // with the member that has died
	removed := 0                          // of these
	for range rounds {
		m.add(50 + rnd.IntN(300))
		if rnd.IntN(2) == 0 {
			for line := range strings.SplitSeq(s.Call(t, 1, "XREADGROUP", "GROUP", "readers", "dead", "COUNT", strconv.Itoa(5+rnd.IntN(30)), "STREAMS", "news", ">"), "\n") {
				if strings.Contains(line, "-") {
					pending[seqOf(t, line)] = true
				}
			}
		}
		if rnd.IntN(2) == 0 {
			m.deletePending(pending)
		} else {
			m.trim()
		}
		m.add(1 + rnd.IntN(20))
	}
	begun := time.Now()
	waitFor(t, "the group has read everything and nothing is pending", func() bool {
		groups := s.Call(t, 1, "XINFO", "GROUPS", "news")
		last := idOf(m.all[len(m.all)-1])
		return strings.Contains(groups, "\npending\n0\n") && strings.Contains(groups, "last-delivered-id\n"+last+"\n")
	})
	took := time.Since(begun)

	before := commands(t, s)
	time.Sleep(2 * time.Second) // the time in which commands are counted
	busy := commands(t, s) - before
	g.mu.Lock()
	defer g.mu.Unlock()
	missing, unread, unnoticed, again, idle := 0, 0, 0, 0, 0
	example := "none"
	for _, q := range m.all {
		n := g.got[q]
		if n > 1 {
			again++
		}
		gone := m.lost[q] || m.deleted[q]
		if gone && pending[q] && n == 0 {
			removed++
		}
		// What XDEL takes before the group has read it is a hole, and no gap.
		switch told := g.covers(q); {
		case n > 0 || m.deleted[q] && !pending[q]:
		case m.lost[q] && !pending[q]:
			unread++
			if !told {
				unnoticed++
			}
		case !told:
			missing++
			example = fmt.Sprintf("%s: trimmed %v, deleted %v, pending with the dead member %v", idOf(q), m.lost[q], m.deleted[q], pending[q])
		}
	}
	for _, gap := range g.gaps {
		missed := false
		for _, q := range m.all {
			missed = missed || (m.lost[q] || m.deleted[q]) && !q.Less(gap.From) && q.Less(gap.To)
		}
		if !missed {
			idle++
		}
	}
	t.Logf("seed %d: %d messages added, %d rounds: %s; %d taken by a member that died, %d of them removed, %d gaps, everything settled after %v more, then %d commands in 2 s",
		seed, len(m.all), rounds, m.said(), len(pending), removed, len(g.gaps), took.Round(time.Millisecond), busy)
	t.Logf("%d messages were trimmed before the group had read them; of %d no member was told", unread, unnoticed)
	c := &claims{t: t}
	defer c.end()
	c.check(missing == 0, "%d messages that were there, or pending, were neither delivered nor told as missing; for instance %s", missing, example)
	c.check(idle == 0, "%d gaps were told where nothing was missing", idle)
	c.check(removed > 0, "%d that were removed while they were pending with the dead member were told as gaps", removed)
	c.check(again*20 < len(m.all), "%d messages came again, fewer than 5 %%", again)
	c.check(busy < 500, "%d commands in 2 s when nothing happens: nobody goes round in circles", busy)
}

// deletePending deletes some of what is pending with the dead member.
func (m *trimmed) deletePending(pending map[seastreamer.Seq]bool) {
	m.count("XDEL of pending")
	n := m.rnd.IntN(10)
	for _, q := range m.all[m.alive:] { // in order, so that the seed decides
		if n == 0 {
			return
		}
		if pending[q] && m.rnd.IntN(2) == 0 && m.s.Call(m.t, 1, "XDEL", "news", idOf(q)) == "1" {
			m.deleted[q] = true
			n--
		}
	}
}

// trim removes some from the front.
func (m *trimmed) trim() {
	m.count("XTRIM")
	m.s.Call(m.t, 1, "XTRIM", "news", "MAXLEN", strconv.Itoa(m.rnd.IntN(len(m.all)-m.alive+1)))
	m.look()
}

// commands is how many a server has executed, this one included.
func commands(t *testing.T, s *redistest.Servers) int {
	t.Helper()
	for line := range strings.Lines(s.Call(t, 1, "INFO", "stats")) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "total_commands_processed:"); ok {
			c, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	t.Fatal("INFO says nothing of commands")
	return 0
}

// group is what the members of a group were handed, together.
type group struct {
	mu   sync.Mutex
	got  map[seastreamer.Seq]int
	gaps []*seastreamer.GapError
}

func (g *group) read(ctx context.Context, k *seastreamer.Consumer) error {
	for ctx.Err() == nil {
		for m, err := range k.Messages(ctx) {
			var gap *seastreamer.GapError
			switch {
			case errors.As(err, &gap):
				g.mu.Lock()
				g.gaps = append(g.gaps, gap)
				g.mu.Unlock()
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			default:
				g.mu.Lock()
				g.got[m.Seq()]++
				g.mu.Unlock()
			}
		}
	}
	return nil
}

// covers: a gap was told that q lies in. Under mu.
func (g *group) covers(q seastreamer.Seq) bool {
	for _, gap := range g.gaps {
		if !q.Less(gap.From) && q.Less(gap.To) {
			return true
		}
	}
	return false
}
