package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// problems are what is not well, nodes first. Each kind is complete, as in
// Kafka's own tools: a shard without a leader is also under-replicated. What the
// user may not see is left out.
func (c *client) problems(ctx context.Context, nodes []*node, q *quorum, meta *kmsg.MetadataResponse) ([]driver.Problem, error) {
	ps := quorumProblems(q)
	ps = append(ps, nodeProblems(nodes, meta)...)
	dirs, err := c.LogDirs(ctx, "")
	if err != nil {
		return nil, err
	}
	ps = append(ps, dirProblems(dirs)...)
	shards, err := c.shardProblems(ctx, meta)
	if err != nil {
		return nil, err
	}
	ps = append(ps, shards...)
	hanging, err := c.hanging(ctx, meta)
	if err := c.fail("", "", err); err != nil && !errors.Is(err, driver.ErrDenied) && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	return append(ps, hanging...), nil
}

// farVoter is how many records of metadata a controller may be behind.
const farVoter = 10_000

func quorumProblems(q *quorum) []driver.Problem {
	if q.err != nil {
		return nil // there is none, or it is not ours to know
	}
	var ps []driver.Problem
	up := 0
	for id, v := range q.voters {
		item := "controller " + nodeName(id)
		switch {
		case !v.up:
			ps = append(ps, driver.Problem{What: "node-down", Item: item, Detail: fmt.Sprintf("it has not asked the leader of the quorum for %v", v.quiet.Round(time.Second))})
			continue
		case v.end >= 0 && q.end-v.end > farVoter:
			ps = append(ps, driver.Problem{What: "failing", Item: item, Detail: fmt.Sprintf("it is %d records of metadata behind the leader of the quorum", q.end-v.end)})
		}
		up++
	}
	if q.leader < 0 || up <= len(q.voters)/2 {
		ps = append(ps, driver.Problem{What: "no-quorum", Item: "controllers", Detail: fmt.Sprintf("%d of %d are up: nothing about the cluster can be changed", up, len(q.voters))})
	}
	slices.SortFunc(ps, func(a, b driver.Problem) int { return strings.Compare(a.Item, b.Item) })
	return ps
}

// nodeProblems are the brokers that hold shards, or are known, and do not run.
func nodeProblems(nodes []*node, meta *kmsg.MetadataResponse) []driver.Problem {
	live := map[int32]bool{}
	for _, b := range meta.Brokers {
		live[b.NodeID] = true
	}
	down := map[int32]int{} // shards
	for _, n := range nodes {
		if slices.Contains(n.info.Roles, "broker") && !n.info.Up && !live[n.id] {
			down[n.id] = 0
		}
	}
	for i := range meta.Topics {
		for j := range meta.Topics[i].Partitions {
			for _, r := range meta.Topics[i].Partitions[j].Replicas {
				if !live[r] {
					down[r]++
				}
			}
		}
	}
	ps := make([]driver.Problem, 0, len(down))
	for id, n := range down {
		ps = append(ps, driver.Problem{What: "node-down", Item: "node " + nodeName(id), Detail: fmt.Sprintf("it holds replicas of %d shards", n)})
	}
	slices.SortFunc(ps, func(a, b driver.Problem) int { return strings.Compare(a.Item, b.Item) })
	return ps
}

// dirProblems are folders that a broker has given up, and volumes with less than
// a twentieth free.
func dirProblems(dirs []driver.LogDir) []driver.Problem {
	var ps []driver.Problem
	for _, d := range dirs {
		item := "node " + d.Node
		if d.Path != "" {
			item += " " + d.Path
		}
		switch {
		case errors.Is(d.Err, driver.ErrDenied):
		case d.Err != nil:
			ps = append(ps, driver.Problem{What: "failing", Item: item, Detail: d.Err.Error()})
		case d.Total > 0 && d.Free >= 0 && d.Free < d.Total/20:
			ps = append(ps, driver.Problem{What: "disk-full", Item: item, Detail: fmt.Sprintf("%d of %d MiB are free", d.Free>>20, d.Total>>20)})
		}
	}
	return ps
}

func (c *client) shardProblems(ctx context.Context, meta *kmsg.MetadataResponse) ([]driver.Problem, error) {
	least, err := c.leastInSync(ctx, meta)
	if err != nil {
		return nil, err
	}
	var ps []driver.Problem
	for i := range meta.Topics {
		t := &meta.Topics[i]
		if t.Topic == nil {
			continue
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			add := func(what, format string, args ...any) {
				ps = append(ps, driver.Problem{What: what, Item: driver.Shard{Stream: *t.Topic, Index: p.Partition}.String(), Detail: fmt.Sprintf(format, args...)})
			}
			if p.Leader < 0 {
				add("leaderless", "nothing can be written or read: replicas %v, in sync %v", p.Replicas, p.ISR)
			}
			if n := least[*t.Topic]; len(p.ISR) < n {
				add("under-min-in-sync", "%d in sync, and %s is %d: what waits for all replicas may be refused", len(p.ISR), setInSync, n)
			}
			if len(p.ISR) < len(p.Replicas) {
				add("under-replicated", "replicas %v, in sync %v", p.Replicas, p.ISR)
			}
			if len(p.OfflineReplicas) > 0 {
				add("offline-replica", "replicas %v are offline", p.OfflineReplicas)
			}
			if p.Leader >= 0 && len(p.Replicas) > 0 && p.Leader != p.Replicas[0] {
				add("not-preferred", "node %d leads it, and node %d should", p.Leader, p.Replicas[0])
			}
		}
	}
	rank := map[string]int{"leaderless": 0, "under-min-in-sync": 1, "under-replicated": 2, "offline-replica": 3, "not-preferred": 4}
	slices.SortStableFunc(ps, func(a, b driver.Problem) int { return rank[a.What] - rank[b.What] })
	return ps, nil
}

// leastInSync are the min.insync.replicas of topics. Those that the user may not
// see are left out.
func (c *client) leastInSync(ctx context.Context, meta *kmsg.MetadataResponse) (map[string]int, error) {
	names := make([]string, 0, len(meta.Topics))
	for i := range meta.Topics {
		if t := meta.Topics[i].Topic; t != nil {
			names = append(names, *t)
		}
	}
	least := make(map[string]int, len(names))
	for part := range slices.Chunk(names, 10*configsAtOnce) { // one setting of each
		err := c.configs(ctx, kmsg.ConfigResourceTypeTopic, part, []string{setInSync}, func(name string, entries []driver.ConfigEntry, _ error) {
			for _, e := range entries {
				if n, err := strconv.Atoi(e.Value); err == nil && e.Name == setInSync {
					least[name] = n
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return least, nil
}
