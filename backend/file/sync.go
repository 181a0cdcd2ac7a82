package file

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// soil notes on stable storage that the log is written to in this boot, so
// that the next boot looks for what was lost.
func (w *appender) soil() error {
	s := w.end
	s.flags |= flagDirty
	if err := w.publish(s); err != nil {
		return err
	}
	if err := w.env.sync(w.l.ctl); err != nil {
		return fmt.Errorf("sync ctl: %w", err)
	}
	return nil
}

// syncTo makes the log durable up to and without next, and says so in the
// slot. It is called without the lock: writers go on meanwhile. A failure
// poisons the log, since the system may have forgotten that the bytes are not
// on the disk: a later sync that succeeds would prove nothing. seg, which may
// be nil, is the segment that the caller has written to.
func (w *appender) syncTo(next uint64, seg *segment) error {
	var b [pairSize]byte
	if _, err := w.l.ctl.ReadAt(b[:], ctlEnd); err != nil {
		return err
	}
	s, ok, _ := chooseSlot(b[:])
	if ok && s.synced >= next {
		return nil // another process was faster
	}
	err := os.ErrClosed
	if seg != nil && ok && seg.base == s.base && seg.base <= s.synced {
		err = w.env.sync(seg.f)
	}
	if errors.Is(err, os.ErrClosed) { // a unit of this process may have sealed it by now
		if !ok {
			s.base = math.MaxUint64 // any segment may be one of the log
		}
		err = w.syncSegments(s.synced, next, s)
	}
	if errors.Is(err, os.ErrClosed) {
		return unknown(err) // Close has left this behind: the disk was not asked
	}
	if lerr := w.lock(); lerr != nil {
		return unknown(lerr)
	}
	defer w.unlock()
	if _, rerr := w.l.ctl.ReadAt(w.buf[:], ctlEnd); rerr != nil {
		return unknown(rerr)
	}
	s, ok, _ = chooseSlot(w.buf[:])
	if !ok {
		return unknown(errSlots)
	}
	w.end = s
	if err != nil {
		s.flags |= flagPoisoned
		if perr := w.publish(s); perr != nil {
			err = fmt.Errorf("%w; and then: %w", err, perr)
		}
		return unknown(fmt.Errorf("sync: %w", err))
	}
	if s.flags&flagPoisoned != 0 {
		return driver.Errorf(driver.ErrUnknown, "", "another writer could not sync the log")
	}
	if s.synced < next {
		s.synced = next
		if err := w.publish(s); err != nil {
			return unknown(err)
		}
	}
	return nil
}

// syncSegments syncs every segment that may hold records from the sequence
// from up to and without to, whoever wrote them. end is not below to.
func (w *appender) syncSegments(from, to uint64, end slot) error {
	bases, err := segments(w.l.root, w.l.dir)
	if err != nil {
		return err
	}
	bases = pastTail(bases, end)
	for i, base := range bases {
		if i+1 < len(bases) && bases[i+1] <= from || base >= to {
			continue
		}
		seg, err := w.l.openSegment(base, os.O_RDWR)
		if errors.Is(err, fs.ErrNotExist) {
			continue // trimmed meanwhile
		}
		if err != nil {
			return err
		}
		err = w.env.sync(seg.f)
		seg.f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// syncLater syncs the log after a while, unless that is already going to
// happen: the whole of it by the policy "interval", and by "never" what is
// sealed, which the system has long written by then, so that recovery after
// power loss need not verify more than that.
func (w *appender) syncLater(after time.Duration) {
	w.syncs.Lock()
	defer w.syncs.Unlock()
	if w.pending != nil || w.closing {
		return
	}
	w.running.Add(1)
	w.pending = time.AfterFunc(after, func() {
		defer w.running.Done()
		w.syncNow()
	})
}

func (w *appender) syncNow() {
	w.syncs.Lock()
	w.pending = nil
	w.syncs.Unlock()
	t := tail{l: w.l}
	s, err := t.load()
	if err != nil {
		return // the next append finds that out, too
	}
	next := s.next
	if w.set().Sync == SyncNever {
		next = s.base
	}
	_ = w.syncTo(next, nil) // a failure poisons the log
}
