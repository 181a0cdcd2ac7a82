package seastreamer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// TransactorConfig says what is read, and whose progress it is.
type TransactorConfig struct {
	// Name owns the progress, which is kept where the output goes. Whoever opens
	// a Transactor of this name fences those that are open. Letters, digits,
	// '.', '_' and '-', at most 200.
	Name string
	// From is where Input is read; nil is the Streamer that is called.
	From *Streamer
	// Input says what to read. Start is used for shards without progress, and
	// then kept as their progress before anything is processed. Until is
	// allowed, a Group only with Shared; Ack and CommitEvery are not.
	Input ConsumerConfig
	// Shared: several Transactors of this name, each in a process of its own,
	// share the shards, which Input.Group assigns. Otherwise one has all.
	Shared bool
	// CommitEvery is how long a unit lasts, from its first message on; zero is
	// 100 ms.
	CommitEvery time.Duration
	// MaxMessages and MaxBytes bound the input of a unit, the bytes about; zero
	// is the output backend's default.
	MaxMessages, MaxBytes int
}

const defaultUnit = 100 * time.Millisecond

// A Transactor turns input into output exactly once: a loop over units, each
// of which commits what was sent and how far was read in one step, on the
// backend of the output. After any fault it goes on at the position that is
// stored there, so that each message of the input has its effects in the
// output once, whatever dies. Nothing is promised of side effects elsewhere.
//
// Its methods may be called by any number of goroutines, but only one loop runs
// at a time.
type Transactor struct {
	to, from *Streamer
	cfg      TransactorConfig

	mu      sync.Mutex
	closed  bool
	looping bool
	end     context.CancelFunc // of the loop that runs
	left    chan struct{}      // closed when it has ended
	s       *session           // nil: to be opened
	after   driver.Claimed     // what the last session's owner left to the next one's

	// The rest belongs to the loop.
	resumed bool  // the next unit does not continue the one before
	later   error // what input said while a unit was open; told after it
}

// Transactor opens a Transactor whose output goes to s. It claims the shards of
// the input, and so ends what another of this name does. A pair of backends that
// cannot do it is refused with errors.ErrUnsupported and the reason.
func (s *Streamer) Transactor(ctx context.Context, c TransactorConfig) (*Transactor, error) {
	const op = "open transactor"
	if c.From == nil {
		c.From = s
	}
	f := s.Features()
	if err := c.check(f, c.From.Features()); err != nil {
		return nil, err
	}
	if _, ok := s.d.(driver.Atomic); !ok || f.UnitMessages == 0 {
		return nil, &Error{Op: op, Kind: errors.ErrUnsupported, Err: fmt.Errorf("%s cannot store records and progress in one step", f.Backend)}
	}
	if c.CommitEvery == 0 {
		c.CommitEvery = defaultUnit
	}
	if c.MaxMessages == 0 {
		c.MaxMessages = f.UnitMessages
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = max(f.UnitBytes, 1<<20)
	}
	t := &Transactor{to: s, from: c.From, cfg: c}
	if err := s.own(t); err != nil {
		return nil, err
	}
	open, err := t.open(ctx)
	if err != nil {
		s.disown(t)
		return nil, wrap(op, Shard{}, err)
	}
	t.mu.Lock()
	t.s = open
	closed := t.closed
	t.mu.Unlock()
	if closed { // with the Streamer, which did not see the session
		t.drop()
		return nil, &Error{Op: op, Kind: ErrClosed}
	}
	return t, nil
}

func (c *TransactorConfig) check(to, from Features) error {
	const op = "open transactor"
	if err := driver.CheckOwnerName(c.Name); err != nil {
		return invalid(op, "%w", err)
	}
	if c.CommitEvery < 0 || c.MaxMessages < 0 || c.MaxBytes < 0 {
		return invalid(op, "CommitEvery, MaxMessages and MaxBytes must not be negative")
	}
	if c.Input.Ack != AckOnAdvance || c.Input.CommitEvery != 0 {
		return invalid(op, "Input.Ack and Input.CommitEvery have no meaning here: a unit commits as a whole")
	}
	if c.Input.Assigned != nil || c.Input.Revoked != nil {
		return invalid(op, "Input.Assigned and Input.Revoked are the Transactor's own")
	}
	if (c.Input.Group != "") != c.Shared {
		return invalid(op, "Input.Group and Shared go together: the group assigns the shards that are shared")
	}
	if err := check(op, to.Backend, []need{
		{"Transactor", true, to.UnitMessages > 0, "records and progress in one step"},
		{"Shared", c.Shared, to.UnitShared, "owners that share a name"},
	}); err != nil {
		return err
	}
	if err := check(op, from.Backend, []need{
		{"Transactor", true, from.SeekSeq, "input that can be read again from a sequence number"},
		{"Shared", c.Shared, from.Ack == driver.AckPosition, "groups that hand out shards"},
	}); err != nil {
		return err
	}
	return c.Input.check(from)
}

