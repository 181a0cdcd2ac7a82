package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A view is a shard as it stood at one instant, to be looked at without its
// lock. Messages that come afterwards are not in it; those that retention
// removes afterwards are.
type view struct {
	l           *shardLog
	strict      bool
	end         slot
	first, next uint64 // of what readers see
}

func (d *fileDriver) view(root *os.Root, shard driver.Shard, m meta) (*view, error) {
	l, err := d.openShard(root, shard, m)
	if err != nil {
		return nil, err
	}
	v := &view{l: l, strict: m.Sync == SyncAlways}
	t := tail{l: l}
	if v.end, err = t.load(); err == nil {
		v.next = v.end.visible(v.strict)
		var start startSlot
		if start, err = l.start(); err == nil {
			v.first = min(start.first, v.next)
			return v, nil
		}
	}
	v.close()
	return nil, err
}

func (v *view) close() { _ = v.l.close() } // read only

func (v *view) bound() driver.Bound {
	return driver.Bound{First: driver.SeqOf(v.first), Next: driver.SeqOf(v.next)}
}

// bases are the segments of the view.
func (v *view) bases() ([]uint64, error) {
	bases, err := segments(v.l.root, v.l.dir)
	return pastTail(bases, v.end), err
}

// count is how many messages there are from from up to and without to. The
// sequence numbers have no holes but those up to a multiple of 2³² that were
// given up after a power loss (see appender.rescan), which begin where the
// segment before ends.
func (v *view) count(from, to uint64) (driver.Count, error) {
	from, to = max(from, v.first), min(to, v.next)
	if from >= to {
		return driver.Count{}, nil
	}
	n := to - from
	if v.next < jump {
		return driver.Count{N: int64(n)}, nil
	}
	bases, err := v.bases()
	if err != nil {
		return driver.Count{}, err
	}
	for i, base := range bases {
		if base == 0 || base%jump != 0 || base <= from {
			continue
		}
		begin := from // of the hole
		if i > 0 {
			if begin, err = v.segmentEnd(bases[i-1]); errors.Is(err, fs.ErrNotExist) {
				return driver.Count{N: int64(n), Estimated: true}, nil // trimmed meanwhile
			} else if err != nil {
				return driver.Count{}, err
			}
		}
		if lo, hi := max(begin, from), min(base, to); lo < hi {
			n -= hi - lo
		}
	}
	return driver.Count{N: int64(n)}, nil
}

