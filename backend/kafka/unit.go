package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// unit is one transaction of an owner.
type unit struct {
	o      *owner
	n      uint64                      // counted by the owner
	done   func(driver.Receipt, error) // u.settled, bound once: no closure for each record
	begun  atomic.Bool                 // the pause before the first record is over
	first  sync.Mutex                  // held while it is waited for
	ended  atomic.Bool                 // Commit or Abort was called; set under the owner's mu
	sealed atomic.Pointer[string]      // the stream that was last known to be sealed

	sent    time.Time  // when the first record left
	mu      sync.Mutex // held by settled, which is called serially, for the others
	learned bool
	who     membership // when the moves were checked
	failed  error      // of the first record that failed
	wrote   map[driver.Shard]struct{}
	last    driver.Shard // in wrote; settled's own
}

// Begin opens a unit.
func (o *owner) Begin(ctx context.Context) (driver.Tx, error) {
	o.mu.Lock()
	if err := o.ended(); err != nil {
		o.mu.Unlock()
		return nil, err
	}
	if o.open != nil {
		o.mu.Unlock()
		return nil, driver.Errorf(driver.ErrInvalid, "", "a unit of %q is open: there is one at a time", o.name)
	}
	o.nunits++
	u := &unit{o: o, n: o.nunits, wrote: map[driver.Shard]struct{}{}}
	u.done = u.settled
	o.open = u
	o.mu.Unlock()
	if err := o.units.begin(ctx); err != nil {
		o.kill(err)
		if isFence(err) {
			return nil, o.fenced(ctx, err)
		}
		_, text := o.c.describe(err, "")
		return nil, &driver.Error{Op: "begin a unit of " + o.name, Kind: driver.ErrUnavailable, Err: text}
	}
	return u, nil
}

// Produce hands the record to the producer, which copies nothing and keeps its
// own budget.
func (u *unit) Produce(ctx context.Context, rec driver.Record) error {
	if rec.Stream == positionTopic {
		return driver.Errorf(driver.ErrInvalid, "", "stream %q is for positions", positionTopic)
	}
	if u.ended.Load() {
		return &driver.Error{Kind: driver.ErrClosed, Err: errors.New("the unit has ended")}
	}
	return u.produce(ctx, rec)
}

func (u *unit) produce(ctx context.Context, rec driver.Record) error {
	if !u.begun.Load() {
		if err := u.await(ctx); err != nil {
			return err
		}
	}
	if s := u.sealed.Load(); s == nil || *s != rec.Stream {
		stream := rec.Stream // rec itself stays on the stack
		if err := u.o.streamSealed(ctx, stream); err != nil {
			return err
		}
		u.sealed.Store(&stream)
	}
	return u.o.units.Produce(ctx, rec, u.done)
}

// await waits before the unit's first record, see pause and seal.go.
func (u *unit) await(ctx context.Context) error {
	u.first.Lock()
	defer u.first.Unlock()
	if u.begun.Load() {
		return nil
	}
	u.o.mu.Lock()
	due := u.o.pause.due()
	u.o.mu.Unlock()
	pausing(ctx, time.Until(due))
	if err := u.o.lastSealed(ctx); err != nil {
		return err
	}
	u.mu.Lock()
	u.sent = time.Now()
	u.mu.Unlock()
	u.begun.Store(true)
	return nil
}

// settled is called for each record. It keeps the first failure: franz-go would
// commit what succeeded.
func (u *unit) settled(r driver.Receipt, err error) {
	if err == nil && r.Shard != u.last {
		u.last = r.Shard
		u.writes(r.Shard)
	}
	if u.learned && err == nil {
		return // learned is read and written by this goroutine alone
	}
	var e *driver.Error
	if errors.As(err, &e) && e.Shard.Stream != "" {
		u.writes(e.Shard) // it may be there all the same
	}
	u.mu.Lock()
	if u.failed == nil {
		u.failed = err
	}
	sent := u.sent
	u.mu.Unlock()
	if !u.learned {
		u.learned = true
		u.o.mu.Lock()
		u.o.pause.learn(time.Since(sent))
		u.o.mu.Unlock()
	}
}

