package redis

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// A topology is which servers there are and who is whose replica.
type topology struct {
	kind    string // "single", "sentinel" or "cluster"
	servers []*server
}

// A server is one node as others see it, and in the end as it says itself.
type server struct {
	id, addr string
	role     string // "master", "replica" or "sentinel"
	of       string // id of its master
	slots    [][2]int
	moving   int    // slots that are on their way to or from it
	down     string // why others take it for dead; "" where they do not
	linked   bool   // of a replica: in step with its master, as that one says
}

// leads is how many slots a master has.
func (s *server) leads() (n int64) {
	for _, r := range s.slots {
		n += int64(r[1] - r[0] + 1)
	}
	return n
}

// leader is the master of a slot, or nil.
func (t *topology) leader(slot uint16) *server {
	for _, s := range t.servers {
		if s.role == "master" && (t.kind != "cluster" || slices.ContainsFunc(s.slots, func(r [2]int) bool {
			return r[0] <= int(slot) && int(slot) <= r[1]
		})) {
			return s
		}
	}
	return nil
}

// replicas are those of a master.
func (t *topology) replicas(of *server) (all []*server) {
	for _, s := range t.servers {
		if s.role == "replica" && s.of == of.id {
			all = append(all, s)
		}
	}
	return all
}

// data are the servers that hold data, which sentinels do not.
func (t *topology) data() (all []*server) {
	for _, s := range t.servers {
		if s.role != "sentinel" {
			all = append(all, s)
		}
	}
	return all
}

// find is the server of an id, or of an address.
func (t *topology) find(id string) *server {
	for _, s := range t.servers {
		if s.id == id || s.addr == id {
			return s
		}
	}
	return nil
}

// topology asks who there is: a node of the cluster, the sentinels, or the
// server itself. The ids are those of a cluster's nodes; elsewhere servers have
// none that they keep, and go by their addresses.
func (c *client) topology(ctx context.Context) (*topology, error) {
	t := &topology{kind: "single"}
	var err error
	rc, failed := c.ready(ctx)
	switch {
	case failed != nil && !c.sentinel:
		return nil, failed
	case c.sentinel: // which answer also where there is no master
		t.kind = "sentinel"
		err = c.askSentinels(ctx, t)
	case rc.Mode() == rueidis.ClientModeCluster:
		t.kind = "cluster"
		err = c.askCluster(ctx, rc, t)
	default:
		for addr := range rc.Nodes() {
			t.servers = append(t.servers, &server{id: addr, addr: addr, role: "master"})
		}
	}
	if err != nil {
		return nil, err
	}
	c.askReplication(ctx, t)
	slices.SortFunc(t.servers, func(a, b *server) int { return cmp.Compare(a.id, b.id) })
	return t, nil
}

// askCluster asks one node for all.
func (c *client) askCluster(ctx context.Context, rc rueidis.Client, t *topology) error {
	var failed error
	for addr, node := range rc.Nodes() {
		answers, err := c.ask(ctx, node, node.B().ClusterNodes().Build())
		var text string
		if err == nil {
			text, err = textOf(answers[0])
		}
		if err != nil {
			failed = c.failure("", driver.Shard{}, err)
			continue
		}
		if t.servers = parseClusterNodes(text, hostOf(addr)); len(t.servers) > 0 {
			return nil
		}
	}
	if failed == nil {
		failed = driver.Errorf(driver.ErrUnavailable, "", "%s: no node of the cluster can be asked", c.where())
	}
	return failed
}

// parseClusterNodes reads CLUSTER NODES, where host is the one that was asked:
// a node that does not know its own address leaves it out.
// https://redis.io/docs/latest/commands/cluster-nodes/
func parseClusterNodes(text, host string) (all []*server) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		addr, _, _ := strings.Cut(f[1], ",") // a name, and more, follows a comma
		addr, _, _ = strings.Cut(addr, "@")
		i := strings.LastIndexByte(addr, ':')
		if i < 0 {
			continue
		}
		h, port := strings.Trim(addr[:i], "[]"), addr[i+1:]
		if h == "" {
			h = host
		}
		s := &server{id: f[0], addr: net.JoinHostPort(h, port), role: "replica"}
		flags := strings.Split(f[2], ",")
		has := func(flag string) bool { return slices.Contains(flags, flag) }
		switch {
		case has("handshake"), has("noaddr"):
			continue // not a member, or not any more
		case has("fail"):
			s.down = "the cluster takes it for failed"
		case has("fail?"):
			s.down = "a node cannot reach it"
		}
		if has("master") {
			s.role = "master"
		} else if f[3] != "-" {
			s.of = f[3]
		}
		for _, r := range f[8:] {
			if strings.HasPrefix(r, "[") {
				s.moving++
				continue
			}
			first, last, ok := strings.Cut(r, "-")
			if !ok {
				last = first
			}
			a, err1 := strconv.Atoi(first)
			b, err2 := strconv.Atoi(last)
			if err1 == nil && err2 == nil && 0 <= a && a <= b && b < 1<<14 {
				s.slots = append(s.slots, [2]int{a, b})
			}
		}
		all = append(all, s)
	}
	return all
}

