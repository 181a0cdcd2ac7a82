package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/kafka"
)

// kafkaPairs compares the library with franz-go used directly, in this
// process, with equal settings: one partition, no compression, acks=all and
// idempotent, no linger, 32 MiB in flight.
func kafkaPairs(e *environment) ([]pair, error) {
	const goal = "≥ 0.95"
	values := make([][]byte, 1024)
	for i := range values {
		values[i] = payload(i, e.size)
	}
	ours := func(send bool) func(context.Context) (figure, error) {
		return func(ctx context.Context) (figure, error) {
			broker, err := e.broker(ctx)
			if err != nil {
				return figure{}, err
			}
			s, err := kafka.Open(ctx, "kafka://"+broker+"?compression=none", kafka.Options{})
			if err != nil {
				return figure{}, err
			}
			defer func() { _ = s.Close(ctx) }() // the producer or consumer is closed by then, with its error
			topic, drop, err := e.topic(ctx)
			if err != nil {
				return figure{}, err
			}
			defer drop()
			if send {
				return timed(e.n, func() error { return produceOurs(ctx, s, topic, values, e.n) })
			}
			if err := produceOurs(ctx, s, topic, values, e.n); err != nil {
				return figure{}, err
			}
			return timed(e.n, func() error { return consumeOurs(ctx, s, topic, e.n) })
		}
	}
	raw := func(send bool) func(context.Context) (figure, error) {
		return func(ctx context.Context) (figure, error) {
			broker, err := e.broker(ctx)
			if err != nil {
				return figure{}, err
			}
			topic, drop, err := e.topic(ctx)
			if err != nil {
				return figure{}, err
			}
			defer drop()
			if send {
				return timed(e.n, func() error { return produceRaw(ctx, broker, topic, values, e.n) })
			}
			if err := produceRaw(ctx, broker, topic, values, e.n); err != nil {
				return figure{}, err
			}
			return timed(e.n, func() error { return consumeRaw(ctx, broker, topic, e.n) })
		}
	}
	return []pair{
		{name: fmt.Sprintf("kafka produce, %d bytes", e.size), goal: goal, ours: side{"seastreamer", ours(true)}, peer: side{"franz-go", raw(true)}},
		{name: fmt.Sprintf("kafka consume, %d bytes", e.size), goal: goal, ours: side{"seastreamer", ours(false)}, peer: side{"franz-go", raw(false)}},
	}, nil
}

func produceOurs(ctx context.Context, s *seastreamer.Streamer, topic string, values [][]byte, n int) error {
	p, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: topic, MaxBytes: 32 << 20})
	if err != nil {
		return err
	}
	for i := range n {
		if err := p.Enqueue(ctx, seastreamer.Record{Value: values[i%len(values)]}, nil); err != nil {
			return err
		}
	}
	return p.Close(ctx)
}

func produceRaw(ctx context.Context, broker, topic string, values [][]byte, n int) error {
	return writing(ctx, broker, topic, func(send func(key, value []byte)) error {
		for i := range n {
			send(nil, values[i%len(values)])
		}
		return nil
	})
}

func consumeOurs(ctx context.Context, s *seastreamer.Streamer, topic string, n int) error {
	end, err := s.End(ctx, topic)
	if err != nil {
		return err
	}
	c, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{topic}, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		return err
	}
	got, size := 0, 0
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		got++
		size += len(m.Value())
	}
	if got != n {
		return fmt.Errorf("read %d of %d messages", got, n)
	}
	return c.Close(ctx)
}

// writing calls f with what sends to a topic, and waits for all that was sent.
func writing(ctx context.Context, broker, topic string, f func(send func(key, value []byte)) error) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedBytes(32<<20), kgo.MaxBufferedRecords(1<<30))
	if err != nil {
		return err
	}
	defer cl.Close()
	var first kgo.FirstErrPromise
	if err := f(func(key, value []byte) { cl.Produce(ctx, &kgo.Record{Key: key, Value: value}, first.Promise()) }); err != nil {
		return err
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	return first.Err()
}

func consumeRaw(ctx context.Context, broker, topic string, n int) error {
	size := 0
	return eachRaw(ctx, broker, topic, n, func(r *kgo.Record) { size += len(r.Value) })
}

// eachRaw reads with the limit that the backend arrives at for messages of
// 256 bytes, of which it holds 4 MiB in memory ahead.
func eachRaw(ctx context.Context, broker, topic string, n int, f func(*kgo.Record)) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(2500<<10), kgo.FetchMaxPartitionBytes(2500<<10))
	if err != nil {
		return err
	}
	defer cl.Close()
	for got := 0; got < n; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return err
		}
		got += fs.NumRecords()
		fs.EachRecord(f)
	}
	return nil
}
