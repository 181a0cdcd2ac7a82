package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/seastreamer/seastreamer/driver"
)

// recover brings the log into order under the lock. valid says that the slot
// in w.end could be read, and sure that the other one could, too. There are three reasons to be here:
//
//   - The slot was written under another boot. The page cache is gone, and
//     with it what was not synced: of the log as well as of ctl, whose slot
//     may be an old one.
//   - A sync failed, and the log is poisoned.
//   - A slot cannot be read, or the tail segment was cut: somebody else than
//     this package wrote to the files.
func (w *appender) recover(valid, sure bool) error {
	if !valid {
		// Generations of the past are unknown; this is above every one that
		// was counted up from zero.
		w.end = slot{gen: uint64(now()), maxTime: minTime, flags: flagDirty}
	}
	switch {
	case valid && sure && w.end.boot != w.env.boot && w.end.flags&(flagDirty|flagPoisoned) == 0:
		return w.settle(w.end) // nobody has written since the last recovery
	case valid && sure && w.end.boot == w.env.boot && w.end.flags&flagPoisoned != 0:
		if err := w.rewrite(); err == nil || !errors.Is(err, errShort) {
			return err
		}
	}
	return w.rescan(valid)
}

// settle publishes s twice, so that both slots are good, and makes ctl durable.
func (w *appender) settle(s slot) error {
	s.flags = 0
	for range 2 {
		if err := w.publish(s); err != nil {
			return err
		}
	}
	return w.env.sync(w.l.ctl)
}

// rescan finds the end of the log by looking at its batches, from the last
// index entry at or below the synced sequence on. Damage below synced stays
// where it is, and readers report it; above it the log is cut at the first
// batch that is not right. What follows the published end counts too: with
// the policy "always" it may have been acknowledged, and only the slot that
// published it was lost.
//
// Sequences that were lost must never be used again, since a reader may have
// seen them. So the log goes on at the next multiple of 2³², in a segment that
// is marked. Only where readers never see what is not synced, and nothing that
// was synced is missing, it goes on without a jump.
func (w *appender) rescan(valid bool) error {
	old := w.end
	bases, err := segments(w.l.root, w.l.dir)
	if err != nil {
		return err
	}
	if err := w.settleStart(bases); err != nil {
		return err
	}
	end, lost, err := w.findEnd(bases, valid)
	if err != nil {
		return err
	}
	for _, b := range slices.Backward(bases) {
		if b > end.base {
			_ = w.l.removeSegment(b)
		}
	}
	w.closeTail()
	if len(bases) > 0 {
		if err := w.cut(end); err != nil {
			return err
		}
	}
	end.gen, end.maxTime, end.synced = old.gen, max(old.maxTime, end.maxTime), end.next
	w.end = end
	if len(bases) > 0 && valid && !lost && w.strict {
		return w.settle(end)
	}
	base := (end.next/jump + 1) * jump
	if err := w.create(base, flagJump, end.maxTime, true); err != nil {
		return err
	}
	end.next, end.synced, end.base, end.pos = base, base, base, headerSize
	return w.settle(end)
}

// findEnd is the end of what can be kept; lost says that it is below what was
// synced.
func (w *appender) findEnd(bases []uint64, valid bool) (end slot, lost bool, err error) {
	end = slot{base: w.end.base, pos: headerSize, next: w.end.next, maxTime: minTime}
	if len(bases) == 0 {
		return end, true, nil
	}
	if n := len(bases) - 1; n > 0 && w.l.isEmpty(bases[n]) {
		bases = bases[:n] // perhaps nobody published it, and the one before was written to
	}
	synced := w.end.synced
	k := max(0, len(bases)-2) // the last one may be left over
	if valid {
		i, found := slices.BinarySearch(bases, synced)
		if k = i; !found {
			k = max(0, i-1)
		}
	}
	end.next = bases[k]
	first := true
	units := &pendingRecords{w: w, boot: valid && w.end.boot == w.env.boot}
	for {
		end.base, end.pos = bases[k], headerSize
		seg, err := w.l.openSegment(end.base, os.O_RDWR)
		if err != nil {
			return end, lost, err
		}
		size, err := seg.size()
		if err == nil {
			s := newScanner(seg.f, w.l.seed, size)
			if first {
				x := w.l.openIndex(end.base)
				if e, ok := x.last(func(e indexEntry) bool { return e.seq <= synced }); ok && e.pos < size && s.check(e) {
					end.pos, end.next, end.maxTime = e.pos, e.seq, e.maxTime
				}
				x.close()
				first = false
			}
			err = s.keep(&end, synced, units, k+1 == len(bases))
		}
		if err == nil {
			err = w.env.sync(seg.f)
		}
		seg.f.Close()
		if err != nil {
			return end, lost, err
		}
		if k+1 == len(bases) || end.pos < size {
			break
		}
		switch following := bases[k+1]; {
		case following == end.next:
		case following > end.next && following <= synced:
			end.next = following // the rest of this segment is damaged
		case following > end.next && w.l.isJump(following):
			end.next = following
		default:
			return end, lost, nil
		}
		k++
	}
	if end.next < synced {
		lost = true
		end.next = synced
	}
	return end, lost, nil
}

