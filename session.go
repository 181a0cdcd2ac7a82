package seastreamer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A session is one opening of a Transactor's input and output. Where the
// outcome of anything is not known it is given up as a whole, and the next one
// reads from the output where to go on.
type session struct {
	t *Transactor
	c *Consumer
	o driver.Owner

	// ahead is what comes before anything that the consumer brings: the
	// messages of a unit that was aborted, or the rest of a view of which a unit
	// took a part. It is the loop's own.
	ahead []*Batch

	mu     sync.Mutex
	at     map[Shard]Seq // where the output says that each claimed shard stands
	failed error         // of a claim
	tx     *Tx           // the unit in the works

	paired bool      // the owner stores the group's progress
	noted  time.Time // when the group's progress was stored last; the loop's own
}

func (t *Transactor) open(ctx context.Context) (*session, error) {
	s := &session{t: t, at: map[Shard]Seq{}}
	t.mu.Lock()
	oc := driver.OwnerConfig{Name: t.cfg.Name, Shared: t.cfg.Shared, After: t.after}
	t.mu.Unlock()
	read := t.from.d.Consumer
	err := errors.ErrUnsupported
	if p, ok := t.to.d.(driver.Paired); ok {
		var o driver.PairedOwner
		if o, err = p.Pair(ctx, t.from.d, oc); err == nil {
			s.o, s.paired, read = o, true, o.Consumer
		}
	}
	if errors.Is(err, errors.ErrUnsupported) {
		s.o, err = t.to.d.(driver.Atomic).Owner(ctx, oc)
	}
	if err != nil {
		return nil, err
	}
	in := t.cfg.Input
	in.Ack, in.CommitEvery = AckOnDelivery, -1 // the consumer keeps nothing: the units do
	s.c, err = openConsumer(ctx, t.from, in, s, read)
	if err == nil {
		if err = t.from.own(s.c); err == nil {
			return s, nil
		}
	}
	if e := s.claimed(); e != nil {
		err = e // which the consumer's error only quotes
	}
	return nil, errors.Join(err, s.close(ctx))
}

func (s *session) close(ctx context.Context) error {
	var err error
	if s.c != nil {
		err = s.c.Close(ctx)
	}
	err = errors.Join(err, s.o.Close(ctx))
	s.t.mu.Lock()
	s.t.after = s.o.Claimed()
	s.t.mu.Unlock()
	return err
}

// claim answers the consumer's Assigned with where the output says that the
// shards stand.
func (s *session) claim(ctx context.Context, at []Position) (Checkpoint, error) {
	got, err := s.o.Claim(ctx, at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if ctx.Err() != nil {
			// The driver has given this assignment up, as when the next rebalance
			// begins: it asks again for what it gets then.
			return nil, context.Cause(ctx)
		}
		if s.failed == nil {
			s.failed = err
		}
		if s.tx != nil {
			s.tx.cutShort(errUnitOver)
		}
		// Only the text goes through the driver, so that nothing on the way
		// takes it for a failure of its own and tries again.
		return nil, errors.New(err.Error())
	}
	from := make(Checkpoint, len(got))
	for _, p := range got {
		s.at[p.Shard], from[p.Shard] = p.Next, p.Next
	}
	return from, nil
}

// claimed is what went wrong with a claim.
func (s *session) claimed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// leave is the consumer's part of a revoke: the unit in the works ends, commits
// and only then are the shards given up. A unit that takes longer than
// RevokeTimeout, or whose shards are lost already, is aborted.
func (s *session) leave(ctx context.Context, shards []Shard, lost bool) {
	s.mu.Lock()
	tx := s.tx
	s.mu.Unlock()
	over := true
	if tx != nil {
		tx.cutShort(errUnitOver)
		over = !lost && tx.wait(ctx, s.c.cfg.RevokeTimeout)
	}
	s.mu.Lock()
	if !over {
		tx.gone = append(tx.gone, shards...)
	}
	for _, sh := range shards {
		delete(s.at, sh)
	}
	s.mu.Unlock()
	if err := s.o.Release(ctx, shards); err != nil {
		s.t.to.mon.log.Warn("giving shards up", "error", err)
	}
}

// moved takes note of where a committed unit has moved shards. One that was lost
// meanwhile may be back: where its claim has found what the unit then moved, its
// input comes from there once more, and the session is of no use any longer.
func (s *session) moved(tx *Tx, at []Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range at {
		stands, mine := s.at[p.Shard]
		switch {
		case !mine:
		case !slices.Contains(tx.gone, p.Shard):
			s.at[p.Shard] = p.Next
		case stands.Less(p.Next):
			return &Error{Op: "go on", Shard: p.Shard, Kind: ErrUnknown, Err: errors.New("it was claimed anew while a unit of before was committed")}
		}
	}
	return nil
}

// passed takes note of a batch without messages, which only moves its shard.
// The loop calls it through Consumer.next.
func (s *session) passed(b *Batch) { s.tx.pass(b) }

// begin waits for a message and opens a unit for it. At the end of a bounded
// input the unit has none, and what it has moved is committed all the same; it
// is nil where nothing has.
func (s *session) begin(ctx context.Context) (*Tx, error) {
	for {
		tx := newTx(ctx, s)
		// A shard that leaves from here on waits for the unit, and nothing of
		// one that left before is taken any more: its window is closed first.
		s.mu.Lock()
		s.tx = tx
		s.mu.Unlock()
		err := tx.await()
		if tx.cur == nil && err == nil {
			tx.dry = true
			if s.c.isClosed() && !s.t.isClosed() {
				err = &Error{Op: "begin a unit", Kind: ErrClosed, Err: errors.New("the input's consumer was closed")}
			} else if moves, gone := tx.moves(); gone != nil {
				err = gone
			} else if len(moves) == 0 {
				tx.end()
				return nil, nil
			}
		}
		if err == nil {
			tx.d, err = s.o.Begin(ctx)
		}
		if err == nil {
			tx.start()
			return tx, nil
		}
		tx.close()
		tx.giveBack()
		tx.end()
		if !errors.Is(err, errUnitOver) { // a shard has left, and waits no longer
			return nil, err
		}
	}
}

// note tells the input's group, at most once a second, how far the output has
// come. It is for those who look at lag: nobody goes on there.
func (s *session) note(ctx context.Context, at []Position) {
	g, ok := s.c.d.(driver.Committer)
	if !ok || s.c.cfg.Group == "" || s.paired || time.Since(s.noted) < time.Second {
		return
	}
	s.noted = time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := g.Commit(ctx, at); err != nil {
		s.t.to.mon.log.Debug("progress was not noted in the input's group", "error", err)
	}
}
