package redis

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// clusterEntries reads a key from the master of its slot, whom most nodes may name
// a moment later than it has become one.
func clusterEntries(t *testing.T, r *redistest.Servers) func(string) []string {
	return func(key string) []string {
		var text string
		until(t, "the master of "+key+" is known and answers", func() bool {
			m, err := r.Master(int(slot(key)))
			if err == nil {
				text, err = r.Do(m, "XRANGE", key, "-", "+")
			}
			return err == nil
		})
		return listed(text)
	}
}

func TestProduceCluster(t *testing.T) {
	t.Parallel()
	for _, d := range []driver.Durability{driver.AtLeastOnce, driver.ExactlyOnce} {
		t.Run(d.String(), func(t *testing.T) {
			r := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: 5 * time.Second}) // none dies, and news are to spread
			const shards = 12
			p := producerForTest(t, r.URL()+"/?shards="+strconv.Itoa(shards), driver.ProducerConfig{Durability: d})
			l := newLedger(t, p, "s", shards)

			t.Log("slots move")
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				for i := range 2 * shards {
					sl := int(slot(fmt.Sprintf("s:%d", i%shards)))
					from, err := r.Master(sl)
					if err != nil {
						t.Error(err)
						return
					}
					if err := r.MoveSlot(t.Context(), sl, from%3+1); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			l.load(stop)
			flush(t, p)
			acked, unknown, failed := l.count()
			t.Logf("acknowledged %d, unknown %d, not written %d", acked, unknown, failed)
			if unknown > 0 || failed > 0 {
				t.Error("want neither unknown ones nor failures")
			}
			l.check(clusterEntries(t, r))

			t.Log("fail-over by hand")
			stop = make(chan struct{})
			go func() {
				defer close(stop)
				for m := 1; m <= 3; m++ {
					if _, err := r.Failover(t.Context(), m); err != nil {
						t.Error(err)
					}
				}
			}()
			l.load(stop)
			flush(t, p)
			acked, unknown, failed = l.count()
			t.Logf("acknowledged %d, unknown %d, not written %d", acked, unknown, failed)
			if failed > 0 || d == driver.ExactlyOnce && unknown > 0 {
				t.Error("want no failures, and unknown ones only at least once")
			}
			l.check(clusterEntries(t, r))
		})
	}
}

// A master that dies: its shards go on with the replica. What it had
// acknowledged alone is lost, which is why it is of class memory.
func TestProduceClusterMasterDies(t *testing.T) {
	t.Parallel()
	r := redistest.ClusterForTest(t, redistest.Options{})
	p := producerForTest(t, r.URL()+"/?shards=12&request_timeout=2s", driver.ProducerConfig{})
	l := newLedger(t, p, "s", 12)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		l.grow(1000)
		r.Kill(1)
		for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if m, err := r.Master(0); err == nil && m != 1 {
				return
			}
		}
		t.Error("nobody takes the place of a master that was killed")
	}()
	l.load(stop)
	before, _, _ := l.count()
	flush(t, p)
	acked, unknown, failed := l.count()
	t.Logf("acknowledged %d, after the flush %d, unknown %d, not written %d", before, acked, unknown, failed)
	if failed > 0 || l.classes[driver.ClassMemory] != acked {
		t.Errorf("want no failures, and class memory: %v", l.classes)
	}
	for i := range 5 {
		if len(l.wrong) > i {
			t.Error(l.wrong[i])
		}
	}
}

// All nodes die and come back.
func TestProduceClusterDies(t *testing.T) {
	t.Parallel()
	r := redistest.ClusterForTest(t, redistest.Options{AppendOnly: true, Fsync: "no"})
	p := producerForTest(t, r.URL()+"/?shards=12", driver.ProducerConfig{})
	l := newLedger(t, p, "s", 12)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		l.grow(1000)
		for n := 6; n >= 1; n-- { // replicas first: none is to take its master's place
			r.Kill(n)
		}
		for n := 1; n <= 6; n++ {
			if err := r.Restart(t.Context(), n); err != nil {
				t.Error(err)
			}
		}
		if err := r.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	l.load(stop)
	flush(t, p)
	acked, unknown, failed := l.count()
	t.Logf("acknowledged %d, unknown %d, not written %d", acked, unknown, failed)
	if failed > 0 {
		t.Error("want no failures")
	}
	l.check(clusterEntries(t, r))
}

func TestProduceSentinel(t *testing.T) {
	t.Parallel()
	r := redistest.SentinelForTest(t, redistest.Options{AppendOnly: true, NodeTimeout: redistest.Patient})
	p := producerForTest(t, r.URL()+"&replicas=2&shards=3", driver.ProducerConfig{})
	l := newLedger(t, p, "s", 3)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		l.grow(100)
		if _, err := r.Failover(t.Context(), 1); err != nil {
			t.Error(err)
		}
		if err := r.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		l.grow(100)
	}()
	l.load(stop)
	flush(t, p)
	acked, unknown, failed := l.count()
	t.Logf("acknowledged %d, unknown %d, not written %d: %v", acked, unknown, failed, l.classes)
	if failed > 0 || l.classes[driver.ClassReplicated] != acked {
		t.Error("want no failures, and all of class replicated")
	}
	m, err := r.Master(0)
	if err != nil {
		t.Fatal(err)
	}
	l.check(entries(t, r, m))
}

// A shard goes on where it has moved to, also with what its old server was not
// sent any more before that went away. At most once nothing of it is awaited.
func TestProduceClusterMovesAndDies(t *testing.T) {
	t.Parallel()
	r := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient})
	p := producerForTest(t, r.URL()+"/?shards=1", driver.ProducerConfig{Durability: driver.AtMostOnce, Linger: time.Hour})
	produce := func(n int) {
		for range n {
			rec := driver.Record{Stream: "s", Value: make([]byte, chunkSize/2)} // a chunk each
			if err := p.Produce(t.Context(), rec, func(driver.Receipt, error) {}); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce(1)
	flush(t, p)
	p.mu.Lock()
	s := p.streams["s"].shards[0]
	old := s.link
	p.mu.Unlock()
	from, err := r.Master(int(s.slot))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.MoveSlot(t.Context(), int(s.slot), from%3+1); err != nil {
		t.Fatal(err)
	}
	produce(2) // the latter lingers
	until(t, "the producer knows that the shard has moved", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return s.link != old
	})
	produce(8)
	r.Kill(from)
	flush(t, p)
}
