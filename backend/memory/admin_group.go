package memory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/seastreamer/seastreamer/driver"
)

func (d *client) GroupNames(ctx context.Context, streams []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := d.check(ctx, "list groups"); err != nil {
			yield("", err)
			return
		}
		for _, name := range d.store.groupNames() {
			in := d.store.groupInfo(name)
			knows := len(streams) == 0 || slices.ContainsFunc(in.Positions, func(p driver.GroupPosition) bool { return slices.Contains(streams, p.Stream) })
			if in.Err == nil && knows && !yield(name, nil) {
				return
			}
		}
	}
}

func (s *Store) groupNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Concat(slices.Collect(maps.Keys(s.groups)), slices.Collect(maps.Keys(s.pools)))
}

func (d *client) DescribeGroups(ctx context.Context, names []string) ([]driver.GroupInfo, error) {
	if err := d.check(ctx, "describe groups"); err != nil {
		return nil, err
	}
	infos := make([]driver.GroupInfo, len(names))
	for i, n := range names {
		infos[i] = d.store.groupInfo(n)
	}
	return infos, nil
}

func (s *Store) groupInfo(name string) driver.GroupInfo {
	s.mu.RLock()
	g, p := s.groups[name], s.pools[name]
	s.mu.RUnlock()
	switch {
	case g != nil:
		return g.info(name)
	case p != nil:
		return p.info(name)
	}
	return driver.GroupInfo{Name: name, Err: driver.Errorf(driver.ErrNotFound, "", "there is no group %q", name)}
}

func (g *group) info(name string) driver.GroupInfo {
	g.mu.Lock()
	defer g.mu.Unlock()
	in := driver.GroupInfo{Name: name, State: "empty", Kind: "position"}
	ids := make(map[*consumer]string)
	for i, m := range g.members {
		in.State = "stable"
		ids[m] = fmt.Sprint("member-", i)
		mi := driver.MemberInfo{ID: ids[m], Host: "local", Pending: -1, Idle: -1}
		for _, sh := range m.shards {
			switch g.owner[sh] {
			case m:
				mi.Shards = append(mi.Shards, sh.id)
			case nil:
				in.State = "rebalancing"
			}
		}
		in.Members = append(in.Members, mi)
	}
	for sh, next := range g.progress {
		in.Positions = append(in.Positions, driver.GroupPosition{
			Position: driver.Position{Shard: sh.id, Next: next}, Member: ids[g.owner[sh]], Behind: driver.Count{N: -1}})
	}
	sortPositions(in.Positions)
	return in
}

func sortPositions(p []driver.GroupPosition) {
	slices.SortFunc(p, func(a, b driver.GroupPosition) int { return a.Shard.Compare(b.Shard) })
}

func (p *pool) info(name string) driver.GroupInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := driver.GroupInfo{Name: name, State: "empty", Kind: "verdict"}
	for i, m := range p.members {
		in.State = "stable"
		mi := driver.MemberInfo{ID: fmt.Sprint("member-", i), Host: "local", Idle: -1}
		for _, out := range p.out {
			for _, e := range out {
				if e.holder == m {
					mi.Pending++
				}
			}
		}
		in.Members = append(in.Members, mi)
	}
	for sh, next := range p.next {
		in.Positions = append(in.Positions, driver.GroupPosition{
			Position: driver.Position{Shard: sh.id, Next: driver.SeqOf(next)}, Behind: driver.Count{N: -1}, Pending: int64(len(p.out[sh]))})
	}
	sortPositions(in.Positions)
	return in
}

// find is the group as one of the two kinds; both are nil where there is none.
func (s *Store) find(name string) (*group, *pool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.groups[name], s.pools[name]
}

func (d *client) SetPositions(ctx context.Context, name string, at []driver.Position) error {
	op := "move group " + name
	shards := make([]*shard, len(at))
	for i, p := range at {
		sh, err := d.shard(ctx, op, p.Shard)
		if err != nil {
			return err
		}
		shards[i] = sh
	}
	if d.o.AckTimeout > 0 {
		p := d.store.lockPool(name)
		defer p.mu.Unlock()
		return p.move(op, shards, at)
	}
	g := d.store.lockGroup(name)
	defer g.mu.Unlock()
	if err := busy(op, g.atWork()); err != nil {
		return err
	}
	if err := exist(op, shards); err != nil {
		return err
	}
	for i, sh := range shards {
		g.progress[sh] = at[i].Next
	}
	return nil
}

