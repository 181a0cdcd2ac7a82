package kafka

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/seastreamer/seastreamer/driver"
)

// A node is a broker, a controller, or both, while it is described.
type node struct {
	id   int32
	info driver.NodeInfo
}

// Nodes are the brokers, those that do not run too where the cluster says so
// (Kafka 4.0 and later), and the controllers. Version is what the requests that
// a broker knows tell of its release: Kafka does not say it. A controller that
// is no broker is not asked: it is up when it has heard of the leader of the
// quorum lately.
func (c *client) Nodes(ctx context.Context) ([]driver.NodeInfo, error) {
	const op = "nodes"
	all, _, err := c.cluster(ctx)
	if err != nil {
		return nil, c.fail(op, "", err)
	}
	meta, err := c.everything(ctx)
	if err != nil {
		return nil, c.fail(op, "", err)
	}
	leads, holds := map[int32]int64{}, map[int32]int64{}
	for i := range meta.Topics {
		for j := range meta.Topics[i].Partitions {
			p := &meta.Topics[i].Partitions[j]
			leads[p.Leader]++
			for _, r := range p.Replicas {
				holds[r]++
			}
		}
	}
	var wg sync.WaitGroup
	for _, n := range all {
		n.info.Leads, n.info.Holds, n.info.Bytes = -1, -1, -1
		if !slices.Contains(n.info.Roles, "broker") {
			continue
		}
		n.info.Leads, n.info.Holds = leads[n.id], holds[n.id]
		if n.info.Up {
			wg.Go(func() { c.visit(ctx, n) })
		}
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, c.fail(op, "", err)
	}
	infos := make([]driver.NodeInfo, len(all))
	for i, n := range all {
		infos[i] = n.info
	}
	return infos, nil
}

// visit asks one broker for its version and its folders.
func (c *client) visit(ctx context.Context, n *node) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "sea-streamer", "1"
	v, err := request[*kmsg.ApiVersionsResponse](ctx, c, c.cl.Broker(int(n.id)), req)
	if err == nil {
		err = kerr.ErrorForCode(v.ErrorCode)
	}
	if err != nil {
		n.info.Up, n.info.Err = false, c.fail("node "+n.info.ID, "", err)
		return
	}
	n.info.Version = strings.TrimPrefix(kversion.FromApiVersionsResponse(v).VersionGuess(), "v")
	dirs, err := c.dirs(ctx, n.id)
	if err != nil {
		n.info.Err = err
		return
	}
	n.info.Bytes = 0
	for _, d := range dirs {
		n.info.Bytes += d.Bytes
		n.info.Err = cmpErr(n.info.Err, d.Err)
	}
}

// cluster finds the nodes, by id, and who decides.
func (c *client) cluster(ctx context.Context) ([]*node, *quorum, error) {
	meta, err := c.metadata(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	by := map[int32]*node{}
	at := func(id int32) *node {
		if by[id] == nil {
			by[id] = &node{id: id, info: driver.NodeInfo{ID: nodeName(id)}}
		}
		return by[id]
	}
	broker := func(id int32, host string, port int32, rack *string, up bool) {
		n := at(id)
		n.info.Addr, n.info.Up = net.JoinHostPort(host, strconv.Itoa(int(port))), up
		if rack != nil {
			n.info.Rack = *rack
		}
		n.info.Roles = []string{"broker"}
	}
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType, req.IncludeFencedBrokers = 1, true
	resp, err := request[*kmsg.DescribeClusterResponse](ctx, c, c.cl, req)
	if err == nil {
		err = answer(resp.ErrorCode, resp.ErrorMessage)
	}
	switch {
	case unsupported(err): // below 2.8
		for _, b := range meta.Brokers {
			broker(b.NodeID, b.Host, b.Port, b.Rack, true)
		}
	case err != nil:
		return nil, nil, err
	default:
		for _, b := range resp.Brokers {
			broker(b.NodeID, b.Host, b.Port, b.Rack, !b.IsFenced)
		}
	}
	q := c.quorum(ctx)
	if q.leader < 0 && resp != nil {
		q.leader = resp.ControllerID
	}
	for id, v := range q.voters {
		n := at(id)
		if len(n.info.Roles) == 0 {
			n.info.Addr, n.info.Up = v.addr, v.up
		}
		n.info.Roles = append(n.info.Roles, "controller")
	}
	all := make([]*node, 0, len(by))
	for _, n := range by {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *node) int { return cmp.Compare(a.id, b.id) })
	return all, q, nil
}

// A quorum is that of the controllers.
type quorum struct {
	leader int32 // below zero where it is not known
	end    int64 // of the leader's log
	voters map[int32]voter
	err    error // why it could not be asked: the server has none, or does not allow it
}

type voter struct {
	addr  string
	up    bool
	end   int64         // of its log; below zero is not known
	quiet time.Duration // since it was last heard of
}

// quietVoter is how long a controller may not have fetched from the leader,
// which it does twice a second.
const quietVoter = 5 * time.Second

