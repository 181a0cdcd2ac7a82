package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// Cluster describes the cluster. Version is the release whose metadata all nodes
// have agreed on, and Features has the levels of the finalised features.
func (c *client) Cluster(ctx context.Context) (driver.ClusterInfo, error) {
	const op = "cluster"
	nodes, q, err := c.cluster(ctx)
	if err != nil {
		return driver.ClusterInfo{}, c.fail(op, "", err)
	}
	meta, err := c.everything(ctx)
	if err != nil {
		return driver.ClusterInfo{}, c.fail(op, "", err)
	}
	info := driver.ClusterInfo{Kind: "zookeeper"}
	if meta.ClusterID != nil {
		info.ID = *meta.ClusterID
	}
	if q.leader >= 0 {
		info.Controller = nodeName(q.leader)
	}
	for _, n := range nodes {
		if n.info.Up {
			info.Nodes++
		}
	}
	levels, err := c.features(ctx)
	if err != nil {
		return driver.ClusterInfo{}, c.fail(op, "", err)
	}
	info.Features = make(map[string]string, len(levels))
	for f, l := range levels {
		info.Features[f] = strconv.Itoa(int(l))
	}
	if l, ok := levels["metadata.version"]; ok {
		info.Kind, info.Version = "kraft", release(l)
	}
	info.Problems, err = c.problems(ctx, nodes, q, meta)
	return info, c.fail(op, "", err)
}

// features are the levels of the cluster's finalised features.
func (c *client) features(ctx context.Context) (map[string]int16, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "sea-streamer", "1"
	resp, err := request[*kmsg.ApiVersionsResponse](ctx, c, c.cl, req)
	if err != nil {
		return nil, err
	}
	m := make(map[string]int16, len(resp.FinalizedFeatures))
	for _, f := range resp.FinalizedFeatures {
		m[f.Name] = f.MaxVersionLevel
	}
	return m, nil
}

// releases are those of Apache Kafka by the first level of metadata.version that
// each has (org.apache.kafka.server.common.MetadataVersion), the newest first.
var releases = []struct {
	level int16
	name  string
}{
	{31, "4.4"}, {30, "4.3"}, {28, "4.2"}, {26, "4.1"}, {22, "4.0"}, {21, "3.9"}, {20, "3.8"},
	{15, "3.7"}, {12, "3.6"}, {9, "3.5"}, {8, "3.4"}, {4, "3.3"}, {3, "3.2"}, {2, "3.1"}, {1, "3.0"},
}

func release(level int16) string {
	if level > releases[0].level {
		return fmt.Sprintf("metadata.version %d", level)
	}
	for _, r := range releases {
		if level >= r.level {
			return r.name
		}
	}
	return ""
}

// ElectLeaders waits until the election is over. A shard that needs none is not
// an error, and not returned. What fails for some does not keep the others.
func (c *client) ElectLeaders(ctx context.Context, shards []driver.Shard, unclean bool) ([]driver.Shard, error) {
	const op = "elect leaders"
	if err := c.reach(ctx); err != nil {
		return nil, c.fail(op, "", err)
	}
	how := kadm.ElectPreferredReplica
	if unclean {
		how = kadm.ElectLiveReplica
	}
	var set kadm.TopicsSet // none is all
	for _, s := range shards {
		set.Add(s.Stream, s.Index)
	}
	results, err := asked(ctx, c, func() (kadm.ElectLeadersResults, error) {
		return kadm.NewClient(c.cl).ElectLeaders(ctx, how, set)
	})
	if err != nil {
		return nil, c.fail(op, "", err)
	}
	var changed, failed []driver.Shard
	errs := make(map[driver.Shard]error)
	for stream, ps := range results {
		for i, r := range ps {
			s := driver.Shard{Stream: stream, Index: i}
			switch {
			case r.Err == nil:
				changed = append(changed, s)
			case errors.Is(r.Err, kerr.ElectionNotNeeded):
			default:
				failed, errs[s] = append(failed, s), c.failShardAt(op, s, withText(r.Err, r.ErrMessage))
			}
		}
	}
	slices.SortFunc(changed, driver.Shard.Compare)
	slices.SortFunc(failed, driver.Shard.Compare)
	c.elected(ctx, changed, unclean)
	if len(shards) > 0 {
		failed = shards
	} else if len(failed) > 0 { // one that fails is not all that there are
		return changed, &driver.PartialError{Errs: errsOf(failed, errs)}
	}
	return changed, driver.Partial(errsOf(failed, errs))
}

