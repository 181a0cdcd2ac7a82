package file

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

const (
	// unitMessages and unitBytes bound a unit that asks for nothing else. It
	// is in memory until it is committed, and then other writers of its shards
	// wait while it is written: some 4 ms.
	unitMessages = 50_000
	unitBytes    = 8 << 20
	// maxUnit bounds every unit.
	maxUnit = 256 << 20
)

// A tx is a unit in memory: encoded records, shard by shard.
type tx struct {
	o *owner

	mu    sync.Mutex
	parts map[*lane]*part
	bytes int
	ended bool
}

// A part is what a unit writes to one shard.
type part struct {
	l  *lane
	c  chunk
	to slot // the end of the log with it, once it is staged
}

// Produce implements [driver.Tx]. The record is copied before it returns.
func (t *tx) Produce(_ context.Context, rec driver.Record) error {
	l, err := t.o.to.lane(&rec)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	size := recordSize(&rec)
	switch {
	case t.ended:
		return wrap("send to", l.shard, driver.Errorf(driver.ErrClosed, "", "the unit has ended"))
	case t.bytes+size > maxUnit:
		return wrap("send to", l.shard, driver.Errorf(driver.ErrTooLarge, "", "the unit has %d bytes, and at most %d are allowed: commit more often", t.bytes, maxUnit))
	}
	p := t.parts[l]
	if p == nil {
		p = t.o.part(l)
		t.parts[l] = p
	}
	p.c.add(&rec, size, pending{})
	p.c.pending = p.c.pending[:0] // nobody waits for a receipt
	t.bytes += size
	return nil
}

// part is an empty part for a shard, with the buffer of an earlier one where
// there is one.
func (o *owner) part(l *lane) *part {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := new(part)
	if n := len(o.spare); n > 0 {
		p, o.spare = o.spare[n-1], o.spare[:n-1]
	}
	p.l = l
	return p
}

// end lets Begin begin the next unit.
func (t *tx) end() {
	t.mu.Lock()
	parts := t.parts
	t.parts, t.ended = nil, true
	t.mu.Unlock()
	o := t.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == t {
		o.open = nil
	}
	const most = 8
	for _, p := range parts {
		if cap(p.c.buf) <= 2*unitBytes && len(o.spare) < most {
			p.c.reset()
			*p = part{c: p.c}
			o.spare = append(o.spare, p)
		}
	}
}

// Abort implements [driver.Tx]. Nothing of the unit is on the disk.
func (t *tx) Abort(context.Context) error {
	t.mu.Lock()
	ended := t.ended
	t.ended = true
	t.mu.Unlock()
	if !ended {
		t.end()
	}
	return nil
}

// Commit implements [driver.Tx].
func (t *tx) Commit(ctx context.Context, moves []driver.Move) error {
	t.mu.Lock()
	ended := t.ended
	t.ended = true // no more records
	t.mu.Unlock()
	if ended {
		return t.o.wrap("commit a unit of", driver.Errorf(driver.ErrClosed, "", "the unit has ended"))
	}
	// In a goroutine, so that a disk that does not answer can be left behind.
	done, begun := make(chan error, 1), make(chan struct{})
	go func() {
		err := t.commit(ctx, moves, begun)
		t.end()
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		// What waits for a lock sees that, too.
		select {
		case err = <-done:
		case <-begun:
			select {
			case err = <-done:
			default:
				err = unknown(context.Cause(ctx))
			}
		}
	}
	return t.o.wrap("commit a unit of", err)
}

// outcome is err as that of a unit of which nothing was committed: temporary
// where trying again may help.
func outcome(err error) error {
	if err == nil || errors.Is(err, driver.ErrAborted) || errors.Is(err, driver.ErrUnknown) {
		return err
	}
	for _, e := range []error{driver.ErrUnavailable, errDeleted, context.Canceled, context.DeadlineExceeded, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) {
			return aborted(err)
		}
	}
	return err
}

func aborted(err error) error { return driver.Errorf(driver.ErrAborted, "", "%w", err) }

// commit follows the steps in pending.go.
func (t *tx) commit(ctx context.Context, moves []driver.Move, begun chan struct{}) error {
	o := t.o
	o.mu.Lock()
	u := o.u
	for _, m := range moves {
		if !o.held[m.Shard] {
			o.mu.Unlock()
			return driver.Errorf(driver.ErrFenced, "", "it does not hold %s", m.Shard)
		}
	}
	o.mu.Unlock()
	parts := slices.SortedFunc(maps.Values(t.parts), func(a, b *part) int { return compareShards(a.l.shard, b.l.shard) })
	for _, p := range parts {
		p.l.look() // without any lock: it may delete a stream, which takes that of the record
	}
	if err := u.key.lock(ctx, o.d.env.patience); err != nil {
		return aborted(err)
	}
	defer u.key.unlock()
	if u.deleted() {
		return o.removed()
	}
	rec, err := u.load(true)
	if err != nil {
		return err
	}
	next := rec.clone()
	if err := o.move(next, moves); err != nil {
		return err
	}
	if len(parts) == 0 && len(moves) == 0 {
		return nil
	}
	for i, p := range parts {
		if err := p.l.w.key.lock(ctx, o.d.env.patience); err != nil {
			for _, p := range parts[:i] {
				p.l.w.unlock()
			}
			return aborted(wrap("write to", p.l.shard, err))
		}
	}
	defer func() {
		for _, p := range parts {
			p.l.w.unlock()
		}
	}()
	if ctx.Err() != nil {
		return aborted(context.Cause(ctx))
	}
	close(begun)
	u.step(stepUnitLocked)
	return o.write(u, next, parts)
}

