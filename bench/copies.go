package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/backend/redis"
)

// copyPairs compares copies between backends with one end of them, used raw and
// alone: no client copies between these exactly once.
func copyPairs(e *environment) ([]pair, error) {
	values := make([][]byte, 1024)
	for i := range values {
		values[i] = payload(i, e.size)
	}
	r := &redisRows{environment: e, values: values}
	write := side{"rueidis XADD, DoMulti of 512", r.produceRaw(1, 1)}
	least := func(from, to string) side { return side{"sea cp", r.command(from, to)} }
	return append(byHandPairs(r), []pair{
		{name: "kafka to kafka, at least once", goal: "–", ours: least("kafka", "kafka"), peer: side{"franz-go, writing", r.writeKafka()}},
		{name: "redis to kafka, at least once", goal: "≥ 0.80", ours: least("redis", "kafka"), peer: side{"rueidis XREAD, replies walked by hand", r.consumeRaw()}},
		{name: "kafka to redis, at least once", goal: "≥ 0.80", ours: least("kafka", "redis"), peer: write},
		{name: "redis to kafka, exactly once", goal: "≥ 0.65", ours: side{"seastreamer", r.copies("redis", "kafka")}, peer: side{"rueidis XREAD, replies walked by hand", r.consumeRaw()}},
		{name: "kafka to redis, exactly once", goal: "≥ 0.45", ours: side{"seastreamer", r.copies("kafka", "redis")}, peer: write},
		{name: "redis to redis, exactly once", goal: "≥ 0.45", ours: side{"seastreamer", r.copies("redis", "redis")}, peer: write},
	}...), nil
}

// ends fills an input and returns the URLs of it and of an output.
func (r *redisRows) ends(ctx context.Context, from, to string) (src, dst string, drop func(), err error) {
	addr, err := r.server(ctx)
	if err != nil {
		return "", "", nil, err
	}
	broker, err := r.broker(ctx)
	if err != nil {
		return "", "", nil, err
	}
	var drops []func()
	drop = func() {
		for _, f := range drops {
			f()
		}
	}
	url := func(kind, stream string) (string, error) {
		if kind == "redis" {
			return "redis://" + addr + "/" + stream, nil
		}
		topic, dropTopic, err := r.topic(ctx)
		if err == nil {
			drops = append(drops, dropTopic)
		}
		return "kafka://" + broker + "/" + topic + "?compression=none", err
	}
	if src, err = url(from, names(1)[0]); err != nil {
		return "", "", drop, err
	}
	if dst, err = url(to, "copied"); err != nil {
		return "", "", drop, err
	}
	if from == "kafka" {
		topic, _, _ := strings.Cut(src[strings.LastIndex(src, "/")+1:], "?")
		return src, dst, drop, produceRaw(ctx, broker, topic, r.values, r.n)
	}
	s, err := redis.Open(ctx, "redis://"+addr, redis.Options{})
	if err != nil {
		return "", "", drop, err
	}
	return src, dst, drop, errors.Join(r.fill(4, 1)(ctx, s), s.Close(ctx))
}

// command copies with the command, at least once.
func (r *redisRows) command(from, to string) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		sea, err := r.sea()
		if err != nil {
			return figure{}, err
		}
		src, dst, drop, err := r.ends(ctx, from, to)
		if drop != nil {
			defer drop()
		}
		if err != nil {
			return figure{}, err
		}
		cmd := exec.CommandContext(ctx, sea, "streamer", "cp", src, dst, "--delivery", "at-least", "--restart", "-q")
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+r.dir)
		cmd.Stderr = os.Stderr
		f, err := command(cmd)
		f.n = r.n
		return f, err
	}
}

// writeKafka is the output end alone.
func (r *redisRows) writeKafka() func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		broker, err := r.broker(ctx)
		if err != nil {
			return figure{}, err
		}
		topic, drop, err := r.topic(ctx)
		if err != nil {
			return figure{}, err
		}
		defer drop()
		return timed(r.n, func() error { return produceRaw(ctx, broker, topic, r.values, r.n) })
	}
}

// copies opens both sides anew, fills the input and copies it with a
// Transactor as it comes.
func (r *redisRows) copies(from, to string) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		addr, err := r.server(ctx)
		if err != nil {
			return figure{}, err
		}
		broker, err := r.broker(ctx)
		if err != nil {
			return figure{}, err
		}
		open := func(kind string) (*seastreamer.Streamer, string, func(), error) {
			if kind == "redis" {
				s, err := redis.Open(ctx, "redis://"+addr, redis.Options{})
				return s, "", func() {}, err
			}
			topic, drop, err := r.topic(ctx)
			if err != nil {
				return nil, "", nil, err
			}
			s, err := kafka.Open(ctx, "kafka://"+broker+"?compression=none", kafka.Options{})
			return s, topic, drop, err
		}
		in, src, dropIn, err := open(from)
		if err != nil {
			return figure{}, err
		}
		defer dropIn()
		defer func() { _ = in.Close(ctx) }()
		out, dst, dropOut, err := open(to)
		if err != nil {
			return figure{}, err
		}
		defer dropOut()
		defer func() { _ = out.Close(ctx) }()
		if src == "" {
			src = names(1)[0]
			err = r.fill(4, 1)(ctx, in)
		} else {
			err = produceRaw(ctx, broker, src, r.values, r.n)
		}
		if err != nil {
			return figure{}, err
		}
		if dst == "" {
			dst = "copied"
		}
		return timed(r.n, func() error { return transact(ctx, in, out, src, dst, r.n) })
	}
}

// transact copies what a stream holds, as a program would.
func transact(ctx context.Context, in, out *seastreamer.Streamer, src, dst string, n int) error {
	end, err := in.End(ctx, src)
	if err != nil {
		return err
	}
	t, err := out.Transactor(ctx, seastreamer.TransactorConfig{Name: "copy-" + src, From: in,
		Input: seastreamer.ConsumerConfig{Streams: []string{src}, Start: seastreamer.Earliest, Until: end}})
	if err != nil {
		return err
	}
	done := 0
	for tx, err := range t.Units(ctx) {
		if err != nil {
			return err
		}
		for m := range tx.Messages() {
			if err := tx.Send(seastreamer.Record{Stream: dst, Key: m.Key(), Value: m.Value()}); err != nil {
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
