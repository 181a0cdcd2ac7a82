//go:build unix

package ledger

import (
	"context"
	"errors"
	"testing"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

// A sender is a driver whose producers do something else with records.
type sender struct {
	driver.Driver
	open func(driver.Producer) driver.Producer
}

func (d sender) Producer(ctx context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	p, err := d.Driver.Producer(ctx, c)
	if err != nil {
		return nil, err
	}
	return d.open(p), nil
}

// A buffered producer holds records back until Flush or Close.
type buffered struct {
	driver.Producer
	early, drop, crash bool
	held               []func()
}

func (p *buffered) Produce(ctx context.Context, rec driver.Record, done func(driver.Receipt, error)) error {
	if p.early {
		done(driver.Receipt{}, nil)
		done = func(driver.Receipt, error) {}
	}
	p.held = append(p.held, func() { _ = p.Producer.Produce(ctx, rec, done) })
	if len(p.held) == 16 {
		p.flush()
	}
	return nil
}

func (p *buffered) flush() {
	for _, f := range p.held {
		f()
	}
	p.held = nil
}

func (p *buffered) Close(ctx context.Context) error {
	switch {
	case p.crash: // what it holds is gone, and nobody is told
	case p.drop: // the same, though it says that all is well
	default:
		p.flush()
	}
	return p.Producer.Close(ctx)
}

// M-1: a producer acknowledges when it has taken a record, and dies with some
// that it has not written.
func ackBeforeWrite(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	d := sender{b.store.Driver(memory.Options{}), func(p driver.Producer) driver.Producer { return &buffered{Producer: p, early: bug, crash: true} }}
	p, err := d.Producer(t.Context(), driver.ProducerConfig{})
	b.must(err)
	for id := range b.books.Plan.Messages {
		b.books.Sent(0, id, seastreamer.ErrUnknown) // until it is said
		b.must(p.Produce(t.Context(), b.record("in", id), func(_ driver.Receipt, err error) { b.books.Sent(0, id, err) }))
	}
	b.must(p.Close(t.Context()))
	return b.read("in")
}

// M-5: Close forgets what is still in the buffer and says that it was written.
func dropOnClose(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	d := sender{b.store.Driver(memory.Options{}), func(p driver.Producer) driver.Producer { return &buffered{Producer: p, drop: bug} }}
	p, err := d.Producer(t.Context(), driver.ProducerConfig{})
	b.must(err)
	for id := range b.books.Plan.Messages {
		b.must(p.Produce(t.Context(), b.record("in", id), func(_ driver.Receipt, err error) { b.books.Sent(0, id, err) }))
	}
	if err := p.Close(t.Context()); err == nil {
		for id := range b.books.Plan.Messages {
			b.books.Sent(0, id, nil) // a Close without error says that all was written
		}
	}
	return b.read("in")
}

// M-3: a record whose reply was lost is sent again.
func retryOnUnknown(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	d := drivertest.Faults(b.store.Driver(memory.Options{}), func(op drivertest.Op, n int) drivertest.Fault {
		if op == drivertest.OpProduce && n%50 == 7 {
			return drivertest.Fault{Err: driver.ErrUnknown, Late: true}
		}
		return drivertest.Fault{}
	})
	p, err := b.streamer(d).Producer(t.Context(), seastreamer.ProducerConfig{})
	b.must(err)
	for id := range b.books.Plan.Messages {
		_, err := p.Send(t.Context(), b.record("in", id))
		for bug && errors.Is(err, seastreamer.ErrUnknown) {
			_, err = p.Send(t.Context(), b.record("in", id))
		}
		b.books.Sent(0, id, err)
	}
	return b.read("in")
}

// M-6: a record that was refused for the moment is sent again when others have
// passed it.
func reorderOnRetry(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	d := drivertest.Faults(b.store.Driver(memory.Options{}), func(op drivertest.Op, n int) drivertest.Fault {
		if op == drivertest.OpProduce && n%50 == 7 {
			return drivertest.Fault{Err: driver.ErrUnavailable}
		}
		return drivertest.Fault{}
	})
	p, err := b.streamer(d).Producer(t.Context(), seastreamer.ProducerConfig{})
	b.must(err)
	var again []int64
	for id := range b.books.Plan.Messages {
		_, err := p.Send(t.Context(), b.record("in", id))
		if bug && err != nil {
			again = append(again, id)
			continue
		}
		for err != nil {
			_, err = p.Send(t.Context(), b.record("in", id))
		}
		b.books.Sent(0, id, nil)
		if len(again) > 0 && id%10 == 0 {
			for _, id := range again {
				_, err := p.Send(t.Context(), b.record("in", id))
				b.books.Sent(0, id, err)
			}
			again = nil
		}
	}
	return b.read("in")
}

// M-10: a log says that a record survives power loss before it was synced.
func noSync(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	var disk struct{ written, synced []seastreamer.Record }
	for id := range b.books.Plan.Messages {
		disk.written = append(disk.written, b.record("in", id))
		if !bug || id%100 == 0 {
			disk.synced = disk.written
		}
		b.books.Sent(0, id, nil)
		if id == 250 { // the power goes: what is not synced is not there
			disk.written = disk.synced[:len(disk.synced):len(disk.synced)]
			break
		}
	}
	for _, r := range disk.written {
		i, _ := r.Shard.Index()
		b.saw.Saw(i, r.Key, r.Value)
	}
	return b.found()
}
