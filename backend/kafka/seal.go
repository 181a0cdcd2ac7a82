package kafka

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// An owner sees to it that the units that it has ended are ended everywhere,
// since a broker may leave that out; see hanging.go. It looks
//
//   - after each unit, at the shards that the unit wrote to, while the next one
//     is read: the first record of the next waits for that;
//   - before it first writes to a stream, at all its shards: what an earlier
//     owner of the name left there has the same producer id;
//   - and, where owners share the name, now and then at all of these and at the
//     group's offsets: a member that is gone has an id that nobody claims again.

// A sealing looks after one unit.
type sealing struct {
	shards []driver.Shard // to look at
	done   chan struct{}  // closed at the end; then
	err    error          // is what a unit after it fails with
}

// sealLater begins to look after a unit that has ended. One that has nothing
// anywhere has not waited for those before it: they are looked after again.
func (o *owner) sealLater(shards []driver.Shard) {
	s := &sealing{shards: shards, done: make(chan struct{})}
	o.mu.Lock()
	due := o.pause.due()
	if len(shards) == 0 && o.sealing != nil {
		s.shards = o.sealing.shards
	}
	o.sealing = s
	o.mu.Unlock()
	go func() {
		defer close(s.done)
		// Not sooner than there is a chance to find it done.
		pausing(o.life, time.Until(due))
		s.err = o.units.sealed(o.life, s.shards)
	}()
}

// lastSealed waits until the last unit is ended everywhere.
func (o *owner) lastSealed(ctx context.Context) error {
	o.mu.Lock()
	s := o.sealing
	o.mu.Unlock()
	if s == nil {
		return nil
	}
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return &driver.Error{Kind: driver.ErrUnavailable, Err: context.Cause(ctx)}
	}
}

// streamSealed looks at a stream that this owner has not yet written to.
func (o *owner) streamSealed(ctx context.Context, stream string) error {
	if _, ok := o.streams.Load(stream); ok {
		return nil
	}
	var shards []driver.Shard
	ts, err := retried(ctx, func() (map[string]topic, error) { return topics(ctx, o.c, o.c.cl, false, stream) })
	if err == nil {
		shards = shardsOf(ts)
	} else if !errors.Is(err, driver.ErrNotFound) { // one that will be created has nothing
		return err
	}
	if !o.shared { // else the producer id is new
		if err := o.units.sealed(ctx, shards); err != nil {
			return err
		}
	}
	o.streams.Store(stream, struct{}{})
	return nil
}

// notes are the shards with the records of the name, and with the group's
// offsets.
func (o *owner) notes(ctx context.Context) []driver.Shard {
	at := []driver.Shard{o.log}
	if o.group != nil {
		if s, ok := o.group.shard(ctx); ok {
			at = append(at, s)
		}
	}
	return at
}

// keep looks, as long as the owner lives, at what members may have left that
// are gone.
func (o *owner) keep() {
	defer close(o.kept)
	every := min(max(o.c.o.TransactionTimeout, time.Second), 10*time.Second)
	for pausing(o.life, every) {
		shards := o.notes(o.life)
		o.streams.Range(func(stream, _ any) bool {
			if ts, err := topics(o.life, o.c, o.c.cl, false, stream.(string)); err == nil {
				shards = append(shards, shardsOf(ts)...)
			}
			return true
		})
		// Those of the name: whoever else writes there looks after itself.
		open, err := o.c.openIn(o.life, shards)
		if err == nil && len(open) > 0 {
			err = o.c.heal(o.life, open, func(id string) bool { return id == o.name || strings.HasPrefix(id, o.name+"+") })
		}
		if err != nil && o.life.Err() == nil && !errors.Is(err, driver.ErrUnavailable) {
			o.c.logger().Warn("what a member that is gone has left", "name", o.name, "error", err)
		}
	}
}