// writes takes note of where the unit has something.
func (u *unit) writes(s driver.Shard) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.wrote[s] = struct{}{}
}

// written is where the unit has something.
func (u *unit) written() []driver.Shard {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.wrote))
}

func (u *unit) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed
}

// end takes the unit from the owner; a unit ends once.
func (u *unit) end() error {
	u.o.mu.Lock()
	defer u.o.mu.Unlock()
	if u.ended.Load() {
		return driver.Errorf(driver.ErrInvalid, "", "the unit has ended")
	}
	if err := u.o.ended(); err != nil {
		return err
	}
	u.ended.Store(true)
	u.o.open = nil
	return nil
}

// Commit writes the positions into the transaction and ends it.
func (u *unit) Commit(ctx context.Context, moves []driver.Move) error {
	if err := u.end(); err != nil {
		return err
	}
	o := u.o
	ctx, cancel := context.WithTimeout(ctx, o.c.o.DeliveryTimeout)
	defer cancel()
	if err := u.check(moves); err != nil {
		if aborted := u.abort(ctx); aborted != nil {
			o.kill(aborted)
		}
		return err
	}
	err := u.fill(ctx, moves)
	if err == nil {
		err = o.units.Flush(ctx)
	}
	if failed := u.failure(); failed != nil {
		err = failed
	}
	if err != nil {
		return u.undone(ctx, err)
	}
	if err := o.units.end(ctx, kgo.TryCommit); err != nil {
		return u.uncommitted(ctx, err)
	}
	defer o.sealLater(u.written())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pause.ended = time.Now()
	for _, m := range moves {
		if _, ok := o.at[m.Shard]; ok { // it may have been released since
			o.at[m.Shard] = stand{m.To, u.who.id}
		}
	}
	return nil
}

// check compares the moves with where this owner knows the shards to stand. No
// other owner can have moved them: its claim would have fenced this one, which
// the broker tells when the transaction ends, or offsets are added to it.
func (u *unit) check(moves []driver.Move) error {
	u.o.mu.Lock()
	defer u.o.mu.Unlock()
	// Of the generation by which the shards are still claimed. Were it asked
	// for when the offsets are committed, then a shard could have left
	// meanwhile, and gone to another member of that later generation.
	u.who = u.o.membership()
	for _, m := range moves {
		switch at, ok := u.o.at[m.Shard]; {
		case !ok:
			return &driver.Error{Shard: m.Shard, Kind: driver.ErrFenced, Err: fmt.Errorf("%q has not claimed it", u.o.name)}
		case at.member != u.who.id:
			// A member that the group had given up, and that learns it when it
			// joins, joins under another id and believes that its shards are its
			// own still; meanwhile another may have had them, or has them.
			return &driver.Error{Shard: m.Shard, Kind: driver.ErrFenced, Err: errors.New("the group had given this member up, and its shard may have gone to another")}
		case at.next != m.From:
			return &driver.Error{Shard: m.Shard, Kind: driver.ErrUnknown, Err: fmt.Errorf("%q stands at %v there and not at %v", u.o.name, at.next, m.From)}
		}
	}
	return nil
}