// exist is an error where one of the shards is deleted since it was looked up: its
// groups were told to forget it, and would not be again. The group is locked.
func exist(op string, shards []*shard) error {
	for _, sh := range shards {
		if sh.gone.Load() {
			return &driver.Error{Op: op, Shard: sh.id, Kind: driver.ErrNotFound, Err: errors.New("its stream was just deleted")}
		}
	}
	return nil
}

// atWork is how many members may still commit: those that leave do until their
// shards are released. mu is held.
func (g *group) atWork() int {
	work := make(map[*consumer]bool)
	for _, m := range g.members {
		work[m] = true
	}
	for _, m := range g.owner {
		work[m] = true
	}
	return len(work)
}

func busy(op string, members int) error {
	if members == 0 {
		return nil
	}
	return driver.Errorf(driver.ErrFenced, op, "it has %d members at work: stop them first", members)
}

// move puts the pool at positions. What is out below them stays out. mu is held.
func (p *pool) move(op string, shards []*shard, at []driver.Position) error {
	if err := busy(op, len(p.members)); err != nil {
		return err
	}
	if err := exist(op, shards); err != nil {
		return err
	}
	for i, sh := range shards {
		p.next[sh] = number(at[i].Next)
		if p.out[sh] == nil {
			p.out[sh] = make(map[uint64]*entry)
		}
		for seq := range p.out[sh] {
			if seq >= p.next[sh] {
				delete(p.out[sh], seq) // it comes anew
			}
		}
	}
	return nil
}

func (d *client) DeleteGroup(ctx context.Context, name string) error {
	op := "delete group " + name
	if err := d.check(ctx, op); err != nil {
		return err
	}
	d.store.mu.Lock() // nobody joins meanwhile, see lockGroup
	defer d.store.mu.Unlock()
	g, p := d.store.groups[name], d.store.pools[name]
	var members int
	switch {
	case g != nil:
		g.mu.Lock()
		members = g.atWork()
		g.mu.Unlock()
	case p != nil:
		p.mu.Lock()
		members = len(p.members)
		p.mu.Unlock()
	default:
		return driver.Errorf(driver.ErrNotFound, op, "there is no such group")
	}
	if err := busy(op, members); err != nil {
		return err
	}
	delete(d.store.groups, name)
	delete(d.store.pools, name)
	return nil
}

func (d *client) DeletePositions(ctx context.Context, name string, shards []driver.Shard) error {
	op := "forget positions of group " + name
	if err := d.check(ctx, op); err != nil {
		return err
	}
	g, p := d.store.find(name)
	switch {
	case g != nil:
		g.mu.Lock()
		defer g.mu.Unlock()
		if err := busy(op, g.atWork()); err != nil {
			return err
		}
		maps.DeleteFunc(g.progress, func(sh *shard, _ driver.Seq) bool { return slices.Contains(shards, sh.id) })
	case p != nil:
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := busy(op, len(p.members)); err != nil {
			return err
		}
		maps.DeleteFunc(p.next, func(sh *shard, _ uint64) bool { return slices.Contains(shards, sh.id) })
		maps.DeleteFunc(p.out, func(sh *shard, _ map[uint64]*entry) bool { return slices.Contains(shards, sh.id) })
	default:
		return driver.Errorf(driver.ErrNotFound, op, "there is no such group")
	}
	return nil
}

// forget drops what is known of a shard that is gone.
func (g *group) forget(sh *shard) {
	g.mu.Lock()
	delete(g.progress, sh)
	g.mu.Unlock()
}

func (p *pool) forget(sh *shard) {
	p.mu.Lock()
	delete(p.next, sh)
	delete(p.out, sh)
	p.mu.Unlock()
}
