package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// producer sends through a franz-go client of its own. What it adds to
// kgo.Client.Produce is a budget in bytes (franz-go counts records), sends
// that are used again, a delivery time-out, and a Flush that waits only for
// what came before it.
type producer struct {
	c       *client
	cl      *kgo.Client
	promise func(*kgo.Record, error) // p.settle, bound once
	acked   bool                     // the broker acknowledges
	linger  bool
	max     int64

	chains sync.Pool // of *send: lists of 64, from settle to Produce

	mu       sync.Mutex
	changed  sync.Cond // on mu: room was made, or a run has ended
	inflight int64     // bytes
	waiting  int       // callers of Produce that wait for room
	soon     bool      // tell is about to run
	flushing int       // callers of Flush
	free     *send     // a list, for Produce
	topics   map[string]*target
	last     *target // the one most lately used
	run      *run    // of the records that come now
	runs     []*run  // that may have records in flight, oldest first
	nruns    int
	deadline context.Context // of records that come now; nil is a new one
	closed   bool

	life context.Context // ends with Close, and with it all deadlines
	end  context.CancelFunc

	settled  *send // a list, of settle alone, which franz-go calls serially
	nsettled int
}

// A target is a stream that was sent to.
type target struct {
	name  string
	class *streamClass
}

// A run is a part of what was sent, in order: Flush ends one and waits for it
// and those before it.
type run struct {
	id int
	n  int // records in flight
}

// Producer opens a producer. It does not talk to a broker.
func (c *client) Producer(_ context.Context, pc driver.ProducerConfig) (driver.Producer, error) {
	p, err := c.newProducer(pc, kgo.AllowIdempotentProduceCancellation())
	if err != nil {
		return nil, err
	}
	return p, nil
}

// newProducer opens a producer. How its records in flight end is for the
// caller to say, with acked.
func (c *client) newProducer(pc driver.ProducerConfig, acked ...kgo.Opt) (*producer, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p := &producer{c: c, linger: pc.Linger > 0, max: int64(pc.MaxBytes), acked: pc.Durability != driver.AtMostOnce,
		topics: map[string]*target{}}
	if p.max == 0 {
		p.max = defaultBudget
	}
	p.changed.L = &p.mu
	p.promise = p.settle
	p.life, p.end = context.WithCancel(context.Background())
	opts := []kgo.Opt{
		kgo.AlwaysRetryEOF(), // else a connection that is cut at once fails the records that wait for it
		kgo.RecordPartitioner(newPartitioner()),
		kgo.ProducerLinger(min(pc.Linger, time.Minute)),                 // franz-go takes no more
		kgo.ProducerBatchMaxBytes(int32(c.o.MaxRecord + batchOverhead)), //nolint:gosec // checked with the options
		kgo.ProducerBatchCompression(codec(c.o.Compression), kgo.NoCompression()),
		kgo.ProduceRequestTimeout(c.o.RequestTimeout),
		// The budget is ours: franz-go's Produce never waits.
		kgo.MaxBufferedRecords(1 << 30),
		kgo.MaxBufferedBytes(0),
		// 20 times within 5 s or so: a stream that the broker is creating has
		// its leader by then.
		kgo.UnknownTopicRetries(20),
	}
	if !c.o.NoAutocreate {
		opts = append(opts, kgo.AllowAutoTopicCreation())
	}
	if p.acked {
		// Without AllowIdempotentProduceCancellation a record in flight waits
		// for its broker for ever; with it the delivery time-out ends the wait
		// and the session begins anew, so that nothing that comes later is
		// taken for a repeat.
		opts = append(append(opts, kgo.RequiredAcks(kgo.AllISRAcks())), acked...)
	} else {
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	}
	var err error
	if p.cl, err = kgo.NewClient(c.options(opts...)...); err != nil {
		p.end()
		return nil, &driver.Error{Kind: driver.ErrInvalid, Err: err}
	}
	return p, nil
}

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