// fill adds the positions to the transaction: franz-go ends one without records
// by doing nothing, and offsets of a group expire, so each unit that moves has a
// record, also where the positions are offsets too.
func (u *unit) fill(ctx context.Context, moves []driver.Move) error {
	o := u.o
	for _, m := range moves {
		v := positionValue{Owner: o.me, Unit: u.n, Next: m.To}
		if err := u.note(ctx, atKey(o.name, m.Shard), v); err != nil {
			return err
		}
	}
	if o.group == nil || len(moves) == 0 {
		return nil
	}
	at := make([]driver.Position, len(moves))
	for i, m := range moves {
		at[i] = driver.Position{Shard: m.Shard, Next: m.To}
	}
	if o.shared {
		// After the records: who waits until the offsets are no longer pending
		// finds the records.
		if err := o.units.Flush(ctx); err != nil {
			return err
		}
	}
	if s, ok := o.group.shard(ctx); ok {
		u.writes(s)
	}
	return o.group.commit(ctx, o.units, u.who, at)
}

// note adds a record of the name to the unit.
func (u *unit) note(ctx context.Context, key string, v positionValue) error {
	return u.produce(ctx, driver.Record{Stream: u.o.log.Stream, Shard: driver.On(u.o.log.Index), Key: []byte(key), Value: v.encode()})
}

// undone ends a unit of which something failed before its end was asked for:
// none of it is ever committed.
func (u *unit) undone(ctx context.Context, failed error) error {
	o := u.o
	if isFence(failed) {
		o.kill(failed)
		return o.fenced(ctx, failed)
	}
	if err := u.abort(ctx); err != nil {
		o.kill(err)
		if isFence(err) {
			return o.fenced(ctx, err)
		}
		return &driver.Error{Kind: driver.ErrUnknown, Err: fmt.Errorf("the unit could not be aborted (%w) after: %w", err, text(failed))}
	}
	var e *driver.Error
	if errors.As(failed, &e) {
		switch e.Kind {
		case driver.ErrNotFound, driver.ErrInvalid, driver.ErrDenied, driver.ErrTooLarge, driver.ErrClosed, errors.ErrUnsupported:
			return failed
		}
	}
	return &driver.Error{Kind: driver.ErrAborted, Err: text(failed)}
}

// text is an error without its kind: what a unit as a whole met is of another.
func text(err error) error {
	var e *driver.Error
	if errors.As(err, &e) && e.Err != nil {
		err = e.Err
		if e.Shard != (driver.Shard{}) {
			return fmt.Errorf("%v: %s", e.Shard, err.Error())
		}
	}
	return errors.New(err.Error())
}

// uncommitted says what became of a unit whose commit failed.
func (u *unit) uncommitted(ctx context.Context, err error) error {
	o := u.o
	switch {
	case isFence(err):
		// The request may have been sent twice, and the first one done what the
		// second was refused. Then a newer owner has read the positions that
		// this unit wrote, and they are there to be seen.
		o.kill(err)
		said := o.fenced(ctx, err)
		if errors.Is(said, driver.ErrFenced) {
			if st, failed := o.c.readStanding(ctx, o.name, o.me, driver.Uncommitted); failed == nil && st.units[u.n] {
				return nil
			}
		}
		return said
	case errors.Is(err, kerr.TransactionAbortable), errors.Is(err, kerr.OperationNotAttempted):
		return u.undone(ctx, err) // refused, or never asked for
	}
	o.kill(err)
	kind, text := o.c.describe(err, "")
	if kind != driver.ErrDenied {
		kind = driver.ErrUnknown
	}
	return &driver.Error{Op: "commit", Kind: kind, Err: text}
}

// Abort ends the unit without a trace.
func (u *unit) Abort(ctx context.Context) error {
	if err := u.end(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, u.o.c.o.DeliveryTimeout)
	defer cancel()
	if err := u.abort(ctx); err != nil {
		u.o.kill(err)
		if isFence(err) {
			return u.o.fenced(ctx, err)
		}
		_, text := u.o.c.describe(err, "")
		return &driver.Error{Op: "abort", Kind: driver.ErrUnknown, Err: text}
	}
	return nil
}

// abort ends the transaction without a trace.
func (u *unit) abort(ctx context.Context) error {
	err := u.o.units.abort(ctx)
	if err == nil {
		u.o.sealLater(u.written())
	}
	return err
}