// keep moves end over the batches that stay in the segment. It leaves end.pos
// at the segment's size where all of it stays. last says that no segment
// follows.
//
// A unit that was not committed can only be the last that was written: who
// writes next cuts it off. So where the owner's record may be older than the
// log, a unit that it does not know stays if anything follows.
func (s *scanner) keep(end *slot, synced uint64, units *pendingRecords, last bool) error {
	var doubt slot // the end before such a unit
	unit := uint64(0)
	for end.pos < s.limit {
		h, ok, err := s.header(end.pos)
		if err != nil {
			return err
		}
		good := ok && h.base == end.next
		if good {
			if _, good, err = s.payload(end.pos, &h); err != nil {
				return err
			}
		}
		if good && end.next >= synced {
			known, sure, err := units.committed(&h)
			switch {
			case err != nil, !known && sure:
				return err
			case known:
				unit = 0
			case h.unit != unit:
				doubt, unit = *end, h.unit
			}
		}
		switch {
		case good:
			end.maxTime = max(end.maxTime, h.maxTime())
		case end.next >= synced:
			if unit != 0 {
				*end = doubt
			}
			return nil
		case ok && h.base == end.next: // the payload is damaged
		default:
			pos, h, ok, err := s.find(end.pos+1, end.next)
			if err != nil {
				return err
			}
			if !ok {
				end.pos = s.limit
				return nil
			}
			end.pos, end.next = pos, h.base
			continue
		}
		end.pos += h.size()
		end.next = h.next()
	}
	if unit != 0 && last {
		*end = doubt
	}
	return nil
}

func (l *shardLog) isJump(base uint64) bool {
	seg, err := l.openSegment(base, os.O_RDONLY)
	if err != nil {
		return false
	}
	seg.f.Close()
	return seg.jump
}

