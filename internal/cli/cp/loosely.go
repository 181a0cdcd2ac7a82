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
	// inFlight is how much may be on its way to DST, in bytes, and inFlightToKafka
	// where that is Kafka, whose requests are the larger, and the fewer, the more
	// there is to send when one is answered. Other backends hold large messages
	// several times over, and are no faster with more: with 16 MiB a copy of
	// messages of 900 KB into Redis takes 250 MiB.
	inFlight        = 4 << 20
	inFlightToKafka = 16 << 20
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
	l := &loose{copier: c, st: st, at: at}
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
	left   int64 // how many messages this session may still take; below 0 is no limit
	opened bool  // a session was opened once: what is temporary is tried again
	ended  bool  // there is no more, or enough

	flights sync.Pool

	mu sync.Mutex
	at ss.Checkpoint // what is stored; nil is nothing
}

func (l *loose) atMost() bool { return l.o.Delivery == "at-most" }

// A sess is one session: a consumer, a producer and what is on its way.
type sess struct {
	l      *loose
	in     *ss.Consumer
	out    *ss.Producer
	stop   context.CancelCauseFunc
	first  sync.Once
	why    error // what failed first; set before failed
	failed atomic.Bool
	lost   atomic.Int64 // with at-most
}

// fail ends the session since something has failed. What was first counts, also
// where a signal has ended it already.
func (r *sess) fail(err error) {
	r.first.Do(func() {
		r.why = err
		r.failed.Store(true)
		r.stop(err)
	})
}

// session copies until there is no more, ctx ends, or something fails.
func (l *loose) session(ctx context.Context) (err error) {
	if l.left = l.o.Count; l.left > 0 { // messages that an earlier session has taken come again
		l.left = max(l.left-l.tally.copied.Load(), 0)
	}
	if l.left == 0 {
		l.ended = true
		return nil
	}
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &sess{l: l, stop: stop}
	cfg := l.plan.Config
	cfg.Ack = ss.AckExplicit
	cfg.Assigned = l.assigned
	if r.in, err = open(ctx, func(ctx context.Context) (*ss.Consumer, error) { return l.src.Consumer(ctx, cfg) }); err != nil {
		return err
	}
	defer closing(&err, r.in.Close)
	to := ss.ProducerConfig{Stream: l.p.to(), Durability: ss.AtLeastOnce, MaxBytes: inFlight}
	if l.atMost() {
		to.Durability = ss.AtMostOnce
	}
	if l.p.dst.Scheme == "kafka" {
		to.MaxBytes = inFlightToKafka
	}
	if r.out, err = open(ctx, func(ctx context.Context) (*ss.Producer, error) { return l.dst.Producer(ctx, to) }); err != nil {
		return err
	}
	defer closing(&err, r.out.Close)
	l.begin()
	l.opened = true
	saving := make(chan struct{})
	saved := make(chan struct{})
	go func() { defer close(saved); r.saveLoop(saving) }()
	if l.atMost() {
		err = r.pumpAtMost(work)
	} else {
		err = r.pump(work)
	}
	close(saving)
	<-saved
	// What is on its way is waited for, also after a signal.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	e := r.out.Flush(last)
	switch {
	case r.failed.Load() && (err == nil || errors.Is(err, context.Cause(work))):
		err = r.why
	case err == nil:
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
	for b, err := range r.in.Batches(ctx) {
		if err == nil {
			err = r.send(ctx, r.flight(b))
		}
		switch {
		case err != nil && r.told(ctx):
			return nil // what was not taken comes at the next run
		case err != nil:
			return err
		case r.l.left == 0:
			r.l.ended = true
			return nil
		}
	}
	r.l.ended = ctx.Err() == nil
	return nil
}

// told reports whether ctx has ended by a signal.
func (r *sess) told(ctx context.Context) bool { return ctx.Err() != nil && !r.failed.Load() }

// saveLoop stores the progress every saveEvery, with at-least.
func (r *sess) saveLoop(end <-chan struct{}) {
	if r.l.atMost() {
		return
	}
	t := time.NewTicker(saveEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := r.save(context.Background()); err != nil {
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
