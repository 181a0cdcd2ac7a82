package redis

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestAdministrationOfMany lists, describes and looks through many streams and
// groups, in pages, and watches the heap. REDIS_STREAMS=100000 is the full size:
// a tenth as many groups, and a stream with a tenth as many shards.
func TestAdministrationOfMany(t *testing.T) {
	n := fromEnv(t, "REDIS_STREAMS", 5000)
	timed := os.Getenv("REDIS_STREAMS") != "" // beside other tests a time says nothing
	const page = 1000
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(count int, build func(i int) rueidis.Completed) {
		t.Helper()
		for from := 0; from < count; from += 5000 {
			var cmds []rueidis.Completed
			for i := from; i < min(from+5000, count); i++ {
				cmds = append(cmds, build(i))
			}
			answers, err := c.askAll(t.Context(), rc, cmds)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range answers {
				if err := a.Error(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	stream := func(i int) string { return fmt.Sprintf("stream-%06d", i) }
	send(n, func(i int) rueidis.Completed {
		return rc.B().Xadd().Key(stream(i)).Id("1000-0").FieldValue().FieldValue("msg", "x").Build()
	})
	send(n/10, func(i int) rueidis.Completed { // each on one stream
		return rc.B().XgroupCreate().Key(stream(i % n)).Group(fmt.Sprintf("group-%05d", i)).Id("0").Build()
	})
	send(n, func(i int) rueidis.Completed {
		return rc.B().Arbitrary("XGROUP", "CREATE").Keys(stream(i)).Args(fmt.Sprintf("also-%05d", i/10), "0").Build()
	})

	heap := watchHeap(t)
	var names []string
	began := time.Now()
	var slowest time.Duration
	for name, err := range c.StreamNames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if names = append(names, name); len(names)%page == 0 {
			slowest, began = max(slowest, time.Since(began)), time.Now()
		}
	}
	t.Logf("%d names, %v for the slowest page of %d", len(names), slowest, page)
	if len(names) != n {
		t.Errorf("%d names, want %d", len(names), n)
	}
	within := func(what string, f func()) {
		t.Helper()
		began := time.Now()
		f()
		took := time.Since(began)
		t.Logf("%s: %v", what, took)
		if timed && took > 3*time.Second {
			t.Errorf("%s took %v, want 3s at most", what, took)
		}
	}
	within(fmt.Sprintf("describe %d streams", page), func() {
		infos, err := c.DescribeStreams(t.Context(), names[:page], driver.DetailBounds|driver.DetailTimes|driver.DetailBytes|driver.DetailReplicas)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			if i.Err != nil || i.Shards[0].Messages.N != 1 || !i.Shards[0].LastTime.Equal(time.UnixMilli(1000)) || i.Shards[0].Bytes <= 0 {
				t.Fatalf("got %+v", i)
			}
		}
	})
	within("search all names", func() {
		found := 0
		for name, err := range c.StreamNames(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "77") {
				found++
			}
		}
		if found != n/100 {
			t.Errorf("found %d, want %d", found, n/100)
		}
	})
	var groups []string
	within("names of all groups", func() { groups = groupNames(t, c) })
	if len(groups) != n/10*2 {
		t.Errorf("%d groups, want %d", len(groups), n/10*2)
	}
	some := groups[:min(page, len(groups))]
	within(fmt.Sprintf("describe %d groups", len(some)), func() {
		infos, err := c.DescribeGroups(t.Context(), some)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range infos {
			want := 1
			if strings.HasPrefix(g.Name, "also") {
				want = 10
			}
			if g.Err != nil || len(g.Positions) != want || g.Positions[0].Behind.N != 1 {
				t.Fatalf("got %+v", g)
			}
		}
	})
	within(fmt.Sprintf("a stream of %d shards", n/10), func() {
		if err := c.CreateStream(t.Context(), driver.StreamSpec{Name: "wide", Shards: n / 10}); err != nil {
			t.Fatal(err)
		}
		if got := describe(t, c, "wide"); len(got.Shards) != n/10 || got.Err != nil {
			t.Errorf("%d shards, %v", len(got.Shards), got.Err)
		}
	})
	most := heap()
	t.Logf("heap: %d MiB more at most", most>>20)
	if most > 200<<20 {
		t.Errorf("the heap has grown by %d MiB, want 200 at most", most>>20)
	}
}

// watchHeap looks at the heap every some milliseconds; what it returns ends that
// and is by how much it has grown at most.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	debug.FreeOSMemory()
	size := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := size(), uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				most = max(most, size())
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return max(most, before) - before
	}
}
