package cp

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

const (
	// saveEvery is how often progress is stored with --delivery at-least.
	saveEvery = time.Second
	// inFlight is how much may be on its way to DST, in bytes. A backend holds
	// large messages several times over: with 16 MiB a copy of such ones into
	// Redis took 280 MiB, and more is not faster.
	inFlight = 4 << 20
)

// loosely copies with a consumer and a producer, and the progress in a file.
// What is temporary ends a session, and the next one begins where the progress
// says: then messages that were on their way are sent again, or, with at-most,
// not at all.
func (c *copier) loosely(ctx context.Context) error {
	st, err := openState(c.o.f, c.p, c.o.Delivery)
	if err != nil {
		return err
	}
	defer st.close()
	if c.o.Restart {
		if err := st.forget(); err != nil {
			return err
		}
	}
	at, err := st.load()
	if err != nil {
		return err
	}
	l := &loose{copier: c, st: st, at: at, left: c.o.Count}
	retry := c.o.f.RetryNotice()
	for attempt := 0; ; attempt++ {
		copied := c.tally.copied.Load()
		err := l.session(ctx)
		switch {
		case err == nil && ctx.Err() != nil && !l.ended:
			return errStopped
		case err == nil || ctx.Err() != nil:
			return err
		case !l.opened, !errors.Is(err, ss.ErrUnknown) && !errors.Is(err, ss.ErrUnavailable):
			return err
		}
		if c.tally.copied.Load() > copied {
			attempt = 0
		}
		wait := min(50*time.Millisecond<<min(attempt, 10), 2*time.Second)
		retry("copy", err, wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errStopped
		}
	}
}

// loose is a copy with a consumer and a producer.
type loose struct {
	*copier
	st     *state
	left   int64 // below 0 is no limit
	opened bool  // a session was opened once: what is temporary is tried again
	ended  bool  // there is no more, or enough

	flights sync.Pool

	mu sync.Mutex
	at ss.Checkpoint // what is stored; nil is nothing
}

// A sess is one session: a consumer, a producer and what is on its way.
type sess struct {
	l      *loose
	in     *ss.Consumer
	out    *ss.Producer
	fail   context.CancelCauseFunc
	failed atomic.Bool
	lost   atomic.Int64 // with at-most
}

// session copies until there is no more, ctx ends, or something fails.
func (l *loose) session(ctx context.Context) (err error) {
	work, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r := &sess{l: l, fail: fail}
	cfg := l.plan.Config
	cfg.Ack = ss.AckExplicit
	cfg.Assigned = l.assigned
	if r.in, err = open(ctx, func(ctx context.Context) (*ss.Consumer, error) { return l.src.Consumer(ctx, cfg) }); err != nil {
		return err
	}
	defer closing(&err, r.in.Close)
	durable := ss.AtLeastOnce
	if l.o.Delivery == "at-most" {
		durable = ss.AtMostOnce
	}
	if r.out, err = open(ctx, func(ctx context.Context) (*ss.Producer, error) {
		return l.dst.Producer(ctx, ss.ProducerConfig{Stream: l.p.to(), Durability: durable, MaxBytes: inFlight})
	}); err != nil {
		return err
	}
	defer closing(&err, r.out.Close)
	l.begin()
	l.opened = true
	saving := make(chan struct{})
	saved := make(chan struct{})
	go func() { defer close(saved); r.saveLoop(saving) }()
	err = r.pump(work)
	close(saving)
	<-saved
	// What is on its way is waited for, also after a signal.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if e := r.out.Flush(last); err == nil {
		err = e
	}
	if e := context.Cause(work); err == nil && e != nil && r.failed.Load() {
		err = e
	}
	if e := r.save(last); err == nil {
		err = e
	}
	if n := r.lost.Load(); err == nil && n > 0 {
		err = &exit.Error{Code: exit.Partial, Msg: "messages were not written, as --delivery at-most allows"}
	}
	return err
}

// open opens within openTime.
func open[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	return f(ctx)
}

