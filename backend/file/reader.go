package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"

	"github.com/seastreamer/seastreamer/driver"
)

// A reader reads one shard in order, without its lock. It belongs to one
// goroutine at a time.
//
// The rule that everything here obeys: bytes are parsed only if they were read
// after a published end that covers them was loaded. What lies behind the end
// may belong to a writer that died, and be replaced after it was read.
type reader struct {
	l      *shardLog
	strict bool // stop at what is synced
	t      tail
	want   uint64 // the next message to deliver

	// Where it stands, while seg is not nil: the batch at pos begins with
	// next, which is at or below want.
	seg     *segment
	pos     int64
	next    uint64
	size    int64 // of a segment that is sealed; -1 is not known
	damaged bool  // the rest of the segment cannot be read

	lost *driver.GapError // to be reported first
}

func newReader(l *shardLog, strict bool) *reader {
	return &reader{l: l, strict: strict, t: tail{l: l}}
}

// seek makes seq the next message to deliver. It does not block.
func (r *reader) seek(seq uint64) {
	r.want, r.lost = seq, nil
	r.leave()
}

func (r *reader) leave() {
	if r.seg != nil {
		r.seg.f.Close()
		r.seg = nil
	}
}

func (r *reader) close() {
	r.leave()
	_ = r.l.close()
}

// read returns what comes next: a batch, or an error, which is a *GapError
// where messages are missing, or neither where there is nothing new.
func (r *reader) read(gen uint64) (*batch, error) {
	if gap := r.lost; gap != nil {
		r.lost = nil
		return nil, gap
	}
	for {
		if r.seg == nil {
			if err := r.open(); err != nil {
				return nil, err
			}
		}
		limit, sealed, err := r.limit()
		if err != nil {
			return nil, err
		}
		if r.seg.base > r.t.last.base {
			// The log was healed with a copy that begins before this segment.
			r.leave()
			continue
		}
		if r.pos < limit {
			if b, err := r.block(limit, gen); b != nil || err != nil {
				return b, err
			}
			continue
		}
		if !sealed {
			return nil, nil
		}
		if err := r.follow(); err != nil {
			return nil, err
		}
	}
}

// limit is where the bytes of the segment end that may be read, and whether it
// will not grow any more.
func (r *reader) limit() (int64, bool, error) {
	end := r.t.last
	// That a segment is sealed counts only if the end was loaded after it was
	// opened: it may be a copy that became the tail again.
	if !r.t.some || r.seg.base > end.base || r.seg.base < end.base && r.size < 0 || r.seg.base == end.base && r.pos >= end.pos || r.strict && r.next >= end.synced {
		var err error
		if end, err = r.t.load(); err != nil {
			return 0, false, err
		}
	}
	switch {
	case r.strict && r.next >= end.synced, r.seg.base > end.base:
		return r.pos, false, nil
	case r.seg.base == end.base:
		return end.pos, false, nil
	}
	if r.size < 0 {
		var err error
		if r.size, err = r.seg.size(); err != nil {
			return 0, false, err
		}
	}
	return r.size, true, nil
}

// enter makes seg the segment that is read.
func (r *reader) enter(seg *segment, pos int64, next uint64) {
	r.leave()
	r.seg, r.pos, r.next, r.size, r.damaged = seg, pos, next, -1, false
}

