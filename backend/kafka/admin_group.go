package kafka

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// groupsAtOnce bounds the groups that are described at once.
const groupsAtOnce = 1000

// GroupNames asks every broker for the groups that it coordinates, and yields
// the consumer groups, of the classic protocol and of KIP-848's; share groups
// and those of Kafka Connect are something else. With streams it describes the
// groups, some at a time, and yields those that have a position or a member on
// one of them.
func (c *client) GroupNames(ctx context.Context, streams []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := c.groupNames(ctx)
		for part := range slices.Chunk(names, groupsAtOnce) {
			if len(streams) > 0 {
				infos, failed := c.describeGroups(ctx, part)
				if failed != nil {
					yield("", c.fail("list groups", "", failed))
					return
				}
				part = knowing(infos, streams)
			}
			for _, n := range part {
				if !yield(n, nil) {
					return
				}
			}
		}
		if err != nil {
			yield("", c.fail("list groups", "", err))
		}
	}
}

// groupNames are the names that some brokers gave, with the error of others.
func (c *client) groupNames(ctx context.Context) ([]string, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	answers, err := c.sharded(ctx, kmsg.NewPtrListGroupsRequest())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, a := range answers {
		if a.Err != nil {
			err = cmpErr(err, a.Err)
			continue
		}
		resp := a.Resp.(*kmsg.ListGroupsResponse)
		err = cmpErr(err, kerr.ErrorForCode(resp.ErrorCode))
		for i := range resp.Groups {
			if g := &resp.Groups[i]; isConsumerGroup(g) {
				names = append(names, g.Group)
			}
		}
	}
	// A group that is moving from one broker to another may be with both.
	slices.Sort(names)
	return slices.Compact(names), err
}

// isConsumerGroup: a group that only has positions has no protocol, and brokers
// before 3.8 say no type.
func isConsumerGroup(g *kmsg.ListGroupsResponseGroup) bool {
	return !strings.EqualFold(g.GroupType, "share") && (g.ProtocolType == "consumer" || g.ProtocolType == "")
}

// knowing are the groups that have to do with one of the streams.
func knowing(infos []driver.GroupInfo, streams []string) []string {
	var names []string
	for i := range infos {
		g := &infos[i]
		one := func(s driver.Shard) bool { return slices.Contains(streams, s.Stream) }
		if slices.ContainsFunc(g.Positions, func(p driver.GroupPosition) bool { return one(p.Shard) }) ||
			slices.ContainsFunc(g.Members, func(m driver.MemberInfo) bool { return slices.ContainsFunc(m.Shards, one) }) {
			names = append(names, g.Name)
		}
	}
	return names
}

// DescribeGroups asks the coordinators of the groups. Positions are what was
// committed; a shard that a member reads and has committed nothing of is among
// the member's Shards only. How many messages a group is behind Kafka does not
// say: Behind and Pending are unknown.
func (c *client) DescribeGroups(ctx context.Context, names []string) ([]driver.GroupInfo, error) {
	if err := c.reach(ctx); err != nil {
		return nil, c.fail("describe groups", "", err)
	}
	var infos []driver.GroupInfo
	for part := range slices.Chunk(names, groupsAtOnce) {
		some, err := c.describeGroups(ctx, part)
		if err != nil {
			return nil, c.fail("describe groups", "", err)
		}
		infos = append(infos, some...)
	}
	return infos, nil
}

func (c *client) describeGroups(ctx context.Context, names []string) ([]driver.GroupInfo, error) {
	all := make(map[string]*driver.GroupInfo, len(names))
	for _, n := range names {
		all[n] = &driver.GroupInfo{Name: n}
	}
	unknown, err := c.groupless(ctx, names)
	if err != nil {
		return nil, err
	}
	for _, n := range unknown {
		all[n].Err = c.failGroup(n, kerr.GroupIDNotFound)
	}
	classic, err := c.describeNewGroups(ctx, all)
	if err == nil && len(classic) > 0 {
		err = c.describeClassicGroups(ctx, all, classic)
	}
	if err == nil {
		err = c.describePositions(ctx, all)
	}
	if err != nil {
		return nil, err
	}
	infos := make([]driver.GroupInfo, len(names))
	for i, n := range names {
		infos[i] = *all[n]
	}
	return infos, nil
}

// groupless returns those of the names that are no group, as far as can be said
// without asking for their coordinators: to ask for one makes Kafka create the
// topic in which it keeps groups, and looking must not. Where there is no such
// topic there are no groups, except on other servers, which list theirs.
func (c *client) groupless(ctx context.Context, names []string) ([]string, error) {
	if c.offsets.Load() {
		return nil, nil
	}
	meta, err := c.metadata(ctx, []string{offsetsTopic})
	if err != nil {
		return nil, err
	}
	if len(meta.Topics) == 1 && !errors.Is(kerr.ErrorForCode(meta.Topics[0].ErrorCode), kerr.UnknownTopicOrPartition) {
		c.offsets.Store(true)
		return nil, nil
	}
	has, err := c.groupNames(ctx)
	if err != nil {
		return nil, err
	}
	var none []string
	for _, n := range names {
		if !slices.Contains(has, n) {
			none = append(none, n)
		}
	}
	return none, nil
}

