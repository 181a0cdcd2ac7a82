package seastreamer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A named producer writes each record once although the application sends it
// again, after a restart or an outcome that it does not know. It is a
// [Transactor] in small: units hold the records and the highest ID among them,
// which is kept as the position of a shard that nobody reads. There is one
// unit at a time; what comes meanwhile is the next one's.
type named struct {
	s        *Streamer
	name     string
	linger   time.Duration
	messages int // at most in a unit
	bytes    int
	room     int // bytes taken and not settled before Produce waits

	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // capacity 1: there is something in the queue, or an end to it

	owner driver.Owner   // the goroutine's own; nil: to be opened
	after driver.Claimed // what the last owner left to the next one; the goroutine's own

	mu      sync.Mutex
	queue   []sending
	held    int    // bytes taken and not settled
	taken   uint64 // the highest ID taken
	written uint64 // the highest ID that is written for certain
	told    uint64 // the highest ID of which it was told what became of it
	changed chan struct{}
	failed  error // what ended it: nothing is taken any more
	closing bool
}

type sending struct {
	rec  driver.Record
	done func(Receipt, error)
	size int
}

// idShard is the shard whose position is the highest ID of a named producer.
var idShard = Shard{Stream: "producer"}

func openNamed(ctx context.Context, s *Streamer, c ProducerConfig) (*named, error) {
	f := s.Features()
	p := &named{s: s, name: c.Name, linger: c.Linger, messages: f.UnitMessages, bytes: max(f.UnitBytes, 1<<20), room: c.MaxBytes,
		wake: make(chan struct{}, 1), changed: make(chan struct{})}
	if p.room == 0 {
		p.room = p.bytes
	}
	last, err := p.claim(ctx)
	if err != nil {
		return nil, err
	}
	p.taken, p.written, p.told = last, last, last
	p.life, p.end = context.WithCancel(context.Background())
	p.running.Add(1)
	go p.run()
	return p, nil
}

// claim opens an owner and returns the highest ID that is written.
func (p *named) claim(ctx context.Context) (uint64, error) {
	o, err := p.s.d.(driver.Atomic).Owner(ctx, driver.OwnerConfig{Name: p.name, After: p.after})
	if err != nil {
		return 0, err
	}
	at, err := o.Claim(ctx, []Position{{Shard: idShard}})
	if err != nil {
		err = errors.Join(err, o.Close(ctx))
		p.after = o.Claimed()
		return 0, err
	}
	p.owner = o
	return at[0].Next.Lo, nil
}