// Produce hands the record to franz-go, when there is room for it.
func (p *producer) Produce(ctx context.Context, rec driver.Record, done func(driver.Receipt, error)) error {
	if n := size(&rec); n > p.c.o.MaxRecord {
		return driver.Errorf(driver.ErrTooLarge, "", "the record has %d bytes and max_record is %d", n, p.c.o.MaxRecord)
	}
	if !rec.Time.IsZero() && rec.Time.UnixMilli() < 0 {
		return driver.Errorf(driver.ErrInvalid, "", "the record's time %v is before 1970, which Kafka does not keep", rec.Time)
	}
	n := cost(&rec)
	p.mu.Lock()
	t := p.last
	if t == nil || t.name != rec.Stream {
		var err error
		if t, err = p.target(ctx, rec.Stream); err != nil {
			p.mu.Unlock()
			return err
		}
	}
	if p.inflight+n > p.max || p.closed {
		if err := p.waitForRoom(ctx, n); err != nil {
			p.mu.Unlock()
			return err
		}
	}
	p.inflight += n
	if p.deadline == nil {
		p.newDeadline()
	}
	if p.run == nil {
		p.nruns++
		p.run = &run{id: p.nruns}
		p.runs = append(p.runs, p.run)
	}
	p.run.n++
	within := p.deadline
	s := p.take()
	s.run = p.run
	p.mu.Unlock()
	s.done, s.class, s.n = done, t.class, n
	s.fill(&rec, t.name)
	p.cl.Produce(within, &s.rec, p.promise)
	return nil
}

// take is a send to use. Under mu.
func (p *producer) take() *send {
	if p.free == nil {
		p.free, _ = p.chains.Get().(*send)
	}
	s := p.free
	if s == nil {
		return new(send)
	}
	p.free, s.next = s.next, nil
	return s
}

// target is what is known of a stream. Under mu, which it gives up while it
// waits.
func (p *producer) target(ctx context.Context, stream string) (*target, error) {
	t := p.topics[stream]
	if t == nil {
		if err := checkName(stream); err != nil {
			return nil, err
		}
		t = &target{name: stream}
		if p.acked {
			t.class = p.c.class(stream)
		} else {
			// Nothing is repeated, so franz-go gives a record up that comes
			// before its topic has partitions: wait for them here.
			p.mu.Unlock()
			err := p.await(ctx, stream)
			p.mu.Lock()
			if err != nil {
				return nil, err
			}
		}
		p.topics[stream] = t
	}
	p.last = t
	return t, nil
}

// await waits until a stream has shards, which asking for them may create.
func (p *producer) await(ctx context.Context, stream string) error {
	ctx, cancel := p.c.within(ctx)
	defer cancel()
	for tries := 0; ; tries++ {
		_, err := topics(ctx, p.c, p.cl, !p.c.o.NoAutocreate, stream)
		if err == nil || tries == 20 || !errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, driver.ErrNotFound) {
			return err
		}
		select {
		case <-time.After(retryBackoff(min(tries, 3))):
		case <-ctx.Done():
			return err
		}
	}
}

// waitForRoom returns when n more bytes fit, or nothing else is in flight.
// Under mu, which it gives up while it waits.
func (p *producer) waitForRoom(ctx context.Context, n int64) error {
	fits := func() bool { return p.closed || p.inflight == 0 || p.inflight+n <= p.max }
	if !fits() {
		if p.linger {
			// franz-go cannot know that somebody waits for what it lets
			// linger.
			hurry, cancel := context.WithCancel(ctx)
			defer cancel()
			go p.unlinger(hurry)
		}
		stop := context.AfterFunc(ctx, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.changed.Broadcast()
		})
		defer stop()
		p.waiting++
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

// unlinger sends what lingers until ctx ends: now, and more and more seldom
// then, since a record that has its room may be on its way to franz-go still. A
// Flush whose context has ended does just that.
func (p *producer) unlinger(ctx context.Context) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for wait := time.Millisecond; ; wait *= 2 {
		_ = p.cl.Flush(over)
		if !pausing(ctx, wait) {
			return
		}
	}
}

// newDeadline begins a new span of records that share a deadline: they are
// given up between 1 and 9/8 of the delivery time-out after they came.
// franz-go's RecordDeliveryTimeout counts from the record's own time, which
// may be years ago, and so cannot be used. A timer ends the span: to look at
// the clock for each record takes a third of Produce. Under mu.
func (p *producer) newDeadline() {
	span := p.c.o.DeliveryTimeout / 8
	ctx, cancel := context.WithCancel(p.life)
	time.AfterFunc(p.c.o.DeliveryTimeout+span, cancel)
	time.AfterFunc(span, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.deadline = nil
	})
	p.deadline = ctx
}

