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

func TestConformance(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true})
	opens := func(url string) func(testing.TB) driver.Driver {
		return func(t testing.TB) driver.Driver {
			u, err := driver.ParseBroker(url)
			if err != nil {
				t.Fatal(err)
			}
			d, err := OpenDriver(t.Context(), u, Options{DiscoverEvery: 200 * time.Millisecond, AckTimeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			return withoutGroups{d}
		}
	}
	key := func(sh driver.Shard) string {
		if n, err := s.Do(1, "EXISTS", sh.Stream+":0"); err == nil && n == "1" {
			return sh.Stream + ":" + strconv.Itoa(int(sh.Index))
		}
		return sh.Stream
	}
	drivertest.Run(t, drivertest.Harness{
		Open: opens(s.URL()),
		Create: func(t testing.TB, stream string, shards int) {
			if shards == 1 {
				makeEmpty(t, s, 1, stream)
				return
			}
			for i := range shards {
				makeEmpty(t, s, 1, stream+":"+strconv.Itoa(i))
			}
		},
		Trim: func(t testing.TB, sh driver.Shard, before driver.Seq) {
			s.Call(t, 1, "XTRIM", key(sh), "MINID", idText(before))
		},
		Restart: func(t testing.TB) {
			s.Kill(1)
			if err := s.Restart(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		},
		Stall: opens("redis://" + scripted(t, func(net.Conn) {})),
		Foreign: []string{
			"github.com/seastreamer/seastreamer/internal/redistest.(*node).wait",
			// It sleeps for up to a second before it asks for the nodes of what
			// may be a cluster, and ends, also where rueidis's client was closed.
			"github.com/redis/rueidis.(*call).DelayDo.func1",
		},
	})
}

// withoutGroups is a driver that claims no groups: until there are, the cases
// that need none run.
type withoutGroups struct{ driver.Driver }

func (d withoutGroups) Features() driver.Features {
	f := d.Driver.Features()
	f.Ack, f.AckTimeout = driver.AckNone, 0
	return f
}
