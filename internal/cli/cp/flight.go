package cp

import (
	"context"
	"errors"
	"sync/atomic"

	ss "github.com/seastreamer/seastreamer"
)

// A flight is a batch on its way: it is done when all its records are.
type flight struct {
	r       *sess
	b       *ss.Batch
	n       int // messages that are sent
	bytes   int64
	records recorder
	left    atomic.Int64
	done    func(ss.Receipt, error)
}

// flight takes a batch, or as much of it as the session may have.
func (r *sess) flight(b *ss.Batch) *flight {
	l := r.l
	n := b.Len()
	if l.left >= 0 {
		n = int(min(int64(n), l.left))
		l.left -= int64(n)
	}
	f, _ := l.flights.Get().(*flight)
	if f == nil {
		f = &flight{}
		f.done = f.landed
	}
	f.r, f.b, f.n, f.bytes = r, b, n, 0
	f.left.Store(int64(n) + 1)
	return f
}

// send sends a flight. With at-most, what DST does not take for its size is left
// out: it is noted as copied, with what comes behind it.
func (r *sess) send(ctx context.Context, f *flight) error {
	l := r.l
	for i := range f.n {
		m := f.b.At(i)
		rec := l.record(&f.records, m)
		f.bytes += size(&rec)
		if err := r.out.Enqueue(ctx, rec, f.done); err != nil {
			l.refused = m
			if err = l.about(err); l.atMost() && errors.Is(err, ss.ErrTooLarge) {
				f.done(ss.Receipt{}, err)
				continue
			}
			return err
		}
	}
	f.done(ss.Receipt{}, nil) // the hold of this loop
	return nil
}

// landed is the receipt of a record. It must not wait.
func (f *flight) landed(_ ss.Receipt, err error) {
	r := f.r
	if err != nil {
		if r.l.atMost() {
			if r.lost.Add(1) == 1 {
				r.l.o.f.IO.Warn("a message is left out: %v", err)
			}
		} else {
			r.fail(err)
		}
	}
	if f.left.Add(-1) > 0 || r.failed.Load() {
		return
	}
	r.l.tally.copied.Add(int64(f.n))
	r.l.tally.bytes.Add(f.bytes)
	if !r.l.atMost() {
		f.ack()
	}
	f.b.Release()
	f.records.reset()
	f.b = nil
	r.l.flights.Put(f)
}

// ack says that what was sent of the batch is done.
func (f *flight) ack() {
	if f.n == f.b.Len() {
		f.b.Ack()
		return
	}
	for i := range f.n {
		f.b.At(i).Ack()
	}
}
