package redis

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A held record waits in its shard: it was refused for the time being, or
// comes after one that was, or waits for its batch.
type held struct {
	send
	cmd   []byte // the command, or with explicit ids the fields
	n     int    // fields, with explicit ids
	maybe bool   // it may have been written, and is safe to send again
}

// keep holds a record that was not sent. Under mu.
func (s *shard) keep(p *producer, rec *driver.Record, n int, sd send) {
	sd.born = time.Now()
	h := held{send: sd}
	b := make([]byte, 0, s.room(rec, n))
	if p.exact && !p.idmp {
		h.n = fields(rec)
		h.cmd = appendRecord(b, p.o, rec)
	} else {
		p.number++
		h.cmd = s.appendAdd(b, p, rec, p.minID(sd.born), p.number)
	}
	s.held = append(s.held, h)
	if p.exact && !s.holding && !s.watched {
		p.launch(s)
	}
}

// minID is what MINID trims to.
func (p *producer) minID(now time.Time) []byte {
	if p.o.MaxAge == 0 {
		return nil
	}
	return strconv.AppendInt(nil, now.Add(-p.o.MaxAge).UnixMilli(), 10)
}

// rested is called when nothing of a watched shard is in flight any more.
// Under mu.
func (p *producer) rested(s *shard) {
	if !s.holding { // its next batch may go
		if len(s.held) > 0 {
			p.launch(s)
		}
		return
	}
	s.retry = time.Now()
	if !s.proved {
		if s.tries++; s.tries > 1 || !s.redirect {
			s.retry = s.retry.Add(backoff(s.tries))
		}
	}
	p.due = append(p.due, s)
	if p.mending {
		select {
		case p.kick <- struct{}{}:
		default:
		}
	} else if !p.dead {
		p.mending = true
		p.work.Add(1)
		go p.mend()
	}
}

// mend is the goroutine that sends again what was refused. It runs while there
// are such records that nothing of their shard is in flight before.
func (p *producer) mend() {
	defer p.work.Done()
	for {
		p.mu.Lock()
		if len(p.due) == 0 || p.dead {
			p.mending = false
			p.mu.Unlock()
			return
		}
		stale := p.stale
		p.stale = false
		p.mu.Unlock()
		if stale {
			if err := p.askSlots(); err != nil {
				p.mu.Lock()
				p.stale = true
				p.mu.Unlock()
			}
		}
		now := time.Now()
		var out outcomes
		p.mu.Lock()
		for _, s := range p.due {
			s.expire(p, now, &out)
		}
		p.mu.Unlock()
		// Before the shards go on: what comes later must not be settled first.
		p.deliver(&out)
		p.mu.Lock()
		p.changed.Broadcast()
		wait := maxBackoff
		rest := p.due[:0]
		again := p.due
		p.due = nil
		for _, s := range again {
			if d := s.retry.Sub(now); d > 0 {
				wait = min(wait, d)
				rest = append(rest, s)
				continue
			}
			p.resend(s)
		}
		clear(again[len(rest):])
		p.due = append(rest, p.due...)
		more := len(p.due) > 0
		p.mu.Unlock()
		if more {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-p.kick:
			case <-p.life.Done():
			}
			t.Stop()
		}
	}
}

// expire fails what has waited for too long. Under mu.
func (s *shard) expire(p *producer, now time.Time, out *outcomes) {
	since := now.Add(-p.o.DeliveryTimeout)
	if p.idmp {
		// While the server is certain to know what it has seen.
		since = now.Add(-min(p.o.DeliveryTimeout, idmpWindow*9/10))
	}
	if s.pendingBatch != nil {
		b := s.pendingBatch
		if b.items[0].born.After(since) {
			return
		}
		for i := range b.items {
			out.fail(b.items[i].send, s.late(p, b.maybe))
		}
		s.pendingBatch = nil
	}
	s.sort()
	n := 0
	for n < len(s.held) && !s.held[n].born.After(since) {
		out.fail(s.held[n].send, s.late(p, s.held[n].maybe))
		n++
	}
	s.held = slices.Delete(s.held, 0, n)
}

// late is the error of a record that was tried for too long.
func (s *shard) late(p *producer, maybe bool) error {
	e := &driver.Error{Shard: s.Shard, Kind: driver.ErrUnavailable, Err: fmt.Errorf("not written within delivery_timeout (%v): %w", p.o.DeliveryTimeout, s.why)}
	if maybe {
		e.Kind, e.Err = driver.ErrUnknown, fmt.Errorf("not acknowledged within delivery_timeout (%v): %w", p.o.DeliveryTimeout, s.why)
	}
	return e
}

// resend sends what a shard holds: all of it, or the first record alone where
// the server has refused again, so that nothing can overtake it. Under mu.
func (p *producer) resend(s *shard) {
	p.bind(s)
	s.resent = time.Now()
	if p.exact {
		s.holding = false
		if s.pendingBatch != nil || len(s.held) > 0 {
			p.launch(s)
		}
		return
	}
	n := len(s.held)
	if n == 0 || s.proved || s.redirect && s.tries == 1 || p.silent {
		s.holding, s.proved = false, false
	} else {
		n = 1
		s.probing = true
	}
	for i := range s.held[:n] {
		h := &s.held[i]
		c := s.link.room(len(h.cmd) + 32)
		if s.asking {
			c.ask()
		}
		c.buf = append(c.buf, h.cmd...)
		c.entries = append(c.entries, entry{send: h.send, s: s, end: len(c.buf)})
		s.last = c.n
	}
	s.held = slices.Delete(s.held, 0, n)
	if s.probing {
		s.link.watch(s)
	}
	s.link.poke()
}

// bind says which server the shard goes to now. Under mu, with nothing of the
// shard in flight.
func (p *producer) bind(s *shard) {
	switch {
	case s.next != nil:
		s.link, s.asking, s.next = s.next, s.askNext, nil
		s.last = 0
	case p.slots != nil:
		if l := p.slots[s.slot]; l != nil && l != s.link {
			s.link, s.asking, s.last = l, false, 0
		}
	}
}

// giveUp settles everything that is left, when the goroutines have ended.
func (p *producer) giveUp() {
	var out outcomes
	p.mu.Lock()
	shards := map[*shard]bool{}
	for _, l := range p.links {
		l.evacuate(errGivenUp)
		for _, s := range l.sick {
			shards[s] = true
		}
	}
	for _, s := range p.due {
		shards[s] = true
	}
	for _, st := range p.streams {
		for _, s := range st.shards {
			shards[s] = true
		}
	}
	for s := range shards {
		s.sort()
		if b := s.pendingBatch; b != nil {
			for i := range b.items {
				out.fail(b.items[i].send, errGivenUp)
			}
		}
		for i := range s.held {
			out.fail(s.held[i].send, errGivenUp)
		}
		s.held, s.pendingBatch = nil, nil
	}
	for _, st := range p.streams {
		for i := range st.waiting {
			out.fail(st.waiting[i].send, errGivenUp)
		}
		st.waiting = nil
	}
	p.mu.Unlock()
	p.deliver(&out)
}
