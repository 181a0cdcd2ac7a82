package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// What bounds a producer.
const (
	defaultBudget = 8 << 20  // bytes in flight where the configuration does not say; more only makes caches cold
	chunkSize     = 64 << 10 // bytes of commands that are sent at once
	maxChunk      = 1 << 20  // a chunk that grew above it is not used again
	maxFlying     = 32       // chunks that a connection may have without replies
	sendCost      = 160      // bytes that a record weighs here beside its command
	minBackoff    = 10 * time.Millisecond
	maxBackoff    = 500 * time.Millisecond
)

// producer sends on connections of its own. Produce encodes the record into
// the chunk that its shard's link is filling; the link's two goroutines write
// chunks and read replies, so that commands of any number of goroutines,
// streams and shards share round trips.
//
// Records of a shard keep their order, since they go over one link at a time,
// whose replies come in the order of its commands. A record that a server
// refused for the time being (MOVED, LOADING, OOM and the like) is certainly
// not written: it is held, and with it all that comes after it for that shard,
// until nothing of the shard is in flight; then they are sent again, see
// mend.go. Should a later record have been accepted meanwhile then the refused
// one fails, as written out of order it would be wrong for good.
type producer struct {
	c      *client
	o      *Options
	max    int64
	linger time.Duration
	silent bool // AtMostOnce: records are settled when they are sent
	exact  bool // ExactlyOnce, with
	idmp   bool // the server's own means; else explicit ids
	byKey  bool
	id     string
	wait   []byte // the command that ends each chunk, see wait.go; nil for none

	life context.Context // ends when the producer gives up
	end  context.CancelFunc
	work sync.WaitGroup // its goroutines

	mu       sync.Mutex
	changed  sync.Cond // on mu: room was made, or a run has ended
	inflight int64     // bytes
	waiting  int       // callers of Produce that wait for room
	flushing int       // callers of Flush
	streams  map[string]*stream
	last     *stream // the one most lately used
	ready    bool    // the servers are known
	looking  bool    // look runs
	lookNext time.Time
	links    map[string]*link // by address; "" is the only one without a cluster
	slots    *[16384]*link    // in a cluster
	free     []*chunk
	run      *span   // of the records that come now
	runs     []*span // that may have records in flight, oldest first
	nruns    int
	due      []*shard // that hold records and have nothing in flight
	mending  bool     // mend runs
	stale    bool     // the slots have to be asked for
	kick     chan struct{}
	number   uint64 // of the record, with IDMP
	closed   bool   // takes no more
	dead     bool   // gives up
	warned   time.Time
}

// A span is a part of what was taken, in order: Flush ends one and waits for it
// and those before it.
type span struct {
	id int
	n  int // records in flight
}

// A send is one record on its way.
type send struct {
	done func(driver.Receipt, error)
	run  *span
	ts   time.Time // the record's own time
	born time.Time // when it was taken; zero where its chunk says so
	no   uint64    // its place among those of its shard
	cost int64
}

// openProducer opens a producer. It does not talk to a server: the first
// record does.
func (c *client) openProducer(_ context.Context, pc driver.ProducerConfig) (driver.Producer, error) {
	p := &producer{c: c, o: &c.o, max: int64(pc.MaxBytes), linger: pc.Linger,
		silent: pc.Durability == driver.AtMostOnce, exact: pc.Durability == driver.ExactlyOnce,
		streams: map[string]*stream{}, links: map[string]*link{}, kick: make(chan struct{}, 1)}
	if p.max == 0 {
		p.max = defaultBudget
	}
	p.changed.L = &p.mu
	p.byKey = c.o.Partitioner == partitioners[0]
	p.id = producerID()
	p.life, p.end = context.WithCancel(context.Background())
	return p, nil
}

// Produce encodes the record where there is room for it.
func (p *producer) Produce(ctx context.Context, rec driver.Record, done func(driver.Receipt, error)) error {
	n := size(&rec)
	if n > p.o.MaxRecord {
		return driver.Errorf(driver.ErrTooLarge, "", "the record has %d bytes and max_record is %d", n, p.o.MaxRecord)
	}
	cost := int64(n) + sendCost + 40*int64(len(rec.Headers))
	p.mu.Lock()
	if p.inflight+cost > p.max || p.closed {
		if err := p.waitForRoom(ctx, cost); err != nil {
			p.mu.Unlock()
			return err
		}
	}
	st := p.last
	if st == nil || st.name != rec.Stream {
		var err error
		if st, err = p.stream(rec.Stream); err != nil {
			p.mu.Unlock()
			return err
		}
	}
	sd := send{done: done, ts: rec.Time, cost: cost}
	if st.pending || !p.ready {
		p.postpone(st, &rec, sd)
		p.mu.Unlock()
		return nil
	}
	s, err := st.choose(p, &rec)
	if err != nil {
		if !st.recheck(p) {
			p.mu.Unlock()
			return err
		}
		p.postpone(st, &rec, sd) // its shard may have been added just now
		p.mu.Unlock()
		return nil
	}
	st.used = true
	sd.run = p.enter(cost)
	p.add(s, &rec, n, sd)
	p.mu.Unlock()
	return nil
}

