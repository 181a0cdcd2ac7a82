package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A step is an instant of the append protocol at which a writer may die. Tests
// kill writers there.
type step int

const (
	stepLocked    step = iota // has the lock
	stepLoaded                // knows the end
	stepTruncated             // has removed what a dead writer left
	stepCreated               // has made a segment that is not published
	stepRolled                // has published it
	stepAllocated             // has reserved blocks
	stepHalf                  // has written half of the batches
	stepWritten               // has written them
	stepPublished             // has published them
	stepUnlocked              // has unlocked and not acknowledged
	steps
)

// The instants of committing a unit come behind those of its appends.
const (
	stepUnitLocked    step = steps + iota // has all locks
	stepUnitBatches                       // has written one more shard's batches
	stepUnitMarked                        // has marked one more shard
	stepUnitStaged                        // has marked all, and not written the record
	stepUnitHalf                          // has written half of the record
	stepUnitWritten                       // has written the record, and not published it
	stepUnitCommitted                     // has published it
	stepUnitSynced                        // and made it durable, where that is wanted
	stepUnitSettled                       // has published one more shard's end
	stepUnitDone                          // has published all, and not unlocked
	unitSteps
)

// The instants of deleting a stream (see [deletedMeta]).
const (
	stepDeleteLocked    step = unitSteps + iota // has the locks of all shards
	stepDeleteBegun                             // has renamed meta
	stepDeleteMarked                            // has marked all shards, and given their locks back
	stepDeleteForgotten                         // groups and owners have forgotten it
	stepDeleteRenamed                           // has renamed the folder, and not removed it
	deleteSteps
)

// An appender writes to one shard for one driver. Its methods may be called
// from any goroutine; one at a time has the lock of the shard.
type appender struct {
	l   *shardLog
	now atomic.Pointer[meta] // the settings as they count for this process; see set
	env *env
	// strict: the stream itself has the policy "always", so that readers see
	// nothing that is not synced.
	strict bool

	key fileLock

	// What follows belongs to the holder of the lock.
	buf     [pairSize]byte
	end     slot
	seg     *segment
	idx     *os.File // nil where it cannot be opened: it is advice
	idxBuf  []byte
	reserve int64 // blocks are reserved up to here, as far as this process knows

	syncs   sync.Mutex
	closing bool           // none begins any more
	pending *time.Timer    // of the sync that is going to happen; nil where none is
	running sync.WaitGroup // of syncs that are pending or happen
}

// An env is what the protocol takes from outside, so that tests can put
// something else there.
type env struct {
	boot     uint64               // hash of the boot's id
	patience time.Duration        // how long to wait for the lock
	sync     func(*os.File) error // datasync
	at       func(step)           // nil but in tests
	look     time.Duration        // see lookEvery
	tick     time.Duration        // see tickEvery
	noTrim   bool                 // leaves out step 3: the mutant that must fail
}

func newAppender(l *shardLog, m meta, o Options, e *env) *appender {
	w := &appender{l: l, env: e, strict: m.Sync == SyncAlways, key: newFileLock(l.ctl)}
	w.configure(m.with(o))
	return w
}

// set is the settings, which may change between two calls.
func (w *appender) set() *meta { return w.now.Load() }

func (w *appender) configure(m meta) { w.now.Store(&m) }

func (w *appender) at(s step) {
	if w.env.at != nil {
		w.env.at(s)
	}
}

// lock takes the lock of the shard, waiting for it at most as long as the
// environment says.
func (w *appender) lock() error { return w.key.lock(context.Background(), w.env.patience) }

func (w *appender) unlock() { w.key.unlock() }

// publish makes s the end of the log. It is the instant at which what was
// written begins to exist.
func (w *appender) publish(s slot) error {
	s.gen = w.end.gen + 1
	s.boot = w.env.boot
	b := w.buf[:slotSize]
	s.encode(b)
	if _, err := w.l.ctl.WriteAt(b, int64(ctlEnd+(s.gen&1)*slotSize)); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	w.end = s
	return nil
}

var errDeleted = driver.Errorf(driver.ErrNotFound, "", "the stream was deleted while it was open")