// askSentinels asks the first sentinel that answers.
func (c *client) askSentinels(ctx context.Context, t *topology) error {
	var failed error
	for _, addr := range c.nodes {
		answers, err := c.talk(ctx, addr, "sentinel", []string{"SENTINEL", "MASTER", c.o.Master},
			[]string{"SENTINEL", "REPLICAS", c.o.Master}, []string{"SENTINEL", "SENTINELS", c.o.Master})
		if err == nil {
			err = answers[0].err()
		}
		if err != nil {
			failed = c.failure("", driver.Shard{}, err)
			continue
		}
		master := c.sentinelTable(answers[0], "master")
		t.servers = append(t.servers, master, &server{id: addr, addr: addr, role: "sentinel"})
		for i, role := range []string{"replica", "sentinel"} {
			list, _ := answers[i+1].list()
			for _, v := range list {
				s := c.sentinelTable(v, role)
				if role == "replica" {
					s.of = master.id
				}
				if t.find(s.id) == nil {
					t.servers = append(t.servers, s)
				}
			}
		}
		return nil
	}
	return failed
}

// sentinelTable reads what a sentinel says of a server.
// https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
func (c *client) sentinelTable(v value, role string) *server {
	m, _ := v.table()
	text := func(name string) string { s, _ := m[name].text(); return s }
	addr := net.JoinHostPort(text("ip"), text("port"))
	s := &server{id: addr, addr: addr, role: role}
	if flags := text("flags"); strings.Contains(flags, "down") || strings.Contains(flags, "disconnected") {
		s.down = "the sentinel says " + strings.ReplaceAll(flags, ",", ", ")
	}
	return s
}

// askReplication asks the masters, all at once, which replicas are in step. A
// server of its own may be a replica, and may have some.
func (c *client) askReplication(ctx context.Context, t *topology) {
	infos := make([]map[string]string, len(t.servers))
	var all sync.WaitGroup
	for i, s := range t.servers {
		if s.role == "master" && s.down == "" {
			all.Go(func() {
				if answers, err := c.talk(ctx, s.addr, s.role, []string{"INFO", "replication"}); err == nil {
					text, _ := answers[0].text()
					infos[i] = infoFields(text)
				}
			})
		}
	}
	all.Wait()
	for i, m := range t.servers[:len(infos):len(infos)] {
		info := infos[i]
		if info["role"] == "slave" && t.kind == "single" {
			host := net.JoinHostPort(info["master_host"], info["master_port"])
			m.role, m.of, m.linked = "replica", host, info["master_link_status"] == "up"
			t.servers = append(t.servers, &server{id: host, addr: host, role: "master"})
		}
		for name, v := range info {
			if !strings.HasPrefix(name, "slave") || !strings.Contains(v, "ip=") {
				continue
			}
			r := map[string]string{}
			for pair := range strings.SplitSeq(v, ",") {
				k, v, _ := strings.Cut(pair, "=")
				r[k] = v
			}
			addr := net.JoinHostPort(r["ip"], r["port"])
			s := t.find(addr)
			if s == nil && t.kind == "single" {
				s = &server{id: addr, addr: addr, role: "replica", of: m.id}
				t.servers = append(t.servers, s)
			}
			if s != nil {
				s.linked = r["state"] == "online"
			}
		}
	}
}

// infoFields reads what INFO answers.
func infoFields(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if name, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			m[name] = v
		}
	}
	return m
}

// talk has the server at addr answer commands on a connection of its own, as
// rueidis has none to replicas and sentinels. Errors that the server answers are in the answers.
func (c *client) talk(ctx context.Context, addr, role string, cmds ...[]string) ([]value, error) {
	to := toServer
	if role == "sentinel" {
		to = toSentinel
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.RequestTimeout)
	defer cancel()
	w, answers, err := c.openWireAs(ctx, addr, to, c.o.ClientName, cmds...)
	if err != nil {
		return nil, c.failure("", driver.Shard{}, err)
	}
	_ = w.Close()
	return answers[1:], nil
}

// atOnce calls f for 0 ≤ i < n, a few at a time.
func atOnce(n int, f func(i int)) {
	var all sync.WaitGroup
	const width = 32
	for first := range min(width, n) {
		all.Go(func() {
			for i := first; i < n; i += width {
				f(i)
			}
		})
	}
	all.Wait()
}
