package kafka

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// TestAdminScale lists, describes and searches many shards and groups, with a
// message in each shard. ADMIN_SCALE is how many of each there are; with it set
// the time for a page is checked too.
func TestAdminScale(t *testing.T) {
	n, timed := 5000, false
	if s := os.Getenv("ADMIN_SCALE"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 100 {
			t.Fatalf("ADMIN_SCALE=%s: want a number from 100 on", s)
		}
		timed = true
	}
	const shards, page = 10, 1000
	server := startProcessIn(t, inMemory) // a process of its own: its memory is not ours
	c := open(t, url([]string{server.addr()}, ""), Options{})
	streams := make([]string, n/shards)
	for i := range streams {
		streams[i] = fmt.Sprintf("stream-%06d", i)
	}
	fill(t, c, server, streams, shards, n)

	const most, patience = 200 << 20, 3 * time.Second
	step := func(what string, f func() int) {
		t.Helper()
		runtime.GC()
		base := heapNow()
		stop := watchHeap()
		begun := time.Now()
		got := f()
		took, high := time.Since(begun), stop()
		peak := high - min(base, high)
		t.Logf("%-36s %6d in %8v, %4d MiB at most", what, got, took.Round(time.Millisecond), peak>>20)
		if peak > most {
			t.Errorf("%s took %d MiB, want at most %d", what, peak>>20, most>>20)
		}
		if timed && took > patience {
			t.Errorf("%s took %v, want at most %v", what, took, patience)
		}
	}
	step("names of streams", func() int {
		got := names(t, c.StreamNames(t.Context()))
		if !slices.Equal(got, streams) {
			t.Errorf("%d streams, want %d", len(got), len(streams))
		}
		return len(got)
	})
	step("the first of the names of streams", func() int {
		for range c.StreamNames(t.Context()) {
			return 1
		}
		return 0
	})
	step("describe a page of shards", func() int {
		infos, err := c.DescribeStreams(t.Context(), streams[:page/shards], ^driver.Detail(0))
		if err != nil {
			t.Fatal(err)
		}
		return checkAll(t, infos, shards)
	})
	step("describe all shards", func() int {
		infos, err := c.DescribeStreams(t.Context(), streams, driver.DetailBounds|driver.DetailTimes|driver.DetailBytes|driver.DetailReplicas)
		if err != nil {
			t.Fatal(err)
		}
		return checkAll(t, infos, shards)
	})
	step("times of all shards", func() int {
		at := make([]driver.Position, n)
		for i := range at {
			at[i].Shard = driver.Shard{Stream: streams[i/shards], Index: int32(i % shards)}
		}
		times, err := c.Times(t.Context(), at)
		if err != nil || slices.ContainsFunc(times, time.Time.IsZero) {
			t.Errorf("a time is missing: %v", err)
		}
		return len(times)
	})
	var groups []string
	step("names of groups", func() int {
		groups = names(t, c.GroupNames(t.Context(), nil))
		if len(groups) != n {
			t.Errorf("%d groups, want %d", len(groups), n)
		}
		return len(groups)
	})
	step("describe a page of groups", func() int {
		infos, err := c.DescribeGroups(t.Context(), groups[:page])
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range infos {
			if g.Err != nil || len(g.Positions) != 1 {
				t.Fatalf("group %+v", g)
			}
		}
		return len(infos)
	})
	step("search groups of one stream", func() int {
		got := names(t, c.GroupNames(t.Context(), streams[:1]))
		if len(got) != shards {
			t.Errorf("%d groups of a stream, want %d", len(got), shards)
		}
		return len(groups)
	})
	step("the cluster's problems", func() int {
		if _, err := c.Cluster(t.Context()); err != nil {
			t.Error(err)
		}
		return n
	})
}

func checkAll(t *testing.T, infos []driver.StreamInfo, shards int) int {
	t.Helper()
	all := 0
	for _, i := range infos {
		if i.Err != nil || len(i.Shards) != shards {
			t.Fatalf("stream %+v", i)
		}
		for _, s := range i.Shards {
			if s.Messages.N != 1 {
				t.Fatalf("shard %+v", s)
			}
		}
		all += len(i.Shards)
	}
	return all
}

// fill makes the streams, a message in each shard, and a group for each shard.
func fill(t *testing.T, c *client, server *process, streams []string, shards, groups int) {
	t.Helper()
	begun := time.Now()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < len(streams); i += 8 {
				server.create(t, streams[i], shards)
			}
		})
	}
	wg.Wait()
	cl, err := kgo.NewClient(c.options(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, s := range streams {
		for i := range shards {
			cl.Produce(t.Context(), &kgo.Record{Topic: s, Partition: int32(i), Value: []byte("m")}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < groups; i += 8 {
				at := driver.Position{Shard: driver.Shard{Stream: streams[i/shards], Index: int32(i % shards)}, Next: driver.SeqOf(1)}
				if err := c.SetPositions(t.Context(), fmt.Sprintf("group-%06d", i), []driver.Position{at}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d streams with %d shards each and %d groups made in %v", len(streams), shards, groups, time.Since(begun).Round(time.Millisecond))
	if t.Failed() {
		t.FailNow()
	}
}

const heapMetric = "/memory/classes/heap/objects:bytes"

func heapNow() uint64 {
	s := []metrics.Sample{{Name: heapMetric}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// watchHeap looks at the heap until the function it returns is called, which
// says how much it was at most: dead objects too, as long as they are there.
func watchHeap() func() uint64 {
	stop, ended := make(chan struct{}), make(chan struct{})
	var most uint64
	go func() {
		defer close(ended)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, heapNow())
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return sync.OnceValue(func() uint64 {
		close(stop)
		<-ended
		return most
	})
}
