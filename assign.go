package seastreamer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// assigned is driver.Events.Assigned: the consumer reads more shards.
func (c *Consumer) assigned(ctx context.Context, at []Position) (uint64, []Position, error) {
	var override Checkpoint
	if c.unit != nil {
		var err error
		if override, err = c.unit.claim(ctx, slices.Clone(at)); err != nil {
			return 0, nil, err
		}
	}
	if c.cfg.Assigned != nil {
		shards := make([]Shard, len(at))
		for i, p := range at {
			shards[i] = p.Shard
		}
		var err error
		if override, err = c.cfg.Assigned(ctx, shards); err != nil {
			return 0, nil, err
		}
	}
	var from []Position
	at = slices.Clone(at)
	for i, p := range at {
		if next, ok := override[p.Shard]; ok && next != p.Next {
			at[i].Next = next
			from = append(from, at[i])
		}
	}
	c.mu.Lock()
	c.gens++
	gen := c.gens
	for _, p := range at {
		if w := c.windows[p.Shard]; w != nil {
			w.kill()
		}
		c.windows[p.Shard] = newWindow(c, p, gen)
		c.reached(p.Shard, p.Next)
	}
	c.mu.Unlock()
	c.queue.drop()
	signal(c.moved)       // where it begins is progress to be stored
	signal(c.queue.ready) // a start at or past Until may have finished the loop
	c.mon.assigned(at)
	return gen, from, nil
}

// revoked is driver.Events.Revoked. In order: stop delivering, wait for the
// loop body, the application's Revoked, the last commit, the window's death.
// It never waits for the fetch goroutine, which may be what calls it.
func (c *Consumer) revoked(ctx context.Context, shards []Shard, lost bool) {
	c.mu.Lock()
	ws := make(map[Shard]*window)
	for _, s := range shards {
		if w := c.windows[s]; w != nil {
			ws[s] = w
			w.close()
		}
	}
	closing := c.closed
	c.mu.Unlock()
	if len(ws) == 0 {
		return
	}
	mine := slices.Collect(maps.Keys(ws))
	c.cut.Store(true)
	c.queue.drop()
	switch {
	case c.unit != nil:
		c.unit.leave(ctx, mine, lost || closing)
	case !lost && !closing:
		c.waitForBody(ctx, ws)
	}
	if c.cfg.Revoked != nil {
		c.cfg.Revoked(ctx, mine, lost)
	}
	if !lost && c.committer() {
		_ = c.commit(ctx, ws) // observed there; what is not stored is delivered again elsewhere
	}
	c.mu.Lock()
	for s, w := range ws {
		if c.windows[s] == w {
			delete(c.windows, s)
		}
	}
	c.mu.Unlock()
	for _, w := range ws {
		w.kill()
	}
	c.mon.revoked(mine, lost)
}

// waitForBody waits, at most RevokeTimeout, until the loop body has nothing of
// these windows in hand and, with AckExplicit, all that was delivered is done.
func (c *Consumer) waitForBody(ctx context.Context, ws map[Shard]*window) {
	t := time.NewTimer(c.cfg.RevokeTimeout)
	defer t.Stop()
	wait := func(done <-chan struct{}) bool {
		if done == nil {
			return true
		}
		select {
		case <-done:
			return true
		case <-t.C:
		case <-ctx.Done():
		case <-c.life.Done():
		}
		return false
	}
	c.mu.Lock()
	var left chan struct{}
	if w := c.inBody; w != nil && ws[w.shard] == w {
		if c.bodyLeft == nil {
			c.bodyLeft = make(chan struct{})
		}
		left = c.bodyLeft
	}
	c.mu.Unlock()
	if left != nil && !wait(left) {
		return
	}
	for _, w := range ws {
		if w.explicit && !wait(w.waitDrained()) {
			return
		}
	}
}

// A seekCommand asks the fetch goroutine to move shards.
type seekCommand struct {
	ctx    context.Context
	to     Start
	shards []Shard // none means all that are assigned
	done   chan error
}

