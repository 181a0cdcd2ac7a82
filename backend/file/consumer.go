package file

import (
	"context"
	"errors"

	"sync"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// How often a consumer looks for what no event tells. Each look wakes a few
// threads, and a consumer that waits should not be felt.
const (
	lookEvery = 5 * time.Second // new shards, and streams that were deleted
	tickEvery = 2 * time.Second // members of the group that died
)

// Where a file cannot be watched it is looked at after pollFirst, and after
// twice as long each time that nothing is new, up to pollLast.
const (
	pollFirst = 2 * time.Millisecond
	pollLast  = 500 * time.Millisecond
)

// A consumer reads shards, each with a cursor. Without a group it has all
// shards of its streams; with one, serve (group.go) adds and removes them.
type consumer struct {
	d       *fileDriver
	cfg     driver.ConsumerConfig
	wake    chan struct{} // capacity 1: a cursor became hot, or look at err
	closing chan struct{}
	once    sync.Once
	last    context.Context // of Close, set before closing is closed
	watched bool            // the process's watcher was acquired
	g       *member         // nil without a group

	timer *time.Timer // of Fetch
	poll  time.Duration
	next  time.Time // the next look

	events sync.Mutex // held while Assigned or Revoked runs

	mu    sync.Mutex
	at    []*cursor
	turn  int                     // which cursor Fetch looks at first
	err   error                   // what ended the consumer, if not Close
	known map[string]int32        // shards of each stream that have been assigned; without a group
	ends  map[driver.Shard]uint64 // where Latest is, resolved once
}

// A cursor is one shard that the consumer reads. It is there, but not live,
// while Assigned runs, so that a Seek that comes as soon as the core knows of
// the shard finds it; sought says that one came. It is newer than the answer
// of Assigned where its generation is higher, and void where it is lower: then
// it began before the shard came.
type cursor struct {
	shard  driver.Shard
	r      *reader
	gen    uint64
	live   bool
	sought bool
	hot    atomic.Bool // there may be something to read
	w      watch
}

// Consumer implements [driver.Driver].
func (d *fileDriver) Consumer(ctx context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	c := &consumer{
		d: d, cfg: cfg, wake: make(chan struct{}, 1), closing: make(chan struct{}),
		known: make(map[string]int32), ends: make(map[driver.Shard]uint64), poll: pollFirst,
		timer: time.NewTimer(time.Hour), next: time.Now().Add(d.env.look),
	}
	if err := watchers.acquire(); err == nil {
		c.watched = true
	} else if d.opts.Logger != nil {
		d.opts.Logger.Warn("files cannot be watched, so readers poll", "err", err)
	}
	if err := c.open(ctx); err != nil {
		c.letGo()
		return nil, wrap("read", driver.Shard{}, err)
	}
	return c, nil
}

func (c *consumer) open(ctx context.Context) error {
	var at []*cursor
	for _, name := range c.cfg.Streams {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		_, m, err := c.d.meta(name)
		if err != nil {
			return wrap("read stream "+name, driver.Shard{}, err)
		}
		cs, err := c.cursors(name, m, 0)
		at = append(at, cs...)
		if err != nil {
			closeCursors(at)
			return err
		}
		c.known[name] = int32(m.Shards)
	}
	for _, cur := range at {
		end, err := cur.r.resolve(driver.Latest)
		if err == nil && c.cfg.Group == "" {
			end, err = cur.r.resolve(c.cfg.Start)
		}
		if err != nil {
			closeCursors(at)
			return wrap("read", cur.shard, err)
		}
		c.ends[cur.shard] = end
		cur.r.seek(end)
	}
	if c.cfg.Group == "" {
		return c.assign(ctx, at)
	}
	closeCursors(at)
	return c.join(ctx)
}

// cursors opens the shards of a stream from the index from on.
func (c *consumer) cursors(name string, m meta, from int32) ([]*cursor, error) {
	var at []*cursor
	for i := from; i < int32(m.Shards); i++ {
		cur, err := c.cursor(driver.Shard{Stream: name, Index: i}, m)
		if err != nil {
			return at, err
		}
		at = append(at, cur)
	}
	return at, nil
}

func (c *consumer) cursor(shard driver.Shard, m meta) (*cursor, error) {
	root, err := c.d.store.open(false)
	if err != nil {
		return nil, wrap("read", shard, err)
	}
	l, err := c.d.openShard(root, shard, m)
	if err != nil {
		return nil, wrap("read", shard, err)
	}
	cur := &cursor{shard: shard, r: newReader(l, m.Sync == SyncAlways)}
	cur.w.wake = func() {
		cur.hot.Store(true)
		signal(c.wake)
	}
	cur.hot.Store(true)
	return cur, nil
}

func closeCursors(at []*cursor) {
	for _, cur := range at {
		watchers.disarm(&cur.w)
		cur.r.close()
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// assign begins to read cursors whose readers stand where reading would begin.
// On an error it has closed them. A consumer without a group may be closed
// meanwhile: then Close revokes them after this, or none is assigned any more.
func (c *consumer) assign(ctx context.Context, at []*cursor) error {
	if len(at) == 0 {
		return nil
	}
	pos := make([]driver.Position, len(at))
	for i, cur := range at {
		pos[i] = driver.Position{Shard: cur.shard, Next: driver.SeqOf(cur.r.want)}
	}
	c.events.Lock()
	c.mu.Lock()
	if c.g == nil && c.isClosed() {
		c.mu.Unlock()
		c.events.Unlock()
		closeCursors(at)
		return errConsumerClosed
	}
	c.at = append(c.at, at...)
	c.mu.Unlock()
	gen, from, err := c.cfg.Assigned(ctx, pos)
	c.events.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.remove(at)
		return err
	}
	for i, cur := range at {
		cur.live = true
		if cur.gen > gen {
			continue
		}
		if cur.sought {
			cur.r.seek(number(pos[i].Next))
		}
		cur.gen = gen
		for _, p := range from {
			if p.Shard == cur.shard {
				cur.r.seek(number(p.Next))
			}
		}
	}
	signal(c.wake)
	return nil
}

// remove closes cursors, so that no Fetch that begins now has any of them;
// mu is held.
func (c *consumer) remove(at []*cursor) {
	gone := make(map[*cursor]bool, len(at))
	for _, cur := range at {
		gone[cur] = true
	}
	kept := c.at[:0]
	for _, cur := range c.at {
		if !gone[cur] {
			kept = append(kept, cur)
		}
	}
	clear(c.at[len(kept):])
	c.at = kept
	closeCursors(at)
}

// Fetch implements [driver.Consumer].
func (c *consumer) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	for {
		select {
		case <-c.closing:
			return into, errConsumerClosed
		case <-ctx.Done():
			return into, context.Cause(ctx)
		default:
		}
		if c.g == nil && !time.Now().Before(c.next) {
			c.next = time.Now().Add(c.d.env.look)
			if err := c.look(ctx); err != nil {
				return into, err
			}
		}
		b, polling, err := c.collect()
		if b != nil {
			c.poll = pollFirst
			return append(into, b), nil
		}
		if err != nil {
			return into, err
		}
		c.sleep(ctx, polling)
	}
}

// sleep waits for news: in the files as long as they are watched, else for a
// moment.
func (c *consumer) sleep(ctx context.Context, polling bool) {
	wait := time.Hour // serve ticks for members of groups
	if c.g == nil {
		wait = time.Until(c.next)
	}
	if polling {
		wait = min(wait, c.poll)
		c.poll = min(2*c.poll, pollLast)
	}
	c.timer.Reset(wait)
	select {
	case <-c.wake:
	case <-c.timer.C:
	case <-c.closing:
	case <-ctx.Done():
	}
}

// collect reads the next block of the next shard that has one. Shards take
// turns block by block. polling says that there is a shard that nothing wakes.
func (c *consumer) collect() (b driver.Batch, polling bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, false, c.err
	}
	for range len(c.at) {
		c.turn = (c.turn + 1) % len(c.at)
		cur := c.at[c.turn]
		if !cur.live || !cur.hot.Load() {
			continue
		}
		b, err := cur.r.read(cur.gen)
		if b == nil && err == nil {
			// Arm first and look again: what comes after the look rings.
			cur.hot.Store(false)
			if !c.watched || watchers.arm(&cur.w, cur.r.l.ctl) != nil {
				polling = true
			}
			if b, err = cur.r.read(cur.gen); b != nil || err != nil || polling {
				cur.hot.Store(true)
			}
		}
		if err != nil {
			var gap *driver.GapError
			if errors.As(err, &gap) {
				return nil, polling, err
			}
			if cur.r.l.deleted() {
				// Its segments are gone, or by their names those of another
				// log. The next look says what there is now.
				c.next = time.Now()
				return nil, true, nil
			}
			return nil, polling, wrap("read", cur.shard, err)
		}
		if b != nil {
			return b, polling, nil
		}
	}
	return nil, polling, nil
}

