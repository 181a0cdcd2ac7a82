package redis

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// open returns the connection, making one where there is none, within ctx and
// the connect time-out.
func (w *waiter) open(ctx context.Context) (*dedicated, error) {
	w.mu.Lock()
	conn := w.conn
	w.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.c.o.ConnectTimeout)
	defer cancel()
	rc, err := w.c.connect(ctx)
	if err != nil {
		return nil, err
	}
	addr, node, err := w.c.node(ctx, rc, w.key, w.addr)
	if err != nil {
		return nil, err
	}
	// Behind Sentinel we make sure that a master is at the other end: one that
	// was a master until a moment ago answers reads as if nothing had happened.
	var also [][]string
	if rc.Mode() == rueidis.ClientModeSentinel {
		also = [][]string{{"ROLE"}}
	}
	wire, answers, err := w.c.openWireAs(ctx, addr, toServer, w.name, also...)
	if err != nil {
		return nil, err
	}
	// Where the user may not ask for the role, what is written is refused by
	// who is no master.
	if role, err := answers[len(answers)-1].list(); len(also) > 0 && err == nil && len(role) > 0 {
		if is, _ := role[0].text(); is != "master" {
			_ = wire.Close()
			return nil, driver.Errorf(driver.ErrUnavailable, "", "%s: the node that the sentinels name as master of %q is none (yet)", w.c.where(), w.c.o.Master)
		}
	}
	conn = &dedicated{wire: wire, addr: addr, node: guarded{node}}
	if hello, err := answers[0].table(); err == nil {
		if n, err := hello["id"].number(); err == nil {
			conn.id = strconv.FormatInt(n, 10)
		}
	}
	w.mu.Lock()
	w.conn = conn
	w.mu.Unlock()
	return conn, nil
}

// node is the node that has the key: the one at a known address, and else
// the one that the nodes of the cluster name.
func (c *client) node(ctx context.Context, rc rueidis.Client, key, known string) (addr string, node rueidis.Client, err error) {
	defer recovered(func(e error) { node, err = nil, e })
	nodes := rc.Nodes()
	if rc.Mode() != rueidis.ClientModeCluster {
		for addr, n := range nodes {
			return addr, n, nil
		}
	}
	if n := nodes[known]; n != nil {
		return known, n, nil
	}
	// The client follows redirections to the key by itself, and knows all nodes
	// on the way afterwards. It does not say which one has it.
	if answers, err := c.ask(ctx, rc, rc.B().Exists().Key(key).Build()); err != nil {
		return "", nil, err
	} else if err := answers[0].Error(); err != nil {
		return "", nil, err
	}
	nodes = rc.Nodes()
	if n := nodes[known]; n != nil {
		return known, n, nil
	}
	unseen := make(map[string]rueidis.Client, len(nodes))
	for a, n := range nodes {
		unseen[a] = n
	}
	last := fmt.Errorf("no node of %s has slot %d", c.where(), slot(key))
	addr = known
	for len(unseen) > 0 {
		n, ok := unseen[addr]
		if !ok {
			for addr, n = range unseen {
				break
			}
		}
		delete(unseen, addr)
		answers, err := c.ask(ctx, n, n.B().Exists().Key(key).Build())
		if err != nil {
			if ctx.Err() != nil {
				return "", nil, err
			}
			last = err
			continue
		}
		err = answers[0].Error()
		r, ok := answer(err)
		if !ok {
			return addr, n, nil
		}
		if to, moved := r.redirects("MOVED", addr); moved {
			addr = to
		} else if _, ask := r.redirects("ASK", addr); ask {
			return addr, n, nil // the key is not there yet or not there any more: reading says more
		} else {
			last = err
		}
	}
	return "", nil, last
}