// settle is the promise of every record. franz-go calls it serially.
func (p *producer) settle(k *kgo.Record, err error) {
	s := k.Context.(*send)
	n, r := s.n, s.run
	if err == nil {
		s.done(p.receipt(k, s.class), nil)
	} else {
		s.done(driver.Receipt{}, p.failure(k, err))
	}
	s.clear()
	s.next = p.settled
	p.settled = s
	if p.nsettled++; p.nsettled == 64 {
		p.chains.Put(p.settled)
		p.settled, p.nsettled = nil, 0
	}

	p.mu.Lock()
	p.inflight -= n
	r.n--
	// At 3/4, so that those who wait come in bunches. Above it the rest may be
	// taken for long, by records whose broker is away.
	wake := p.waiting > 0 && p.inflight <= p.max/4*3
	if p.waiting > 0 && !wake && !p.soon {
		p.soon = true
		time.AfterFunc(5*time.Millisecond, p.tell)
	}
	if r.n == 0 && p.flushing > 0 {
		wake = true
	}
	if wake {
		p.changed.Broadcast()
	}
	p.mu.Unlock()
}

// tell tells those who wait for room that there is some.
func (p *producer) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.soon = false
	p.changed.Broadcast()
}

func (p *producer) receipt(k *kgo.Record, class *streamClass) driver.Receipt {
	r := driver.Receipt{Shard: driver.Shard{Stream: k.Topic, Index: k.Partition}, Time: k.Timestamp}
	if p.acked {
		r.Class = class.get()
		r.Seq = driver.MaxSeq // written, and the broker no longer knows where
		if k.Offset >= 0 {
			r.Seq = seq(k.Offset)
		}
	}
	return r
}

// failure is the error of a record: ErrUnknown unless it is certain that it
// was not written.
func (p *producer) failure(k *kgo.Record, err error) error {
	e := &driver.Error{Shard: driver.Shard{Stream: k.Topic, Index: k.Partition}}
	if k.Partition < 0 {
		// It was given no partition and so never left.
		e.Shard.Index = 0
		if i := named(k); i >= 0 {
			e.Shard.Index = int32(i) //nolint:gosec // it was an int32
			if !isFailedBefore(err) {
				e.Kind, e.Err = driver.ErrNotFound, fmt.Errorf("the stream has no such shard (%w)", err)
				return e
			}
		}
	}
	var kind error
	if kind, e.Err = p.c.describe(err, k.Topic); errors.Is(err, context.Canceled) { // see newDeadline
		e.Err = fmt.Errorf("not acknowledged within delivery_timeout (%v)", p.c.o.DeliveryTimeout)
		if d := p.c.dialer.last.Load(); d != nil {
			e.Err = fmt.Errorf("%w: %w", e.Err, d)
		}
	}
	switch kind {
	case driver.ErrNotFound, driver.ErrInvalid, driver.ErrDenied, driver.ErrTooLarge, errors.ErrUnsupported:
		e.Kind = kind
	default:
		e.Kind = driver.ErrUnknown
		if k.Partition < 0 {
			e.Kind = driver.ErrUnavailable
		}
	}
	if errors.Is(err, kgo.ErrClientClosed) {
		e.Kind, e.Err = driver.ErrUnknown, errors.New("the producer was closed before it was acknowledged")
	}
	return e
}

// isFailedBefore reports whether a record failed before its shard mattered.
func isFailedBefore(err error) bool {
	return errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, context.Canceled) || isAnswer(err)
}

// Flush ends the run of records that came so far and waits until it and those
// before it are settled.
func (p *producer) Flush(ctx context.Context) error {
	if p.linger {
		// Held until the end: what still waits for its topic's partitions
		// would linger after it has them. And again: what is in a run may be
		// on its way to franz-go still.
		hurry, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for p.cl.Flush(hurry) == nil && pausing(hurry, time.Millisecond) {
			}
		}()
		defer func() { cancel(); <-ended }()
	}
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
	p.cl.Close() // fails what is left; it does not wait for a broker
	p.mu.Lock()
	p.flushing++
	for p.inflight > 0 {
		p.changed.Wait()
	}
	p.flushing--
	p.mu.Unlock()
	p.end()
	return err
}
