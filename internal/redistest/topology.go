package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// join makes six servers a cluster, by the commands that redis-cli --cluster
// create sends too.
func (s *Servers) join(ctx context.Context) error {
	const slots, masters = 16384, 3
	for i, n := range s.nodes {
		commands := [][]string{{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(n.id)}}
		if i < masters {
			first, last := slots*i/masters, slots*(i+1)/masters-1
			commands = append(commands, []string{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)})
		}
		if _, err := s.Pipe(n.id, commands...); err != nil {
			return err
		}
	}
	for _, n := range s.nodes { // once all have an epoch: who has met another cannot be given one
		if err := s.meet(n); err != nil {
			return err
		}
	}
	for _, n := range s.nodes[masters:] {
		master, err := s.Do(n.id-masters, "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		// It is refused until the two have met, and on a busy machine they may
		// give each other up before: a handshake lasts as long as the node
		// time-out.
		again := time.Now().Add(2 * time.Second)
		err = until(ctx, fmt.Sprintf("node %d does not become a replica", n.id), func() error {
			_, err := s.Do(n.id, "CLUSTER", "REPLICATE", master)
			if err != nil && time.Now().After(again) {
				again = time.Now().Add(2 * time.Second)
				if meet := s.meet(n); meet != nil {
					return meet
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// meet introduces n to all others.
func (s *Servers) meet(n *node) error {
	var commands [][]string
	for _, o := range s.nodes {
		if o != n {
			commands = append(commands, []string{"CLUSTER", "MEET", o.host, strconv.Itoa(o.port)})
		}
	}
	_, err := s.Pipe(n.id, commands...)
	return err
}

// hasten has a sentinel look around every second and talk twice a second, in
// place of every ten and two: with those it takes twenty seconds until it makes
// a replica of a master that comes back. How it takes a master for dead and
// how it fails over is not touched.
func (s *Servers) hasten(n *node) error {
	if !n.sentinel {
		return nil
	}
	_, err := s.Do(n.id, "SENTINEL", "DEBUG", "info-period", "1000", "publish-period", "500")
	if e := ServerError(""); errors.As(err, &e) {
		return nil // before Redis 7 there is no such command, and patience is needed
	}
	return err
}

// Master is the node that most of those who have a say, and run, name as the
// master: the sentinels, or the nodes of a cluster for the slot. One server is
// its own master.
func (s *Servers) Master(slot int) (int, error) {
	if s.kind == single {
		return 1, nil
	}
	votes, voters := map[int]int{}, 0
	for _, n := range s.nodes {
		if n.sentinel != (s.kind == sentinel) || !n.awake() {
			continue
		}
		voters++
		view := s.slotOwner
		if n.sentinel {
			view = s.named
		}
		if m, err := view(n, slot); err == nil {
			votes[m]++
		}
	}
	for m, v := range votes {
		if 2*v > voters {
			return m, nil
		}
	}
	return 0, errors.New("redistest: there is no agreement on who is the master")
}

// named is the master by the word of sentinel n.
func (s *Servers) named(n *node, _ int) (int, error) {
	reply, err := s.Do(n.id, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)
	if err != nil {
		return 0, err
	}
	host, port, _ := strings.Cut(reply, "\n")
	return s.at(net.JoinHostPort(host, port))
}

// slotOwner is the master of a slot by the word of node n.
func (s *Servers) slotOwner(n *node, slot int) (int, error) {
	text, err := s.Do(n.id, "CLUSTER", "NODES")
	if err != nil {
		return 0, err
	}
	for addr, c := range clusterNodes(text) {
		if c.serves(slot) {
			return s.at(addr)
		}
	}
	return 0, fmt.Errorf("redistest: nobody serves slot %d", slot)
}

// at is the node with this address.
func (s *Servers) at(addr string) (int, error) {
	for _, n := range s.nodes {
		if n.addr() == addr {
			return n.id, nil
		}
	}
	return 0, fmt.Errorf("redistest: no node is at %s", addr)
}

// Failover hands the place of a master that runs to one of its replicas, as an
// operator does, and returns the new master when it is in place. Nothing is
// lost by it in a cluster; sentinels do not wait for the replica.
func (s *Servers) Failover(ctx context.Context, master int) (int, error) {
	switch s.kind {
	case sentinel:
		return s.sentinelFailover(ctx, master)
	case cluster:
		return s.clusterFailover(ctx, master)
	}
	return 0, errors.New("redistest: one server alone cannot fail over")
}

func (s *Servers) sentinelFailover(ctx context.Context, master int) (int, error) {
	next := 0
	var again time.Time
	err := until(ctx, "sentinel failover", func() error {
		var err error
		if next, err = s.Master(0); err != nil || next != master {
			return err
		}
		for _, n := range s.nodes {
			if n.sentinel && n.awake() && time.Now().After(again) {
				// Refused while another one is under way. On a busy machine it may
				// be given up, which nobody tells.
				if _, err := s.Do(n.id, "SENTINEL", "FAILOVER", MasterName); err != nil {
					return err
				}
				again = time.Now().Add(askAgain)
			}
		}
		return fmt.Errorf("node %d is still the master", master)
	})
	return next, err
}

// askAgain is after how long a fail-over is asked for again that did not come: a
// cluster gives one up after five seconds, sentinels take six to begin another.
const askAgain = 10 * time.Second

func (s *Servers) clusterFailover(ctx context.Context, master int) (int, error) {
	next := 0
	var again time.Time
	err := until(ctx, "cluster failover", func() error {
		if next != 0 && time.Now().After(again) {
			if _, err := s.Do(next, "CLUSTER", "FAILOVER"); err != nil && !errors.As(err, new(ServerError)) {
				return err // what it says against it is that it is the master by now
			}
			again = time.Now().Add(askAgain)
		}
		if next == 0 {
			text, err := s.Do(master, "CLUSTER", "NODES")
			if err != nil {
				return err
			}
			all := clusterNodes(text)
			for addr, c := range all {
				n, err := s.at(addr)
				if err != nil || c.master != all[s.Addr(master)].id || !s.nodes[n-1].awake() {
					continue
				}
				if _, err := s.Do(n, "CLUSTER", "FAILOVER"); err != nil {
					return err
				}
				next, again = n, time.Now().Add(askAgain)
			}
			if next == 0 {
				return fmt.Errorf("node %d has no replica", master)
			}
		}
		for _, n := range []int{next, master} {
			r, err := s.info(s.nodes[n-1], "replication")
			if err != nil {
				return err
			}
			if (r["role"] == "master") != (n == next) {
				return fmt.Errorf("node %d is %s", n, r["role"])
			}
		}
		return nil
	})
	return next, err
}
