package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/kafka"
)

// Both sides of an exactly-once copy commit after 100 ms or 50,000 messages.
const (
	unitTime     = 100 * time.Millisecond
	unitMessages = 50_000
)

// exactlyPairs compares a Transactor with a loop around franz-go's
// GroupTransactSession, written by hand: one partition in and one
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
	return []pair{{
		name: "kafka to kafka, exactly once", goal: "≥ 0.95",
		ours: side{"seastreamer", copies(copyOurs)}, peer: side{"GroupTransactSession", copies(copyRaw)},
	}}, nil
}

func copyOurs(ctx context.Context, broker, from, to, name string, n int, begin func()) error {
	s, err := kafka.Open(ctx, "kafka://"+broker+"?compression=none", kafka.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close(ctx) }()
	end, err := s.End(ctx, from)
	if err != nil {
		return err
	}
	t, err := s.Transactor(ctx, seastreamer.TransactorConfig{
		Name:        name,
		Input:       seastreamer.ConsumerConfig{Streams: []string{from}, Start: seastreamer.Earliest, Until: end},
		CommitEvery: unitTime, MaxMessages: unitMessages,
	})
	if err != nil {
		return err
	}
	done := 0
	for tx, err := range t.Units(ctx) {
		if err != nil {
			return err
		}
		if done == 0 {
			begin()
		}
		for m := range tx.Messages() {
			if err := tx.Send(seastreamer.Record{Stream: to, Key: m.Key(), Value: m.Value(), Time: m.Time()}); err != nil {
				return err
			}
			done++
		}
	}
	if done != n {
		return fmt.Errorf("copied %d of %d messages", done, n)
	}
	return t.Close(ctx)
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
