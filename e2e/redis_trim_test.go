//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/redis"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestRedisTrimUnderTheReader trims, deletes and makes anew a stream while
// somebody reads it. What the reader did not get it must be told of: every
// message that was added is delivered or lies in a gap that was reported, a
// gap begins right behind what was delivered before it and ends with what is
// delivered after it, and none is reported where nothing is missing.
//
// REDIS_TRIMS=1000 does it a thousand times.
func TestRedisTrimUnderTheReader(t *testing.T) {
	rnd, seed := seeded(t)
	rounds := fromEnv(t, "REDIS_TRIMS", 30)
	s := redistest.ForTest(t, redistest.Options{})
	st, err := redis.Open(t.Context(), s.URL(), redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close(context.Background())
	m := &trimmed{t: t, s: s, rnd: rnd, lost: map[seastreamer.Seq]bool{}, deleted: map[seastreamer.Seq]bool{}}
	m.add(10)
	// Little is fetched ahead, so that there is something to lose.
	k, err := st.Consumer(t.Context(), seastreamer.ConsumerConfig{Streams: []string{"news"}, Start: seastreamer.Earliest, MaxBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{changed: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	read := make(chan error, 1)
	go func() { read <- r.read(ctx, k) }()
	defer func() {
		stop()
		if err := <-read; err != nil {
			t.Errorf("the reader: %v", err)
		}
	}()

	if !r.reached(m.all[9], 20*time.Second) {
		t.Fatal("the reader has not begun")
	}
	c := &claims{t: t}
	defer c.end()
	var worst time.Duration
	for range rounds {
		lags := rnd.IntN(10) < 7
		if lags {
			r.gate.Lock()
		}
		m.add(50 + rnd.IntN(300))
		m.fault()
		m.add(1 + rnd.IntN(20))
		if lags {
			r.gate.Unlock()
		}
		begun := time.Now()
		if !r.reached(m.all[len(m.all)-1], 20*time.Second) {
			t.Errorf("seed %d: the reader has not come to the end after 20 s", seed)
			break
		}
		worst = max(worst, time.Since(begun))
	}
	v := m.judge(r.events())
	t.Logf("seed %d: %d messages added, %d rounds: %s; %d delivered, %d deleted one by one, %d in gaps: %s; the end was reached %v after a fault at the latest",
		seed, len(m.all), rounds, m.said(), v.delivered, v.holes, v.covered, v.gaps, worst.Round(time.Millisecond))
	c.check(v.silent == 0, "%d were skipped in silence; for instance %s", v.silent, v.example("silent"))
	c.check(v.twice == 0, "%d came twice or out of order; for instance %s", v.twice, v.example("twice"))
	c.check(v.inside == 0, "%d were delivered from inside a gap; for instance %s", v.inside, v.example("inside"))
	c.check(v.from == 0, "%d gaps begin elsewhere than behind what came before; for instance %s", v.from, v.example("from"))
	c.check(v.to == 0, "%d gaps end elsewhere than at what came next; for instance %s", v.to, v.example("to"))
	c.check(v.idle == 0, "%d gaps were reported where nothing was missing; for instance %s", v.idle, v.example("idle"))
	c.check(worst < 10*time.Second, "the reader came to the end within 10 s after each fault")
	c.check(v.trims > 0, "there were gaps: %s", v.gaps)
}

// trimmed is a stream and all that was ever done to it.
type trimmed struct {
	t       *testing.T
	s       *redistest.Servers
	rnd     *rand.Rand
	all     []seastreamer.Seq // ever added
	alive   int               // index of the first that was not trimmed
	lost    map[seastreamer.Seq]bool
	deleted map[seastreamer.Seq]bool // by XDEL, one by one
	done    map[string]int
}

func (m *trimmed) add(n int, more ...string) {
	m.t.Helper()
	commands := make([][]string, n)
	for i := range commands {
		commands[i] = append(append([]string{"XADD", "news"}, more...), "*", "msg", strings.Repeat("x", 100))
	}
	replies, err := m.s.Pipe(1, commands...)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, id := range replies {
		m.all = append(m.all, seqOf(m.t, id))
	}
}

func seqOf(t *testing.T, id string) (q seastreamer.Seq) {
	t.Helper()
	hi, lo, _ := strings.Cut(id, "-")
	var err1, err2 error
	q.Hi, err1 = strconv.ParseUint(hi, 10, 64)
	q.Lo, err2 = strconv.ParseUint(lo, 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("%q is no entry id: %v", id, err)
	}
	return q
}

func idOf(q seastreamer.Seq) string { return fmt.Sprintf("%d-%d", q.Hi, q.Lo) }

// fault removes something.
func (m *trimmed) fault() {
	t, left := m.t, len(m.all)-m.alive
	kind := []string{"XTRIM MINID", "XTRIM MAXLEN", "XADD MAXLEN", "DEL", "XDEL"}[m.rnd.IntN(5)]
	m.count(kind)
	switch kind {
	case "XTRIM MINID":
		to := m.alive + m.rnd.IntN(left+1)
		id := idOf(m.all[len(m.all)-1])
		if to < len(m.all) {
			id = idOf(m.all[to])
		} else {
			to--
		}
		m.s.Call(t, 1, "XTRIM", "news", "MINID", id)
		m.gone(to)
	case "XTRIM MAXLEN":
		m.s.Call(t, 1, "XTRIM", "news", "MAXLEN", strconv.Itoa(m.rnd.IntN(left+1)))
		m.look()
	case "XADD MAXLEN":
		m.add(1, "MAXLEN", strconv.Itoa(1+m.rnd.IntN(left)))
		m.look()
	case "DEL":
		m.s.Call(t, 1, "DEL", "news")
		m.gone(len(m.all))
		time.Sleep(2 * time.Millisecond) // in the same millisecond the same ids would come again
	case "XDEL":
		for range 1 + m.rnd.IntN(5) {
			q := m.all[m.alive+m.rnd.IntN(left)]
			if m.s.Call(t, 1, "XDEL", "news", idOf(q)) == "1" {
				m.deleted[q] = true
			}
		}
	}
}

// gone notes that all up to an index were removed.
func (m *trimmed) gone(to int) {
	for ; m.alive < to; m.alive++ {
		m.lost[m.all[m.alive]] = true
	}
}

// look asks which is the first that is left.
func (m *trimmed) look() {
	ids := m.s.Call(m.t, 1, "XRANGE", "news", "-", "+", "COUNT", "1")
	first, _, ok := strings.Cut(ids, "\n")
	if !ok {
		m.gone(len(m.all))
		return
	}
	q := seqOf(m.t, first)
	for i := m.alive; i < len(m.all); i++ {
		if m.all[i] == q {
			m.gone(i)
			return
		}
	}
	m.t.Fatalf("%s was never added", first)
}

// count counts what was done.
func (m *trimmed) count(kind string) {
	if m.done == nil {
		m.done = map[string]int{}
	}
	m.done[kind]++
}

func (m *trimmed) said() string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(m.done)) {
		all = append(all, fmt.Sprintf("%d %s", m.done[kind], kind))
	}
	return strings.Join(all, ", ")
}

// reader is somebody who reads, and what was said to it, in order.
type reader struct {
	gate    sync.Mutex // who holds it makes the reader wait
	mu      sync.Mutex
	said    []event
	last    seastreamer.Seq
	changed chan struct{}
}

// event is a message, or a gap.
type event struct {
	seq seastreamer.Seq
	gap *seastreamer.GapError
}

func (r *reader) read(ctx context.Context, k *seastreamer.Consumer) error {
	for {
		for m, err := range k.Messages(ctx) {
			var gap *seastreamer.GapError
			switch {
			case errors.As(err, &gap):
				r.say(event{gap: gap})
			case err != nil && ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			default:
				r.gate.Lock()
				r.say(event{seq: m.Seq()})
				r.gate.Unlock()
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (r *reader) say(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, e)
	if e.gap == nil {
		r.last = e.seq
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *reader) events() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]event(nil), r.said...)
}

// reached waits until a message was delivered.
func (r *reader) reached(q seastreamer.Seq, within time.Duration) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		r.mu.Lock()
		done := r.last == q
		r.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-r.changed:
		case <-late.C:
			return false
		}
	}
}