// Seek moves the shards given, or all that the consumer reads, to another
// place. Prefetched messages of them are dropped, and acknowledgements of what
// was delivered before have no effect any more. With a group the new position
// is stored at the next commit; a group that keeps a verdict per message
// (Features.Ack) cannot be moved by its members.
func (c *Consumer) Seek(ctx context.Context, to Start, shards ...Shard) error {
	f := c.owner.Features()
	if err := check("seek", f.Backend, []need{
		{"a Start", to.At == driver.AtSeq, f.SeekSeq, "seeking by sequence"},
		{"a Start", to.At == driver.AtTime, f.SeekTime, "seeking by time"},
	}); err != nil {
		return err
	}
	if c.settler != nil {
		return &Error{Op: "seek", Kind: errors.ErrUnsupported, Err: fmt.Errorf("%s keeps a verdict per message of a group and no position: moving a group is administration, or read without a group", f.Backend)}
	}
	select {
	case c.seeking <- struct{}{}:
		defer func() { <-c.seeking }()
	case <-ctx.Done():
		return stopped(ctx, "seek", nil)
	case <-c.life.Done():
	}
	if c.isClosed() {
		return &Error{Op: "seek", Kind: ErrClosed}
	}
	cmd := &seekCommand{ctx: ctx, to: to, shards: shards, done: make(chan error, 1)}
	c.seek.Store(cmd)
	signal(c.queue.room)
	if cancel := c.interrupt.Load(); cancel != nil {
		(*cancel)()
	}
	select {
	case err := <-cmd.done:
		return wrap("seek", Shard{}, err)
	case <-ctx.Done():
		c.seek.CompareAndSwap(cmd, nil)
		return stopped(ctx, "seek", ErrUnknown)
	case <-c.life.Done():
		return &Error{Op: "seek", Kind: ErrClosed}
	}
}

// takeSeek is called after the Fetch to come can be interrupted, so that a
// command that comes later interrupts it.
func (c *Consumer) takeSeek() *seekCommand { return c.seek.Swap(nil) }

// runSeek is the fetch goroutine's part of Seek.
func (c *Consumer) runSeek(cmd *seekCommand) error {
	c.mu.Lock()
	c.gens++
	gen := c.gens
	shards := cmd.shards
	if len(shards) == 0 {
		shards = slices.Collect(maps.Keys(c.windows))
	}
	before := make(map[Shard]*window)
	to := make(map[Shard]Start)
	for _, s := range shards {
		w := c.windows[s]
		if w == nil {
			c.mu.Unlock()
			return &Error{Op: "seek", Shard: s, Kind: ErrNotFound, Err: errNotAssigned}
		}
		before[s], to[s] = w, cmd.to
	}
	c.mu.Unlock()
	at, err := c.d.Seek(cmd.ctx, gen, to)
	if err != nil {
		return err
	}
	c.mu.Lock()
	for _, p := range at {
		w := before[p.Shard]
		// A rebalance may have taken the shard, or given it anew, meanwhile:
		// then the seek has no say in it.
		if w == nil || c.windows[p.Shard] != w || w.isClosed() {
			continue
		}
		w.kill()
		c.windows[p.Shard] = newWindow(c, p, gen)
		c.reached(p.Shard, p.Next)
	}
	c.mu.Unlock()
	c.cut.Store(true)
	c.queue.drop()
	c.queue.restart(to)
	signal(c.moved)
	signal(c.queue.ready)
	return nil
}

// reached notes how far a shard has come, for Until. Under mu.
func (c *Consumer) reached(s Shard, next Seq) {
	until, ok := c.cfg.Until[s]
	if !ok || c.finished[s] == !next.Less(until) {
		return
	}
	if c.finished[s] = !next.Less(until); c.finished[s] {
		c.unfinished--
	} else {
		c.unfinished++
	}
}

func (c *Consumer) reachedUntil() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Until != nil && c.unfinished == 0
}

// bound cuts a view off at Until; false means that nothing of it is wanted.
func (c *Consumer) bound(b *Batch) bool {
	s := b.Shard()
	until, ok := c.cfg.Until[s]
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.windows[s] != b.w {
		return false
	}
	done := c.finished[s]
	c.reached(s, b.next)
	if done {
		return false
	}
	for b.to > b.from && !b.d.Seq(int(b.to-1)).Less(until) {
		b.to--
		b.next = until
	}
	return true
}
