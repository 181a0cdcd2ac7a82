package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/driver"
)

// Both sides of an exactly-once copy commit after 100 ms or 50,000 messages.
const (
	unitTime     = 100 * time.Millisecond
	unitMessages = 50_000
)

// exactlyPairs compares units of the Kafka backend with a loop around
// franz-go's GroupTransactSession, written by hand: one partition in and one
// out, no compression.
func exactlyPairs(e *environment) ([]pair, error) {
	values := make([][]byte, 1024)
	for i := range values {
		values[i] = payload(i, e.size)
	}
	copies := func(f func(ctx context.Context, broker, from, to, name string, n int, begin func()) error) func(context.Context) (figure, error) {
		return func(ctx context.Context) (figure, error) {
			broker, err := e.broker(ctx)
			if err != nil {
				return figure{}, err
			}
			from, drop, err := e.topic(ctx)
			if err != nil {
				return figure{}, err
			}
			defer drop()
			to, drop, err := e.topic(ctx)
			if err != nil {
				return figure{}, err
			}
			defer drop()
			if err := produceRaw(ctx, broker, from, values, e.n); err != nil {
				return figure{}, err
			}
			// From the first messages on: a group takes a while to form.
			var cpu0 time.Duration
			var begun time.Time
			err = f(ctx, broker, from, to, "copy-"+from, e.n, func() { begun, cpu0 = time.Now(), cpu() })
			return figure{wall: time.Since(begun), cpu: cpu() - cpu0, n: e.n}, err
		}
	}
	raw := side{"GroupTransactSession", copies(copyRaw)}
	return []pair{
		{name: "kafka to kafka, exactly once", goal: "≥ 0.95", ours: side{"seastreamer", copies(copyPaired)}, peer: raw},
		{name: "kafka to kafka, exactly once, position as a record", ours: side{"seastreamer", copies(copyOwned)}, peer: raw},
	}, nil
}

func copyPaired(ctx context.Context, broker, from, to, name string, n int, begin func()) error {
	return copyOurs(ctx, broker, from, to, n, begin, func(d driver.Driver) (driver.Owner, func(context.Context, driver.ConsumerConfig) (driver.Consumer, error), error) {
		o, err := d.(driver.Paired).Pair(ctx, d, driver.OwnerConfig{Name: name})
		if err != nil {
			return nil, nil, err
		}
		return o, o.Consumer, nil
	})
}

func copyOwned(ctx context.Context, broker, from, to, name string, n int, begin func()) error {
	return copyOurs(ctx, broker, from, to, n, begin, func(d driver.Driver) (driver.Owner, func(context.Context, driver.ConsumerConfig) (driver.Consumer, error), error) {
		o, err := d.(driver.Atomic).Owner(ctx, driver.OwnerConfig{Name: name})
		return o, d.Consumer, err
	})
}

func copyOurs(ctx context.Context, broker, from, to string, n int, begin func(),
	open func(driver.Driver) (driver.Owner, func(context.Context, driver.ConsumerConfig) (driver.Consumer, error), error)) error {
	u, err := driver.ParseBroker("kafka://" + broker + "?compression=none")
	if err != nil {
		return err
	}
	d, err := kafka.OpenDriver(ctx, u, kafka.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = d.Close(ctx) }()
	o, consume, err := open(d)
	if err != nil {
		return err
	}
	defer func() { _ = o.Close(ctx) }()
	at := map[driver.Shard]driver.Seq{}
	c, err := consume(ctx, driver.ConsumerConfig{Streams: []string{from}, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(ctx context.Context, ps []driver.Position) (uint64, []driver.Position, error) {
			got, err := o.Claim(ctx, ps)
			for _, p := range got {
				at[p.Shard] = p.Next
			}
			return 1, got, err
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	var held []driver.Batch
	for done := 0; done < n; {
		if len(held) == 0 {
			if held, err = c.Fetch(ctx, held); err != nil {
				return err
			}
		}
		if done == 0 {
			begin()
		}
		tx, err := o.Begin(ctx)
		if err != nil {
			return err
		}
		move := map[driver.Shard]driver.Seq{}
		deadline, unit := time.Now().Add(unitTime), 0
		for unit < unitMessages && time.Now().Before(deadline) && done+unit < n {
			if len(held) == 0 {
				within, cancel := context.WithDeadline(ctx, deadline)
				held, err = c.Fetch(within, held)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					return err
				}
				continue
			}
			b := held[0]
			held = held[1:]
			for i := range b.Len() {
				if err := tx.Produce(ctx, driver.Record{Stream: to, Key: b.Key(i), Value: b.Value(i), Time: b.Time(i)}); err != nil {
					return err
				}
			}
			unit += b.Len()
			move[b.Shard()] = b.Next()
		}
		var moves []driver.Move
		for s, next := range move {
			moves = append(moves, driver.Move{Shard: s, From: at[s], To: next})
			at[s] = next
		}
		if err := tx.Commit(ctx, moves); err != nil {
			return err
		}
		done += unit
	}
	return nil
}

func copyRaw(ctx context.Context, broker, from, to, name string, n int, begin func()) error {
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(to), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedBytes(32<<20), kgo.MaxBufferedRecords(1<<30),
		kgo.TransactionalID(name), kgo.TransactionTimeout(10*time.Second), kgo.ConsumerGroup(name), kgo.ConsumeTopics(from),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
		kgo.FetchMaxBytes(2500<<10), kgo.FetchMaxPartitionBytes(2500<<10))
	if err != nil {
		return err
	}
	defer s.Close()
	for done := 0; done < n; {
		fs := s.PollRecords(ctx, unitMessages)
		if done == 0 {
			begin()
		}
		if err := s.Begin(); err != nil {
			return err
		}
		var failed atomic.Pointer[error]
		promise := func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		}
		deadline, unit := time.Now().Add(unitTime), 0
		for {
			if err := fs.Err0(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			fs.EachRecord(func(r *kgo.Record) {
				s.Produce(ctx, &kgo.Record{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}, promise)
				unit++
			})
			if unit >= unitMessages || !time.Now().Before(deadline) || done+unit >= n {
				break
			}
			within, cancel := context.WithDeadline(ctx, deadline)
			fs = s.PollRecords(within, unitMessages-unit)
			cancel()
		}
		if err := s.Client().Flush(ctx); err != nil {
			return err
		}
		committed, err := s.End(ctx, kgo.TransactionEndTry(failed.Load() == nil))
		if err != nil {
			return err
		}
		if !committed {
			return fmt.Errorf("aborted: %v", failed.Load())
		}
		done += unit
	}
	return nil
}