// Units yields units, each as soon as there is a message for it, and lastly at
// most one error. Asking for the next unit commits the one before; a break,
// return or panic aborts it, and then the next loop begins with the same
// messages. The loop ends silently when Input.Until is reached and committed or
// the Transactor is closed; when ctx ends, with its cause.
//
// What is temporary is tried again, with growing pauses, and told to the
// Observer: a unit that was aborted is delivered again, and where the outcome is
// not known everything is opened anew and read on from the position that the
// output holds. The loop ends with an error where going on would not help:
// ErrFenced (another Transactor of this name has taken over; then this one does
// not take it back, also in another loop), ErrLost (the position is gone, or what
// was not processed yet has been trimmed), or what a record was refused for.
func (t *Transactor) Units(ctx context.Context) iter.Seq2[*Tx, error] {
	return func(yield func(*Tx, error) bool) {
		ctx, leave, err := t.enter(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		for attempt := 0; ; {
			tx, err := t.begin(ctx)
			if err == nil {
				if tx == nil || !t.body(tx, yield) {
					return
				}
				if err = tx.finish(); err == nil {
					attempt = 0
					continue
				}
			}
			if !t.again(ctx, err, &attempt) {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				if !t.isClosed() {
					yield(nil, wrap("transact "+t.cfg.Name, Shard{}, err))
				}
				return
			}
		}
	}
}

// body runs the loop body on a unit; false means that it was left, which
// aborts the unit.
func (t *Transactor) body(tx *Tx, yield func(*Tx, error) bool) (next bool) {
	if tx.dry {
		return true // it has no message: what moved is committed without the body
	}
	defer func() {
		if !next { // or it panics
			tx.close()
			if err := tx.abort(); err != nil { // the loop that would be told is over
				t.to.mon.log.Warn("aborting a unit", "transactor", t.cfg.Name, "error", err)
			}
		}
	}()
	if !yield(tx, nil) {
		return false
	}
	tx.close()
	return true
}

// again reports whether the loop goes on after an error, once it has waited.
func (t *Transactor) again(ctx context.Context, err error, attempt *int) bool {
	switch {
	case ctx.Err() != nil, t.isClosed():
		t.drop()
		return false
	case errors.Is(err, ErrAborted):
		// The session stays, with the unit's messages.
	case temporary(err), errors.Is(err, ErrFenced) && t.cfg.Shared: // the group gives it others
		t.drop()
	default:
		var gap *GapError
		if !errors.As(err, &gap) { // behind a gap another loop goes on
			t.drop()
		}
		return false
	}
	wait := backoff(*attempt)
	*attempt++
	t.to.mon.retry("unit of "+t.cfg.Name, err, wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// begin waits for a message and opens a unit for it. Both results are nil at
// the end of a bounded input.
func (t *Transactor) begin(ctx context.Context) (*Tx, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := t.later; err != nil {
		t.later = nil
		return nil, err
	}
	t.mu.Lock()
	s := t.s
	t.mu.Unlock()
	if s == nil {
		var err error
		if s, err = t.open(ctx); err != nil {
			return nil, err
		}
		t.resumed = true
		t.mu.Lock()
		t.s = s
		t.mu.Unlock()
	}
	return s.begin(ctx)
}

// drop gives the session up: the next unit begins with a new one.
func (t *Transactor) drop() {
	t.mu.Lock()
	s := t.s
	t.s = nil
	t.mu.Unlock()
	t.later = nil
	if s != nil {
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		defer cancel()
		if err := s.close(ctx); err != nil {
			t.to.mon.log.Warn("closing what is given up", "error", err)
		}
	}
}

func (t *Transactor) enter(ctx context.Context) (context.Context, func(), error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, nil, &Error{Op: "begin a unit", Kind: ErrClosed}
	case t.looping:
		return nil, nil, invalid("begin a unit", "a loop over this transactor is running already")
	}
	t.looping, t.left = true, make(chan struct{})
	ctx, t.end = context.WithCancel(ctx)
	return ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for t.closed && t.s != nil { // Close may not have waited for us
			t.mu.Unlock()
			t.drop()
			t.mu.Lock()
		}
		t.looping = false
		t.end()
		close(t.left)
	}, nil
}

func (t *Transactor) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// Close ends the loop that runs, whose unit is aborted, and gives the shards
// up. It waits, within ctx, for the loop body, which therefore must not call
// it. It is idempotent.
func (t *Transactor) Close(ctx context.Context) error {
	t.mu.Lock()
	looping, left, closed := t.looping, t.left, t.closed
	t.closed = true
	if looping {
		t.end()
	}
	t.mu.Unlock()
	if !closed {
		defer t.to.disown(t)
	}
	if looping {
		select {
		case <-left:
		case <-ctx.Done():
			return stopped(ctx, "close transactor", nil)
		}
	}
	t.mu.Lock()
	s := t.s
	t.s = nil
	t.mu.Unlock()
	if s == nil {
		return nil
	}
	return wrap("close transactor", Shard{}, s.close(ctx))
}
