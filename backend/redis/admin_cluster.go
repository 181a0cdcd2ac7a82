package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// Cluster says what kind of servers these are and what is not well with them.
// Controller is the server alone, and nobody's elsewhere: a cluster and sentinels
// decide by vote. Version is the lowest of all nodes. Problems are
//
//	slots-uncovered    slots that no node has, or only one that is down
//	node-down          a node that does not answer, or that others take for dead
//	failing            a node that some cannot reach, or that does not say how it is
//	offline-replica    a replica that is not in step with its master
//	under-min-in-sync  a master with fewer replicas than its min-replicas-to-write
//	no-quorum          sentinels that could not choose another master
//	persistence        a snapshot or a write to the append-only file that failed
//	memory-full        more than nine tenths of maxmemory are used
func (c *client) Cluster(ctx context.Context) (driver.ClusterInfo, error) {
	top, err := c.topology(ctx)
	if err != nil {
		return driver.ClusterInfo{}, err
	}
	k := driver.ClusterInfo{Kind: top.kind, Features: map[string]string{}}
	nodes := make([]driver.NodeInfo, len(top.servers))
	infos := make([]map[string]string, len(top.servers))
	atOnce(len(nodes), func(i int) { nodes[i], infos[i] = c.nodeInfo(ctx, top, top.servers[i]) })
	moving := 0
	var lowest version
	for i, n := range nodes {
		if n.Up {
			k.Nodes++
		}
		if v := parseVersion(n.Version); n.Version != "" && (k.Version == "" || v.less(lowest)) {
			k.Version, lowest = n.Version, v
		}
		moving += top.servers[i].moving
		k.Problems = append(k.Problems, nodeProblems(top.servers[i], n, infos[i])...)
	}
	switch top.kind {
	case "single":
		if s := top.leader(0); s != nil {
			k.Controller = s.id
		}
	case "sentinel":
		k.ID = c.o.Master
		k.Problems = append(k.Problems, c.quorum(ctx, top)...)
	case "cluster":
		k.Features["slots"] = strconv.Itoa(int(slotCount(top.servers)))
		k.Features["slots moving"] = strconv.Itoa(moving)
		k.Problems = append(k.Problems, slotProblems(top, nodes)...)
	}
	if i := c.server(); i.known {
		k.Features["class"] = i.class.String() // what plain writes survive
	}
	slices.SortStableFunc(k.Problems, func(a, b driver.Problem) int { return strings.Compare(a.Item, b.Item) })
	return k, nil
}

func slotCount(servers []*server) (n int64) {
	for _, s := range servers {
		n += s.leads()
	}
	return n
}

// slotProblems are slots that nobody serves.
func slotProblems(top *topology, nodes []driver.NodeInfo) []driver.Problem {
	var served [1 << 14]bool
	var gone [1 << 14]string // by whom they would be served
	for i, s := range top.servers {
		for _, r := range s.slots {
			for n := r[0]; n <= r[1]; n++ {
				if served[n] = nodes[i].Up && s.down != "the cluster takes it for failed"; !served[n] {
					gone[n] = s.id
				}
			}
		}
	}
	var all []driver.Problem
	for from := 0; from < len(served); {
		to := from + 1
		for to < len(served) && served[to] == served[from] && gone[to] == gone[from] {
			to++
		}
		if !served[from] {
			why := "no node has them"
			if gone[from] != "" {
				why = "their node " + gone[from] + " is down"
			}
			all = append(all, driver.Problem{What: "slots-uncovered", Item: fmt.Sprintf("%d-%d", from, to-1), Detail: fmt.Sprintf("%d slots: %s", to-from, why)})
		}
		from = to
	}
	return all
}

// nodeProblems are those of one server, by what others and it itself say.
func nodeProblems(s *server, n driver.NodeInfo, info map[string]string) (all []driver.Problem) {
	say := func(what, format string, args ...any) {
		all = append(all, driver.Problem{What: what, Item: s.id, Detail: fmt.Sprintf(format, args...)})
	}
	switch {
	case !n.Up && n.Err != nil:
		say("node-down", "%s %s: %v", s.role, s.addr, n.Err)
		return all
	case s.down == "a node cannot reach it":
		say("failing", "%s %s: %s", s.role, s.addr, s.down)
	case s.down != "":
		say("node-down", "%s %s: %s", s.role, s.addr, s.down)
	}
	if n.Err != nil {
		say("failing", "%s %s does not say how it is: %v", s.role, s.addr, n.Err)
		return all
	}
	if s.role == "replica" && info["master_link_status"] != "up" {
		say("offline-replica", "replica %s has no link to its master %s, it says %s", s.addr, s.of, info["master_link_status"])
	}
	if good, want := infoNumber(info, "min_slaves_good_slaves"), infoNumber(info, minReplicas); good >= 0 && good < want {
		say("under-min-in-sync", "master %s has %d replicas at hand and takes no writes with fewer than %d (min-replicas-to-write)", s.addr, good, want)
	}
	for _, f := range []struct{ field, what string }{
		{"rdb_last_bgsave_status", "its last snapshot failed"},
		{"aof_last_write_status", "its last write to the append-only file failed"},
		{"aof_last_bgrewrite_status", "the last rewrite of its append-only file failed"},
	} {
		if v := info[f.field]; v != "" && v != "ok" {
			say("persistence", "%s: %s (%s: %s)", s.addr, f.what, f.field, v)
		}
	}
	if most, used := infoNumber(info, "maxmemory"), infoNumber(info, "used_memory"); most > 0 && used >= most/10*9 {
		say("memory-full", "%s uses %d of %d bytes (maxmemory), policy %s", s.addr, used, most, info["maxmemory_policy"])
	}
	return all
}

// quorum asks a sentinel that answers whether a fail-over would be possible.
func (c *client) quorum(ctx context.Context, top *topology) []driver.Problem {
	for _, s := range top.servers {
		if s.role != "sentinel" {
			continue
		}
		answers, err := c.talk(ctx, s.addr, s.role, []string{"SENTINEL", "CKQUORUM", c.o.Master})
		if err != nil {
			continue
		}
		if err := answers[0].err(); err != nil {
			return []driver.Problem{{What: "no-quorum", Item: c.o.Master, Detail: printable(err.Error())}}
		}
		return nil
	}
	return nil
}

// ElectLeaders is ErrUnsupported: no replica of Redis is preferred.
func (c *client) ElectLeaders(context.Context, []driver.Shard, bool) ([]driver.Shard, error) {
	return nil, unsupported("Redis has no preferred leaders: CLUSTER FAILOVER, sent to a replica, or SENTINEL FAILOVER makes a replica the master")
}

// Reassignments is ErrUnsupported; Cluster says how many slots are moving.
func (c *client) Reassignments(context.Context) ([]driver.Reassignment, error) {
	return nil, unsupported("Redis moves slots and not shards: redis-cli --cluster check shows those that are moving")
}

// Reassign is ErrUnsupported.
func (c *client) Reassign(context.Context, []driver.Reassignment) error {
	return unsupported("Redis moves slots and not shards: use redis-cli --cluster reshard, and CLUSTER REPLICATE for replicas")
}
