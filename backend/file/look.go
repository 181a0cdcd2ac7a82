package file

import (
	"context"
	"errors"

	"github.com/seastreamer/seastreamer/driver"
)

// look finds shards that are new, which are read from their start, and streams
// that were deleted or made anew. It is for consumers without a group.
func (c *consumer) look(ctx context.Context) error {
	for _, name := range c.cfg.Streams {
		_, m, err := c.d.meta(name)
		if err != nil {
			return wrap("read stream "+name, driver.Shard{}, err)
		}
		if err := c.replaceDeleted(name, m); err != nil {
			return err
		}
		c.settlePending(name, m)
		if int32(m.Shards) <= c.known[name] {
			continue
		}
		at, err := c.cursors(name, m, c.known[name])
		if err == nil {
			for _, cur := range at {
				var first uint64
				if first, err = cur.r.resolve(driver.Earliest); err != nil {
					break
				}
				cur.r.seek(first)
			}
		}
		if err != nil {
			closeCursors(at)
			return err
		}
		if err := c.assign(ctx, at); err != nil {
			if ctx.Err() == nil { // else it was broken off, and the next look finds them again
				c.fail(err)
			}
			return err
		}
		c.known[name] = int32(m.Shards)
	}
	return nil
}

// settlePending has units finished that are pending in the logs of the
// consumer (see settleIdle).
func (c *consumer) settlePending(name string, m meta) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cur := range c.at {
		if cur.shard.Stream == name && cur.r.t.last.flags&flagPending != 0 {
			c.d.settleIdle(cur.r.l, m)
		}
	}
}

// replaceDeleted gives the cursors whose log was deleted the log of the stream
// that has its name now. What was not read of the old one is a gap.
func (c *consumer) replaceDeleted(name string, m meta) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cur := range c.at {
		if cur.shard.Stream != name {
			continue
		}
		if !cur.r.l.deleted() {
			continue
		}
		fresh, err := c.cursor(cur.shard, m)
		if errors.Is(err, driver.ErrNotFound) && int(cur.shard.Index) < m.Shards {
			continue // it was deleted since m was read: the next look says what there is
		}
		if err != nil {
			return err
		}
		if fresh.r.l.id == cur.r.l.id {
			fresh.r.close() // likewise, and its files are not removed yet
			continue
		}
		first, err := fresh.r.resolve(driver.Earliest)
		if err != nil {
			fresh.r.close()
			return err
		}
		watchers.disarm(&cur.w)
		was := cur.r.want
		cur.r.close()
		cur.r = fresh.r
		cur.r.recreated(was, first)
		if k := c.leaseOf(cur.shard); k != nil {
			k.recreated(cur.r.l.id.hash(), was)
		}
		cur.hot.Store(true)
		signal(c.wake) // members look while Fetch sleeps
	}
	return nil
}

// recreated makes first, in a log that took the place of another, the next
// message, and says so first.
func (r *reader) recreated(was, first uint64) {
	r.seek(first)
	r.lost = &driver.GapError{Shard: r.l.shard, From: driver.SeqOf(was), To: driver.SeqOf(first), Cause: driver.GapRecreated}
}
