package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A ledger sends numbered records and checks what became of them: nothing
// acknowledged is lost, nothing is doubled, nothing that was not written is
// there, the order of each shard is kept, and done is called once for each, in
// order.
type ledger struct {
	t        *testing.T
	p        *producer
	stream   string
	shards   int
	mu       sync.Mutex
	sent     []int          // per shard
	outcomes [][]error      // per shard, by number; nil for acknowledged
	ids      [][]driver.Seq // per shard, by number
	classes  map[driver.Class]int
	wrong    []string
	errs     map[string]int
}

func newLedger(t *testing.T, p *producer, stream string, shards int) *ledger {
	return &ledger{t: t, p: p, stream: stream, shards: shards, sent: make([]int, shards), outcomes: make([][]error, shards),
		ids: make([][]driver.Seq, shards), classes: map[driver.Class]int{}, errs: map[string]int{}}
}

// send sends the next record of a shard.
func (l *ledger) send(ctx context.Context, shard int) error {
	i := l.sent[shard]
	rec := driver.Record{Stream: l.stream, Value: fmt.Appendf(nil, "%d", i)}
	if l.shards > 1 {
		rec.Shard = driver.On(int32(shard))
	}
	err := l.p.Produce(ctx, rec, func(rc driver.Receipt, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.outcomes[shard]) != i {
			l.wrong = append(l.wrong, fmt.Sprintf("shard %d: outcome %d is of record %d", shard, len(l.outcomes[shard]), i))
		}
		l.outcomes[shard] = append(l.outcomes[shard], err)
		l.ids[shard] = append(l.ids[shard], rc.Seq)
		if err == nil {
			l.classes[rc.Class]++
		} else {
			l.errs[err.Error()]++
		}
	})
	if err == nil {
		l.sent[shard]++
	}
	return err
}

// load sends until stop is closed.
func (l *ledger) load(stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		if err := l.send(l.t.Context(), i%l.shards); err != nil {
			l.t.Errorf("produce: %v", err)
			return
		}
		if i%40 == 0 { // enough that there is always something under way
			time.Sleep(time.Millisecond)
		}
	}
}

// grow waits until n more records are acknowledged. Any goroutine may call it.
func (l *ledger) grow(n int) {
	acked := func() (sum int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, n := range l.classes {
			sum += n
		}
		return sum
	}
	before := acked()
	for end := time.Now().Add(90 * time.Second); acked() < before+n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.t.Errorf("only %d records more were acknowledged, want %d", acked()-before, n)
			return
		}
	}
}

// count is how many outcomes are acknowledged, unknown and not written.
func (l *ledger) count() (acked, unknown, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, shard := range l.outcomes {
		for _, err := range shard {
			switch {
			case err == nil:
				acked++
			case errors.Is(err, driver.ErrUnknown):
				unknown++
			default:
				failed++
			}
		}
	}
	return
}

// check compares with what the shards hold, by key.
func (l *ledger) check(entries func(key string) []string) {
	t := l.t
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.wrong {
		if i < 5 {
			t.Error(w)
		}
	}
	for said, n := range l.errs {
		t.Logf("%d × %s", n, said)
	}
	for s := range l.shards {
		key := l.stream
		if l.shards > 1 {
			key = fmt.Sprintf("%s:%d", l.stream, s)
		}
		if len(l.outcomes[s]) != l.sent[s] {
			t.Errorf("%s: %d outcomes of %d records", key, len(l.outcomes[s]), l.sent[s])
		}
		there := map[int]int{}
		last := -1
		for _, e := range entries(key) {
			id, value, _ := strings.Cut(e, " ")
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatalf("entry %q: %v", e, err)
			}
			if n <= last {
				t.Errorf("%s: record %d comes after %d", key, n, last)
			}
			last = n
			there[n]++
			if n < len(l.ids[s]) && l.outcomes[s][n] == nil && l.ids[s][n].Hi > 0 {
				if want := idText(l.ids[s][n]); want != id {
					t.Errorf("%s: record %d has id %s and its receipt says %s", key, n, id, want)
				}
			}
		}
		for n, err := range l.outcomes[s] {
			switch {
			case there[n] > 1:
				t.Errorf("%s: record %d is there %d times", key, n, there[n])
			case err == nil && there[n] == 0:
				t.Errorf("%s: record %d is acknowledged and not there", key, n)
			case err != nil && !errors.Is(err, driver.ErrUnknown) && there[n] > 0:
				t.Errorf("%s: record %d is there, and it said: %v", key, n, err)
			}
			if t.Failed() {
				return
			}
		}
	}
}

// entries reads a key of one server.
func entries(t *testing.T, r *redistest.Servers, node int) func(string) []string {
	return func(key string) []string { return listed(r.Call(t, node, "XRANGE", key, "-", "+")) }
}

// listed is the id and the value of each entry that XRANGE lists.
func listed(text string) (es []string) {
	words := strings.Fields(text)
	for i := 0; i+2 < len(words); i += 3 {
		es = append(es, words[i]+" "+words[i+2])
	}
	return es
}

func flush(t *testing.T, p *producer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Errorf("flush: %v", err)
	}
}