// open finds want. What is missing before it can be read is the gap that it
// returns.
func (r *reader) open() error {
	for range 8 { // a trim may come between any two of these steps
		end, err := r.t.load()
		if err != nil {
			return err
		}
		start, err := r.l.start()
		if err != nil {
			return err
		}
		if r.want < start.first {
			return r.gap(r.want, start.first, driver.GapCause(start.cause))
		}
		p, err := r.l.findSeq(r.want, end)
		if err == nil {
			var seg *segment
			if seg, err = r.l.openSegment(p.base, os.O_RDONLY); err == nil {
				r.enter(seg, p.pos, p.seq)
				return nil
			}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return r.absent()
}

// absent deals with segments that are missing though they should be there: the
// first that is there goes on.
func (r *reader) absent() error {
	bases, err := segments(r.l.root, r.l.dir)
	if err != nil {
		return err
	}
	bases = pastTail(bases, r.t.last)
	i := sort.Search(len(bases), func(i int) bool { return bases[i] > r.want })
	if i == len(bases) {
		return driver.Errorf(driver.ErrLost, "", "the segments from sequence %d on are missing in %s", r.want, r.l.dir)
	}
	return r.gap(r.want, bases[i], driver.GapCorrupt)
}

// gap moves want to to. It is the error that says so, or nil where nobody
// wants what is missing.
func (r *reader) gap(from, to uint64, cause driver.GapCause) error {
	from = max(from, r.want)
	if to <= from {
		return nil
	}
	r.want = to
	return &driver.GapError{Shard: r.l.shard, From: driver.SeqOf(from), To: driver.SeqOf(to), Cause: cause}
}

// follow goes from the end of a sealed segment to the next one: that named by
// the sequence which comes next, or the one behind a jump.
func (r *reader) follow() error {
	// A segment whose first batch cannot be read still stands at its own base.
	if r.next > r.seg.base {
		seg, err := r.l.openSegment(r.next, os.O_RDONLY)
		if err == nil {
			r.enter(seg, headerSize, r.next)
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if copied, err := r.reopen(); copied || err != nil {
		return err
	}
	start, err := r.l.start()
	if err != nil {
		return err
	}
	from := r.next
	if start.first > from {
		r.leave()
		return r.gap(from, start.first, driver.GapCause(start.cause))
	}
	bases, err := segments(r.l.root, r.l.dir)
	if err != nil {
		return err
	}
	bases = pastTail(bases, r.t.last)
	i := sort.Search(len(bases), func(i int) bool { return bases[i] > from })
	if i == len(bases) || i > 0 && bases[i-1] != r.seg.base {
		// The log goes on in a segment that was made from this one (see
		// appender.rewrite): look for want there.
		r.want = max(r.want, from)
		here := r.seg.base
		r.leave()
		if p, err := r.l.findSeq(r.want, r.t.last); err != nil || p.base == here {
			return r.absent()
		}
		return nil
	}
	seg, err := r.l.openSegment(bases[i], os.O_RDONLY)
	if err != nil {
		return err
	}
	cause := driver.GapCorrupt
	if seg.jump && !r.damaged {
		cause = driver.GapTruncated
	}
	r.enter(seg, headerSize, seg.base)
	return r.gap(from, seg.base, cause)
}

// reopen opens the segment again if another file has its name by now: a copy, which
// holds the same up to here, and what followed (see appender.rewrite).
func (r *reader) reopen() (bool, error) {
	if _, links, err := fstat(r.seg.f); err != nil || links > 0 {
		return false, err
	}
	seg, err := r.l.openSegment(r.seg.base, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // trimmed
	}
	if err == nil {
		r.enter(seg, r.pos, r.next)
	}
	return err == nil, err
}

// block reads the next block and returns the batch in it. Both results are nil
// where it only moved on.
func (r *reader) block(limit int64, gen uint64) (*batch, error) {
	b := newBlock(int(min(limit-r.pos, blockSize)))
	for {
		n, err := r.seg.f.ReadAt(b.data, r.pos)
		if err != nil && err != io.EOF {
			b.free()
			return nil, fmt.Errorf("read segment: %w", err)
		}
		short := n < len(b.data)
		b.data = b.data[:n]
		more, out, err := r.parse(b, limit, gen)
		if more > 0 && !short {
			// A batch larger than the block.
			b.free()
			b = newBlock(more)
			continue
		}
		if out == nil {
			b.free()
		}
		if more > 0 {
			return nil, r.short(limit)
		}
		return out, err
	}
}

// parse makes a batch of what the block holds whole. more is not zero where
// that is nothing because the first batch on disk has that size.
func (r *reader) parse(b *block, limit int64, gen uint64) (more int, out *batch, err error) {
	off, base := 0, r.next
	b.entries = b.entries[:0]
	for {
		rest := b.data[off:]
		if len(rest) < headerSize {
			if off == 0 && r.pos+headerSize <= limit {
				return headerSize, nil, nil // the file is short
			}
			if off == 0 {
				err = r.damage(limit)
			}
			break
		}
		h, ok := decodeBatchHeader(rest, r.l.seed)
		if !ok || h.base != r.next || r.pos+h.size() > limit {
			if off == 0 {
				err = r.damage(limit)
			}
			break
		}
		if h.size() > int64(len(rest)) {
			if off == 0 {
				more = int(h.size())
			}
			break
		}
		if r.strict && h.base >= r.t.last.synced {
			break
		}
		if h.flags&^batchKnown != 0 {
			if off == 0 {
				err = driver.Errorf(errors.ErrUnsupported, "", "the batch at sequence %d was written by a newer version of this program", h.base)
			}
			break
		}
		end := off + int(h.size())
		if h.flags&batchControl != 0 {
			if off == 0 {
				r.move(&h)
				out = r.marker(gen)
			}
			break
		}
		n := len(b.entries)
		if checksum(rest[headerSize:h.size()]) == h.payload {
			b.entries, ok = decodeRecords(b.entries, b.data, off+headerSize, end, h.count, h.time)
		} else {
			ok = false
		}
		if !ok {
			b.entries = b.entries[:n]
			if off == 0 {
				r.move(&h)
				err = r.gap(h.base, h.next(), driver.GapCorrupt)
			}
			break
		}
		r.move(&h)
		off = end
	}
	if len(b.entries) == 0 || r.next <= r.want {
		return more, out, err
	}
	skip := uint64(0)
	if r.want > base {
		skip = r.want - base
	}
	r.want = r.next
	return 0, &batch{
		shard: r.l.shard, gen: gen, base: base + skip, next: r.next,
		entries: b.entries[skip:], end: uint32(off), b: b,
	}, nil
}

// move goes behind a batch on disk.
func (r *reader) move(h *batchHeader) {
	r.pos += h.size()
	r.next = h.next()
}

// marker is a batch without messages that moves Next.
func (r *reader) marker(gen uint64) *batch {
	if r.next <= r.want {
		return nil
	}
	r.want = r.next
	return &batch{shard: r.l.shard, gen: gen, base: r.next, next: r.next}
}

// damage goes on behind a header that cannot be read, at the next one that
// can.
func (r *reader) damage(limit int64) error {
	s := newScanner(r.seg.f, r.l.seed, limit)
	pos, h, ok, err := s.find(r.pos+1, r.next)
	if err != nil {
		return err
	}
	if ok {
		from := r.next
		r.pos, r.next = pos, h.base
		return r.gap(from, h.base, driver.GapCorrupt)
	}
	return r.skip(limit, driver.GapCorrupt)
}

// skip goes to the limit without having read what is before it.
func (r *reader) skip(limit int64, cause driver.GapCause) error {
	r.pos = limit
	r.damaged = true
	if r.seg.base != r.t.last.base {
		return nil // sealed: the next segment says how much is missing
	}
	from := r.next
	r.next = r.t.last.next
	return r.gap(from, r.next, cause)
}

// short deals with a file that ends before its limit: it was replaced or is
// being replaced (see appender.rewrite), or somebody has cut it.
func (r *reader) short(limit int64) error {
	seg, err := r.l.openSegment(r.seg.base, os.O_RDONLY)
	if err != nil {
		return err
	}
	size, err := seg.size()
	if err != nil {
		seg.f.Close()
		return err
	}
	if size >= limit {
		old := r.damaged
		r.enter(seg, r.pos, r.next)
		r.damaged = old
		return nil
	}
	seg.f.Close()
	end, err := r.t.load()
	if err != nil {
		return err
	}
	if end.base != r.seg.base {
		r.size = -1
		if r.pos > size {
			r.leave()
		}
		return nil
	}
	if end.flags&flagPoisoned != 0 {
		return driver.Errorf(driver.ErrUnavailable, "", "the log is being repaired after a failed sync")
	}
	return r.skip(limit, driver.GapTruncated)
}

// resolve is the sequence at which reading begins.
func (r *reader) resolve(s driver.Start) (uint64, error) {
	end, err := r.t.load()
	if err != nil {
		return 0, err
	}
	start, err := r.l.start()
	if err != nil {
		return 0, err
	}
	switch s.At {
	case driver.AtEarliest:
		return start.first, nil
	case driver.AtSeq:
		return max(number(s.Seq), start.first), nil
	case driver.AtTime:
		seq, err := r.l.findTime(s.Time.UnixMicro(), start.first, end)
		return max(min(seq, end.visible(r.strict)), start.first), err
	}
	return end.visible(r.strict), nil
}

// number is s in the 64 bits that a log counts with.
func number(s driver.Seq) uint64 {
	if s.Hi != 0 {
		return 1<<64 - 1
	}
	return s.Lo
}
