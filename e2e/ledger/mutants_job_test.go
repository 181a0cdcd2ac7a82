//go:build unix

package ledger

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

// copyOn sends what in holds beyond done to out, in steps, and calls step
// before and after each with what has to be stored; an error is a death.
func (b *testbed) copyOn(done map[seastreamer.Shard]seastreamer.Seq, send func(seastreamer.Record) error, step func(stage string, at seastreamer.Position) error) error {
	c, err := b.s.Consumer(b.t.Context(), seastreamer.ConsumerConfig{Streams: []string{"in"}, Start: seastreamer.Earliest, Until: b.end("in"),
		Assigned: func(context.Context, []seastreamer.Shard) (seastreamer.Checkpoint, error) { return done, nil }})
	b.must(err)
	defer c.Close(context.Background())
	for m, err := range c.Messages(b.t.Context()) {
		b.must(err)
		at := seastreamer.Position{Shard: m.Shard(), Next: m.Seq().Succ()}
		if err := step("before", at); err != nil {
			return err
		}
		if err := send(seastreamer.Record{Stream: "out", Shard: seastreamer.On(m.Shard().Index), Key: m.Key(), Value: m.Value()}); err != nil {
			return err
		}
		if err := step("after", at); err != nil {
			return err
		}
	}
	return nil
}

func (b *testbed) end(stream string) seastreamer.Checkpoint {
	end, err := b.s.End(b.t.Context(), stream)
	b.must(err)
	return end
}

// M-2: the position is stored before the output, and the process dies between.
func commitBeforeOutput(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	b.write(b.s)
	p, err := b.s.Producer(t.Context(), seastreamer.ProducerConfig{})
	b.must(err)
	stored := seastreamer.Checkpoint{}
	when, steps := "after", 0
	if bug {
		when = "before"
	}
	for err = errCrash; err != nil; {
		done := seastreamer.Checkpoint{}
		for s, at := range stored {
			done[s] = at
		}
		err = b.copyOn(done, func(r seastreamer.Record) error {
			if steps++; steps%61 == 0 { // it dies with its send, or just behind it
				if !bug {
					_, _ = p.Send(t.Context(), r)
				}
				return errCrash
			}
			_, err := p.Send(t.Context(), r)
			return err
		}, func(stage string, at seastreamer.Position) error {
			if stage == when {
				stored[at.Shard] = at.Next
			}
			return nil
		})
	}
	return b.read("out")
}

// M-4: a send is refused, and the position moves on all the same.
func rejectedAdvances(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	b.write(b.s)
	d := drivertest.Faults(b.store.Driver(memory.Options{}), func(op drivertest.Op, n int) drivertest.Fault {
		if op == drivertest.OpProduce && n%40 == 9 {
			return drivertest.Fault{Err: driver.ErrUnavailable}
		}
		return drivertest.Fault{}
	})
	p, err := b.streamer(d).Producer(t.Context(), seastreamer.ProducerConfig{})
	b.must(err)
	b.must(b.copyOn(nil, func(r seastreamer.Record) error {
		_, err := p.Send(t.Context(), r)
		for !bug && errors.Is(err, seastreamer.ErrUnavailable) {
			_, err = p.Send(t.Context(), r)
		}
		return nil
	}, func(string, seastreamer.Position) error { return nil }))
	return b.read("out")
}

// M-8: progress is looked for in the last records of a log, where others
// write too.
func tailWindow(t *testing.T, bug bool) finding {
	const window = 8
	b := newTestbed(t)
	b.write(b.s)
	p, err := b.s.Producer(t.Context(), seastreamer.ProducerConfig{})
	b.must(err)
	for life := range 3 {
		var all []string
		for m := range b.until(b.s, "progress") {
			all = append(all, string(m.Value()))
		}
		if bug {
			all = all[max(0, len(all)-window):]
		}
		done := seastreamer.Checkpoint{}
		for _, text := range all {
			var c seastreamer.Checkpoint
			if c.UnmarshalText([]byte(text)) == nil {
				for s, at := range c {
					done[s] = at
				}
			}
		}
		n := 0
		_ = b.copyOn(done, func(r seastreamer.Record) error {
			_, err := p.Send(t.Context(), r)
			return err
		}, func(stage string, at seastreamer.Position) error {
			if stage == "before" {
				if n++; n > 100 && life < 2 {
					return errCrash // between two steps: nothing is half done
				}
				return nil
			}
			text, _ := seastreamer.Checkpoint{at.Shard: at.Next}.MarshalText()
			_, err := p.Send(t.Context(), seastreamer.Record{Stream: "progress", Value: text})
			return err
		})
		for i := range 2 * window { // what others write, or what was aborted
			_, err := p.Send(t.Context(), seastreamer.Record{Stream: "progress", Value: fmt.Append(nil, "noise ", i)})
			b.must(err)
		}
	}
	return b.read("out")
}

// M-12: a unit is accepted from an owner that was fenced.
func zombieCommits(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	b.write(b.s)
	d := b.store.Driver(memory.Options{})
	if bug {
		d = unfenced{d}
	}
	relay := func(tx *seastreamer.Tx, most int) {
		for m := range tx.Messages() {
			b.must(tx.Send(seastreamer.Record{Stream: "out", Shard: seastreamer.On(m.Shard().Index), Key: m.Key(), Value: m.Value()}))
			if most--; most == 0 {
				tx.End()
			}
		}
	}
	open := func() *seastreamer.Transactor {
		tr, err := b.streamer(d).Transactor(t.Context(), seastreamer.TransactorConfig{Name: "job", From: b.s,
			Input: seastreamer.ConsumerConfig{Streams: []string{"in"}, Start: seastreamer.Earliest, Until: b.end("in")}})
		b.must(err)
		return tr
	}
	units := 0
	for tx, err := range open().Units(t.Context()) {
		if err != nil {
			if !errors.Is(err, seastreamer.ErrFenced) {
				t.Fatal(err)
			}
			break
		}
		relay(tx, 50)
		if units++; units == 2 {
			// It is paused here, with a unit that is ready, and a successor does
			// all there is.
			for tx, err := range open().Units(t.Context()) {
				b.must(err)
				relay(tx, 50)
			}
		}
	}
	return b.read("out")
}

// unfenced is a backend that writes a unit's records whoever the owner is.
type unfenced struct{ driver.Driver }

func (d unfenced) Owner(ctx context.Context, c driver.OwnerConfig) (driver.Owner, error) {
	o, err := d.Driver.(driver.Atomic).Owner(ctx, c)
	return unfencedOwner{o, d.Driver}, err
}

type unfencedOwner struct {
	driver.Owner
	d driver.Driver
}

func (o unfencedOwner) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := o.Owner.Begin(ctx)
	return &unfencedTx{Tx: tx, o: o}, err
}

type unfencedTx struct {
	driver.Tx
	o       unfencedOwner
	records []driver.Record
}

func (tx *unfencedTx) Produce(ctx context.Context, r driver.Record) error {
	tx.records = append(tx.records, r)
	return tx.Tx.Produce(ctx, r)
}

func (tx *unfencedTx) Commit(ctx context.Context, moves []driver.Move) error {
	err := tx.Tx.Commit(ctx, moves)
	if err == nil {
		return nil
	}
	p, err := tx.o.d.Producer(ctx, driver.ProducerConfig{})
	if err != nil {
		return err
	}
	for _, r := range tx.records {
		if err := p.Produce(ctx, r, func(driver.Receipt, error) {}); err != nil {
			return err
		}
	}
	return p.Close(ctx)
}
