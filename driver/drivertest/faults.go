package drivertest

import (
	"context"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

// An Op is a call that Faults can make fail.
type Op string

// The calls.
const (
	OpBounds   Op = "bounds"
	OpConsumer Op = "consumer"
	OpProducer Op = "producer"
	OpFetch    Op = "fetch"
	OpSeek     Op = "seek"
	OpCommit   Op = "commit"
	OpSettle   Op = "settle"
	OpProduce  Op = "produce"
	OpFlush    Op = "flush"
	OpOwner    Op = "owner"
	OpClaim    Op = "claim"
	OpBegin    Op = "begin"
	OpSend     Op = "send" // Produce of a unit
	OpUnit     Op = "unit" // Commit of a unit
	OpAbort    Op = "abort"
)

// A Fault is what happens to a call. The zero value is nothing.
type Fault struct {
	Err error // what the call returns; for OpProduce what done gets
	// Late: the call is made all the same and only its result is replaced, as
	// when a reply is lost. A Fetch returns its batches together with Err.
	Late bool
	// Refused: Produce itself returns Err, and the record is not taken.
	Refused bool
	// Wait delays the call until it is closed, or the call's context ends.
	Wait <-chan struct{}
}

// A Plan decides what happens to the n-th call of an operation, from 1. It may
// be called by several goroutines at once.
type Plan func(op Op, n int) Fault

// Nth is the plan in which f happens to the n-th call of op.
func Nth(op Op, n int, f Fault) Plan {
	return func(o Op, i int) Fault {
		if o == op && i == n {
			return f
		}
		return Fault{}
	}
}

// First is the plan in which f happens to the first n calls of op.
func First(op Op, n int, f Fault) Plan {
	return func(o Op, i int) Fault {
		if o == op && i <= n {
			return f
		}
		return Fault{}
	}
}

// Faults wraps a driver so that calls fail as planned. Calls are counted over
// all its consumers and producers. The contract holds otherwise: a record that
// fails keeps its turn, so that done is called in order.
func Faults(d driver.Driver, p Plan) driver.Driver {
	return &faulty{Driver: d, plan: p, calls: make(map[Op]int)}
}

type faulty struct {
	driver.Driver
	plan  Plan
	mu    sync.Mutex
	calls map[Op]int
}

// before counts the call and waits as long as planned.
func (d *faulty) before(ctx context.Context, op Op) (Fault, error) {
	d.mu.Lock()
	d.calls[op]++
	n := d.calls[op]
	d.mu.Unlock()
	f := d.plan(op, n)
	if f.Wait != nil {
		select {
		case <-f.Wait:
		case <-ctx.Done():
			return f, context.Cause(ctx)
		}
	}
	return f, nil
}

// do makes a call that returns only an error.
func (d *faulty) do(ctx context.Context, op Op, call func() error) error {
	f, err := d.before(ctx, op)
	if err != nil {
		return err
	}
	if f.Err != nil && !f.Late {
		return f.Err
	}
	if err := call(); err != nil {
		return err
	}
	return f.Err
}

func (d *faulty) Bounds(ctx context.Context, streams []string) (b map[driver.Shard]driver.Bound, err error) {
	err = d.do(ctx, OpBounds, func() (err error) { b, err = d.Driver.Bounds(ctx, streams); return err })
	return b, err
}

func (d *faulty) Consumer(ctx context.Context, c driver.ConsumerConfig) (driver.Consumer, error) {
	if f, err := d.before(ctx, OpConsumer); err != nil || f.Err != nil {
		return nil, first(err, f.Err)
	}
	inner, err := d.Driver.Consumer(ctx, c)
	if err != nil {
		return nil, err
	}
	fc := &faultyConsumer{inner, d}
	switch inner.(type) {
	case driver.Committer:
		return &faultyCommitter{fc}, nil
	case driver.Settler:
		return &faultySettler{fc}, nil
	}
	return fc, nil
}

func (d *faulty) Producer(ctx context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	if f, err := d.before(ctx, OpProducer); err != nil || f.Err != nil {
		return nil, first(err, f.Err)
	}
	inner, err := d.Driver.Producer(ctx, c)
	if err != nil {
		return nil, err
	}
	return &faultyProducer{inner: inner, d: d}, nil
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

type faultyConsumer struct {
	driver.Consumer
	d *faulty
}

func (c *faultyConsumer) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	f, err := c.d.before(ctx, OpFetch)
	if err != nil {
		return into, err
	}
	if f.Err != nil && !f.Late {
		return into, f.Err
	}
	into, err = c.Consumer.Fetch(ctx, into)
	return into, first(err, f.Err)
}

func (c *faultyConsumer) Seek(ctx context.Context, gen uint64, to map[driver.Shard]driver.Start) (at []driver.Position, err error) {
	err = c.d.do(ctx, OpSeek, func() (err error) { at, err = c.Consumer.Seek(ctx, gen, to); return err })
	return at, err
}

type faultyCommitter struct{ *faultyConsumer }

func (c *faultyCommitter) Commit(ctx context.Context, at []driver.Position) error {
	return c.d.do(ctx, OpCommit, func() error { return c.Consumer.(driver.Committer).Commit(ctx, at) })
}

type faultySettler struct{ *faultyConsumer }

func (c *faultySettler) Settle(ctx context.Context, s []driver.Settlement) error {
	return c.d.do(ctx, OpSettle, func() error { return c.Consumer.(driver.Settler).Settle(ctx, s) })
}

// faultyProducer calls the dones of all records in the order in which it took
// them: one that has failed without being sent waits for those before it.
type faultyProducer struct {
	inner driver.Producer
	d     *faulty
	order sync.Mutex // held while dones are called

	mu    sync.Mutex
	queue []*sending
	idle  chan struct{} // closed when the queue is empty; nil while nobody waits
}

type sending struct {
	done    func(driver.Receipt, error)
	ended   bool
	receipt driver.Receipt
	err     error
}

func (p *faultyProducer) Produce(ctx context.Context, rec driver.Record, done func(driver.Receipt, error)) error {
	f, err := p.d.before(ctx, OpProduce)
	if err != nil {
		return err
	}
	if f.Err != nil && f.Refused {
		return f.Err
	}
	s := &sending{done: done}
	p.mu.Lock()
	p.queue = append(p.queue, s)
	p.mu.Unlock()
	if f.Err != nil && !f.Late {
		go p.end(s, driver.Receipt{}, f.Err) // not within the caller's call
		return nil
	}
	err = p.inner.Produce(ctx, rec, func(r driver.Receipt, err error) {
		if err == nil && f.Err != nil {
			r, err = driver.Receipt{}, f.Err
		}
		p.end(s, r, err)
	})
	if err != nil {
		s.done = func(driver.Receipt, error) {} // it was not taken
		go p.end(s, driver.Receipt{}, err)
	}
	return err
}

// end notes what became of s and calls the dones whose turn it is.
func (p *faultyProducer) end(s *sending, r driver.Receipt, err error) {
	p.mu.Lock()
	s.ended, s.receipt, s.err = true, r, err
	p.mu.Unlock()
	p.order.Lock()
	defer p.order.Unlock()
	for {
		p.mu.Lock()
		if len(p.queue) == 0 || !p.queue[0].ended {
			p.mu.Unlock()
			return
		}
		s := p.queue[0]
		p.mu.Unlock()
		s.done(s.receipt, s.err)
		p.mu.Lock()
		p.queue = p.queue[1:] // not before done has returned: Flush waits for that
		if len(p.queue) == 0 && p.idle != nil {
			close(p.idle)
			p.idle = nil
		}
		p.mu.Unlock()
	}
}

// settled waits until the queue is empty.
func (p *faultyProducer) settled(ctx context.Context) error {
	p.mu.Lock()
	if len(p.queue) == 0 {
		p.mu.Unlock()
		return nil
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	idle := p.idle
	p.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *faultyProducer) Flush(ctx context.Context) error {
	return p.d.do(ctx, OpFlush, func() error { return first(p.inner.Flush(ctx), p.settled(ctx)) })
}

func (p *faultyProducer) Close(ctx context.Context) error {
	return first(p.inner.Close(ctx), p.settled(ctx))
}
