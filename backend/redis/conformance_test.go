package redis

import (
	"net"
	"strconv"
	"testing"
	"time"

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
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true})
	h := harness(t, s)
	h.Restart = func(t testing.TB) {
		s.Kill(1)
		if err := s.Restart(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	h.Stall = opens("redis://" + scripted(t, func(net.Conn) {}))
	drivertest.Run(t, h)
}

func TestConformanceSentinel(t *testing.T) {
	drivertest.Run(t, harness(t, redistest.SentinelForTest(t, redistest.Options{AppendOnly: true})))
}

func TestConformanceCluster(t *testing.T) {
	drivertest.Run(t, harness(t, redistest.ClusterForTest(t, redistest.Options{AppendOnly: true})))
}

func opens(url string) func(testing.TB) driver.Driver {
	return func(t testing.TB) driver.Driver {
		u, err := driver.ParseBroker(url)
		if err != nil {
			t.Fatal(err)
		}
		d, err := OpenDriver(t.Context(), u, Options{DiscoverEvery: 200 * time.Millisecond, AckTimeout: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// harness reaches servers that exist for the whole test.
func harness(t *testing.T, s *redistest.Servers) drivertest.Harness {
	node := func(t testing.TB, key string) int {
		t.Helper()
		n, err := s.Master(int(slot(key)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return drivertest.Harness{
		Open: opens(s.URL()),
		Create: func(t testing.TB, stream string, shards int) {
			if shards == 1 {
				makeEmpty(t, s, node(t, stream), stream)
				return
			}
			for i := range shards {
				key := stream + ":" + strconv.Itoa(i)
				makeEmpty(t, s, node(t, key), key)
			}
		},
		Trim: func(t testing.TB, sh driver.Shard, before driver.Seq) {
			key := sh.Stream
			if first := key + ":0"; s.Call(t, node(t, first), "EXISTS", first) == "1" {
				key += ":" + strconv.Itoa(int(sh.Index))
			}
			s.Call(t, node(t, key), "XTRIM", key, "MINID", idText(before))
		},
		Foreign: []string{
			"github.com/seastreamer/seastreamer/internal/testserver.(*Process).Start.func1",
			// Two that sleep, and end, also where rueidis's client was closed.
			"github.com/redis/rueidis.(*call).DelayDo.func1",
			"github.com/redis/rueidis.(*clusterClient)._refresh.func2",
			"github.com/redis/rueidis.(*clusterClient).redirectOrNew.func1",
		},
	}
}