// With appendfsync everysec Redis puts its writes to the file off for up to two
// seconds while an fsync is under way (flushAppendOnlyFile in aof.c) and
// answers all the same: on a busy disk a kill then takes acknowledged records
// with it. With no, as with always, the file has them before the answer.
func TestProduceKilledServer(t *testing.T) {
	t.Parallel()
	for _, d := range []driver.Durability{driver.AtLeastOnce, driver.ExactlyOnce} {
		t.Run(d.String(), func(t *testing.T) {
			r := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "no"})
			p := producerForTest(t, r.URL()+"/?shards=3", driver.ProducerConfig{Durability: d})
			l := newLedger(t, p, "s", 3)
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				for range 3 {
					l.grow(1000)
					r.Kill(1)
					if err := r.Restart(t.Context(), 1); err != nil {
						t.Error(err)
						return
					}
				}
				l.grow(1000)
			}()
			l.load(stop)
			flush(t, p)
			acked, unknown, failed := l.count()
			t.Logf("acknowledged %d, unknown %d, not written %d", acked, unknown, failed)
			if acked == 0 || failed > 0 || d == driver.ExactlyOnce && unknown > 0 {
				t.Error("want no failures, and unknown ones only at least once")
			}
			l.check(entries(t, r, 1))
		})
	}
}

func TestProduceCutConnections(t *testing.T) {
	t.Parallel()
	for _, d := range []driver.Durability{driver.AtLeastOnce, driver.ExactlyOnce} {
		t.Run(d.String(), func(t *testing.T) {
			r := redistest.ForTest(t, redistest.Options{})
			p := producerForTest(t, r.URL()+"/?shards=3", driver.ProducerConfig{Durability: d})
			l := newLedger(t, p, "s", 3)
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				for i := range 30 {
					if i%3 == 0 { // else in the middle of connecting, too
						l.grow(100)
					}
					time.Sleep(20 * time.Millisecond)
					r.Call(t, 1, "CLIENT", "KILL", "TYPE", "normal")
					time.Sleep(10 * time.Millisecond)
					r.Call(t, 1, "SCRIPT", "FLUSH")
				}
			}()
			l.load(stop)
			flush(t, p)
			acked, unknown, failed := l.count()
			t.Logf("acknowledged %d, unknown %d, not written %d", acked, unknown, failed)
			if failed > 0 || d == driver.ExactlyOnce && unknown > 0 {
				t.Error("want no failures, and unknown ones only at least once")
			}
			l.check(entries(t, r, 1))
		})
	}
}

// A swallower is a proxy that now and then lets a command through, swallows
// replies from a byte on and cuts the connection.
type swallower struct {
	net.Listener
	armed atomic.Bool
	cuts  atomic.Int64
	hang  atomic.Bool // keep the connection and say nothing more
}

func swallow(t *testing.T, to string) *swallower {
	t.Helper()
	s := &swallower{}
	s.Listener = between(t, to, func(to, from net.Conn, answers bool) {
		if answers {
			s.replies(to, from)
		} else {
			_, _ = io.Copy(to, from)
		}
	})
	return s
}

func (s *swallower) replies(c, up net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := up.Read(b)
		if err != nil {
			return
		}
		if s.hang.Load() {
			continue
		}
		// Only replies to adds, so that the greeting works.
		if s.armed.Load() && b[0] == '$' && rand.IntN(20) == 0 {
			s.cuts.Add(1)
			_, _ = c.Write(b[:rand.IntN(n)])
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestProduceLostReplies(t *testing.T) {
	t.Parallel()
	for _, d := range []driver.Durability{driver.AtLeastOnce, driver.ExactlyOnce} {
		t.Run(d.String(), func(t *testing.T) {
			r := redistest.ForTest(t, redistest.Options{})
			s := swallow(t, r.Addr(1))
			p := producerForTest(t, "redis://"+s.Addr().String()+"/?shards=3", driver.ProducerConfig{Durability: d})
			l := newLedger(t, p, "s", 3)
			s.armed.Store(true)
			// Where many replies come at once they are few, and so are the cuts.
			happened := func() bool {
				_, unknown, _ := l.count()
				return s.cuts.Load() > 2 && (unknown > 0 || d == driver.ExactlyOnce)
			}
			end := time.Now().Add(90 * time.Second)
			for i := 0; i < 20_000 || !happened() && time.Now().Before(end); i++ {
				if err := l.send(t.Context(), i%3); err != nil {
					t.Fatal(err)
				}
				if i%50 == 0 {
					time.Sleep(200 * time.Microsecond)
				}
			}
			s.armed.Store(false)
			flush(t, p)
			acked, unknown, failed := l.count()
			t.Logf("%d cuts: acknowledged %d, unknown %d, not written %d", s.cuts.Load(), acked, unknown, failed)
			if s.cuts.Load() == 0 || failed > 0 || (unknown == 0) != (d == driver.ExactlyOnce) {
				t.Error("want cuts, no failures, and unknown ones at least once only")
			}
			l.check(entries(t, r, 1))
		})
	}
}

// A server that goes on accepting and says nothing: Close keeps its context,
// and what is in flight is unknown.
func TestProduceCloseHung(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	s := swallow(t, r.Addr(1))
	p := producerForTest(t, "redis://"+s.Addr().String(), driver.ProducerConfig{})
	l := newLedger(t, p, "s", 1)
	if err := l.send(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	flush(t, p)
	s.hang.Store(true)
	for range 1000 {
		if err := l.send(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v, want %v", err, context.DeadlineExceeded)
	}
	if d := time.Since(begun); d > p.o.RequestTimeout {
		t.Errorf("close took %v", d)
	}
	if acked, unknown, failed := l.count(); acked != 1 || unknown != 1000 || failed != 0 {
		t.Errorf("acknowledged %d, unknown %d, not written %d; want 1, 1000, 0", acked, unknown, failed)
	}
}