// move changes the positions in next, if they are where the owner left them
// and nobody has claimed since.
func (o *owner) move(next *unitRecord, moves []driver.Move) error {
	if o.number < next.fence {
		return errNewer
	}
	for _, m := range moves {
		i, ok := next.input(m.Shard)
		switch {
		case !ok:
			return o.lost(m.Shard)
		case next.inputs[i].owner != o.number:
			return driver.Errorf(driver.ErrFenced, "", "another owner has claimed %s since", m.Shard)
		case next.inputs[i].next != m.From:
			return driver.Errorf(driver.ErrFenced, "", "%s is at %v, not at %v", m.Shard, next.inputs[i].next, m.From)
		}
		next.inputs[i].next = m.To
	}
	return nil
}

// write does what comes once all locks are held.
func (o *owner) write(u *unitFile, next *unitRecord, parts []*part) error {
	durable := o.d.opts.Sync == SyncAlways
	for _, p := range parts {
		durable = durable || p.l.w.set().Sync == SyncAlways
	}
	unit := randomID()
	next.units++
	next.last = unit
	drop := func(err error) error {
		for _, p := range parts {
			if p.to.pos > 0 {
				p.l.w.dropUnit()
			}
		}
		return outcome(err)
	}
	for _, p := range parts {
		if err := p.stage(u, unit, durable); err != nil {
			if errors.Is(err, errDeleted) {
				p.l.gone()
			}
			return drop(wrap("write to", p.l.shard, err))
		}
		u.step(stepUnitBatches)
		next.wrote(unitOutput{p.l.shard, p.l.w.l.id.hash(), unit, p.to.next})
	}
	if durable && len(parts) > 0 {
		if err := syncParts(parts); err != nil {
			return drop(err)
		}
	}
	for _, p := range parts {
		w := p.l.w
		if err := w.mark(&pendingUnit{unit: unit, owner: u.id, from: w.end.next, to: p.to, durable: durable, dir: u.dir}); err != nil {
			return drop(wrap("write to", p.l.shard, err))
		}
		u.step(stepUnitMarked)
	}
	if err := u.publish(next, durable); err != nil {
		if errors.Is(err, driver.ErrUnknown) {
			return err
		}
		return drop(err)
	}
	var failed error
	for _, p := range parts {
		if err := p.l.w.settleUnit(p.to); err != nil {
			failed = wrap("publish a unit in", p.l.shard, err)
		}
		u.step(stepUnitSettled)
	}
	if failed != nil {
		return unknown(failed) // it is committed, but a part of it is not visible
	}
	o.syncSoon(u, parts)
	u.step(stepUnitDone)
	return nil
}

// stage writes the part behind the end of its log.
func (p *part) stage(u *unitFile, unit uint64, durable bool) error {
	w := p.l.w
	flags := uint32(batchUnit)
	if durable {
		flags |= batchDurable
	}
	p.c.seal()
	for i := range p.c.batches {
		b := &p.c.batches[i]
		b.flags, b.owner, b.unit = flags, u.id, unit
	}
	to, err := w.stage(&p.c)
	if err != nil {
		return err
	}
	p.to = to
	return nil
}

// syncParts makes what was staged durable, and what lies before it: all shards
// at once, since the file system merges syncs that come together.
func syncParts(parts []*part) error {
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts[1:] {
		wg.Go(func() { errs[i+1] = p.sync() })
	}
	errs[0] = parts[0].sync()
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *part) sync() error {
	w := p.l.w
	var err error
	if p.to.base <= p.to.synced {
		err = w.env.sync(w.seg.f)
	} else if err = w.syncSegments(p.to.synced, p.to.next, p.to); err == nil {
		err = syncDir(w.l.root, w.l.dir) // the segment may be new, and the log's own policy another
	}
	if errors.Is(err, os.ErrClosed) {
		return aborted(wrap("sync", p.l.shard, err)) // Close has left this behind
	}
	if err != nil {
		// Nothing of the unit was published, so its outcome is known; but what
		// others have written may be on the disk or not.
		s := w.end
		s.flags |= flagPoisoned
		if perr := w.publish(s); perr != nil {
			err = fmt.Errorf("%w; and then: %w", err, perr)
		}
		return aborted(wrap("sync", p.l.shard, err))
	}
	p.to.synced = p.to.next
	return nil
}

// syncSoon is the policy "interval": the logs a second later, as for other
// writes, and the record with the first commit a second after the last sync.
func (o *owner) syncSoon(u *unitFile, parts []*part) {
	for _, p := range parts {
		if p.l.w.set().Sync == SyncInterval {
			p.l.w.syncLater(time.Second)
		}
	}
	if o.d.opts.Sync == SyncInterval && time.Since(o.synced) > time.Second {
		o.synced = time.Now()
		_ = o.d.env.sync(u.f) // the policy promises nothing about power loss
	}
}
