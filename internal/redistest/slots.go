package redistest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// A SlotMove is a slot of a cluster that is moving from a master to another,
// step by step, in the order that redis-cli --cluster reshard keeps:
// [Servers.BeginMove], Keys, End. [Servers.MoveSlot] is all of them.
//
// One move has to end before the next begins, and End waits until all nodes
// have heard of this one. Whoever imports a slot gives its configuration an
// epoch, which is one more than the greatest that it knows of, and asks nobody.
// Without the wait this may happen: the slot moves from C to A and A takes epoch
// 7; it moves on to B, which has not heard of that yet and takes 7 too. Two with
// the same epoch resolve that by their names: say that A takes 8. To a node that
// heard A's claim of the slot late, A is its owner with 7, and B's claim with 7
// does not change that; it tells B that the slot belongs to A, with 8. B
// believes it, while A knows that it gave the slot to B. Neither claims it any
// more, each sends clients to the other, and that never ends.
type SlotMove struct {
	s              *Servers
	slot, from, to int
}

// MoveSlot moves a slot with all its keys to another master, and returns when
// all nodes that run agree that it is there. One slot moves at a time.
func (s *Servers) MoveSlot(ctx context.Context, slot, to int) error {
	m, err := s.BeginMove(slot, to)
	if err != nil {
		return err
	}
	if err := m.Keys(); err != nil {
		return err
	}
	return m.End(ctx)
}

// BeginMove has the masters treat a slot as one that is moving to another
// master: the old one sends clients on that ask for a key it does not have.
func (s *Servers) BeginMove(slot, to int) (*SlotMove, error) {
	from, err := s.Master(slot)
	if err != nil {
		return nil, err
	}
	if from == to {
		return nil, fmt.Errorf("redistest: slot %d is at node %d already", slot, to)
	}
	m := &SlotMove{s: s, slot: slot, from: from, to: to}
	if err := m.set(to, "IMPORTING", from); err != nil {
		return nil, err
	}
	return m, m.set(from, "MIGRATING", to)
}

// set is CLUSTER SETSLOT at a node.
func (m *SlotMove) set(at int, state string, node int) error {
	id, err := m.s.Do(node, "CLUSTER", "MYID")
	if err == nil {
		_, err = m.s.Do(at, "CLUSTER", "SETSLOT", strconv.Itoa(m.slot), state, id)
	}
	if err != nil {
		return fmt.Errorf("redistest: slot %d from node %d to %d: %s at node %d: %w", m.slot, m.from, m.to, state, at, err)
	}
	return nil
}

// Keys moves the slot's keys.
func (m *SlotMove) Keys() error {
	host, port, err := net.SplitHostPort(m.s.Addr(m.to))
	if err != nil {
		return err
	}
	auth := []string{"AUTH2", admin, m.s.secret, "KEYS"}
	for {
		keys, err := m.s.Do(m.from, "CLUSTER", "GETKEYSINSLOT", strconv.Itoa(m.slot), "100")
		if err != nil || keys == "" {
			return err
		}
		command := append([]string{"MIGRATE", host, port, "", "0", "5000"}, auth...)
		if _, err := m.s.Do(m.from, append(command, strings.Split(keys, "\n")...)...); err != nil {
			return fmt.Errorf("redistest: keys of slot %d from node %d to %d: %w", m.slot, m.from, m.to, err)
		}
	}
}

// End makes the new master the slot's owner, and returns when all nodes that
// run agree on that and on who has which epoch.
func (m *SlotMove) End(ctx context.Context) error {
	text, err := m.s.Do(m.to, "CLUSTER", "NODES")
	if err != nil {
		return err
	}
	// The new owner first: if it died after the old one was told, nobody would
	// own the slot. Replicas are not told, they hear of it.
	told := []int{m.to, m.from}
	for addr, c := range clusterNodes(text) {
		n, err := m.s.at(addr)
		if err == nil && c.master == "" && n != m.to && n != m.from && m.s.nodes[n-1].awake() {
			told = append(told, n)
		}
	}
	for _, n := range told {
		if err := m.set(n, "NODE", m.to); err != nil {
			return err
		}
	}
	return until(ctx, fmt.Sprintf("slot %d from node %d to %d", m.slot, m.from, m.to), func() error {
		views := map[string]string{}
		for _, n := range m.s.nodes {
			if !n.awake() {
				continue
			}
			text, err := m.s.Do(n.id, "CLUSTER", "NODES")
			if err != nil {
				return fmt.Errorf("node %d: %w", n.id, err)
			}
			all := clusterNodes(text)
			if !all[m.s.Addr(m.to)].serves(m.slot) {
				return fmt.Errorf("node %d does not know of it", n.id)
			}
			if err := m.s.agree(all, views); err != nil {
				return fmt.Errorf("node %d: %w", n.id, err)
			}
		}
		return nil
	})
}
