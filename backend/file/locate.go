package file

import (
	"errors"
	"io/fs"
	"os"
	"sort"
)

// A place is where a batch begins, or the next one will.
type place struct {
	base uint64 // of the segment
	pos  int64
	seq  uint64 // of the first record there
}

// limit is the end of what may be read in a segment, given the end of the log,
// which was loaded before.
func (l *shardLog) limit(s *segment, end slot) (int64, error) {
	if s.base == end.base {
		return end.pos, nil
	}
	return s.size()
}

// pastTail drops segments that were made and not yet published.
func pastTail(bases []uint64, end slot) []uint64 {
	return bases[:sort.Search(len(bases), func(i int) bool { return bases[i] > end.base })]
}

// findSeq returns where the batch begins that holds the record seq, or the
// first batch behind it. ErrNotExist says that the segment that held it is
// gone, or that it is in none.
func (l *shardLog) findSeq(seq uint64, end slot) (place, error) {
	bases, err := segments(l.root, l.dir)
	if err != nil {
		return place{}, err
	}
	bases = pastTail(bases, end)
	i := sort.Search(len(bases), func(i int) bool { return bases[i] > seq })
	if i == 0 {
		return place{}, fs.ErrNotExist
	}
	base := bases[i-1]
	seg, err := l.openSegment(base, os.O_RDONLY)
	if err != nil {
		return place{}, err
	}
	defer seg.f.Close()
	limit, err := l.limit(seg, end)
	if err != nil {
		return place{}, err
	}
	s := newScanner(seg.f, l.seed, limit)
	p := place{base, headerSize, base}
	x := l.openIndex(base)
	defer x.close()
	if e, ok := x.last(func(e indexEntry) bool { return e.seq <= seq }); ok && s.check(e) {
		p.pos, p.seq = e.pos, e.seq
	}
	from := p.pos
	defer func() {
		// An index that leaves this much to be scanned misses entries.
		if p.pos-from > 64*indexStripe {
			if m, err := l.maxBefore(bases, i-1, end); err == nil {
				_ = l.repairIndex(bases, i-1, end, m)
			}
		}
	}()
	for p.pos < limit {
		h, ok, err := s.header(p.pos)
		if err != nil {
			return place{}, err
		}
		if !ok {
			// Damage: the reader reports it, unless the record is behind it.
			pos, h, ok, err := s.find(p.pos+1, p.seq)
			if err != nil || !ok || h.base > seq {
				return p, err
			}
			p.pos, p.seq = pos, h.base
			continue
		}
		if h.next() > seq {
			return p, nil
		}
		p.pos, p.seq = p.pos+h.size(), h.next()
	}
	return p, nil
}

// maxBefore is the running maximum time before segment i of bases. Where the
// index does not say, it is found out and written down.
func (l *shardLog) maxBefore(bases []uint64, i int, end slot) (int64, error) {
	x := l.openIndex(bases[i])
	e, ok := x.first()
	x.close()
	if ok && e.seq == bases[i] && e.pos == headerSize {
		return e.maxTime, nil
	}
	if i == 0 {
		return minTime, l.repairIndex(bases, i, end, minTime)
	}
	before, err := l.maxBefore(bases, i-1, end)
	if err != nil {
		return 0, err
	}
	before, err = l.scanMax(bases[i-1], end, before)
	if err != nil {
		return 0, err
	}
	return before, l.repairIndex(bases, i, end, before)
}

// scanMax is the running maximum time behind a segment, before being that
// before it.
func (l *shardLog) scanMax(base uint64, end slot, before int64) (int64, error) {
	seg, err := l.openSegment(base, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer seg.f.Close()
	limit, err := l.limit(seg, end)
	if err != nil {
		return 0, err
	}
	_, maxTime, err := buildIndex(base, newScanner(seg.f, l.seed, limit), before)
	return maxTime, err
}

// repairIndex makes the index of a segment anew. That of the tail is left to
// its writers, who have it open.
func (l *shardLog) repairIndex(bases []uint64, i int, end slot, before int64) error {
	if bases[i] == end.base || !l.writable {
		return nil
	}
	seg, err := l.openSegment(bases[i], os.O_RDONLY)
	if err != nil {
		return err
	}
	defer seg.f.Close()
	limit, err := l.limit(seg, end)
	if err != nil {
		return err
	}
	b, _, err := buildIndex(bases[i], newScanner(seg.f, l.seed, limit), before)
	if err != nil {
		return err
	}
	_ = l.replaceIndex(bases[i], b) // it stays advice
	return nil
}

// findTime is the sequence of the first record from first on whose time is at
// least t, or the end of the log.
func (l *shardLog) findTime(t int64, first uint64, end slot) (uint64, error) {
	if t > end.maxTime {
		return end.next, nil
	}
	bases, err := segments(l.root, l.dir)
	if err != nil {
		return 0, err
	}
	bases = pastTail(bases, end)
	var failed error
	// The last segment before which everything is older than t.
	i := max(0, sort.Search(len(bases), func(i int) bool {
		m, err := l.maxBefore(bases, i, end)
		if err != nil && failed == nil {
			failed = err
		}
		return m >= t
	})-1)
	for ; i < len(bases) && failed == nil; i++ {
		seq, ok, err := l.findTimeIn(bases[i], t, first, end)
		if errors.Is(err, fs.ErrNotExist) {
			continue // trimmed meanwhile
		}
		if ok || err != nil {
			return seq, err
		}
	}
	return end.next, failed
}

func (l *shardLog) findTimeIn(base uint64, t int64, first uint64, end slot) (uint64, bool, error) {
	seg, err := l.openSegment(base, os.O_RDONLY)
	if err != nil {
		return 0, false, err
	}
	defer seg.f.Close()
	limit, err := l.limit(seg, end)
	if err != nil {
		return 0, false, err
	}
	s := newScanner(seg.f, l.seed, limit)
	p := place{base, headerSize, base}
	x := l.openIndex(base)
	defer x.close()
	if e, ok := x.last(func(e indexEntry) bool { return e.maxTime < t }); ok && s.check(e) {
		p.pos, p.seq = e.pos, e.seq
	}
	for p.pos < limit {
		h, ok, err := s.header(p.pos)
		if err != nil {
			return 0, false, err
		}
		if !ok {
			return max(p.seq, first), true, nil // damage: the reader reports it
		}
		if h.maxTime() >= t && h.next() > first && h.flags&batchControl == 0 {
			b, ok, err := s.payload(p.pos, &h)
			if err != nil {
				return 0, false, err
			}
			es, good := decodeRecords(nil, b, 0, len(b), h.count, h.time)
			if !ok || !good {
				return max(h.base, first), true, nil
			}
			for i := range es {
				if seq := h.base + uint64(i); seq >= first && es[i].time >= t {
					return seq, true, nil
				}
			}
		}
		p.pos, p.seq = p.pos+h.size(), h.next()
	}
	return 0, false, nil
}