// gapVerdict is how a reader's events fit what was done to the stream.
type gapVerdict struct {
	delivered, covered, holes, trims      int
	silent, twice, inside, from, to, idle int
	gaps                                  string
	examples                              map[string]string
}

func (v *gapVerdict) note(what, format string, args ...any) {
	if v.examples[what] == "" {
		v.examples[what] = fmt.Sprintf(format, args...)
	}
}

func (v *gapVerdict) example(what string) string {
	if v.examples[what] == "" {
		return "none"
	}
	return v.examples[what]
}

func (m *trimmed) judge(events []event) *gapVerdict {
	v := &gapVerdict{examples: map[string]string{}}
	causes := map[seastreamer.GapCause]int{}
	i := 0 // of the next message that has to be accounted for
	next := m.all[0]
	for n, e := range events {
		if e.gap != nil {
			causes[e.gap.Cause]++
			v.trims++
			if e.gap.From != next {
				v.from++
				v.note("from", "%v behind %s", e.gap, idOf(next))
			}
			missing := 0
			for ; i < len(m.all) && m.all[i].Less(e.gap.To); i++ {
				switch {
				case m.deleted[m.all[i]]:
					v.holes++
				case m.lost[m.all[i]]:
					v.covered++
					missing++
				default:
					v.inside++ // it is there and will not be delivered, or will be in spite of the gap
					v.note("inside", "%s in %v", idOf(m.all[i]), e.gap)
				}
			}
			// A stream that was made anew is said to be so where all of it was read, too.
			if missing == 0 && e.gap.Cause != seastreamer.GapRecreated {
				v.idle++
				v.note("idle", "%v", e.gap)
			}
			next = e.gap.To
			// It may also end right behind the last message that there was then.
			if n+1 < len(events) && events[n+1].gap == nil && events[n+1].seq != next && m.all[i-1].Succ() != next {
				v.to++
				v.note("to", "%v before %s", e.gap, idOf(events[n+1].seq))
			}
			continue
		}
		v.delivered++
		if e.seq.Less(next) {
			v.twice++
			v.note("twice", "%s behind %s", idOf(e.seq), idOf(next))
			continue
		}
		for ; i < len(m.all) && m.all[i].Less(e.seq); i++ {
			if m.deleted[m.all[i]] {
				v.holes++
			} else {
				v.silent++
				v.note("silent", "%s, before %s", idOf(m.all[i]), idOf(e.seq))
			}
		}
		i++
		next = e.seq.Succ()
	}
	v.silent += len(m.all) - i
	var all []string
	for cause := range 4 {
		if n := causes[seastreamer.GapCause(cause)]; n > 0 {
			all = append(all, fmt.Sprintf("%d %v", n, seastreamer.GapCause(cause)))
		}
	}
	v.gaps = strings.Join(all, ", ")
	return v
}
