package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// readyLimit is how long something may take when the caller's context sets no
// limit, on a machine that is busy with other tests. A sentinel that was kept
// from working for two seconds does nothing for thirty (TILT).
const readyLimit = 90 * time.Second

// until calls check until it returns nil, for at most readyLimit or as long as
// the context allows.
func until(ctx context.Context, what string, check func() error) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readyLimit)
		defer cancel()
	}
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redistest: %s: %w (%w)", what, err, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// answers returns when n answers and has loaded its data.
func (s *Servers) answers(ctx context.Context, n *node) error {
	var ended error
	err := until(ctx, fmt.Sprintf("node %d at %s does not answer", n.id, n.addr()), func() error {
		if !n.running() {
			ended = n.ended()
			return nil
		}
		_, err := s.Do(n.id, "PING") // LOADING is an error
		return err
	})
	if ended != nil {
		return fmt.Errorf("redistest: start node %d at %s: %w\n%s", n.id, n.addr(), ended, n.lastWords())
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, n.lastWords())
	}
	return nil
}

// Ready returns when all is well among the nodes that run and are not paused: each answers, every
// replica is linked to its master, every node of a cluster says that the
// cluster is well and takes no node that runs for failed, and sentinels know
// the master, its replicas and each other.
func (s *Servers) Ready(ctx context.Context) error {
	return until(ctx, "not ready", func() error {
		views := map[string]string{} // address → its master and slots, as all say
		for _, n := range s.nodes {
			if !n.awake() {
				continue
			}
			var err error
			switch {
			case n.sentinel:
				err = s.sentinelReady(n)
			case s.kind == cluster:
				if err = s.clusterReady(n, views); err == nil {
					err = s.linked(n)
				}
			default:
				err = s.linked(n)
			}
			if err != nil {
				return fmt.Errorf("node %d: %w", n.id, err)
			}
		}
		return s.follow()
	})
}

// info is one section of INFO.
func (s *Servers) info(n *node, section string) (map[string]string, error) {
	text, err := s.Do(n.id, "INFO", section)
	return fields(text), err
}

// fields reads lines of name:value.
func fields(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[k] = v
		}
	}
	return m
}

// linked reports whether n is a master, or a replica in step with its own.
func (s *Servers) linked(n *node) error {
	r, err := s.info(n, "replication")
	if err != nil {
		return err
	}
	if r["role"] == "slave" && (r["master_link_status"] != "up" || r["master_sync_in_progress"] != "0") {
		return errors.New("it is a replica without a link to its master")
	}
	return nil
}

// follow checks that each master's replicas are online: a replica takes its
// link for up a little before its master takes it for online.
func (s *Servers) follow() error {
	want, got := 0, 0
	for _, n := range s.nodes {
		if n.sentinel || !n.awake() {
			continue
		}
		r, err := s.info(n, "replication")
		if err != nil {
			return err
		}
		if r["role"] == "slave" {
			want++
		}
		for k, v := range r {
			if strings.HasPrefix(k, "slave") && strings.Contains(v, "state=online") {
				got++
			}
		}
	}
	if got < want {
		return fmt.Errorf("%d of %d replicas are online", got, want)
	}
	if s.kind == sentinel && want != s.count(false)-1 {
		return fmt.Errorf("%d replicas, want %d", want, s.count(false)-1)
	}
	return nil
}

// count is the number of sentinels or data nodes that run.
func (s *Servers) count(sentinel bool) int {
	c := 0
	for _, n := range s.nodes {
		if n.sentinel == sentinel && n.awake() {
			c++
		}
	}
	return c
}

// clusterReady asks n about the cluster, and whether it agrees with those
// asked before on who is whose master.
func (s *Servers) clusterReady(n *node, views map[string]string) error {
	replies, err := s.Pipe(n.id, []string{"CLUSTER", "INFO"}, []string{"CLUSTER", "NODES"})
	if err != nil {
		return err
	}
	if state := fields(replies[0])["cluster_state"]; state != "ok" {
		return fmt.Errorf("cluster_state is %s", state)
	}
	all := clusterNodes(replies[1])
	if len(all) != len(s.nodes) {
		return fmt.Errorf("it knows %d nodes, want %d", len(all), len(s.nodes))
	}
	for _, o := range s.nodes {
		c, ok := all[o.addr()]
		if !ok {
			return fmt.Errorf("it does not know node %d", o.id)
		}
		if o.awake() && (c.failed || !c.connected) {
			return fmt.Errorf("it takes node %d for failed or has no link to it", o.id)
		}
	}
	return s.agree(all, views)
}