// errsOf are the errors of shards in their order.
func errsOf(shards []driver.Shard, errs map[driver.Shard]error) []error {
	all := make([]error, len(shards))
	for i, s := range shards {
		all[i] = errs[s]
	}
	return all
}

// elected waits until metadata know it.
func (c *client) elected(ctx context.Context, shards []driver.Shard, unclean bool) {
	var streams []string
	for _, s := range shards {
		if !slices.Contains(streams, s.Stream) {
			streams = append(streams, s.Stream)
		}
	}
	if len(streams) == 0 {
		return
	}
	settled(ctx, func() bool {
		all, err := c.describeTopics(ctx, streams)
		if err != nil {
			return false
		}
		return !slices.ContainsFunc(shards, func(s driver.Shard) bool {
			d := all[s.Stream]
			if int(s.Index) >= len(d.info.Shards) {
				return true
			}
			i := d.info.Shards[s.Index]
			return i.Leader == "" || !unclean && i.Leader != i.Replicas[0]
		})
	})
}

// failShardAt is failShard with what was tried.
func (c *client) failShardAt(op string, s driver.Shard, err error) error {
	kind, text := c.describe(err, s.Stream)
	return &driver.Error{Op: op, Shard: s, Kind: kind, Err: text}
}

// Reassignments are those of the whole cluster.
func (c *client) Reassignments(ctx context.Context) ([]driver.Reassignment, error) {
	const op = "reassignments"
	if err := c.reach(ctx); err != nil {
		return nil, c.fail(op, "", err)
	}
	// Not kadm's, which takes no topics for none.
	resp, err := request[*kmsg.ListPartitionReassignmentsResponse](ctx, c, c.cl, kmsg.NewPtrListPartitionReassignmentsRequest())
	if err == nil {
		err = answer(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, c.fail(op, "", err)
	}
	var all []driver.Reassignment
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			// What Kafka has as replicas are the old ones too, behind the new.
			to := slices.DeleteFunc(slices.Clone(p.Replicas), func(r int32) bool { return slices.Contains(p.RemovingReplicas, r) })
			all = append(all, driver.Reassignment{
				Shard:    driver.Shard{Stream: t.Topic, Index: p.Partition},
				Replicas: nodeNames(to), Adding: nodeNames(p.AddingReplicas), Removing: nodeNames(p.RemovingReplicas),
			})
		}
	}
	slices.SortFunc(all, func(a, b driver.Reassignment) int { return a.Compare(b.Shard) })
	return all, nil
}

// Reassign begins all that it can, also where it returns an error. One to
// cancel that is not under way is ErrNotFound.
func (c *client) Reassign(ctx context.Context, to []driver.Reassignment) error {
	const op = "reassign"
	if err := c.reach(ctx); err != nil {
		return c.fail(op, "", err)
	}
	var req kadm.AlterPartitionAssignmentsReq
	for at, r := range to {
		if len(r.Replicas) == 0 {
			req.CancelAssign(r.Stream, r.Index)
			continue
		}
		ids := make([]int32, len(r.Replicas))
		for i, n := range r.Replicas {
			id, err := nodeNumber(n)
			if err != nil {
				return driver.RefusedAt(len(to), at, c.fail(op, r.Stream, err))
			}
			ids[i] = id
		}
		req.Assign(r.Stream, r.Index, ids)
	}
	results, err := asked(ctx, c, func() (kadm.AlterPartitionAssignmentsResponses, error) {
		return kadm.NewClient(c.cl).AlterPartitionAssignments(ctx, req)
	})
	if err != nil {
		return c.fail(op, "", err)
	}
	errs := make([]error, len(to))
	for i, r := range to {
		if got := results[r.Stream][r.Index]; got.Err != nil {
			errs[i] = c.failShardAt(op, r.Shard, withText(got.Err, got.ErrMessage))
		}
	}
	return driver.Partial(errs)
}
