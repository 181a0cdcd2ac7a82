package memory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// pool is a group with a verdict per message: its members draw messages from
// it, whichever asks first. It knows which messages are out and until when.
type pool struct {
	mu      sync.Mutex
	next    map[*shard]uint64            // below it everything was handed out
	out     map[*shard]map[uint64]*entry // and has no final verdict yet
	members []*member
}

// entry is a message that is out, or waits to go out again.
type entry struct {
	holder   *member // nil while nobody has it
	due      time.Time
	attempts int
}

// lockPool is as lockGroup.
func (s *Store) lockPool(name string) *pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pools[name]
	if !ok {
		p = &pool{next: make(map[*shard]uint64), out: make(map[*shard]map[uint64]*entry)}
		s.pools[name] = p
	}
	p.mu.Lock()
	return p
}

// member is a driver.Consumer and driver.Settler.
type member struct {
	d       *client
	c       driver.ConsumerConfig
	shards  []*shard
	p       *pool
	wake    chan struct{} // tells Fetch that there is something to look at
	once    sync.Once
	closing chan struct{}
}

// joinPool makes a new member of the group, which begins at the start given where
// it has not read a shard yet.
func (d *client) joinPool(c driver.ConsumerConfig, shards []*shard) *member {
	p := d.store.lockPool(c.Group)
	m := &member{d: d, c: c, shards: shards, p: p, wake: make(chan struct{}, 1), closing: make(chan struct{})}
	for _, sh := range shards {
		if _, ok := p.next[sh]; !ok && !sh.gone.Load() {
			p.next[sh] = sh.resolve(c.Start)
			p.out[sh] = make(map[uint64]*entry)
		}
	}
	p.members = append(p.members, m)
	p.mu.Unlock()
	for _, sh := range shards {
		sh.subscribe(m.wake)
	}
	return m
}

// changed has every member look again; mu is held.
func (p *pool) changed() {
	for _, m := range p.members {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

func (m *member) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	had := len(into)
	for {
		if err := m.check(ctx, "read"); err != nil {
			return into, err
		}
		var wait time.Duration
		var err error
		if into, wait, err = m.draw(into); err != nil || len(into) > had {
			return into, err
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-m.wake:
		case <-due:
		case <-m.closing:
		case <-ctx.Done():
		}
	}
}

// draw takes what is to be delivered again, and then what is new, up to the
// budget. wait is how long until something may be due; zero is never.
func (m *member) draw(into []driver.Batch) (_ []driver.Batch, wait time.Duration, err error) {
	p := m.p
	p.mu.Lock()
	defer p.mu.Unlock()
	// Fetch has looked before, but what is drawn once Close has given back what m
	// holds would be nobody's until the time-out.
	if err := m.isClosed("read"); err != nil {
		return into, 0, err
	}
	now := time.Now()
	budget := m.c.MaxBytes
	for _, sh := range m.shards {
		for _, seq := range slices.Sorted(maps.Keys(p.out[sh])) {
			e := p.out[sh][seq]
			if left := e.due.Sub(now); left > 0 {
				if wait == 0 || left < wait {
					wait = left
				}
				continue
			}
			window, size, first := sh.read(seq, 1)
			if len(window) == 0 {
				delete(p.out[sh], seq)
				return into, 0, &driver.GapError{Shard: sh.id, From: driver.SeqOf(seq), To: driver.SeqOf(min(seq+1, first)), Cause: driver.GapTrimmed}
			}
			e.attempts++
			m.hold(e, now)
			into = append(into, &again{batch{sh.id, 0, seq, window, size}, e.attempts})
			budget -= size
		}
	}
	for _, sh := range m.shards {
		if budget <= 0 {
			break
		}
		next, ok := p.next[sh]
		if !ok {
			continue // its stream is deleted
		}
		window, size, first := sh.read(next, budget)
		if next < first {
			p.next[sh] = first
			return into, 0, &driver.GapError{Shard: sh.id, From: driver.SeqOf(next), To: driver.SeqOf(first), Cause: driver.GapTrimmed}
		}
		if len(window) == 0 {
			continue
		}
		for i := range window {
			e := &entry{attempts: 1}
			m.hold(e, now)
			p.out[sh][next+uint64(i)] = e
		}
		p.next[sh] = next + uint64(len(window))
		into = append(into, &batch{sh.id, 0, next, window, size})
		budget -= size
	}
	return into, wait, nil
}

// hold makes m the holder of e until the time-out.
func (m *member) hold(e *entry, now time.Time) {
	e.holder, e.due = m, now.Add(m.d.o.AckTimeout)
}

// Settle applies all verdicts.
func (m *member) Settle(ctx context.Context, all []driver.Settlement) error {
	if err := m.check(ctx, "settle"); err != nil {
		return err
	}
	p := m.p
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, s := range all {
		i := slices.IndexFunc(m.shards, func(sh *shard) bool { return sh.id == s.Batch.Shard() })
		if i < 0 {
			continue
		}
		out := p.out[m.shards[i]]
		for j := s.From; j < s.To; j++ {
			seq := number(s.Batch.Seq(j))
			e := out[seq]
			if e == nil || e.holder != m {
				continue // done, or somebody else's by now
			}
			switch s.Verdict {
			case driver.VerdictAck:
				delete(out, seq)
			case driver.VerdictNack:
				e.holder, e.due = nil, now.Add(s.After)
			case driver.VerdictReturn:
				e.holder, e.due = nil, now
				e.attempts--
			case driver.VerdictExtend:
				m.hold(e, now)
			}
		}
	}
	p.changed()
	return nil
}

// Seek is not for members: where a group stands is not one of them's to say.
func (m *member) Seek(context.Context, uint64, map[driver.Shard]driver.Start) ([]driver.Position, error) {
	return nil, driver.Errorf(errors.ErrUnsupported, "seek", "a group with a verdict per message has no position")
}

// Close lets others have at once what m holds.
func (m *member) Close(context.Context) error {
	m.once.Do(func() {
		close(m.closing)
		for _, sh := range m.shards {
			sh.unsubscribe(m.wake)
		}
		m.p.mu.Lock()
		defer m.p.mu.Unlock()
		m.p.members = slices.DeleteFunc(m.p.members, func(o *member) bool { return o == m })
		now := time.Now()
		for _, out := range m.p.out {
			for _, e := range out {
				if e.holder == m {
					e.holder, e.due = nil, now
				}
			}
		}
		m.p.changed()
	})
	return nil
}

func (m *member) check(ctx context.Context, op string) error {
	if err := m.isClosed(op); err != nil {
		return err
	}
	return m.d.check(ctx, op)
}

func (m *member) isClosed(op string) error {
	select {
	case <-m.closing:
		return driver.Errorf(driver.ErrClosed, op, "the consumer is closed")
	default:
		return nil
	}
}

// again is a batch of one message that was delivered before.
type again struct {
	batch
	attempts int
}

func (b *again) Attempt(int) int { return b.attempts }
