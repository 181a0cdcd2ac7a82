package file

import (
	"context"
	"io/fs"

	"github.com/seastreamer/seastreamer/driver"
)

// Trim implements [driver.StreamAdmin]. It is exact: the log begins with the
// message at the position. Segments that lie below it whole are removed;
// what is below it in the segment that has it goes with that segment. Where all
// is trimmed, all is removed.
func (d *fileDriver) Trim(ctx context.Context, before []driver.Position) ([]driver.Position, error) {
	at, errs := make([]driver.Position, len(before)), make([]error, len(before))
	for i, p := range before {
		if ctx.Err() != nil {
			if errs[i] = driver.ErrNotTried; i == 0 || errs[i-1] == nil {
				errs[i] = wrap("trim", p.Shard, context.Cause(ctx))
			}
			continue
		}
		first, err := d.trim(ctx, p)
		errs[i] = wrap("trim", p.Shard, err)
		at[i] = driver.Position{Shard: p.Shard, Next: driver.SeqOf(first)}
	}
	if err := driver.Partial(errs); err != nil {
		return nil, err
	}
	return at, nil
}

func (d *fileDriver) trim(ctx context.Context, p driver.Position) (uint64, error) {
	root, m, err := d.shardOf(p.Shard)
	if err != nil {
		return 0, err
	}
	l, err := openLog(root, p.Shard)
	if err != nil {
		return 0, err
	}
	if !l.writable {
		_ = l.close()
		return 0, fs.ErrPermission
	}
	w := newAppender(l, m, d.opts, &d.env)
	if err := w.key.lock(ctx, d.env.patience); err != nil {
		w.key.discard()
		return 0, err
	}
	defer w.close()
	defer w.unlock()
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.trimTo(number(p.Next))
}

// trimTo makes seq, or the end where that is below, the first message of the
// log, and returns which it is. The lock is held. As with retention, the new
// start is published before anything is removed.
func (w *appender) trimTo(seq uint64) (uint64, error) {
	seq = min(seq, w.end.visible(w.strict))
	start, err := w.l.start()
	if err != nil {
		return 0, err
	}
	if seq <= start.first {
		return start.first, nil
	}
	if seq == w.end.next && w.end.pos > headerSize {
		// The tail stays, so what is in it must not be the tail any more.
		if err := w.roll(); err != nil {
			return start.first, err
		}
		if start, err = w.l.start(); err != nil { // roll trims, too
			return 0, err
		}
	}
	if seq > start.first {
		if err := w.l.publishStart(startSlot{start.gen + 1, seq, now(), uint32(driver.GapTrimmed)}); err != nil {
			return start.first, err
		}
	}
	bases, err := segments(w.l.root, w.l.dir)
	if err != nil {
		return seq, err
	}
	bases = pastTail(bases, w.end)
	for i, b := range bases {
		if i+1 < len(bases) && bases[i+1] <= seq {
			_ = w.l.removeSegment(b) // if it stays, the next trim removes it
		}
	}
	return seq, nil
}