// begin is the start of every hold of the lock: it loads the end, recovers the
// log where that is due, opens the tail segment and removes from it what a
// writer that died left behind the end.
func (w *appender) begin() error {
	w.at(stepLocked)
	if _, err := w.l.ctl.ReadAt(w.buf[:], ctlEnd); err != nil {
		return fmt.Errorf("read ctl: %w", err)
	}
	// One slot that cannot be read is not a writer that died: a write of 64
	// bytes happens whole or not at all, unless the power goes. It may be the
	// newer one.
	s, ok, sure := chooseSlot(w.buf[:])
	w.end = s
	if ok && s.flags&flagDeleted != 0 {
		w.closeTail() // whose space is free then
		return errDeleted
	}
	if sure && s.boot == w.env.boot && s.flags&flagPending != 0 {
		// First of all: what heals a log looks at what is published only.
		if err := w.resolve(); err != nil {
			return fmt.Errorf("finish a unit: %w", err)
		}
		s = w.end
	}
	if !sure || s.boot != w.env.boot || s.flags&flagPoisoned != 0 {
		if err := w.recover(ok, sure); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
	}
	w.at(stepLoaded)
	size, links, err := w.statTail()
	if err == nil && links == 0 {
		// Deleted, or another writer has healed the log, and its copy got the
		// name of the segment that is open here (see rewrite).
		w.closeTail()
		size, links, err = w.statTail()
	}
	if errors.Is(err, fs.ErrNotExist) && w.l.deleted() {
		return errDeleted
	}
	if err != nil {
		return err
	}
	if links == 0 {
		return errDeleted
	}
	if size < w.end.pos {
		// Something else than this package has cut the file.
		if err := w.recover(false, false); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
		if err := w.openTail(); err != nil {
			return err
		}
		size = w.end.pos
	}
	if size > w.end.pos && !w.env.noTrim {
		if err := w.seg.f.Truncate(w.end.pos); err != nil {
			return err
		}
		w.reserve = 0
	}
	w.at(stepTruncated)
	return nil
}

// openTail opens the tail segment, unless it is the one that is open.
func (w *appender) openTail() error {
	if w.seg != nil && w.seg.base == w.end.base {
		return nil
	}
	seg, err := w.l.openSegment(w.end.base, os.O_RDWR)
	if err != nil {
		return err
	}
	w.closeTail()
	w.seg, w.reserve = seg, 0
	w.idx, _ = createFile(w.l.root, path.Join(w.l.dir, indexName(seg.base)), os.O_WRONLY|os.O_APPEND)
	return nil
}

// statTail is the size of the tail segment, which it opens, and how many names
// that has.
func (w *appender) statTail() (size int64, links uint64, err error) {
	if err := w.openTail(); err != nil {
		return 0, 0, err
	}
	return fstat(w.seg.f)
}

func (w *appender) closeTail() {
	if w.seg != nil {
		w.seg.f.Close()
		w.seg = nil
	}
	if w.idx != nil {
		w.idx.Close()
		w.idx = nil
	}
}

// close waits for the holder of the lock, does a sync that is due, and lets go
// of the files.
func (w *appender) close() {
	w.syncs.Lock()
	timer := w.pending
	w.closing = true
	w.syncs.Unlock()
	if timer != nil && timer.Stop() {
		if w.set().Sync == SyncInterval {
			w.syncNow()
		}
		w.running.Done()
	}
	w.running.Wait()
	w.key.held <- struct{}{}
	w.closeTail()
	_ = w.l.close()
}