// segmentEnd is the sequence behind the last batch of a segment. It reads what
// lies behind the last entry of its index.
func (v *view) segmentEnd(base uint64) (uint64, error) {
	if base == v.end.base {
		return v.end.next, nil
	}
	seg, err := v.l.openSegment(base, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer seg.f.Close()
	limit, err := seg.size()
	if err != nil {
		return 0, err
	}
	s := newScanner(seg.f, v.l.seed, limit)
	pos, next := int64(headerSize), base
	x := v.l.openIndex(base)
	defer x.close()
	if e, ok := x.last(func(indexEntry) bool { return true }); ok && s.check(e) {
		pos, next = e.pos, e.seq
	}
	for pos < limit {
		h, ok, err := s.header(pos)
		if err == nil && !ok {
			pos, h, ok, err = s.find(pos+1, next)
		}
		if err != nil || !ok {
			return next, err
		}
		pos, next = pos+h.size(), h.next()
	}
	return next, nil
}

// readAt returns the messages of one block from seq on, or what follows where
// there are none; nil where nothing does. It must be released.
func (v *view) readAt(seq uint64) (*batch, error) {
	r := newReader(v.l, v.strict)
	defer r.leave()
	r.seek(max(seq, v.first))
	for {
		b, err := r.read(0)
		var gap *driver.GapError
		switch {
		case errors.As(err, &gap), err == nil && b != nil && b.Len() == 0:
			continue // each goes on behind it
		case err != nil, b == nil:
			return nil, err
		}
		return b, nil
	}
}

// timeAt is the time of the first message at or behind seq, or zero.
func (v *view) timeAt(seq uint64) (time.Time, error) {
	if seq >= v.next {
		return time.Time{}, nil
	}
	b, err := v.readAt(seq)
	if b == nil {
		return time.Time{}, err
	}
	defer b.Release()
	return b.Time(0), nil
}

// times are those of the first and of the last message; zero where there is
// none or it is damaged. One block is all there is to read of a small shard.
func (v *view) times() (first, last time.Time, err error) {
	if v.first >= v.next {
		return first, last, nil
	}
	b, err := v.readAt(v.first)
	if err != nil {
		return first, last, err
	}
	if b != nil {
		first, last = b.Time(0), b.Time(b.Len()-1)
		all := b.next >= v.next
		b.Release()
		if all {
			return first, last, nil
		}
	}
	last, err = v.lastTime()
	return first, last, err
}

// lastTime is the time of the last message, or zero where there is none or it
// is damaged. After a jump the tail may be empty, and it is in the segment
// before.
func (v *view) lastTime() (time.Time, error) {
	bases, err := v.bases()
	if err != nil {
		return time.Time{}, err
	}
	for _, base := range slices.Backward(bases) {
		end, err := v.segmentEnd(base)
		if errors.Is(err, fs.ErrNotExist) {
			break // trimmed meanwhile, and so was all before it
		}
		if err != nil {
			return time.Time{}, err
		}
		end = min(end, v.next)
		if end <= v.first {
			break
		}
		if end <= base {
			continue
		}
		b, err := v.readAt(end - 1)
		if b == nil {
			return time.Time{}, err
		}
		defer b.Release()
		return b.Time(b.Len() - 1), nil
	}
	return time.Time{}, nil
}

// shardOf is the settings of the stream of a shard that exists.
func (d *fileDriver) shardOf(shard driver.Shard) (*os.Root, meta, error) {
	root, m, err := d.meta(shard.Stream)
	if err == nil && (shard.Index < 0 || int(shard.Index) >= m.Shards) {
		err = driver.Errorf(driver.ErrNotFound, "", "the stream has %d shards, counted from 0", m.Shards)
	}
	return root, m, err
}

// viewShard calls f with a view of a shard.
func (d *fileDriver) viewShard(shard driver.Shard, f func(*view) error) error {
	root, m, err := d.shardOf(shard)
	if err != nil {
		return err
	}
	v, err := d.view(root, shard, m)
	if err != nil {
		return err
	}
	defer v.close()
	return f(v)
}

// Resolve implements [driver.StreamAdmin]. By time it looks at the index and
// reads at most some 64 KiB of each shard.
func (d *fileDriver) Resolve(ctx context.Context, stream string, start driver.Start) ([]driver.Position, error) {
	_, m, err := d.meta(stream)
	if err != nil {
		return nil, wrap("find a position in stream "+stream, driver.Shard{}, err)
	}
	at := make([]driver.Position, m.Shards)
	for i := range at {
		if ctx.Err() != nil {
			return nil, wrap("find a position in stream "+stream, driver.Shard{}, context.Cause(ctx))
		}
		at[i].Shard = driver.Shard{Stream: stream, Index: int32(i)}
		err := d.viewShard(at[i].Shard, func(v *view) error {
			seq, err := newReader(v.l, v.strict).resolve(start)
			at[i].Next = driver.SeqOf(seq)
			return err
		})
		if err != nil {
			return nil, wrap("find a position in", at[i].Shard, err)
		}
	}
	return at, nil
}

// Times implements [driver.StreamAdmin]. It reads one block for each.
func (d *fileDriver) Times(ctx context.Context, at []driver.Position) ([]time.Time, error) {
	times := make([]time.Time, len(at))
	for i, p := range at {
		if ctx.Err() != nil {
			return nil, wrap("find the time of a position in", p.Shard, context.Cause(ctx))
		}
		err := d.viewShard(p.Shard, func(v *view) (err error) {
			times[i], err = v.timeAt(number(p.Next))
			return err
		})
		if err != nil {
			return nil, wrap("find the time of a position in", p.Shard, err)
		}
	}
	return times, nil
}

// Count implements [driver.StreamAdmin]. Only what is there counts; it is exact
// but for damage.
func (d *fileDriver) Count(ctx context.Context, ranges []driver.Range) ([]driver.Count, error) {
	counts := make([]driver.Count, len(ranges))
	for i, r := range ranges {
		if ctx.Err() != nil {
			return nil, wrap("count the messages of", r.Shard, context.Cause(ctx))
		}
		err := d.viewShard(r.Shard, func(v *view) (err error) {
			counts[i], err = v.count(number(r.From), number(r.To))
			return err
		})
		if err != nil {
			return nil, wrap("count the messages of", r.Shard, err)
		}
	}
	return counts, nil
}
