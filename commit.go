package seastreamer

import (
	"context"
	"errors"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

var errNotAssigned = errors.New("the consumer does not read this shard")

// commitTimeout bounds a background commit, so that a broker that accepts and
// says nothing does not hold up the next one for ever.
const commitTimeout = 10 * time.Second

// commitLoop stores the group's progress every CommitEvery, while there is any:
// an idle consumer does not wake up for it. What fails is observed and tried
// again after as long.
func (c *Consumer) commitLoop() {
	defer c.running.Done()
	t := time.NewTimer(c.cfg.CommitEvery)
	defer t.Stop()
	for {
		select {
		case <-c.moved:
		case <-c.life.Done():
			return
		}
		t.Reset(c.cfg.CommitEvery)
		select {
		case <-t.C:
		case <-c.life.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.life, commitTimeout)
		_ = c.commit(ctx, nil)
		cancel()
		if c.unsettled() {
			signal(c.moved)
		}
	}
}

// unsettled reports whether progress is not stored or may come without a
// further delivery.
func (c *Consumer) unsettled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.windows {
		if w.unsettled() {
			return true
		}
	}
	return false
}

// Commit stores the group's progress now and returns it; without a group it
// only returns it, for you to store. The checkpoint has every shard that the
// consumer reads. It is nil where a group's progress is not a position but a
// verdict per message (Features.Ack): then the verdicts are stored.
func (c *Consumer) Commit(ctx context.Context) (Checkpoint, error) {
	if c.isClosed() {
		return nil, &Error{Op: "commit", Kind: ErrClosed}
	}
	if c.settler != nil {
		return nil, wrap("commit", Shard{}, c.commit(ctx, nil))
	}
	ws := c.allWindows()
	at := make(Checkpoint, len(ws))
	for _, w := range ws {
		at[w.shard] = w.position()
	}
	if c.cfg.Group != "" {
		if err := c.commit(ctx, nil); err != nil {
			return nil, wrap("commit", Shard{}, err)
		}
	}
	return at, nil
}

// commit stores the progress of the windows given, or of all that are not
// being revoked.
func (c *Consumer) commit(ctx context.Context, only map[Shard]*window) error {
	select {
	case c.committing <- struct{}{}:
		defer func() { <-c.committing }()
	case <-ctx.Done():
		return stopped(ctx, "commit", nil)
	}
	if c.settler != nil {
		return c.settle(ctx)
	}
	c.mu.Lock()
	d := c.d
	ws := make([]*window, 0, len(c.windows))
	for s, w := range c.windows {
		if only[s] == w || only == nil && !w.isClosed() {
			ws = append(ws, w)
		}
	}
	c.mu.Unlock()
	var at []Position
	moved := ws[:0]
	for _, w := range ws {
		if p, ok := w.toCommit(); ok {
			at = append(at, p)
			moved = append(moved, w)
		}
	}
	if len(at) == 0 || d == nil {
		return nil
	}
	err := d.(driver.Committer).Commit(ctx, at)
	if err == nil {
		for i, w := range moved {
			w.committed(at[i])
		}
	}
	c.mon.commit(at, err)
	return err
}
