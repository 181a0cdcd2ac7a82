package seastreamer

import (
	"context"
	"errors"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

// A Producer sends records. Any number of goroutines may use it; it has none
// of its own beyond the backend's.
//
// A send has three outcomes. A nil error: the record was written, and the
// receipt says what it survives. An error that is ErrUnknown: it may or may
// not have been written. Any other error: it was not, and may be sent again.
type Producer struct {
	d      driver.Producer
	named  *named // d, where it has a name
	stream string
	owner  *Streamer
	noted  func(Receipt, error) // note, bound once: binding it allocates
	// waiters are those of Send. They belong to the producer, not to the
	// package: in tests under synctest, channels must not leave their bubble.
	waiters sync.Pool

	mu     sync.Mutex
	failed error // the first failure of an Enqueue without done
	closed bool
}

// Send sends one record and waits for its receipt. When ctx ends while the
// record is under way, Send returns ErrUnknown with the context's cause; the
// record may still be written, and its bytes are borrowed for good.
func (p *Producer) Send(ctx context.Context, r Record) (Receipt, error) {
	if err := p.target(&r); err != nil {
		return Receipt{}, err
	}
	w, _ := p.waiters.Get().(*waiter)
	if w == nil {
		w = newWaiter()
	}
	if err := p.d.Produce(ctx, r, w.done); err != nil {
		p.waiters.Put(w)
		return Receipt{}, failed(r, err)
	}
	select {
	case o := <-w.ch:
		p.waiters.Put(w)
		if o.err != nil {
			return o.receipt, failed(r, o.err)
		}
		return o.receipt, nil
	case <-ctx.Done():
		// The waiter is not reused: its receipt may still come.
		return Receipt{}, stopped(ctx, "send to "+r.Stream, ErrUnknown)
	}
}

// A waiter receives one outcome. The callback is bound once, so that a Send
// allocates neither a channel nor a closure.
type waiter struct {
	ch   chan outcome
	done func(Receipt, error)
}

type outcome struct {
	receipt Receipt
	err     error
}

func newWaiter() *waiter {
	w := &waiter{ch: make(chan outcome, 1)}
	w.done = func(r Receipt, err error) { w.ch <- outcome{r, err} }
	return w
}

// Enqueue takes the record and returns, waiting only for room in the buffer,
// within ctx, which does not reach the send itself. Unless Enqueue returns an
// error, done is called exactly once, in order per shard, with the outcome; it
// must not block. With a nil done the first failure is kept and returned by
// the next Flush or by Close.
func (p *Producer) Enqueue(ctx context.Context, r Record, done func(Receipt, error)) error {
	if err := p.target(&r); err != nil {
		return err
	}
	if done == nil {
		done = p.noted
	}
	if err := p.d.Produce(ctx, r, done); err != nil {
		return failed(r, err)
	}
	return nil
}

func (p *Producer) target(r *Record) error {
	if r.Stream == "" {
		if r.Stream = p.stream; r.Stream == "" {
			return invalid("send", "the record names no stream, and the producer has none")
		}
	}
	if r.Shard < 0 {
		return invalid("send to "+r.Stream, "the shard is negative")
	}
	if r.ID != 0 && p.named == nil {
		return invalid("send to "+r.Stream, "the record has an ID, and the producer has no Name under which to keep it")
	}
	return nil
}

// LastID is the highest ID that is written under the producer's Name, by this
// producer or those before it: after a restart, send what comes behind it. It is
// zero where there is none, and without a Name.
func (p *Producer) LastID() uint64 {
	if p.named == nil {
		return 0
	}
	return p.named.lastID()
}

// failed says which record an error is about.
func failed(r Record, err error) error {
	if i, ok := r.Shard.Index(); ok {
		return wrap("send to", Shard{Stream: r.Stream, Index: i}, err)
	}
	return wrap("send to "+r.Stream, Shard{}, err)
}

func (p *Producer) note(_ Receipt, err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	if p.failed == nil {
		p.failed = wrap("send", Shard{}, err)
	}
	p.mu.Unlock()
}

// Flush waits until every record taken before the call is settled. It returns
// the first failure among records enqueued without done since the last Flush.
func (p *Producer) Flush(ctx context.Context) error {
	if err := p.d.Flush(ctx); err != nil {
		return wrap("flush", Shard{}, err)
	}
	return p.take()
}

func (p *Producer) take() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.failed
	p.failed = nil
	return err
}

// Close flushes within ctx and ends the producer. Records that are not settled
// by then are given up, with ErrUnknown. It is idempotent.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	defer p.owner.disown(p)
	err := wrap("close producer", Shard{}, p.d.Close(ctx))
	return errors.Join(err, p.take())
}