// agree reports whether what a node says, which is all, is what those said who
// were asked before, in views: who is whose master, and the slots and the
// configuration epoch of each. A replica that has not heard of a slot's new
// place yet would not serve it if it were promoted now, and the cluster would
// stay down. Why the epochs, see SlotMove.
func (s *Servers) agree(all map[string]clusterNode, views map[string]string) error {
	epochs := map[string]int{} // epoch → node, of masters
	for _, o := range s.nodes {
		c := all[o.addr()]
		view := fmt.Sprint(c.master, c.epoch, c.slots)
		if other, asked := views[o.addr()]; asked && view != other {
			return fmt.Errorf("others disagree about the master of node %d, its epoch or its slots", o.id)
		}
		views[o.addr()] = view
		if c.master != "" || c.failed {
			continue
		}
		if same := epochs[c.epoch]; same != 0 {
			return fmt.Errorf("nodes %d and %d have the same epoch, %s", same, o.id, c.epoch)
		}
		epochs[c.epoch] = o.id
	}
	return nil
}

// clusterNode is what a node says about another, or itself.
type clusterNode struct {
	id, master        string // master is "" of a master
	failed, connected bool
	epoch             string   // of its configuration; a replica has its master's
	slots             [][2]int // first and last
}

func (c clusterNode) serves(slot int) bool {
	for _, r := range c.slots {
		if r[0] <= slot && slot <= r[1] {
			return true
		}
	}
	return false
}

// clusterNodes reads CLUSTER NODES, by address.
// https://redis.io/docs/latest/commands/cluster-nodes/
func clusterNodes(text string) map[string]clusterNode {
	m := map[string]clusterNode{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		addr, _, _ := strings.Cut(f[1], "@")
		flags := strings.Split(f[2], ",")
		c := clusterNode{
			id:        f[0],
			failed:    slices.Contains(flags, "fail") || slices.Contains(flags, "fail?") || slices.Contains(flags, "handshake"),
			connected: f[7] == "connected" || slices.Contains(flags, "myself"),
			epoch:     f[6],
		}
		if f[3] != "-" {
			c.master = f[3]
		}
		for _, r := range f[8:] {
			first, last, ok := strings.Cut(r, "-")
			if !ok {
				last = first
			}
			a, err1 := strconv.Atoi(first)
			b, err2 := strconv.Atoi(last)
			if err1 == nil && err2 == nil { // not a slot that is moving
				c.slots = append(c.slots, [2]int{a, b})
			}
		}
		m[addr] = c
	}
	return m
}

// sentinelReady checks that n knows everybody and could fail over.
func (s *Servers) sentinelReady(n *node) error {
	replies, err := s.Pipe(n.id, []string{"SENTINEL", "MASTER", MasterName}, []string{"SENTINEL", "REPLICAS", MasterName},
		[]string{"SENTINEL", "SENTINELS", MasterName}, []string{"SENTINEL", "CKQUORUM", MasterName})
	if err != nil {
		return err
	}
	master := strings.Split(replies[0], "\n")
	if got := pairs(master)["flags"]; got != "master" {
		return fmt.Errorf("the master is %s", got)
	}
	well := 0
	for _, r := range records(replies[1]) {
		if r["flags"] == "slave" && r["master-link-status"] == "ok" {
			well++
		}
	}
	if want := s.count(false) - 1; well < want {
		return fmt.Errorf("%d replicas are well, want %d", well, want)
	}
	well = 0
	for _, r := range records(replies[2]) {
		if r["flags"] == "sentinel" {
			well++
		}
	}
	if want := s.count(true) - 1; well < want {
		return fmt.Errorf("it knows %d other sentinels, want %d", well, want)
	}
	return nil
}

// records splits the flattened list of a sentinel's tables: each begins anew
// with the field "name".
func records(text string) []map[string]string {
	var all []map[string]string
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		if lines[i] == "name" {
			all = append(all, map[string]string{})
		}
		if len(all) > 0 {
			all[len(all)-1][lines[i]] = lines[i+1]
		}
	}
	return all
}

func pairs(lines []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(lines); i += 2 {
		m[lines[i]] = lines[i+1]
	}
	return m
}