// enter counts a record that is taken. Under mu.
func (p *producer) enter(cost int64) *span {
	p.inflight += cost
	if p.run == nil {
		p.nruns++
		p.run = &span{id: p.nruns}
		p.runs = append(p.runs, p.run)
	}
	p.run.n++
	return p.run
}

// add sends the record to its shard, or holds it back with those before it.
// Under mu.
func (p *producer) add(s *shard, rec *driver.Record, n int, sd send) {
	s.seq++
	sd.no = s.seq
	if p.exact || s.holding {
		s.keep(p, rec, n, sd)
		return
	}
	l := s.link
	c := l.room(s.room(rec, n))
	if s.asking {
		c.ask()
	}
	c.buf = s.appendAdd(c.buf, p, rec, c.minID, 0)
	c.entries = append(c.entries, entry{send: sd, s: s, end: len(c.buf)})
	s.last = c.n
	l.poke()
}

// waitForRoom returns when n more bytes fit, or nothing else is in flight.
// Under mu, which it gives up while it waits.
func (p *producer) waitForRoom(ctx context.Context, n int64) error {
	fits := func() bool { return p.closed || p.inflight == 0 || p.inflight+n <= p.max }
	if !fits() {
		stop := context.AfterFunc(ctx, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.changed.Broadcast()
		})
		defer stop()
		p.waiting++
		p.hurry() // nothing lingers while somebody waits for room
		for !fits() && ctx.Err() == nil {
			p.changed.Wait()
		}
		p.waiting--
	}
	switch {
	case p.closed:
		return &driver.Error{Kind: driver.ErrClosed, Err: errors.New("the producer is closed")}
	case !fits():
		return &driver.Error{Err: fmt.Errorf("no room for the record: %w", context.Cause(ctx))}
	}
	return nil
}

// hurry makes all links send what they have. Under mu.
func (p *producer) hurry() {
	if p.linger > 0 {
		for _, l := range p.links {
			l.work.Signal()
		}
	}
}

// A tally is what a goroutine has settled and not accounted yet. It saves a
// lock for each record.
type tally struct {
	bytes int64
	run   *span
	n     int
}

// settle counts a record whose done was called.
func (p *producer) settle(t *tally, sd *send) {
	if sd.run != t.run {
		if t.n > 0 {
			p.mu.Lock()
			p.account(t)
			p.mu.Unlock()
		}
		t.run = sd.run
	}
	t.bytes += sd.cost
	t.n++
}

// account makes the room that the tally stands for. Under mu.
func (p *producer) account(t *tally) {
	if t.n == 0 {
		return
	}
	p.inflight -= t.bytes
	t.run.n -= t.n
	// At 3/4, so that those who wait come in bunches. They also get what room
	// there is above that when no more is to be expected soon: when a link has
	// nothing left to do, and when records have failed.
	if p.waiting > 0 && p.inflight <= p.max/4*3 || t.run.n == 0 && p.flushing > 0 {
		p.changed.Broadcast()
	}
	*t = tally{}
}

// Flush ends the run of records that came so far and waits until it and those
// before it are settled.
func (p *producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.nruns
	p.run = nil
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})
	defer stop()
	p.flushing++
	defer func() { p.flushing-- }()
	p.hurry()
	for !p.isSettled(last) {
		if ctx.Err() != nil {
			return &driver.Error{Err: fmt.Errorf("%d bytes are not acknowledged yet: %w", p.inflight, context.Cause(ctx))}
		}
		p.changed.Wait()
	}
	return nil
}

// isSettled reports whether nothing is in flight of the runs up to one. Under
// mu.
func (p *producer) isSettled(last int) bool {
	for len(p.runs) > 0 && p.runs[0].n == 0 && p.runs[0] != p.run {
		p.runs = p.runs[1:]
	}
	return len(p.runs) == 0 || p.runs[0].id > last
}

// Close waits for what is in flight as long as ctx allows, and gives up the
// rest with ErrUnknown.
func (p *producer) Close(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	if closed {
		return nil
	}
	err := p.Flush(ctx)
	p.mu.Lock()
	p.drain(ctx)
	p.dead = true
	p.end()
	for _, l := range p.links {
		l.stop()
	}
	p.mu.Unlock()
	p.work.Wait() // nothing of it waits for a server any more
	p.giveUp()
	return err
}

// drain waits for the replies to what nobody waits for, with AtMostOnce: to
// close a connection before they were read may take back what was sent. Under
// mu.
func (p *producer) drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})
	defer stop()
	for _, l := range p.links {
		for l.wire != nil && (len(l.flying) > 0 || len(l.ready) > 0 || l.cur != nil) && ctx.Err() == nil {
			p.changed.Wait()
		}
	}
}

// errGivenUp is the outcome of what was in flight when the producer closed.
var errGivenUp = &driver.Error{Kind: driver.ErrUnknown, Err: errors.New("the producer was closed before it was acknowledged")}
