package main

import (
	"context"
	"errors"

	"github.com/redis/rueidis"
	"github.com/twmb/franz-go/pkg/kgo"
)

// How much of a raw end a copy can reach where its two ends and their brokers
// share the processors: beside the two ends used raw at once, and beside copies
// as a program would have them that is written for just one pair and keeps no
// progress.

// byHandPairs compares the command with those.
func byHandPairs(r *redisRows) []pair {
	least := func(from, to string) side { return side{"sea cp", r.command(from, to)} }
	return []pair{
		{name: "kafka to kafka, at least once, as its ends", goal: "≥ 0.80", ours: least("kafka", "kafka"), peer: side{"franz-go, writing, and reading on its own", r.bothEnds()}},
		{name: "kafka to kafka, at least once, as a copy", goal: "–", ours: least("kafka", "kafka"), peer: side{"franz-go, reading and writing", r.byHand("kafka")}},
		{name: "redis to kafka, at least once, as a copy", goal: "–", ours: least("redis", "kafka"), peer: side{"rueidis XREAD into franz-go", r.byHand("redis")}},
	}
}

// bothEnds uses the two ends at once, each for itself.
func (r *redisRows) bothEnds() func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		broker, err := r.broker(ctx)
		if err != nil {
			return figure{}, err
		}
		in, dropIn, err := r.topic(ctx)
		if err != nil {
			return figure{}, err
		}
		defer dropIn()
		out, dropOut, err := r.topic(ctx)
		if err != nil {
			return figure{}, err
		}
		defer dropOut()
		if err := produceRaw(ctx, broker, in, r.values, r.n); err != nil {
			return figure{}, err
		}
		return timed(r.n, func() error {
			read := make(chan error, 1)
			go func() { read <- consumeRaw(ctx, broker, in, r.n) }()
			return errors.Join(produceRaw(ctx, broker, out, r.values, r.n), <-read)
		})
	}
}

func (r *redisRows) byHand(from string) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		broker, err := r.broker(ctx)
		if err != nil {
			return figure{}, err
		}
		to, drop, err := r.topic(ctx)
		if err != nil {
			return figure{}, err
		}
		defer drop()
		if from == "redis" {
			return r.raw(r.fillRaw(4, 1), func(ctx context.Context, cl rueidis.Client) error {
				return writing(ctx, broker, to, func(send func(key, value []byte)) error { return r.entriesInto(ctx, cl, send) })
			})(ctx)
		}
		in, dropIn, err := r.topic(ctx)
		if err != nil {
			return figure{}, err
		}
		defer dropIn()
		if err := produceRaw(ctx, broker, in, r.values, r.n); err != nil {
			return figure{}, err
		}
		return timed(r.n, func() error {
			return writing(ctx, broker, to, func(send func(key, value []byte)) error {
				return eachRaw(ctx, broker, in, r.n, func(rec *kgo.Record) { send(rec.Key, rec.Value) })
			})
		})
	}
}

// entriesInto reads a stream and hands its entries on.
func (r *redisRows) entriesInto(ctx context.Context, cl rueidis.Client, send func(key, value []byte)) error {
	last := "0"
	for got := 0; got < r.n; {
		m, err := cl.Do(ctx, cl.B().Xread().Count(redisRead).Streams().Key("bench-0").Id(last).Build()).AsMap()
		if err != nil {
			return err
		}
		list := m["bench-0"]
		all, err := list.ToArray()
		if err != nil {
			return err
		}
		for i := range all {
			pair, err := all[i].ToArray()
			if err != nil {
				return err
			}
			if last, err = pair[0].ToString(); err != nil {
				return err
			}
			fields, err := pair[1].ToArray()
			if err != nil {
				return err
			}
			value, err := fields[1].AsBytes()
			if err != nil {
				return err
			}
			send(nil, value)
		}
		got += len(all)
	}
	return nil
}
