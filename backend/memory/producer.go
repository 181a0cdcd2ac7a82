package memory

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// producer queues records and has one goroutine store them. Storing could as
// well happen within Produce, but then done would run inside the caller's
// call, under whatever locks the caller holds, which no other backend does.
type producer struct {
	d    *client
	c    driver.ProducerConfig
	wake chan struct{} // tells run that there is something to do
	done chan struct{} // closed when run has ended

	mu      sync.Mutex
	queue   []item
	bytes   int           // in the queue or being stored
	taken   uint64        // records ever taken
	settled uint64        // records whose done has returned
	moved   chan struct{} // closed when settled grows; nil while nobody waits
	closed  bool          // takes no more records
	givenUp bool          // what is in the queue is not stored any more
}

type item struct {
	sh   *shard
	rec  driver.Record
	done func(driver.Receipt, error)
	size int
}

func (d *client) Producer(ctx context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	if err := d.check(ctx, "open a producer"); err != nil {
		return nil, err
	}
	if !d.Features().Has(c.Durability) {
		return nil, driver.Errorf(driver.ErrInvalid, "open a producer", "there is no %v", c.Durability)
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 1 << 20
	}
	p := &producer{d: d, c: c, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go p.run()
	return p, nil
}

// Produce ignores the linger: company would make nothing cheaper here.
func (p *producer) Produce(ctx context.Context, rec driver.Record, done func(driver.Receipt, error)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if p.d.closed.Load() {
		return driver.Errorf(driver.ErrClosed, "send to "+rec.Stream, "the driver is closed")
	}
	it, err := p.d.take(rec)
	if err != nil {
		return err
	}
	it.done = done
	size := it.size
	p.mu.Lock()
	for p.bytes > 0 && p.bytes+size > p.c.MaxBytes && !p.closed {
		moved := p.wait()
		p.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.mu.Lock()
	}
	if p.closed {
		p.mu.Unlock()
		return driver.Errorf(driver.ErrClosed, "send to "+rec.Stream, "the producer is closed")
	}
	p.queue = append(p.queue, it)
	p.taken++
	p.bytes += size
	p.mu.Unlock()
	p.signal()
	return nil
}

// take checks a record and finds its shard.
func (d *client) take(rec driver.Record) (item, error) {
	m := message{key: rec.Key, value: rec.Value, headers: rec.Headers}
	size := m.size()
	if size > d.o.MaxRecord {
		return item{}, driver.Errorf(driver.ErrTooLarge, "send to "+rec.Stream, "the record has %d bytes and at most %d are allowed: see max_record", size, d.o.MaxRecord)
	}
	sh, err := d.route(&rec)
	return item{sh: sh, rec: rec, size: size + messageOverhead}, err
}

// seed makes keys of one process go to the same shards for all producers.
var seed = maphash.MakeSeed()

// route chooses the shard of a record.
func (d *client) route(rec *driver.Record) (*shard, error) {
	st, err := d.store.stream(rec.Stream, d.o)
	if err != nil {
		return nil, err
	}
	n := len(st.shards)
	if i, ok := rec.Shard.Index(); ok {
		if int(i) >= n {
			return nil, driver.Errorf(driver.ErrInvalid, "send to "+rec.Stream, "there is no shard %d: it has %d", i, n)
		}
		return st.shards[i], nil
	}
	switch {
	case n == 1:
		return st.shards[0], nil
	case rec.Key != nil:
		return st.shards[maphash.Bytes(seed, rec.Key)%uint64(n)], nil
	}
	return st.shards[st.turn.Add(1)%uint32(n)], nil
}

// wait is a channel that closes when a record is settled; mu is held.
func (p *producer) wait() <-chan struct{} {
	if p.moved == nil {
		p.moved = make(chan struct{})
	}
	return p.moved
}

func (p *producer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run stores what is in the queue, a queue at a time, until the producer is
// closed and the queue empty.
func (p *producer) run() {
	defer close(p.done)
	var items []item
	for {
		p.mu.Lock()
		items, p.queue = p.queue, items[:0]
		closed := p.closed
		p.mu.Unlock()
		if len(items) == 0 {
			if closed {
				return
			}
			<-p.wake
			continue
		}
		bytes := 0
		for i := range items {
			bytes += items[i].size
			items[i].done(p.store(&items[i]))
		}
		p.mu.Lock()
		p.bytes -= bytes
		p.settled += uint64(len(items))
		if p.moved != nil {
			close(p.moved)
			p.moved = nil
		}
		p.mu.Unlock()
		clear(items)
	}
}

// stamp gives a record its time.
func (it *item) stamp() {
	if it.rec.Time.IsZero() {
		it.rec.Time = time.Now()
	}
	it.rec.Time = it.rec.Time.Round(0).UTC()
}

func (p *producer) store(it *item) (driver.Receipt, error) {
	p.mu.Lock()
	givenUp := p.givenUp
	p.mu.Unlock()
	if givenUp {
		return driver.Receipt{}, driver.Errorf(driver.ErrUnknown, "send to "+it.sh.id.String(), "the producer was closed before it was stored")
	}
	it.stamp()
	seq := it.sh.append(&it.rec)
	if p.c.Durability == driver.AtMostOnce {
		return driver.Receipt{Shard: it.sh.id, Time: it.rec.Time}, nil
	}
	return driver.Receipt{Shard: it.sh.id, Seq: driver.SeqOf(seq), Time: it.rec.Time, Class: driver.ClassMemory}, nil
}

func (p *producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	taken := p.taken
	for p.settled < taken {
		moved := p.wait()
		p.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.mu.Lock()
	}
	p.mu.Unlock()
	return nil
}

func (p *producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	if p.moved != nil { // a Produce that waits for room learns that there will be none
		close(p.moved)
		p.moved = nil
	}
	p.mu.Unlock()
	p.signal()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	p.givenUp = true
	p.mu.Unlock()
	return context.Cause(ctx)
}
