package seastreamer

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A Tx is one unit of a [Transactor]: some messages of the input and what is
// sent for them. Its methods other than Send belong to the loop body.
type Tx struct {
	s       *session
	d       driver.Tx
	loop    context.Context // of the loop over units
	due     context.Context // ends when the unit's time is up or a shard leaves, with errUnitOver
	timer   *time.Timer     // nil before the unit begins
	stop    func() bool     // looking at due
	resumed bool

	// cutShort ends due. Any goroutine may call it.
	cutShort context.CancelCauseFunc

	parts    []*Batch // of the input, in order: what the unit has taken
	cur      *Batch   // the view in hand, of which messages from start on are not taken
	messages int
	bytes    int

	reading bool // the body has asked for messages
	last    bool // End was called
	early   bool // the loop over messages was left without End
	dry     bool // there is no more for this unit

	closed atomic.Bool           // the body has ended
	failed atomic.Pointer[error] // the first failure of Send
	gone   []Shard               // that have left and did not wait for the unit; under s.mu
	over   chan struct{}         // closed when the unit is committed or aborted
}

var errUnitOver = errors.New("the unit's time is up")

func newTx(loop context.Context, s *session) *Tx {
	tx := &Tx{s: s, loop: loop, resumed: s.t.resumed, over: make(chan struct{})}
	tx.due, tx.cutShort = context.WithCancelCause(loop)
	tx.stop = context.AfterFunc(tx.due, func() { s.c.cut.Store(true) })
	return tx
}

// Resumed reports whether the unit does not go on where the last one that the
// loop has seen ended well: messages come again that were processed in a unit
// which was not committed, or the session is a new one. What the body derives
// from messages and keeps between units has to be loaded again.
func (tx *Tx) Resumed() bool { return tx.resumed }

// Messages yields the unit's messages until it is full, its time is up, a shard
// goes elsewhere or the input ends. To stop earlier call End: leaving the loop
// without it makes the unit fail. They are released when the unit is committed:
// clone what is kept for longer.
func (tx *Tx) Messages() iter.Seq[Message] {
	return func(yield func(Message) bool) {
		tx.reading = true
		for tx.more() {
			b := tx.cur
			to := b.start + tx.room()
			for i := b.start; i < to; i++ {
				if !yield(Message{b, i}) {
					tx.early = !tx.last
				}
				if tx.early || tx.last || tx.s.c.cut.Load() {
					to = i + 1
				}
			}
			tx.take(to)
		}
	}
}

// Batches is Messages, a run of one shard's messages at a time.
func (tx *Tx) Batches() iter.Seq[*Batch] {
	return func(yield func(*Batch) bool) {
		tx.reading = true
		for tx.more() {
			tx.take(tx.cur.start + tx.room())
			if !yield(tx.parts[len(tx.parts)-1]) {
				tx.early = !tx.last
			}
		}
	}
}

// End makes the message or batch in hand the unit's last.
func (tx *Tx) End() { tx.last = true }

// Send takes a record into the unit. Any number of goroutines may call it, as
// long as all calls have returned when the body ends. The record's bytes are
// borrowed until the next unit begins. It waits only for room; what goes wrong
// later makes the unit fail, as does an error that is returned.
func (tx *Tx) Send(r Record) error {
	if tx.closed.Load() {
		return &Error{Op: "send to " + r.Stream, Kind: ErrClosed, Err: errors.New("the unit has ended")}
	}
	switch {
	case r.Stream == "":
		return tx.fail(invalid("send", "the record names no stream"))
	case r.Shard < 0:
		return tx.fail(invalid("send to "+r.Stream, "the shard is negative"))
	}
	if err := tx.d.Produce(tx.loop, r); err != nil {
		return tx.fail(failed(r, err))
	}
	return nil
}

// fail keeps the first failure of Send. It is a function of its own because the
// error's address is taken: in Send that would allocate for each record.
func (tx *Tx) fail(err error) error {
	tx.failed.CompareAndSwap(nil, &err)
	return err
}

// more makes sure that there is a view in hand with room for it, or says that
// the unit ends.
func (tx *Tx) more() bool {
	tx.s.c.cut.Store(false) // before looking: what happens from here on cuts again
	if tx.early || tx.last || tx.dry || tx.due.Err() != nil {
		return false
	}
	if tx.cur == nil {
		if err := tx.await(); err != nil || tx.cur == nil {
			tx.dry = true
			if err != nil && !errors.Is(err, errUnitOver) && tx.loop.Err() == nil {
				tx.s.t.later = err
			}
			return false
		}
	}
	return tx.room() > 0
}

// room is how many messages of the view in hand the unit still takes. The
// first message always fits.
func (tx *Tx) room() int32 {
	b := tx.cur
	n := min(b.Len(), tx.s.t.cfg.MaxMessages-tx.messages)
	if left := max(tx.s.t.cfg.MaxBytes-tx.bytes, 0); b.size > left {
		n = min(n, left*b.Len()/b.size)
	}
	if tx.messages == 0 {
		n = max(n, 1)
	}
	return int32(n)
}

// take makes the view in hand up to and without message i a part of the unit.
func (tx *Tx) take(i int32) {
	b := tx.cur
	if i < b.to {
		b, tx.cur = b.split(i)
	} else {
		tx.cur = nil
	}
	tx.messages += b.Len()
	tx.bytes += b.size
	tx.parts = append(tx.parts, b)
}

