package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

// consumer reads shards, each with a cursor. Without a group it has all of
// them from Consumer to Close; with one, serve (group.go) adds and removes
// them as members come and go.
type consumer struct {
	d      *client
	c      driver.ConsumerConfig
	shards []*shard      // of all its streams
	wake   chan struct{} // tells Fetch that there is something to look at

	once    sync.Once
	closing chan struct{}   // closed by Close
	last    context.Context // of Close, set before closing is closed

	g      *group        // nil without a group
	turn   chan struct{} // tells serve that the group has changed
	served chan struct{} // closed when serve has ended

	mu   sync.Mutex
	at   []*cursor
	deal int   // which cursor Fetch looks at first
	err  error // what ended the consumer, if not Close
}

// cursor says where in a shard Fetch goes on. It is there, but not read, while
// Assigned runs, so that a Seek that comes as soon as the core knows of the
// shard finds it. Such a Seek has a higher generation than Assigned returns; one
// with a lower one began before the shard came, and is void.
type cursor struct {
	sh        *shard
	gen, next uint64
	ready     bool
}

func (d *client) Consumer(ctx context.Context, c driver.ConsumerConfig) (driver.Consumer, error) {
	if err := d.check(ctx, "open a consumer"); err != nil {
		return nil, err
	}
	shards, err := d.store.shards(c.Streams)
	if err != nil {
		return nil, err
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 1 << 20
	}
	if c.Group != "" && d.o.AckTimeout > 0 {
		return d.joinPool(c, shards), nil
	}
	m := &consumer{d: d, c: c, shards: shards, wake: make(chan struct{}, 1), closing: make(chan struct{})}
	if c.Group != "" {
		m.join(c.Group)
		return m, nil
	}
	at := make([]driver.Position, len(shards))
	for i, sh := range shards {
		at[i] = driver.Position{Shard: sh.id, Next: driver.SeqOf(sh.resolve(c.Start))}
	}
	if err := m.assign(ctx, shards, at); err != nil {
		return nil, err
	}
	return m, nil
}

// assign begins to read the shards, at the positions given or where the core
// says.
func (c *consumer) assign(ctx context.Context, shards []*shard, at []driver.Position) error {
	cursors := make([]*cursor, len(shards))
	for i, sh := range shards {
		cursors[i] = &cursor{sh: sh, next: number(at[i].Next)}
	}
	c.mu.Lock()
	c.at = append(c.at, cursors...)
	c.mu.Unlock()
	gen, from, err := c.c.Assigned(ctx, at)
	if err != nil {
		c.unassign(shards)
		return err
	}
	c.mu.Lock()
	for i, cur := range cursors {
		cur.ready = true
		if cur.gen > gen {
			continue
		}
		cur.gen, cur.next = gen, number(at[i].Next)
		for _, p := range from {
			if p.Shard == cur.sh.id {
				cur.next = number(p.Next)
			}
		}
	}
	c.mu.Unlock()
	for _, sh := range shards {
		sh.subscribe(c.wake)
	}
	return nil
}

// unassign stops reading the shards: no Fetch that begins now has any of them.
func (c *consumer) unassign(shards []*shard) {
	c.mu.Lock()
	c.at = slices.DeleteFunc(c.at, func(cur *cursor) bool { return slices.Contains(shards, cur.sh) })
	c.mu.Unlock()
	for _, sh := range shards {
		sh.unsubscribe(c.wake)
	}
}

func (c *consumer) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	had := len(into)
	for {
		if err := c.check(ctx, "read"); err != nil {
			return into, err
		}
		var err error
		if into, err = c.collect(into); err != nil || len(into) > had {
			return into, err
		}
		select {
		case <-c.wake:
		case <-c.closing:
		case <-ctx.Done():
		}
	}
}

// collect appends what can be read now, up to the budget, shards in turn.
func (c *consumer) collect(into []driver.Batch) ([]driver.Batch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return into, c.err
	}
	budget := c.c.MaxBytes
	for idle := 0; idle < len(c.at) && budget > 0; {
		c.deal = (c.deal + 1) % len(c.at)
		cur := c.at[c.deal]
		idle++
		if !cur.ready {
			continue
		}
		window, size, first := cur.sh.read(cur.next, budget)
		if cur.next < first {
			gap := &driver.GapError{Shard: cur.sh.id, From: driver.SeqOf(cur.next), To: driver.SeqOf(first), Cause: driver.GapTrimmed}
			cur.next = first
			return into, gap
		}
		if len(window) > 0 {
			into = append(into, &batch{cur.sh.id, cur.gen, cur.next, window, size})
			cur.next += uint64(len(window))
			budget -= size
			idle = 0
		}
	}
	return into, nil
}

// Seek leaves out shards that are not assigned (any more).
func (c *consumer) Seek(ctx context.Context, gen uint64, to map[driver.Shard]driver.Start) ([]driver.Position, error) {
	if err := c.check(ctx, "seek"); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var at []driver.Position
	for _, cur := range c.at {
		start, ok := to[cur.sh.id]
		if !ok || cur.gen > gen {
			continue
		}
		cur.next, cur.gen = cur.sh.resolve(start), gen
		at = append(at, driver.Position{Shard: cur.sh.id, Next: driver.SeqOf(cur.next)})
	}
	return at, nil
}

func (c *consumer) Close(ctx context.Context) error {
	c.once.Do(func() {
		c.last = ctx
		close(c.closing)
		if c.g == nil {
			c.unassign(c.shards)
			c.c.Revoked(ctx, ids(c.shards), false)
		}
	})
	if c.g == nil {
		return nil
	}
	select {
	case <-c.served:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *consumer) check(ctx context.Context, op string) error {
	select {
	case <-c.closing:
		return driver.Errorf(driver.ErrClosed, op, "the consumer is closed")
	default:
		return c.d.check(ctx, op)
	}
}

func ids(shards []*shard) []driver.Shard {
	s := make([]driver.Shard, len(shards))
	for i, sh := range shards {
		s[i] = sh.id
	}
	return s
}
