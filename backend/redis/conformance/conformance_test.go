// Package conformance_test runs the suite on real servers. It is a package of
// its own so that it runs beside the backend's other tests: both wait more than
// they work.
package conformance_test

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/backend/redis"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// makeEmpty makes a stream without entries: a group that is destroyed again
// leaves one.
func makeEmpty(t testing.TB, s *redistest.Servers, node int, key string) {
	t.Helper()
	s.Call(t, node, "XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
	s.Call(t, node, "XGROUP", "DESTROY", key, "g")
}

// TestConformance runs on one server, whose restart it survives by its
// append-only file.
func TestConformance(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "no"})
	h := harness(s, false)
	h.Restart = func(t testing.TB) {
		s.Kill(1)
		if err := s.Restart(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	h.Stall = opens("redis://"+silent(t), time.Minute)
	drivertest.Run(t, h)
}

func TestConformanceSentinel(t *testing.T) {
	drivertest.Run(t, harness(redistest.SentinelForTest(t, redistest.Options{AppendOnly: true, Fsync: "no", NodeTimeout: redistest.Patient}), false))
}

// TestConformanceCluster has shard N of all streams in one slot, so that the
// progress of units can be there, too.
func TestConformanceCluster(t *testing.T) {
	s := redistest.ClusterForTest(t, redistest.Options{AppendOnly: true, Fsync: "no", NodeTimeout: redistest.Patient})
	h := harness(s, true)
	url := s.URL() + "/?hash_tag=shard&unit_tag=0"
	h.Open, h.Hasty, h.UnitsStay = opens(url, time.Minute), opens(url, 2*time.Second), true
	drivertest.Run(t, h)
}

func opens(url string, ackTimeout time.Duration) func(testing.TB) driver.Driver {
	return func(t testing.TB) driver.Driver {
		u, err := driver.ParseBroker(url)
		if err != nil {
			t.Fatal(err)
		}
		d, err := redis.OpenDriver(t.Context(), u, redis.Options{DiscoverEvery: 200 * time.Millisecond, AckTimeout: ackTimeout})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// harness reaches servers that exist for the whole test.
func harness(s *redistest.Servers, cluster bool) drivertest.Harness {
	shardKey := func(stream string, i int) string {
		if cluster {
			return fmt.Sprintf("%s:{%d}", stream, i)
		}
		return fmt.Sprintf("%s:%d", stream, i)
	}
	node := func(t testing.TB, key string) int {
		t.Helper()
		slot := 0
		if cluster {
			slot, _ = strconv.Atoi(s.Call(t, 1, "CLUSTER", "KEYSLOT", key))
		}
		n, err := s.Master(slot)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return drivertest.Harness{
		Open: opens(s.URL(), time.Minute), Hasty: opens(s.URL(), 2*time.Second),
		Create: func(t testing.TB, stream string, shards int) {
			if shards == 1 && !cluster {
				makeEmpty(t, s, node(t, stream), stream)
				return
			}
			for i := range shards {
				key := shardKey(stream, i)
				makeEmpty(t, s, node(t, key), key)
			}
		},
		Trim: func(t testing.TB, sh driver.Shard, before driver.Seq) {
			key := sh.Stream
			if first := shardKey(key, 0); s.Call(t, node(t, first), "EXISTS", first) == "1" {
				key = shardKey(key, int(sh.Index))
			}
			s.Call(t, node(t, key), "XTRIM", key, "MINID", fmt.Sprintf("%d-%d", before.Hi, before.Lo))
		},
		LosePositions: func(t testing.TB, name string) {
			key := "sea:progress:{" + name + "}"
			if cluster {
				key = "sea:progress:{0}:" + name
			}
			if n := s.Call(t, node(t, key), "DEL", key); n != "1" {
				t.Fatalf("%s keys are called %s", n, key)
			}
		},
		Foreign: []string{
			"github.com/seastreamer/seastreamer/internal/testserver.run",
			// Two that sleep, and end, also where rueidis's client was closed.
			"github.com/redis/rueidis.(*call).DelayDo.func1",
			"github.com/redis/rueidis.(*clusterClient)._refresh.func2",
			"github.com/redis/rueidis.(*clusterClient).redirectOrNew.func1",
		},
	}
}

// silent is the address of a server that accepts connections and says nothing.
func silent(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 100)
	go func() {
		defer close(conns)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		for c := range conns {
			c.Close()
		}
	})
	return l.Addr().String()
}