// Produce takes a record, or answers at once where its ID was written before.
func (p *named) Produce(ctx context.Context, rec driver.Record, done func(Receipt, error)) error {
	if rec.ID == 0 {
		return invalid("send to "+rec.Stream, "a producer with a Name needs an ID above zero in each record")
	}
	size := len(rec.Key) + len(rec.Value) + 64
	for {
		p.mu.Lock()
		switch {
		case p.failed != nil:
			defer p.mu.Unlock()
			return p.failed
		case p.closing:
			defer p.mu.Unlock()
			return &Error{Op: "send to " + rec.Stream, Kind: ErrClosed}
		case rec.ID <= p.written:
			p.mu.Unlock()
			done(Receipt{}, nil)
			return nil
		case rec.ID <= p.taken:
			defer p.mu.Unlock()
			return invalid("send to "+rec.Stream, "ID %d is not above %d, which is under way: IDs of %s have to ascend", rec.ID, p.taken, p.name)
		case p.held == 0 || p.held+size <= p.room:
			p.taken = rec.ID
			p.held += size
			p.queue = append(p.queue, sending{rec, done, size})
			p.mu.Unlock()
			signal(p.wake)
			return nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// run commits one unit after the other.
func (p *named) run() {
	defer p.running.Done()
	for {
		select {
		case <-p.wake:
		case <-p.life.Done():
			p.fail(nil, &Error{Op: "send", Kind: ErrClosed, Err: errors.New("the producer was closed before it was sent")})
			return
		}
		if p.linger > 0 {
			p.sleep(p.linger)
		}
		for {
			unit := p.take(p.messages, p.bytes)
			if len(unit) == 0 {
				break
			}
			if err := p.write(unit); err != nil {
				p.fail(unit, err)
			} else {
				p.settle(unit, nil)
			}
		}
	}
}

// take takes what goes into the next unit out of the queue.
func (p *named) take(messages, bytes int) []sending {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.queue) && n < messages && (n == 0 || bytes >= p.queue[n].size) {
		bytes -= p.queue[n].size
		n++
	}
	unit := p.queue[:n:n]
	p.queue = p.queue[n:]
	return unit
}

// write stores a unit, whatever comes between. An error means that the producer
// is at its end: since IDs ascend, nothing may be left out. Unless it is
// ErrUnknown nothing of the unit was written.
func (p *named) write(unit []sending) error {
	from, to := p.written, unit[len(unit)-1].rec.ID
	unsure := false // it may have been written
	for attempt := 0; ; attempt++ {
		if attempt > 0 && !p.sleep(backoff(attempt-1)) {
			return p.unknown()
		}
		var err error
		if p.owner == nil {
			var at uint64
			at, err = p.claim(p.life)
			switch {
			case err == nil && at == to:
				return nil // it was written after all
			case err == nil && at != from:
				err = driver.Errorf(ErrFenced, "send", "another producer named %s has written up to ID %d", p.name, at)
			case err == nil:
				unsure = false // it was not
			}
			if unsure && errors.Is(err, ErrFenced) {
				return &Error{Op: "send", Kind: ErrUnknown, Err: fmt.Errorf("send it again with the same ID to a new producer named %s: %w", p.name, err)}
			}
		}
		if err == nil {
			if err = p.try(unit, from, to); err == nil {
				return nil
			}
			if !errors.Is(err, ErrAborted) {
				p.drop()
			}
			unsure = unsure || errors.Is(err, ErrUnknown)
		}
		if p.life.Err() != nil {
			return p.unknown()
		}
		if !temporary(err) {
			return err
		}
		p.s.mon.retry("unit of "+p.name, err, backoff(attempt))
	}
}

// temporary reports whether trying again, or opening everything anew, may help.
func temporary(err error) bool {
	return errors.Is(err, ErrAborted) || errors.Is(err, ErrUnknown) || errors.Is(err, ErrUnavailable) && !errors.Is(err, errors.ErrUnsupported)
}

// try commits a unit once.
func (p *named) try(unit []sending, from, to uint64) error {
	tx, err := p.owner.Begin(p.life)
	if err != nil {
		return err
	}
	for i := range unit {
		if err := tx.Produce(p.life, unit[i].rec); err != nil {
			_ = tx.Abort(p.life) // the owner is given up
			return err
		}
	}
	return tx.Commit(p.life, []driver.Move{{Shard: idShard, From: driver.SeqOf(from), To: driver.SeqOf(to)}})
}

// drop gives the owner up.
func (p *named) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if p.owner != nil {
		_ = p.owner.Close(ctx) // what it had open is aborted by the next claim at the latest
		p.after = p.owner.Claimed()
	}
	p.owner = nil
}

func (p *named) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.life.Done():
		return false
	}
}

// settle tells what became of records.
func (p *named) settle(unit []sending, err error) {
	if len(unit) == 0 {
		return
	}
	last := unit[len(unit)-1].rec.ID
	if err == nil {
		// Before anybody is told: who sends it again then has sent what is written.
		p.mu.Lock()
		p.written = last
		p.mu.Unlock()
	}
	bytes := 0
	for _, r := range unit {
		bytes += r.size
		r.done(Receipt{}, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = last
	p.held -= bytes
	close(p.changed)
	p.changed = make(chan struct{})
}

// fail ends the producer with what became of a unit: what is in the queue is
// not written.
func (p *named) fail(unit []sending, err error) {
	later := err // of what was not under way
	switch unknown := errors.Is(err, ErrUnknown); {
	case unknown && errors.Is(err, ErrFenced):
		later = driver.Errorf(ErrFenced, "send", "another producer named %s has claimed since", p.name)
	case unknown:
		later = &Error{Op: "send", Kind: ErrClosed, Err: errors.New("the producer was closed before it was sent")}
	}
	p.mu.Lock()
	if p.failed == nil {
		p.failed = later
	}
	rest := p.queue
	p.queue = nil
	p.mu.Unlock()
	p.settle(unit, err)
	p.settle(rest, later)
}

func (p *named) unknown() error {
	return &Error{Op: "send", Kind: ErrUnknown, Err: fmt.Errorf("the producer was closed: send it again with the same ID to a producer named %s", p.name)}
}

// Flush waits until every record taken before the call is settled.
func (p *named) Flush(ctx context.Context) error {
	p.mu.Lock()
	upTo := p.taken
	for p.told < upTo {
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.mu.Lock()
	}
	p.mu.Unlock()
	return nil
}

// Close flushes within ctx and gives the name up.
func (p *named) Close(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closing
	p.closing = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	err := p.Flush(ctx)
	p.end()
	p.running.Wait()
	if p.owner != nil {
		err = errors.Join(err, p.owner.Close(ctx))
	}
	return err
}

// lastID is the highest ID that is written.
func (p *named) lastID() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written
}