// quorum asks for the quorum of the controllers, which needs the right to
// describe the cluster.
func (c *client) quorum(ctx context.Context) *quorum {
	q := &quorum{leader: -1, voters: map[int32]voter{}}
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = "__cluster_metadata"
	t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	resp, err := request[*kmsg.DescribeQuorumResponse](ctx, c, c.cl, req)
	if err == nil {
		err = answer(resp.ErrorCode, resp.ErrorMessage)
	}
	if err == nil && (len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1) {
		err = kerr.UnknownServerError
	}
	if err == nil {
		err = answer(resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[0].Partitions[0].ErrorMessage)
	}
	if err != nil {
		q.err = c.fail("", "", err)
		return q
	}
	p := &resp.Topics[0].Partitions[0]
	q.leader = p.LeaderID
	var now int64 // by the leader's clock: it is the last that it heard of
	for _, r := range slices.Concat(p.CurrentVoters, p.Observers) {
		now = max(now, r.LastFetchTimestamp)
		if r.ReplicaID == p.LeaderID {
			q.end = r.LogEndOffset
		}
	}
	addrs := map[int32]string{}
	for _, n := range resp.Nodes {
		if len(n.Listeners) > 0 {
			addrs[n.NodeID] = net.JoinHostPort(n.Listeners[0].Host, strconv.Itoa(int(n.Listeners[0].Port)))
		}
	}
	for _, r := range p.CurrentVoters {
		v := voter{addr: addrs[r.ReplicaID], up: true, end: r.LogEndOffset}
		if r.ReplicaID != p.LeaderID && resp.Version > 0 {
			v.quiet = time.Duration(now-max(r.LastFetchTimestamp, 0)) * time.Millisecond
			v.up = r.LastFetchTimestamp > 0 && v.quiet < quietVoter
		}
		q.voters[r.ReplicaID] = v
	}
	return q
}

// NodeConfig needs the node to be up, and to be a broker; with id "" it is what
// the cluster keeps for all brokers that say nothing else.
func (c *client) NodeConfig(ctx context.Context, id string) ([]driver.ConfigEntry, error) {
	op := "configuration of node " + id
	if id == "" {
		op = "configuration of all nodes"
	}
	_, err := c.brokers(ctx, id)
	if err != nil {
		return nil, c.fail(op, "", err)
	}
	var found []driver.ConfigEntry
	var failed error
	err = c.configs(ctx, kmsg.ConfigResourceTypeBroker, []string{id}, nil, func(_ string, entries []driver.ConfigEntry, err error) {
		found, failed = entries, err
	})
	if err := cmpErr(err, failed); err != nil {
		return nil, c.fail(op, "", err)
	}
	return found, nil
}

// SetNodeConfig changes what Kafka can change in a node that runs; a setting
// that it reads when it starts is ErrInvalid.
func (c *client) SetNodeConfig(ctx context.Context, id string, set map[string]*string) error {
	op := "set configuration of node " + id
	var err error
	if id == "" {
		op = "set configuration of all nodes"
		err = c.reach(ctx)
	} else {
		_, err = c.brokers(ctx, id)
	}
	if err == nil {
		err = c.alterConfigs(ctx, kmsg.ConfigResourceTypeBroker, id, set)
	}
	return c.fail(op, "", err)
}

// brokers are the numbers of the brokers that are up: of the one named, or of
// all of them.
func (c *client) brokers(ctx context.Context, id string) ([]int32, error) {
	meta, err := c.metadata(ctx, nil)
	if err != nil {
		return nil, err
	}
	var ids []int32
	for _, b := range meta.Brokers {
		if id == "" || id == nodeName(b.NodeID) {
			ids = append(ids, b.NodeID)
		}
	}
	if len(ids) == 0 {
		if _, err := nodeNumber(id); err != nil {
			return nil, err
		}
		return nil, driver.Errorf(driver.ErrNotFound, "", "%s has no broker %s that is up", c.nodes(), id)
	}
	slices.Sort(ids)
	return ids, nil
}

// LogDirs asks the brokers that are up. The sizes of volumes come with Kafka 3.3
// and later.
func (c *client) LogDirs(ctx context.Context, id string) ([]driver.LogDir, error) {
	const op = "log dirs"
	ids, err := c.brokers(ctx, id)
	if err != nil {
		return nil, c.fail(op, "", err)
	}
	found := make([][]driver.LogDir, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			var err error
			if found[i], err = c.dirs(ctx, id); err != nil {
				found[i] = []driver.LogDir{{Node: nodeName(id), Bytes: -1, Total: -1, Free: -1, Err: err}}
			}
		})
	}
	wg.Wait()
	return slices.Concat(found...), c.fail(op, "", ctx.Err())
}

// dirs are the folders of one broker. It is asked once, so that one that is
// away does not hold up the others.
func (c *client) dirs(ctx context.Context, id int32) ([]driver.LogDir, error) {
	op := "log dirs of node " + nodeName(id)
	resp, err := request[*kmsg.DescribeLogDirsResponse](ctx, c, c.cl.Broker(int(id)), kmsg.NewPtrDescribeLogDirsRequest())
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, c.fail(op, "", err)
	}
	dirs := make([]driver.LogDir, 0, len(resp.Dirs))
	for i := range resp.Dirs {
		d := &resp.Dirs[i]
		l := driver.LogDir{Node: nodeName(id), Path: d.Dir, Total: d.TotalBytes, Free: d.UsableBytes}
		if err := kerr.ErrorForCode(d.ErrorCode); err != nil {
			l.Bytes, l.Err = -1, c.fail("folder "+d.Dir+" of node "+nodeName(id), "", err)
		} else {
			eachReplica(d, func(_ string, p *kmsg.DescribeLogDirsResponseDirTopicPartition) {
				l.Shards++
				l.Bytes += p.Size
			})
		}
		dirs = append(dirs, l)
	}
	slices.SortFunc(dirs, func(a, b driver.LogDir) int { return cmp.Compare(a.Path, b.Path) })
	return dirs, nil
}