// isEmpty reports whether a segment that goes on without a jump has no batch.
func (l *shardLog) isEmpty(base uint64) bool {
	seg, err := l.openSegment(base, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer seg.f.Close()
	size, err := seg.size()
	return err == nil && size <= headerSize && !seg.jump
}

// cut makes end the end of its segment, and its index one that does not know
// more.
func (w *appender) cut(end slot) error {
	seg, err := w.l.openSegment(end.base, os.O_RDWR)
	if err != nil {
		return err
	}
	defer seg.f.Close()
	if err := seg.f.Truncate(end.pos); err != nil {
		return err
	}
	if err := w.env.sync(seg.f); err != nil {
		return err
	}
	x := w.l.openIndex(end.base)
	e, ok := x.first()
	x.close()
	if !ok {
		e.maxTime = minTime
	}
	b, _, err := buildIndex(end.base, newScanner(seg.f, w.l.seed, end.pos), e.maxTime)
	if err != nil {
		return err
	}
	return w.l.replaceIndex(end.base, b)
}

func (l *shardLog) removeSegment(base uint64) error {
	l.root.Remove(path.Join(l.dir, indexName(base)))
	return l.root.Remove(path.Join(l.dir, segmentName(base)))
}

// settleStart repairs the pair that says where the log begins.
func (w *appender) settleStart(bases []uint64) error {
	var b [pairSize]byte
	if _, err := w.l.ctl.ReadAt(b[:], ctlStart); err != nil && err != io.EOF {
		return err
	}
	s, ok, sure := chooseStart(b[:])
	if sure {
		return nil
	}
	if !ok {
		s = startSlot{gen: uint64(now()), time: now(), cause: uint32(driver.GapCorrupt)}
		if len(bases) > 0 {
			s.first = bases[0]
		}
	}
	for range 2 {
		s.gen++
		if err := w.l.publishStart(s); err != nil {
			return err
		}
	}
	return nil
}

func (l *shardLog) publishStart(s startSlot) error {
	var b [slotSize]byte
	s.encode(b[:])
	if _, err := l.ctl.WriteAt(b[:], int64(ctlStart+(s.gen&1)*slotSize)); err != nil {
		return fmt.Errorf("publish the start: %w", err)
	}
	return nil
}

var errShort = errors.New("the log is shorter than its end says")

// rewrite heals a poisoned log: it copies what is not known to be on the disk
// (the page cache still has it) to a new segment, and syncs that. The order is
// copy, sync, rename, cut the old segments, publish; a crash in between finds
// the log still poisoned, and either the old segments or the copy whole.
func (w *appender) rewrite() error {
	end := w.end
	if end.synced == end.next {
		return w.settle(end)
	}
	p, err := w.l.findSeq(end.synced, end)
	if errors.Is(err, fs.ErrNotExist) {
		return errShort
	}
	if err != nil {
		return err
	}
	bases, err := segments(w.l.root, w.l.dir)
	if err != nil {
		return err
	}
	if err := w.cutLeftover(end); err != nil {
		return err
	}
	size, err := w.copyFrom(p, pastTail(bases, end), end)
	if errors.Is(err, errShort) {
		// The old segments are cut already: the copy must be whole.
		p = place{base: end.synced, pos: headerSize, seq: end.synced}
		size, err = w.verifyCopy(p.base, end.next)
	}
	if err != nil {
		return err
	}
	w.closeTail()
	for _, b := range bases {
		if b > p.seq {
			_ = w.l.removeSegment(b)
		}
	}
	if p.base < p.seq {
		seg, err := w.l.openSegment(p.base, os.O_RDWR)
		if err != nil {
			return err
		}
		defer seg.f.Close()
		if err := seg.f.Truncate(p.pos); err != nil {
			return err
		}
	}
	end.base, end.pos, end.synced = p.seq, size, end.next
	dirty := end.flags & flagDirty
	if err := w.settle(end); err != nil || dirty == 0 {
		return err
	}
	return w.soil()
}

// cutLeftover removes from the tail segment what a writer that died left behind
// the end. The log goes on elsewhere, and a reader that has the tail open would
// take that for what comes there.
func (w *appender) cutLeftover(end slot) error {
	seg, err := w.l.openSegment(end.base, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an earlier repair has got as far as that
	}
	if err != nil {
		return err
	}
	defer seg.f.Close()
	size, err := seg.size()
	if err == nil && size > end.pos {
		err = seg.f.Truncate(end.pos)
	}
	return err
}

// copyFrom writes the batches from p up to the end of the log to a segment of
// their own and returns its size.
func (w *appender) copyFrom(p place, bases []uint64, end slot) (int64, error) {
	tmp := path.Join(w.l.dir, ".log-"+randomHex())
	out, err := createFile(w.l.root, tmp, os.O_RDWR)
	if err != nil {
		return 0, err
	}
	defer w.l.root.Remove(tmp) // where the rename did not happen
	defer out.Close()
	h := segmentHeader{base: p.seq, created: now(), id: w.l.id}.encode()
	if _, err := out.Write(h[:]); err != nil {
		return 0, err
	}
	next, size := p.seq, int64(headerSize)
	for _, base := range bases {
		if base < p.base {
			continue
		}
		pos := int64(headerSize)
		if base == p.base {
			pos = p.pos
		}
		seg, err := w.l.openSegment(base, os.O_RDONLY)
		if err != nil {
			return 0, err
		}
		n, err := copyBatches(out, seg, pos, &next, w.l, end)
		seg.f.Close()
		if err != nil {
			return 0, err
		}
		size += n
	}
	if next != end.next {
		return 0, errShort
	}
	if err := w.env.sync(out); err != nil {
		return 0, err
	}
	if err := w.l.root.Rename(tmp, path.Join(w.l.dir, segmentName(p.seq))); err != nil {
		return 0, err
	}
	w.l.root.Remove(path.Join(w.l.dir, indexName(p.seq))) // it is found out again
	return size, syncDir(w.l.root, w.l.dir)
}

func copyBatches(out io.Writer, seg *segment, pos int64, next *uint64, l *shardLog, end slot) (int64, error) {
	limit, err := l.limit(seg, end)
	if err != nil {
		return 0, err
	}
	s := newScanner(seg.f, l.seed, limit)
	from := pos
	for pos < limit {
		h, ok, err := s.header(pos)
		if err != nil {
			return 0, err
		}
		if !ok || h.base != *next {
			return 0, errShort
		}
		b, err := s.bytes(pos, int(h.size()))
		if err != nil {
			return 0, err
		}
		if int64(len(b)) != h.size() || checksum(b[headerSize:]) != h.payload {
			return 0, errShort
		}
		if _, err := out.Write(b); err != nil {
			return 0, err
		}
		pos, *next = pos+h.size(), h.next()
	}
	return pos - from, nil
}

// verifyCopy is the size of the segment base where it is whole up to next.
func (w *appender) verifyCopy(base, next uint64) (int64, error) {
	seg, err := w.l.openSegment(base, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errShort
	}
	if err != nil {
		return 0, err
	}
	defer seg.f.Close()
	size, err := seg.size()
	if err != nil {
		return 0, err
	}
	at := base
	if _, err := copyBatches(io.Discard, seg, headerSize, &at, w.l, slot{base: seg.base, pos: size}); err != nil {
		return 0, err
	}
	if at != next {
		return 0, errShort
	}
	return size, nil
}
