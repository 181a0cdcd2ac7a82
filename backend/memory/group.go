package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

// group shares shards out among its members and keeps their progress. Each
// member looks for itself at what it has and what it should have, in a
// goroutine of its own (serve): it first gives back what it should not have,
// and takes what it should have as soon as nobody else has it any more. So a
// shard changes hands only after the old member's Revoked has returned.
type group struct {
	mu       sync.Mutex
	members  []*consumer
	owner    map[*shard]*consumer
	progress map[*shard]driver.Seq
}

// lockGroup is the group of that name, which is made where there is none, with its
// mu held: until then the store's is, so that nobody deletes it in between.
func (s *Store) lockGroup(name string) *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.groups[name]
	if !ok {
		g = &group{owner: make(map[*shard]*consumer), progress: make(map[*shard]driver.Seq)}
		s.groups[name] = g
	}
	g.mu.Lock()
	return g
}

// join makes c a member of a group.
func (c *consumer) join(name string) {
	g := c.d.store.lockGroup(name)
	c.g, c.turn, c.served = g, make(chan struct{}, 1), make(chan struct{})
	g.members = append(g.members, c)
	g.changed()
	g.mu.Unlock()
	go c.serve()
}

// changed has every member look again; mu is held.
func (g *group) changed() {
	for _, m := range g.members {
		select {
		case m.turn <- struct{}{}:
		default:
		}
	}
}

// target is the member that should have sh: the members that read its stream
// take its shards in turn. mu is held.
func (g *group) target(sh *shard) *consumer {
	var readers []*consumer
	for _, m := range g.members {
		if slices.Contains(m.c.Streams, sh.id.Stream) {
			readers = append(readers, m)
		}
	}
	if len(readers) == 0 {
		return nil
	}
	return readers[int(sh.id.Index)%len(readers)]
}

// look says which shards m has to give back, and which it now owns and where
// it would begin to read them.
func (g *group) look(m *consumer) (lose, gain []*shard, at []driver.Position) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, sh := range m.shards {
		switch owner, target := g.owner[sh], g.target(sh); {
		case owner == m && target != m:
			lose = append(lose, sh)
		case owner == nil && target == m:
			g.owner[sh] = m
			gain = append(gain, sh)
			next, ok := g.progress[sh]
			if !ok {
				next = driver.SeqOf(sh.resolve(m.c.Start))
			}
			at = append(at, driver.Position{Shard: sh.id, Next: next})
		}
	}
	return lose, gain, at
}

// release makes shards of m free to be taken.
func (g *group) release(m *consumer, shards []*shard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, sh := range shards {
		if g.owner[sh] == m {
			delete(g.owner, sh)
		}
	}
	g.changed()
}

// leave makes m a member no longer. What it has stays its own until release.
func (g *group) leave(m *consumer) (had []*shard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = slices.DeleteFunc(g.members, func(o *consumer) bool { return o == m })
	for _, sh := range m.shards {
		if g.owner[sh] == m {
			had = append(had, sh)
		}
	}
	g.changed()
	return had
}

// serve follows the group until Close or until Assigned fails. It makes all
// calls of Events, hence one at a time.
func (c *consumer) serve() {
	defer close(c.served)
	ctx := context.Background() // a rebalance belongs to no call of the application
	for {
		select {
		case <-c.closing:
			c.revoke(c.last, c.g.leave(c))
			return
		case <-c.turn:
		}
		lose, gain, at := c.g.look(c)
		c.revoke(ctx, lose)
		if len(gain) == 0 {
			continue
		}
		if err := c.assign(ctx, gain, at); err != nil {
			c.g.release(c, gain)
			c.revoke(ctx, c.g.leave(c))
			c.fail(err)
			return
		}
	}
}

func (c *consumer) revoke(ctx context.Context, shards []*shard) {
	if len(shards) == 0 {
		return
	}
	c.unassign(shards)
	c.c.Revoked(ctx, ids(shards), false)
	c.g.release(c, shards)
}

// fail has Fetch return err from now on.
func (c *consumer) fail(err error) {
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Commit keeps all of at or none.
func (c *consumer) Commit(ctx context.Context, at []driver.Position) error {
	if c.g == nil {
		return driver.Errorf(driver.ErrInvalid, "commit", "the consumer has no group")
	}
	if err := c.d.check(ctx, "commit"); err != nil {
		return err
	}
	shards := make([]*shard, len(at))
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	for i, p := range at {
		j := slices.IndexFunc(c.shards, func(sh *shard) bool { return sh.id == p.Shard })
		if j < 0 || c.g.owner[c.shards[j]] != c {
			return &driver.Error{Op: "commit", Shard: p.Shard, Kind: driver.ErrFenced}
		}
		shards[i] = c.shards[j]
	}
	for i, p := range at {
		if !shards[i].gone.Load() {
			c.g.progress[shards[i]] = p.Next
		}
	}
	return nil
}