// pass takes a batch without messages into the unit. Where the batch before it
// of the same shard has none either, it takes its place: a unit may wait for
// long while only such come.
func (tx *Tx) pass(b *Batch) {
	for i := len(tx.parts) - 1; i >= 0 && tx.parts[i].Len() == 0; i-- {
		if tx.parts[i].w == b.w {
			tx.parts[i] = b
			return
		}
	}
	tx.parts = append(tx.parts, b)
}

// await waits for a view with messages. It leaves none in hand at the end of a
// bounded input.
func (tx *Tx) await() error {
	s := tx.s
	for {
		if err := s.claimed(); err != nil {
			return err
		}
		if len(s.ahead) == 0 {
			b, err := s.c.next(tx.due)
			if b != nil {
				b.pos = b.to // the consumer is done with it
			} else if e := s.claimed(); e != nil {
				err = e
			}
			tx.cur = b
			return err
		}
		b := s.ahead[0]
		s.ahead = s.ahead[1:]
		switch {
		case b.w.isClosed():
			b.giveUp() // the shard has gone elsewhere
		case b.Len() == 0:
			tx.pass(b)
		default:
			tx.cur = b
			return nil
		}
	}
}

// start begins the unit's time.
func (tx *Tx) start() {
	tx.timer = time.AfterFunc(tx.s.t.cfg.CommitEvery, func() { tx.cutShort(errUnitOver) })
}

// close says that the body has ended: what it has not taken comes next.
func (tx *Tx) close() {
	tx.closed.Store(true)
	if tx.cur != nil {
		tx.s.ahead = append([]*Batch{tx.cur}, tx.s.ahead...)
		tx.cur = nil
	}
}

// moves is how far the unit moves each shard. A unit of which a shard has gone
// has none: it must not be committed without that shard, and the position that
// a later claim of the shard finds is not where the unit began.
func (tx *Tx) moves() ([]driver.Move, error) {
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	if len(tx.gone) > 0 {
		return nil, &Error{Op: "commit a unit", Kind: ErrAborted, Err: errors.New("a shard of it went to another member")}
	}
	var moves []driver.Move
	of := map[Shard]int{}
	for _, b := range tx.parts {
		sh := b.Shard()
		i, ok := of[sh]
		if !ok {
			at, mine := tx.s.at[sh]
			if !mine {
				continue // it left before the unit began, and there were only holes
			}
			i = len(moves)
			of[sh] = i
			moves = append(moves, driver.Move{Shard: sh, From: at})
		}
		moves[i].To = b.next
	}
	kept := moves[:0]
	for _, m := range moves {
		if m.From != m.To {
			kept = append(kept, m)
		}
	}
	return kept, nil
}

// finish commits the unit whose body has run to its end.
func (tx *Tx) finish() error {
	err := tx.refused()
	var moves []driver.Move
	if err == nil {
		moves, err = tx.moves()
	}
	if err != nil {
		return errors.Join(err, tx.abort())
	}
	for _, m := range moves {
		if m.To.Less(m.From) {
			// The input was not read from where the output stands: committing this
			// would take progress back and double what lies between.
			err := invalid("commit a unit", "%v was read up to %v, and stands at %v already", m.Shard, m.To, m.From)
			return errors.Join(err, tx.abort())
		}
	}
	err = tx.d.Commit(tx.loop, moves)
	at := make([]Position, len(moves))
	for i, m := range moves {
		at[i] = Position{Shard: m.Shard, Next: m.To}
	}
	tx.s.t.to.mon.commit(at, err)
	defer tx.end()
	if err != nil {
		tx.giveBack()
		return err
	}
	for _, b := range tx.parts {
		b.giveUp()
	}
	tx.s.t.resumed = false
	if err := tx.s.moved(tx, at); err != nil {
		return err
	}
	tx.s.note(tx.loop, at)
	return nil
}

// refused is why the unit must not be committed.
func (tx *Tx) refused() error {
	const op = "commit a unit"
	if err := tx.failed.Load(); err != nil {
		return *err
	}
	switch {
	case tx.loop.Err() != nil:
		return context.Cause(tx.loop)
	case tx.early:
		return invalid(op, "the loop over its messages was left early: call End to make a message its last")
	case !tx.reading && !tx.dry:
		return invalid(op, "its messages were not read: range over Messages or Batches")
	}
	return nil
}

// abort ends the unit without a trace; its messages come again. What cannot be
// aborted for certain ends the session.
func (tx *Tx) abort() error {
	defer tx.end()
	tx.giveBack()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tx.loop), commitTimeout)
	defer cancel()
	if err := tx.d.Abort(ctx); err != nil {
		tx.s.t.drop()
		return wrap("abort a unit", Shard{}, err)
	}
	return nil
}

// giveBack makes the unit's messages come again.
func (tx *Tx) giveBack() {
	tx.s.ahead = append(tx.parts, tx.s.ahead...)
	if tx.messages > 0 {
		tx.s.t.resumed = true
	}
}

// end lets those go on who wait for the unit.
func (tx *Tx) end() {
	if tx.timer != nil {
		tx.timer.Stop()
	}
	tx.stop()
	tx.cutShort(nil)
	tx.s.mu.Lock()
	tx.s.tx = nil
	tx.s.mu.Unlock()
	close(tx.over)
}

// wait waits for the unit's end, at most so long.
func (tx *Tx) wait(ctx context.Context, most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-tx.over:
		return true
	case <-t.C:
	case <-ctx.Done():
	case <-tx.s.c.life.Done():
	}
	return false
}
