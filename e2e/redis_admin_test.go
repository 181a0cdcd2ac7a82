//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/backend/redis"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// redisJSON is what redis-cli says as JSON.
func redisJSON(t *testing.T, r *redistest.Servers, node int, into any, args ...string) {
	t.Helper()
	host, port, _ := strings.Cut(r.Addr(node), ":")
	out, err := exec.CommandContext(t.Context(), "redis-cli", append([]string{"-h", host, "-p", port, "-3", "--json"}, args...)...).Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("redis-cli %q: %v: %s", args, err, out)
	}
}

// TestRedisAdministration has a cluster administered while it is written to and
// read, fails a master over, and looks at everything again: what it says is what
// redis-cli says.
func TestRedisAdministration(t *testing.T) {
	// Longer than usual: no master changes but where it is told to.
	r := redistest.ClusterForTest(t, redistest.Options{AppendOnly: true, NodeTimeout: 3 * time.Second})
	u, err := driver.ParseBroker(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	d, err := redis.OpenDriver(t.Context(), u, redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(context.Background())
	ctx := t.Context()
	streams, groups, nodes := d.(driver.StreamAdmin), d.(driver.GroupAdmin), d.(driver.NodeAdmin)
	const shards, n = 6, 500
	if err := streams.CreateStream(ctx, driver.StreamSpec{Name: "news", Shards: shards}); err != nil {
		t.Fatal(err)
	}
	p, err := d.Producer(ctx, driver.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	send := func() {
		t.Helper()
		failed := make(chan error, n)
		for i := range n {
			rec := driver.Record{Stream: "news", Key: []byte(strconv.Itoa(i)), Value: []byte("x")}
			if err := p.Produce(ctx, rec, func(_ driver.Receipt, err error) { failed <- err }); err != nil {
				t.Fatal(err)
			}
		}
		for range n {
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
		}
	}
	send()
	var at []driver.Position
	for i := range int32(shards) {
		at = append(at, driver.Position{Shard: driver.Shard{Stream: "news", Index: i}})
	}
	if err := groups.SetPositions(ctx, "g", at); err != nil {
		t.Fatal(err)
	}

	agrees := func(total int64) {
		t.Helper()
		infos, err := streams.DescribeStreams(ctx, []string{"news"}, driver.DetailBounds|driver.DetailBytes|driver.DetailReplicas)
		if err != nil || infos[0].Err != nil || len(infos[0].Shards) != shards {
			t.Fatalf("%+v, %v", infos, err)
		}
		behind, err := groups.DescribeGroups(ctx, []string{"g"})
		if err != nil || behind[0].Err != nil || len(behind[0].Positions) != shards {
			t.Fatalf("%+v, %v", behind, err)
		}
		var sum int64
		for i, sh := range infos[0].Shards {
			key := "news:" + strconv.Itoa(i)
			var slot int
			redisJSON(t, r, 1, &slot, "CLUSTER", "KEYSLOT", key)
			node := masterOf(t, r, slot)
			var info struct {
				Length int64  `json:"length"`
				Last   string `json:"last-generated-id"`
			}
			var gs []struct {
				Name string `json:"name"`
				Lag  int64  `json:"lag"`
			}
			var id string
			redisJSON(t, r, node, &info, "XINFO", "STREAM", key)
			redisJSON(t, r, node, &gs, "XINFO", "GROUPS", key)
			redisJSON(t, r, node, &id, "CLUSTER", "MYID")
			last := sh.Bound.Next.Prev()
			if sh.Messages.N != info.Length || strconv.FormatUint(last.Hi, 10)+"-"+strconv.FormatUint(last.Lo, 10) != info.Last {
				t.Errorf("%s: got %+v, redis-cli has %+v", key, sh, info)
			}
			if sh.Leader != id || len(sh.Replicas) != 2 || len(sh.InSync) != 2 {
				t.Errorf("%s: led by %s of %q, in sync %q; redis-cli says %s", key, sh.Leader, sh.Replicas, sh.InSync, id)
			}
			if g := behind[0].Positions[i]; len(gs) != 1 || gs[0].Name != "g" || gs[0].Lag != g.Behind.N {
				t.Errorf("%s: %d behind, redis-cli says %+v", key, g.Behind.N, gs)
			}
			sum += sh.Messages.N
		}
		if sum != total {
			t.Errorf("%d messages in all, want %d", sum, total)
		}
		list, err := nodes.Nodes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		host, port, _ := strings.Cut(r.Addr(1), ":")
		out, err := exec.CommandContext(ctx, "redis-cli", "-h", host, "-p", port, "CLUSTER", "NODES").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			i := slices.IndexFunc(list, func(n driver.NodeInfo) bool { return n.ID == f[0] })
			if i < 0 || !list[i].Up || !strings.HasPrefix(f[1], list[i].Addr) || (list[i].Roles[0] == "master") != strings.Contains(f[2], "master") || list[i].Of != strings.Trim(f[3], "-") {
				t.Errorf("redis-cli has %q, got %+v", line, list)
			}
		}
		k, err := d.(driver.ClusterAdmin).Cluster(ctx)
		if err != nil || len(k.Problems) != 0 || k.Nodes != 6 {
			t.Errorf("cluster: %+v, %v", k, err)
		}
	}
	agrees(n)
	if _, err := r.Failover(ctx, 2); err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	send()
	agrees(2 * n)
}
