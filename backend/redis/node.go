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
	node, err := w.c.node(ctx, rc, w.key, w.addr)
	if err != nil {
		return nil, err
	}
	// rueidis dials without our context.
	made := make(chan *dedicated)
	w.c.background(func() {
		node := guarded{node}
		d, _ := node.Dedicate()
		conn := &dedicated{DedicatedClient: d, node: node}
		select {
		case made <- conn:
		case <-ctx.Done():
			conn.end()
		}
	})
	select {
	case conn = <-made:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := w.c.meet(ctx, rc, conn); err != nil {
		w.c.background(conn.end)
		return nil, err
	}
	w.mu.Lock()
	w.conn = conn
	w.mu.Unlock()
	return conn, nil
}

// meet makes a new connection speak RESP2 and learns its id. Behind Sentinel
// it makes sure that a master is at the other end: one that was a master until
// a moment ago answers reads as if nothing had happened.
func (c *client) meet(ctx context.Context, rc rueidis.Client, conn *dedicated) error {
	cmds := []rueidis.Completed{conn.B().Arbitrary("HELLO", "2").Build()}
	if rc.Mode() == rueidis.ClientModeSentinel {
		cmds = append(cmds, conn.B().Role().Build())
	}
	answers := conn.DoMulti(ctx, cmds...)
	for i := range answers {
		if err := answers[i].NonRedisError(); err != nil {
			return err
		}
	}
	if hello, err := answers[0].AsMap(); err == nil {
		id := hello["id"]
		if n, err := id.AsInt64(); err == nil {
			conn.id = strconv.FormatInt(n, 10)
		}
	}
	if len(answers) == 1 {
		return nil
	}
	role, err := answers[1].ToArray()
	if err != nil || len(role) == 0 {
		return nil //nolint:nilerr // the user may not ask; what is written is refused by who is no master
	}
	if is, _ := role[0].ToString(); is != "master" {
		return driver.Errorf(driver.ErrUnavailable, "", "%s: the node that the sentinels name as master of %q is none (yet)", c.where(), c.o.Master)
	}
	return nil
}

// node is the node that has the key: the one at addr if it is known, and else
// the one that the nodes of the cluster name.
func (c *client) node(ctx context.Context, rc rueidis.Client, key, addr string) (node rueidis.Client, err error) {
	defer recovered(func(e error) { node, err = nil, e })
	nodes := rc.Nodes()
	if rc.Mode() != rueidis.ClientModeCluster {
		for _, n := range nodes {
			return n, nil
		}
	}
	if n := nodes[addr]; n != nil {
		return n, nil
	}
	// The client follows redirections to the key by itself, and knows all nodes
	// on the way afterwards. It does not say which one has it.
	if answers, err := c.ask(ctx, rc, rc.B().Exists().Key(key).Build()); err != nil {
		return nil, err
	} else if err := answers[0].Error(); err != nil {
		return nil, err
	}
	nodes = rc.Nodes()
	if n := nodes[addr]; n != nil {
		return n, nil
	}
	unseen := make(map[string]rueidis.Client, len(nodes))
	for a, n := range nodes {
		unseen[a] = n
	}
	last := fmt.Errorf("no node of %s has slot %d", c.where(), slot(key))
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
				return nil, err
			}
			last = err
			continue
		}
		err = answers[0].Error()
		r, ok := answer(err)
		if !ok {
			return n, nil
		}
		if to, moved := r.IsMoved(); moved {
			addr = to
		} else if _, ask := r.IsAsk(); ask {
			return n, nil // the key is not there yet or not there any more: reading says more
		} else {
			last = err
		}
	}
	return nil, last
}