// Seek implements [driver.Consumer]. Shards that are not assigned (any more)
// are left out.
func (c *consumer) Seek(ctx context.Context, gen uint64, to map[driver.Shard]driver.Start) ([]driver.Position, error) {
	if c.isClosed() {
		return nil, driver.Errorf(driver.ErrClosed, "seek", "the consumer is closed")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var at []driver.Position
	var moved []*cursor
	for _, cur := range c.at {
		start, ok := to[cur.shard]
		if !ok || cur.gen > gen {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		seq, err := cur.r.resolve(start)
		if err != nil {
			return nil, wrap("seek", cur.shard, err)
		}
		moved = append(moved, cur)
		at = append(at, driver.Position{Shard: cur.shard, Next: driver.SeqOf(seq)})
	}
	for i, cur := range moved { // now that nothing fails any more
		cur.r.seek(number(at[i].Next))
		cur.gen, cur.sought = gen, true
		if k := c.leaseOf(cur.shard); k != nil {
			k.moveOn()
		}
		cur.hot.Store(true)
	}
	return at, nil
}

var errConsumerClosed = driver.Errorf(driver.ErrClosed, "read", "the consumer is closed")

func (c *consumer) isClosed() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// fail has Fetch return err from now on.
func (c *consumer) fail(err error) {
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	signal(c.wake)
}

// Close implements [driver.Consumer].
func (c *consumer) Close(ctx context.Context) error {
	c.once.Do(func() {
		c.last = ctx
		close(c.closing)
		if c.g == nil {
			c.revoke(ctx, nil, func(*cursor) bool { return true })
			c.letGo()
		}
	})
	if c.g == nil {
		return nil
	}
	select {
	case <-c.g.done:
		return nil
	case <-ctx.Done():
		return wrap("close the consumer of group "+c.cfg.Group, driver.Shard{}, context.Cause(ctx))
	}
}

// revoke stops reading the cursors that are chosen, tells the core, and calls
// release, if there is one, with their shards.
func (c *consumer) revoke(ctx context.Context, release func([]driver.Shard), chosen func(*cursor) bool) {
	c.mu.Lock()
	var at []*cursor
	var shards []driver.Shard
	for _, cur := range c.at {
		if chosen(cur) {
			at = append(at, cur)
			shards = append(shards, cur.shard)
		}
	}
	c.remove(at)
	c.mu.Unlock()
	if len(shards) == 0 {
		return
	}
	c.events.Lock()
	c.cfg.Revoked(ctx, shards, false)
	c.events.Unlock()
	if release != nil {
		release(shards)
	}
}

// letGo gives back what the consumer has from the process.
func (c *consumer) letGo() {
	c.timer.Stop()
	if c.watched {
		c.watched = false
		watchers.release()
	}
}
