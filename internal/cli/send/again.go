package send

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/frame"
)

// At least once means that a record whose outcome is not known is sent again
// until it is acknowledged. A backend does not do that on its own (it would
// be a repeat that nobody asked for), so the sender does, and says so: such a
// record may be there twice, and behind others that came after it.

const (
	maxTries = 8
	// From the third time on a record waits, twice as long each time.
	firstWait = 100 * time.Millisecond
	longest   = 2 * time.Second
)

// A flight is a record on its way that may have to be sent again. Flights are
// pooled with their callback, as making it for each record would allocate.
type flight struct {
	rec  ss.Record
	b    *frame.Block // held
	done func(ss.Receipt, error)
	err  error // the last outcome, if it is not known
	sent int   // how often
}

// repeats are the records that are to be sent again. One goroutine sends them
// while there are some; Run sends nothing new meanwhile, so that no more than
// the producer's budget is ever held here.
type repeats struct {
	flights sync.Pool
	life    context.Context // ends when nothing is sent again any more
	end     context.CancelFunc
	busy    atomic.Bool // the goroutine runs
	n       atomic.Int64

	mu   sync.Mutex
	list []*flight
	idle chan struct{} // closed when the goroutine has ended
}

// flight is rec as one, which holds the block.
func (s *Sender) flight(rec *ss.Record, b *frame.Block) *flight {
	f, _ := s.again.flights.Get().(*flight)
	if f == nil {
		f = &flight{}
		f.done = func(r ss.Receipt, err error) { s.landed(f, r, err) }
	}
	f.rec, f.b, f.sent = *rec, b, 1
	return f
}

// landed is the callback of a flight.
func (s *Sender) landed(f *flight, r ss.Receipt, err error) {
	switch {
	case err == nil:
		s.written(r)
	case errors.Is(err, ss.ErrUnknown) && f.sent < maxTries && s.again.life.Err() == nil:
		f.err = err
		f.sent++
		s.repeat(f)
		return
	default:
		s.fail(err)
	}
	f.b.Release()
	*f = flight{done: f.done}
	s.again.flights.Put(f)
}

// repeat sends f again. It does not wait.
func (s *Sender) repeat(f *flight) {
	r, why := &s.again, f.err
	r.mu.Lock()
	if r.list = append(r.list, f); !r.busy.Load() {
		r.busy.Store(true)
		r.idle = make(chan struct{})
		go s.sendAgain()
	}
	r.mu.Unlock()
	if r.n.Add(1) == 1 { // now that it is waited for, see settle
		s.io.Warn("%v: such records are sent again, and may be there twice", why)
	}
}

// sendAgain sends what there is to be sent again, in its order.
func (s *Sender) sendAgain() {
	r := &s.again
	for {
		r.mu.Lock()
		list := r.list
		if r.list = nil; len(list) == 0 {
			r.busy.Store(false)
			close(r.idle)
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		r.rest(list)
		for _, f := range list {
			if err := s.p.Enqueue(r.life, f.rec, f.done); err != nil {
				if r.life.Err() != nil {
					err = f.err // still not known
				}
				s.fail(err)
				f.b.Release()
			}
		}
	}
}

// rest waits as long as the records must that have been tried most often.
func (r *repeats) rest(list []*flight) {
	most := 0
	for _, f := range list {
		most = max(most, f.sent)
	}
	if most < 3 {
		return
	}
	t := time.NewTimer(min(firstWait<<(most-3), longest))
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.life.Done():
	}
}

// quiet waits until nothing is waiting to be sent again.
func (r *repeats) quiet(ctx context.Context) error {
	for r.busy.Load() {
		r.mu.Lock()
		idle := r.idle
		r.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// settle waits until every record that was sent has its last outcome. Nothing
// new is sent meanwhile.
func (s *Sender) settle(ctx context.Context) error {
	for {
		// What is to be sent again, and is counted by now, is under way when
		// quiet returns, and so covered by the flush, which makes outcomes
		// known. Was one of them not, then it is counted before the flush
		// returns.
		n := s.again.n.Load()
		if err := s.again.quiet(ctx); err != nil {
			return err
		}
		if err := s.p.Flush(ctx); err != nil {
			return err
		}
		if s.again.n.Load() == n {
			return nil
		}
	}
}