// create makes a segment that begins with the end of the log. It is not part
// of the log before it is published: what another writer has left under its
// name is overwritten.
func (w *appender) create(base uint64, flags uint32, maxTime int64, durable bool) error {
	name := path.Join(w.l.dir, segmentName(base))
	f, err := createFile(w.l.root, name, os.O_RDWR|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer f.Close()
	h := segmentHeader{flags: flags, base: base, created: now(), id: w.l.id}.encode()
	if _, err := f.WriteAt(h[:], 0); err != nil {
		return err
	}
	if err := w.l.replaceIndex(base, indexEntry{base, headerSize, maxTime}.append(nil)); err != nil {
		return err
	}
	if durable {
		if err := w.env.sync(f); err != nil {
			return err
		}
		return syncDir(w.l.root, w.l.dir)
	}
	return nil
}

// roll seals the tail segment and begins another one.
func (w *appender) roll() error {
	// Blocks that are reserved behind the end go back.
	if w.reserve > w.end.pos {
		if err := w.seg.f.Truncate(w.end.pos); err != nil {
			return err
		}
	}
	if err := w.removeUnpublished(); err != nil {
		return err
	}
	if err := w.create(w.end.next, 0, w.end.maxTime, w.set().Sync == SyncAlways); err != nil {
		return err
	}
	w.at(stepCreated)
	s := w.end
	s.base, s.pos = s.next, headerSize
	if err := w.publish(s); err != nil {
		return err
	}
	w.at(stepRolled)
	if err := w.openTail(); err != nil {
		return err
	}
	w.trim()
	if w.set().Sync == SyncNever {
		w.syncLater(30 * time.Second)
	}
	return nil
}

// removeUnpublished removes segments that writers have made and died before they
// published them. Less was written after that, and fitted into the tail: once the
// end has moved past such a segment, it would seem to hold what the tail holds.
func (w *appender) removeUnpublished() error {
	bases, err := segments(w.l.root, w.l.dir)
	if err != nil {
		return err
	}
	for _, b := range bases[len(pastTail(bases, w.end)):] {
		if err := w.l.removeSegment(b); err != nil {
			return err
		}
	}
	return nil
}

// allocate reserves blocks ahead of the end, which makes large appends about
// twice as fast. Small segments are left small.
func (w *appender) allocate(end int64) {
	const first, most = 1 << 20, 64 << 20
	if end <= w.reserve || end < first/4 {
		return
	}
	n := min(max(end, first), most, max(w.set().SegmentSize-w.end.pos, 0))
	if n <= 0 || preallocate(w.seg.f, w.end.pos, n) != nil {
		// Full, or not supported: writing will tell.
		w.reserve = 1 << 62
		return
	}
	w.reserve = w.end.pos + n
}

// unknown is err as a failure after which the batches may be part of the log.
func unknown(err error) error { return fmt.Errorf("%w: %w", driver.ErrUnknown, err) }

// append writes the batches of c at the end of the log, in one hold of the
// lock, fills in their sequences, and, where c's batches leave it to it, their
// times. A failure that is not ErrUnknown has written nothing. The segment that
// it returns has the batches; whoever holds the lock next may close its file.
func (w *appender) append(c *chunk) (*segment, error) {
	if err := w.lock(); err != nil {
		return nil, err
	}
	err := w.appendLocked(c)
	seg := w.seg
	w.unlock()
	if err == nil {
		w.at(stepUnlocked)
	}
	return seg, err
}

func (w *appender) appendLocked(c *chunk) error {
	s, err := w.stage(c)
	if err != nil {
		return err
	}
	if err := w.reach(s); err != nil {
		return unknown(err)
	}
	return nil
}

// stage writes the batches of c behind the end of the log, where they do not
// exist yet, and returns the end that makes them exist. The lock is held.
func (w *appender) stage(c *chunk) (slot, error) {
	if err := w.begin(); err != nil {
		return slot{}, err
	}
	n := int64(len(c.buf))
	if w.end.pos > headerSize && w.end.pos+n > w.set().SegmentSize {
		if err := w.roll(); err != nil {
			return slot{}, err
		}
	}
	if w.end.flags&flagDirty == 0 {
		if err := w.soil(); err != nil {
			return slot{}, err
		}
	}
	w.allocate(w.end.pos + n)
	w.at(stepAllocated)
	s := w.end
	c.place(s.next, now(), w.l.seed)
	if err := w.write(c.buf, s.pos); err != nil {
		return slot{}, err
	}
	w.at(stepWritten)
	w.idxBuf = w.idxBuf[:0]
	for i := range c.batches {
		b := &c.batches[i]
		end := s.pos + b.size()
		s.next = b.next()
		s.maxTime = max(s.maxTime, b.maxTime())
		if wantsEntry(s.pos, end) {
			w.idxBuf = indexEntry{s.next, end, s.maxTime}.append(w.idxBuf)
		}
		s.pos = end
	}
	return s, nil
}

// reach makes what was staged part of the log. A failure may have done so.
func (w *appender) reach(s slot) error {
	if err := w.publish(s); err != nil {
		return err
	}
	w.at(stepPublished)
	// The index comes after the publication, so that no entry ever points to
	// what another writer will replace.
	if len(w.idxBuf) > 0 && w.idx != nil {
		_, _ = w.idx.Write(w.idxBuf) // it is advice
	}
	return nil
}

func (w *appender) write(b []byte, pos int64) error {
	if w.env.at != nil {
		half := len(b) / 2
		if _, err := w.seg.f.WriteAt(b[:half], pos); err != nil {
			return err
		}
		w.at(stepHalf)
		b, pos = b[half:], pos+int64(half)
	}
	_, err := w.seg.f.WriteAt(b, pos)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return driver.Errorf(driver.ErrUnavailable, "", "write segment: %w", err)
	}
	if err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	return nil
}
