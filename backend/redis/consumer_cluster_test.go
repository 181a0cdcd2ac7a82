package redis

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestClusterReader reads shards all over a cluster while a slot moves and
// masters change.
func TestClusterReader(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{DiscoverEvery: 200 * time.Millisecond})
	const shards = 12
	write := func(i, n int) {
		t.Helper()
		until(t, "a write", func() bool {
			rc, err := c.connect(t.Context())
			return err == nil && there(rc.Do(t.Context(), rc.B().Xadd().Key(fmt.Sprintf("k:%d", i)).Id(fmt.Sprintf("%d-0", n)).FieldValue().FieldValue("msg", "x").Build()).Error())
		})
	}
	n := 0
	var r *sink
	all := func() {
		t.Helper()
		n++
		for i := range shards {
			write(i, n)
		}
		if r == nil {
			r = consume(t, c, earliest)
		}
		for len(r.got) < shards {
			if err := r.fetch(time.Minute); err != nil && !errors.Is(err, driver.ErrUnavailable) {
				t.Fatalf("round %d, got %q: %v", n, r.got, err)
			}
		}
		for _, g := range r.got {
			if g != fmt.Sprintf("%d-0", n) {
				t.Fatalf("round %d: got %q", n, r.got)
			}
		}
		r.got = nil
	}
	all()
	all()
	master, err := s.Master(int(slot("k:3")))
	if err != nil {
		t.Fatal(err)
	}
	if master, err = s.Failover(t.Context(), master); err != nil {
		t.Fatal(err)
	}
	all()
	// What was read is to outlive the master: a replica has it.
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	replicated(t, s, master, "{k:3}", 1)
	s.Kill(master)
	all()
	if lanes := len(r.cons.(*reader).lanes); lanes != shards {
		t.Errorf("got %d lanes, want %d", lanes, shards)
	}
	soon(t, "Close", func() {
		if r == nil {
			r = consume(t, c, earliest)
			_ = r.fetch(time.Second)
		}
		if err := r.cons.Close(t.Context()); err != nil {
			t.Error(err)
		}
		r = nil
	})
}

// replicated waits until so many replicas have all that a master has. WAIT speaks
// of what its own connection has written, which is a key with this prefix.
func replicated(t *testing.T, s *redistest.Servers, master int, prefix string, replicas int) {
	t.Helper()
	until(t, "replicas have all", func() bool {
		said, err := s.Pipe(master, []string{"SET", prefix + "told", "1"}, []string{"WAIT", strconv.Itoa(replicas), "1000"})
		if err != nil {
			t.Fatal(err)
		}
		return said[1] == strconv.Itoa(replicas)
	})
}

// TestClusterGone: all nodes of a cluster die, and come back.
func TestClusterGone(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{AppendOnly: true, Fsync: "no"})
	c := open(t, s.URL(), Options{DiscoverEvery: 200 * time.Millisecond})
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write := func(id string) error {
		return rc.Do(t.Context(), rc.B().Xadd().Key("k").Id(id).FieldValue().FieldValue("msg", "x").Build()).Error()
	}
	if err := write("1-0"); err != nil {
		t.Fatal(err)
	}
	r := consume(t, c, earliest)
	r.wants("1-0")
	r.quiet(20 * time.Millisecond)
	for i := range 6 {
		s.Kill(i + 1)
	}
	for range 5 {
		if err := r.fetch(20 * time.Second); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
	}
	for i := range 6 {
		if err := s.Restart(t.Context(), i+1); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "a write", func() bool { return there(write("2-0")) })
	r.wants("2-0")
}

// TestSentinelReader reads on behind a fail-over. What the old master had and
// its replicas had not is lost, which is noticed.
func TestSentinelReader(t *testing.T) {
	t.Parallel()
	s := redistest.SentinelForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{DiscoverEvery: 200 * time.Millisecond})
	addTo(t, s, "1-0", "2-0")
	r := consume(t, c, earliest)
	r.wants("1-0", "2-0")
	replicated(t, s, 1, "", 2)
	s.Kill(1)
	master := 1
	until(t, "another master", func() bool {
		m, err := s.Master(0)
		if err == nil {
			master = m
		}
		return master != 1
	})
	until(t, "a write", func() bool { _, err := s.Do(master, "XADD", "k", "3-0", "msg", "x"); return there(err) })
	r.wants("3-0")
}

// TestMigratingSlotReader reads a stream that keeps one entry, so that each
// read has to be looked at, while its slot moves from node to node.
func TestMigratingSlotReader(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient})
	c := open(t, s.URL(), Options{DiscoverEvery: 200 * time.Millisecond})
	const key = "k"
	from, err := s.Master(int(slot(key)))
	if err != nil {
		t.Fatal(err)
	}
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var r *sink
	step := func() {
		t.Helper()
		for range 3 {
			n++
			until(t, "a write", func() bool {
				return there(rc.Do(t.Context(), rc.B().Arbitrary("XADD").Keys(key).Args("MAXLEN", "1", fmt.Sprintf("%d-0", n), "msg", "x").Build()).Error())
			})
			if r == nil {
				r = consume(t, c, earliest)
			}
			r.wants(fmt.Sprintf("%d-0", n))
		}
	}
	step()
	for range 3 {
		to := from%3 + 1
		m, err := s.BeginMove(int(slot(key)), to)
		if err != nil {
			t.Fatal(err)
		}
		step()
		if err := m.Keys(); err != nil {
			t.Fatal(err)
		}
		step() // by ASK
		if err := m.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		step() // by MOVED
		from = to
	}
}
