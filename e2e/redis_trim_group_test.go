//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/redis"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// ackTimeout is that of the members that live: longer than a machine may stand
// still, for what is trimmed while somebody is late with it is told as missing.
const ackTimeout = 30 * time.Second

// TestRedisTrimUnderTheGroup trims and deletes what a group has not read yet and
// what is pending with a member that has died, and now and then the stream.
// Whatever is left is delivered and acknowledged by somebody, what the dead
// member had is told as a gap, and nothing stays pending or keeps anybody busy
// for ever. What is removed before the group has read it is told as well, all of
// it.
//
// The member that has died is another client, which does not look for holes.
// What it goes across is known from the transaction in which it reads, and is
// counted by itself; so is what was pending with it when the stream was deleted.
//
// How far the group is when something is removed is luck, so two last rounds
// leave that to none: see deadMember.deleted and aheadOfTheGroup.
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
		st, err := redis.Open(t.Context(), s.URL(), redis.Options{AckTimeout: ackTimeout})
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

	dead := &deadMember{m: m, pending: map[seastreamer.Seq]bool{}, across: map[seastreamer.Seq]bool{}, dropped: map[seastreamer.Seq]bool{}}
	pending := dead.pending
	removed := 0 // of these
	for range rounds {
		m.add(50 + rnd.IntN(300))
		if rnd.IntN(2) == 0 {
			dead.dies(dead.read(1+rnd.IntN(20), 5+rnd.IntN(30)))
		}
		switch n := rnd.IntN(50); {
		case n < 20:
			m.deletePending(dead)
		case n == 20:
			m.drop(dead)
		default:
			m.trim()
		}
		m.add(1 + rnd.IntN(20))
	}
	dead.deleted()
	m.aheadOfTheGroup(g) // last, or the dead member might go across it
	m.add(1 + rnd.IntN(20))
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
	missing, unread, unnoticed, across, again, idle := 0, 0, 0, 0, 0, 0
	example, silent, vain := "none", "none", "none"
	for _, q := range m.all {
		n := g.got[q]
		if n > 1 {
			again++
		}
		gone := m.lost[q] || m.deleted[q]
		if gone && pending[q] && n == 0 {
			removed++
		}
		switch told := g.covers(q); {
		case n > 0 || dead.dropped[q]:
		case dead.across[q]:
			across++
		case m.lost[q] && !pending[q]:
			unread++
			if !told {
				unnoticed++
				silent = idOf(q)
			}
		case !told:
			missing++
			example = fmt.Sprintf("%s: trimmed %v, deleted %v, pending with the dead member %v", idOf(q), m.lost[q], m.deleted[q], pending[q])
		}
	}
	for _, gap := range g.gaps {
		// A stream that is made anew is told, also where all of the old one was read.
		missed := gap.Cause == seastreamer.GapRecreated
		for _, q := range m.all {
			missed = missed || (m.lost[q] || m.deleted[q]) && g.got[q] == 0 && !q.Less(gap.From) && q.Less(gap.To)
		}
		if !missed {
			idle++
			vain = fmt.Sprint(gap)
		}
	}
	t.Logf("seed %d: %d messages added, %d rounds: %s; %d taken by a member that died, %d of them removed, %d gaps, everything settled after %v more, then %d commands in 2 s",
		seed, len(m.all), rounds, m.said(), len(pending), removed, len(g.gaps), took.Round(time.Millisecond), busy)
	t.Logf("%d messages were removed before the group had read them, %d more went under a read of the other client, %d were pending with it when the stream was deleted", unread, across, len(dead.dropped))
	c := &claims{t: t}
	defer c.end()
	c.check(missing == 0, "%d messages that were there, or pending, were neither delivered nor told as missing; for instance %s", missing, example)
	c.check(unread > 0 && unnoticed == 0, "%d of %d messages that were removed before the group had read them went without a word; for instance %s", unnoticed, unread, silent)
	c.check(idle == 0, "%d gaps were told where nothing was missing; for instance %s", idle, vain)
	c.check(removed > 0, "%d that were removed while they were pending with the dead member were told as gaps", removed)
	c.check(again*20 < len(m.all), "%d messages came again, fewer than 5 %%", again)
	c.check(busy < 500, "%d commands in 2 s when nothing happens: nobody goes round in circles", busy)
}

// deletePending deletes some of what is pending with the dead member, but not
// the last that it read: where the group goes on behind a hole, Redis has lost
// count, and trims may go unseen until the group comes to the end.
func (m *trimmed) deletePending(dead *deadMember) {
	m.count("XDEL of pending")
	n := m.rnd.IntN(10)
	for _, q := range m.all[m.alive:] { // in order, so that the seed decides
		if n == 0 {
			return
		}
		if dead.pending[q] && q != dead.last && m.rnd.IntN(2) == 0 && m.s.Call(m.t, 1, "XDEL", "news", idOf(q)) == "1" {
			m.deleted[q] = true
			n--
		}
	}
}