// assigned says where shards begin: where the progress says, else where the
// flags do.
func (l *loose) assigned(_ context.Context, shards []ss.Shard) (ss.Checkpoint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := ss.Checkpoint{}
	for _, sh := range shards {
		if next, ok := l.claims.starts[sh]; ok {
			from[sh] = next
		}
		if next, ok := l.at[sh]; ok {
			from[sh] = next
		}
	}
	return from, nil
}

// begin notes where this run began.
func (l *loose) begin() {
	at := make([]driver.Position, 0, len(l.at))
	for sh, next := range l.at {
		at = append(at, driver.Position{Shard: sh, Next: next})
	}
	l.tally.claimed(make([]driver.Position, len(at)), at)
}

// pump reads and sends.
func (r *sess) pump(ctx context.Context) error {
	l := r.l
	sending, atMost := ctx, l.o.Delivery == "at-most"
	if atMost {
		// What is noted as copied is sent, also after a signal.
		ends, giveUp := context.WithCancel(context.WithoutCancel(ctx))
		defer giveUp()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, giveUp) })()
		sending = ends
	}
	for b, err := range r.in.Batches(ctx) {
		if err != nil {
			if ctx.Err() != nil && !r.failed.Load() {
				return nil
			}
			return err
		}
		n := b.Len()
		if l.left >= 0 {
			n = int(min(int64(n), l.left))
			l.left -= int64(n)
		}
		f := l.flight(r, b, n)
		if atMost {
			f.ack()
			if err := r.save(ctx); err != nil {
				return err
			}
		}
		for i := range n {
			m := b.At(i)
			rec := l.record(&f.records, m)
			f.bytes += size(&rec)
			if err := r.out.Enqueue(sending, rec, f.done); err != nil {
				l.refused = m
				if err = l.about(err); atMost && errors.Is(err, ss.ErrTooLarge) {
					f.done(ss.Receipt{}, err) // the messages behind it are noted as copied, too
					continue
				}
				if ctx.Err() != nil && !r.failed.Load() {
					return nil // a signal: what was not taken comes at the next run
				}
				return err
			}
		}
		f.done(ss.Receipt{}, nil) // the hold of this loop
		if l.left == 0 {
			l.ended = true
			return nil
		}
	}
	l.ended = ctx.Err() == nil
	return nil
}

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

func (l *loose) flight(r *sess, b *ss.Batch, n int) *flight {
	f, _ := l.flights.Get().(*flight)
	if f == nil {
		f = &flight{}
		f.done = f.landed
	}
	f.r, f.b, f.n, f.bytes = r, b, n, 0
	f.left.Store(int64(n) + 1)
	return f
}

// landed is the receipt of a record. It must not wait.
func (f *flight) landed(_ ss.Receipt, err error) {
	r := f.r
	if err != nil {
		if r.l.o.Delivery == "at-most" {
			if r.lost.Add(1) == 1 {
				r.l.o.f.IO.Warn("a message is left out: %v", err)
			}
		} else if r.failed.CompareAndSwap(false, true) {
			r.fail(err)
		}
	}
	if f.left.Add(-1) > 0 || r.failed.Load() {
		return
	}
	r.l.tally.copied.Add(int64(f.n))
	r.l.tally.bytes.Add(f.bytes)
	if r.l.o.Delivery != "at-most" {
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

// saveLoop stores the progress every saveEvery, with at-least.
func (r *sess) saveLoop(end <-chan struct{}) {
	if r.l.o.Delivery == "at-most" {
		return
	}
	t := time.NewTicker(saveEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := r.save(context.Background()); err != nil && r.failed.CompareAndSwap(false, true) {
				r.fail(err)
			}
		case <-end:
			return
		}
	}
}

// save stores how far everything is done. One goroutine at a time calls it.
func (r *sess) save(ctx context.Context) error {
	at, err := r.in.Commit(ctx)
	if err != nil {
		return err
	}
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if maps.Equal(at, l.at) || len(at) == 0 {
		return nil
	}
	// Shards that are not read now keep what they have.
	all := maps.Clone(l.at)
	if all == nil {
		all = ss.Checkpoint{}
	}
	maps.Copy(all, at)
	if err := l.st.save(all); err != nil {
		return err
	}
	l.at = all
	l.tally.mu.Lock()
	maps.Copy(l.tally.at, all)
	l.tally.mu.Unlock()
	return nil
}