// describeNewGroups describes those of KIP-848's protocol and returns the names
// of the others, which are of the classic one or do not exist.
func (c *client) describeNewGroups(ctx context.Context, all map[string]*driver.GroupInfo) (others []string, err error) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	for n, g := range all {
		if g.Err == nil {
			req.Groups = append(req.Groups, n)
		}
	}
	if len(req.Groups) == 0 {
		return nil, nil
	}
	answers, err := c.sharded(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, a := range answers {
		if a.Err != nil {
			for _, n := range a.Req.(*kmsg.ConsumerGroupDescribeRequest).Groups {
				if unsupported(a.Err) {
					others = append(others, n)
				} else {
					all[n].Err = c.failGroup(n, a.Err)
				}
			}
			continue
		}
		resp := a.Resp.(*kmsg.ConsumerGroupDescribeResponse)
		for i := range resp.Groups {
			g := &resp.Groups[i]
			info := all[g.Group]
			if info == nil {
				continue
			}
			switch err := answer(g.ErrorCode, g.ErrorMessage); {
			case errors.Is(err, kerr.GroupIDNotFound), unsupported(err):
				others = append(others, g.Group)
			case err != nil:
				info.Err = c.failGroup(g.Group, err)
			default:
				info.Kind, info.State = "consumer", groupState(g.State)
				for j := range g.Members {
					m := &g.Members[j]
					member := newMember(m.MemberID, m.ClientID, m.ClientHost)
					for _, t := range m.Assignment.TopicPartitions {
						member.Shards = addShards(member.Shards, t.Topic, t.Partitions)
					}
					info.Members = append(info.Members, member)
				}
				sortMembers(info)
			}
		}
	}
	return others, nil
}

func (c *client) describeClassicGroups(ctx context.Context, all map[string]*driver.GroupInfo, names []string) error {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = names
	answers, err := c.sharded(ctx, req)
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Err != nil {
			for _, n := range a.Req.(*kmsg.DescribeGroupsRequest).Groups {
				all[n].Err = c.failGroup(n, a.Err)
			}
			continue
		}
		resp := a.Resp.(*kmsg.DescribeGroupsResponse)
		for i := range resp.Groups {
			g := &resp.Groups[i]
			info := all[g.Group]
			if info == nil {
				continue
			}
			err := answer(g.ErrorCode, g.ErrorMessage)
			if err == nil && g.State == "Dead" { // how older brokers say it
				err = kerr.GroupIDNotFound
			}
			if err != nil {
				info.Err = c.failGroup(g.Group, err)
				continue
			}
			info.Kind, info.State = "classic", groupState(g.State)
			for j := range g.Members {
				m := &g.Members[j]
				member := newMember(m.MemberID, m.ClientID, m.ClientHost)
				var as kmsg.ConsumerMemberAssignment
				if len(m.MemberAssignment) > 0 && as.ReadFrom(m.MemberAssignment) == nil {
					for _, t := range as.Topics {
						member.Shards = addShards(member.Shards, t.Topic, t.Partitions)
					}
				}
				info.Members = append(info.Members, member)
			}
			sortMembers(info)
		}
	}
	return nil
}

func newMember(id, client, host string) driver.MemberInfo {
	return driver.MemberInfo{ID: id, Client: client, Host: strings.TrimPrefix(host, "/"), Pending: -1, Idle: -1}
}

func addShards(to []driver.Shard, stream string, partitions []int32) []driver.Shard {
	for _, p := range partitions {
		to = append(to, driver.Shard{Stream: stream, Index: p})
	}
	return to
}

func sortMembers(g *driver.GroupInfo) {
	for i := range g.Members {
		slices.SortFunc(g.Members[i].Shards, driver.Shard.Compare)
	}
	slices.SortFunc(g.Members, func(a, b driver.MemberInfo) int { return strings.Compare(a.ID, b.ID) })
}

// groupState is what both protocols call it, in one word of the contract.
func groupState(s string) string {
	switch s {
	case "Empty":
		return "empty"
	case "Stable":
		return "stable"
	case "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling":
		return "rebalancing"
	}
	return strings.ToLower(s)
}

// describePositions adds what the groups have committed.
func (c *client) describePositions(ctx context.Context, all map[string]*driver.GroupInfo) error {
	names := make([]string, 0, len(all))
	for n, g := range all {
		if g.Err == nil {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil
	}
	fetched, err := asked(ctx, c, func() (kadm.FetchOffsetsResponses, error) {
		return kadm.NewClient(c.cl).FetchManyOffsets(ctx, names...), nil
	})
	if err != nil {
		return err
	}
	for _, n := range names {
		g, f := all[n], fetched[n]
		if f.Err != nil {
			g.Err = c.failGroup(n, f.Err)
			continue
		}
		readers := map[driver.Shard]string{}
		for _, m := range g.Members {
			for _, s := range m.Shards {
				readers[s] = m.ID
			}
		}
		for _, ps := range f.Fetched {
			for _, o := range ps {
				s := driver.Shard{Stream: o.Topic, Index: o.Partition}
				switch {
				case o.Err != nil:
					g.Err = cmpErr(g.Err, c.failShard(s, o.Err))
				case o.At >= 0:
					g.Positions = append(g.Positions, driver.GroupPosition{
						Position: driver.Position{Shard: s, Next: seq(o.At)}, Member: readers[s],
						Behind: driver.Count{N: -1},
					})
				}
			}
		}
		slices.SortFunc(g.Positions, func(a, b driver.GroupPosition) int { return a.Compare(b.Shard) })
	}
	return nil
}

// failGroup is fail for what is about a group.
func (c *client) failGroup(name string, err error) error {
	if errors.Is(err, kerr.GroupIDNotFound) {
		return driver.Errorf(driver.ErrNotFound, "", "%s has no group %q", c.nodes(), name)
	}
	return c.fail("group "+name, "", err)
}