// aheadOfTheGroup trims what the group has not read: its members take no more
// than fits into their memory while the gate is shut.
func (m *trimmed) aheadOfTheGroup(g *group) {
	m.t.Helper()
	m.count("XTRIM ahead of the group")
	g.gate.Lock()
	defer g.gate.Unlock()
	for range 100 {
		m.add(300)
		// Not in the transaction: who waits for an entry would not see the hole.
		replies, err := m.s.Pipe(1, []string{"MULTI"}, []string{"XINFO", "GROUPS", "news"}, []string{"XTRIM", "news", "MAXLEN", "0"}, []string{"EXEC"})
		if err != nil {
			m.t.Fatal(err)
		}
		m.gone(len(m.all))
		if lastDelivered(m.t, replies[3]).Less(m.all[len(m.all)-1]) {
			return
		}
	}
	m.t.Fatal("members who are given no time read everything all the same")
}

// lastDelivered is where the only group is, as XINFO GROUPS says.
func lastDelivered(t *testing.T, info string) seastreamer.Seq {
	t.Helper()
	_, last, _ := strings.Cut(info, "\nlast-delivered-id\n")
	last, _, _ = strings.Cut(last, "\n")
	return seqOf(t, last)
}

// trim removes some from the front.
func (m *trimmed) trim() {
	left := len(m.all) - m.alive
	switch kind := []string{"XTRIM MAXLEN", "XTRIM MINID", "XADD MAXLEN"}[m.rnd.IntN(3)]; kind {
	case "XTRIM MAXLEN":
		m.count(kind)
		m.s.Call(m.t, 1, "XTRIM", "news", "MAXLEN", strconv.Itoa(m.rnd.IntN(left+1)))
	case "XTRIM MINID":
		m.count(kind)
		m.s.Call(m.t, 1, "XTRIM", "news", "MINID", idOf(m.all[m.alive+m.rnd.IntN(left)]))
	default:
		m.count(kind)
		m.add(1, "MAXLEN", strconv.Itoa(1+m.rnd.IntN(left)))
	}
	m.look()
}

// drop deletes the stream, and the group with it.
func (m *trimmed) drop(dead *deadMember) {
	m.count("DEL")
	m.s.Call(m.t, 1, "DEL", "news")
	m.gone(len(m.all))
	maps.Copy(dead.dropped, dead.pending)
	clear(dead.pending)
	time.Sleep(2 * time.Millisecond) // in the same millisecond the same ids would come again
	m.add(1 + m.rnd.IntN(20))
	waitFor(m.t, "a member has made the group again", func() bool {
		return strings.Contains(m.s.Call(m.t, 1, "XINFO", "GROUPS", "news"), "readers")
	})
}

// deadMember reads for the group and does nothing with it.
type deadMember struct {
	m       *trimmed
	pending map[seastreamer.Seq]bool
	last    seastreamer.Seq          // that it read
	across  map[seastreamer.Seq]bool // what its reads have gone across
	dropped map[seastreamer.Seq]bool // what was pending when the stream was deleted
}

// read adds some entries and reads at most n, at one moment: there is something
// to read however quick the others are.
func (d *deadMember) read(added, n int) (read []seastreamer.Seq) {
	m := d.m
	m.t.Helper()
	commands := [][]string{{"MULTI"}, {"XINFO", "GROUPS", "news"}}
	for range added {
		q := m.all[len(m.all)-1].Succ()
		commands = append(commands, []string{"XADD", "news", idOf(q), "msg", strings.Repeat("x", 100)})
		m.all = append(m.all, q)
	}
	commands = append(commands, []string{"XREADGROUP", "GROUP", "readers", "dead", "COUNT", strconv.Itoa(n), "STREAMS", "news", ">"})
	replies, err := m.s.Pipe(1, append(commands, []string{"EXEC"})...)
	if err != nil {
		m.t.Fatal(err)
	}
	info, entries, ok := strings.Cut(replies[len(replies)-1], "\nnews\n")
	if !ok {
		m.t.Fatalf("nothing to read: %q", info)
	}
	for line := range strings.SplitSeq(entries, "\n") {
		if strings.Contains(line, "-") {
			read = append(read, seqOf(m.t, line))
		}
	}
	for _, q := range read {
		d.pending[q], d.last = true, q
	}
	from := lastDelivered(m.t, info)
	for _, q := range m.all {
		if from.Less(q) && q.Less(read[0]) {
			d.across[q] = true
		}
	}
	return read
}

// dies makes what was read look as old as if the member had died long ago, so
// that others take it a second from now. Nobody else is that late, even where
// the machine stands still for a while.
func (d *deadMember) dies(read []seastreamer.Seq, then ...[]string) {
	d.m.t.Helper()
	claim := []string{"XCLAIM", "news", "readers", "dead", "0"}
	for _, q := range read {
		claim = append(claim, idOf(q))
	}
	claim = append(claim, "IDLE", strconv.FormatInt((ackTimeout-time.Second).Milliseconds(), 10), "JUSTID")
	commands := append([][]string{{"MULTI"}, claim}, then...)
	if _, err := d.m.s.Pipe(1, append(commands, []string{"EXEC"})...); err != nil {
		d.m.t.Fatal(err)
	}
}

// deleted reads some, of which some is deleted before anybody could take it.
func (d *deadMember) deleted() {
	d.m.t.Helper()
	d.m.count("XDEL as it dies")
	read := d.read(10, 10)
	del := []string{"XDEL", "news"}
	for _, q := range read[:5] {
		del = append(del, idOf(q))
		d.m.deleted[q] = true
	}
	d.dies(read, del)
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
	gate sync.Mutex // who holds it makes the members wait
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
				g.gate.Lock()
				g.mu.Lock()
				g.got[m.Seq()]++
				g.mu.Unlock()
				g.gate.Unlock()
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
