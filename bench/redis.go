package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/redis"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// The peers send and read in runs that suit them best on one server.
const (
	redisSend = 512  // XADDs of one DoMulti
	redisRead = 1000 // entries of one XREAD or XREADGROUP
)

// redisPairs compares the library with rueidis used directly, in this process,
// and with redis-benchmark, on one server without persistence. Each run begins
// on an empty server.
func redisPairs(e *environment) ([]pair, error) {
	const goal = "≥ 0.95"
	values := make([][]byte, 1024)
	for i := range values {
		values[i] = payload(i, e.size)
	}
	r := &redisRows{environment: e, values: values}
	name := func(what string) string { return fmt.Sprintf("redis %s, %d bytes", what, e.size) }
	pairs := []pair{
		{name: name("produce, 1 goroutine"), goal: goal, ours: side{"seastreamer", r.produce(1, 1, 0)}, peer: side{"rueidis", r.produceRaw(1, 1)}},
		{name: name("produce, 4 goroutines"), goal: goal, ours: side{"seastreamer", r.produce(4, 1, 0)}, peer: side{"rueidis", r.produceRaw(4, 1)}},
		{name: name("produce, 4 goroutines, redis-benchmark"), goal: "≥ 0.80", ours: side{"seastreamer", r.produce(4, 1, 0)}, peer: side{"redis-benchmark -P 200 -c 4", r.redisBenchmark()}},
		{name: name("consume"), goal: goal, ours: side{"seastreamer", r.consume(1)}, peer: side{"rueidis XREAD, AsXRead", r.consumeParsed()}},
		{name: name("consume, raw replies"), goal: goal, ours: side{"seastreamer", r.consume(1)}, peer: side{"rueidis XREAD, replies walked by hand", r.consumeRaw()}},
		{name: name("group consume with acks"), goal: goal, ours: side{"seastreamer", r.group()}, peer: side{"rueidis XREADGROUP and XACK", r.groupRaw()}},
		{name: name("produce, 8 shards"), goal: goal, ours: side{"sharded", r.produce(1, 1, 8)}, peer: side{"not sharded", r.produce(1, 1, 0)}},
	}
	for _, n := range []int{10, 100, 1000} {
		pairs = append(pairs,
			pair{name: name(fmt.Sprintf("produce, %d streams", n)), goal: "flat", ours: side{fmt.Sprint(n, " streams"), r.produce(1, n, 0)}, peer: side{"one stream", r.produce(1, 1, 0)}},
			pair{name: name(fmt.Sprintf("consume, %d streams", n)), goal: "flat", ours: side{fmt.Sprint(n, " streams"), r.consume(n)}, peer: side{"one stream", r.consume(1)}},
			pair{name: name(fmt.Sprintf("produce, %d streams, raw", n)), goal: goal, ours: side{"seastreamer", r.produce(1, n, 0)}, peer: side{"rueidis over as many", r.produceRaw(1, n)}},
			pair{name: name(fmt.Sprintf("consume, %d streams, raw", n)), goal: goal, ours: side{"seastreamer", r.consume(n)}, peer: side{"rueidis over as many", r.consumeMany(n)}})
	}
	return pairs, nil
}

type redisRows struct {
	*environment
	values [][]byte
}

// server is the address of a Redis of our own, emptied.
func (e *environment) server(ctx context.Context) (string, error) {
	e.redis.Do(func() { e.rs, e.redisErr = redistest.Start(ctx, redistest.Options{}) })
	if e.redisErr != nil {
		return "", e.redisErr
	}
	_, err := e.rs.Do(1, "FLUSHALL", "SYNC")
	return e.rs.Addr(1), err
}

// ours runs f with a streamer on the emptied server, after prepare.
func (r *redisRows) ours(query string, prepare, f func(context.Context, *seastreamer.Streamer) error) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		addr, err := r.server(ctx)
		if err != nil {
			return figure{}, err
		}
		s, err := redis.Open(ctx, "redis://"+addr+query, redis.Options{})
		if err != nil {
			return figure{}, err
		}
		defer func() { _ = s.Close(ctx) }() // producers and consumers are closed by then, with their errors
		if prepare != nil {
			if err := prepare(ctx, s); err != nil {
				return figure{}, err
			}
		}
		return timed(r.n, func() error { return f(ctx, s) })
	}
}

// raw is ours with a client of rueidis as it comes.
func (r *redisRows) raw(prepare, f func(context.Context, rueidis.Client) error) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		addr, err := r.server(ctx)
		if err != nil {
			return figure{}, err
		}
		cl, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true, DisableRetry: true})
		if err != nil {
			return figure{}, err
		}
		defer cl.Close()
		if prepare != nil {
			if err := prepare(ctx, cl); err != nil {
				return figure{}, err
			}
		}
		return timed(r.n, func() error { return f(ctx, cl) })
	}
}

func names(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("bench-%d", i)
	}
	return s
}

// fill sends n messages from so many goroutines, to the streams in turn.
func (r *redisRows) fill(goroutines, streams int) func(context.Context, *seastreamer.Streamer) error {
	return func(ctx context.Context, s *seastreamer.Streamer) error {
		p, err := s.Producer(ctx, seastreamer.ProducerConfig{})
		if err != nil {
			return err
		}
		all := names(streams)
		if err := split(r.n, goroutines, func(from, to int) error {
			for i := from; i < to; i++ {
				rec := seastreamer.Record{Stream: all[i%streams], Value: r.values[i%len(r.values)]}
				if err := p.Enqueue(ctx, rec, nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		return p.Close(ctx)
	}
}

// split has goroutines work on parts of [0, n).
func split(n, goroutines int, f func(from, to int) error) error {
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() { errs[g] = f(n*g/goroutines, n*(g+1)/goroutines) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *redisRows) produce(goroutines, streams, shards int) func(context.Context) (figure, error) {
	query := ""
	if shards > 0 {
		query = fmt.Sprintf("?shards=%d", shards)
	}
	return r.ours(query, nil, r.fill(goroutines, streams))
}

func (r *redisRows) fillRaw(goroutines, streams int) func(context.Context, rueidis.Client) error {
	return func(ctx context.Context, cl rueidis.Client) error {
		all := names(streams)
		return split(r.n, goroutines, func(from, to int) error {
			cmds := make([]rueidis.Completed, 0, redisSend)
			for i := from; i < to; {
				cmds = cmds[:0]
				for ; i < to && len(cmds) < redisSend; i++ {
					cmds = append(cmds, cl.B().Xadd().Key(all[i%streams]).Id("*").FieldValue().FieldValue("msg", rueidis.BinaryString(r.values[i%len(r.values)])).Build())
				}
				for _, a := range cl.DoMulti(ctx, cmds...) {
					if err := a.Error(); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
}

func (r *redisRows) produceRaw(goroutines, streams int) func(context.Context) (figure, error) {
	return r.raw(nil, r.fillRaw(goroutines, streams))
}

// redisBenchmark is the load generator that comes with Redis, timed as a
// process.
func (r *redisRows) redisBenchmark() func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		addr, err := r.server(ctx)
		if err != nil {
			return figure{}, err
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return figure{}, err
		}
		cmd := exec.CommandContext(ctx, "redis-benchmark", "-h", host, "-p", port, "-P", "200", "-c", "4", "-n", strconv.Itoa(r.n), "-q",
			"XADD", "bench-0", "*", "msg", string(r.values[0]))
		cmd.Stderr = os.Stderr
		f, err := timed(r.n, cmd.Run)
		if err == nil {
			f.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
		return f, err
	}
}

func (r *redisRows) consume(streams int) func(context.Context) (figure, error) {
	return r.ours("", r.fill(4, streams), func(ctx context.Context, s *seastreamer.Streamer) error {
		end, err := s.End(ctx, names(streams)...)
		if err != nil {
			return err
		}
		c, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: names(streams), Start: seastreamer.Earliest, Until: end})
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
		if got != r.n {
			return fmt.Errorf("read %d of %d messages", got, r.n)
		}
		return c.Close(ctx)
	})
}

// entries counts the entries of a reply for one stream, looks at each value and
// returns the last id. RESP3 has a map of streams, which rueidis gives as an
// array of keys and lists.
func entries(a rueidis.RedisResult, ids []string) (n int, _ []string, err error) {
	m, err := a.AsMap()
	if err != nil {
		return 0, nil, err
	}
	ids = ids[:0]
	for _, list := range m {
		all, err := list.ToArray()
		if err != nil {
			return 0, nil, err
		}
		for i := range all {
			pair, err := all[i].ToArray()
			if err != nil {
				return 0, nil, err
			}
			id, err := pair[0].ToString()
			if err != nil {
				return 0, nil, err
			}
			fields, err := pair[1].ToArray()
			if err != nil {
				return 0, nil, err
			}
			if _, err := fields[1].ToString(); err != nil {
				return 0, nil, err
			}
			ids = append(ids, id)
		}
	}
	return len(ids), ids, nil
}

func (r *redisRows) consumeRaw() func(context.Context) (figure, error) {
	return r.raw(r.fillRaw(4, 1), func(ctx context.Context, cl rueidis.Client) error {
		last := "0"
		var ids []string
		for got := 0; got < r.n; {
			var n int
			var err error
			if n, ids, err = entries(cl.Do(ctx, cl.B().Xread().Count(redisRead).Streams().Key("bench-0").Id(last).Build()), ids); err != nil {
				return err
			}
			got += n
			last = ids[n-1]
		}
		return nil
	})
}

// consumeMany walks raw replies that have some entries of each stream.
func (r *redisRows) consumeMany(streams int) func(context.Context) (figure, error) {
	return r.raw(r.fillRaw(4, streams), func(ctx context.Context, cl rueidis.Client) error {
		keys, ids := names(streams), make([]string, streams)
		at := map[string]int{}
		for i := range ids {
			ids[i], at[keys[i]] = "0", i
		}
		each := int64(max(redisRead/streams, 10))
		for got := 0; got < r.n; {
			m, err := cl.Do(ctx, cl.B().Xread().Count(each).Streams().Key(keys...).Id(ids...).Build()).AsMap()
			if err != nil {
				return err
			}
			for key, list := range m {
				all, err := list.ToArray()
				if err != nil {
					return err
				}
				for i := range all {
					pair, err := all[i].ToArray()
					if err != nil {
						return err
					}
					fields, err := pair[1].ToArray()
					if err != nil {
						return err
					}
					if _, err := fields[1].ToString(); err != nil {
						return err
					}
					if ids[at[key]], err = pair[0].ToString(); err != nil {
						return err
					}
				}
				got += len(all)
			}
		}
		return nil
	})
}

// consumeParsed has rueidis parse the entries, as a program does that wants
// more than their values.
func (r *redisRows) consumeParsed() func(context.Context) (figure, error) {
	return r.raw(r.fillRaw(4, 1), func(ctx context.Context, cl rueidis.Client) error {
		last, size := "0", 0
		for got := 0; got < r.n; {
			m, err := cl.Do(ctx, cl.B().Xread().Count(redisRead).Streams().Key("bench-0").Id(last).Build()).AsXRead()
			if err != nil {
				return err
			}
			all := m["bench-0"]
			for _, e := range all {
				size += len(e.FieldValues["msg"])
			}
			got += len(all)
			last = all[len(all)-1].ID
		}
		return nil
	})
}

func (r *redisRows) group() func(context.Context) (figure, error) {
	return r.ours("", r.fill(4, 1), func(ctx context.Context, s *seastreamer.Streamer) error {
		c, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: names(1), Group: "bench", Start: seastreamer.Earliest})
		if err != nil {
			return err
		}
		got := 0
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return err
			}
			if got++; got == r.n {
				m.Ack()
				break
			}
		}
		return c.Close(ctx)
	})
}

// groupRaw acknowledges each run with the command that asks for the next one.
func (r *redisRows) groupRaw() func(context.Context) (figure, error) {
	return r.raw(r.fillRaw(4, 1), func(ctx context.Context, cl rueidis.Client) error {
		if err := cl.Do(ctx, cl.B().XgroupCreate().Key("bench-0").Group("bench").Id("0").Build()).Error(); err != nil {
			return err
		}
		var ids []string
		for got := 0; ; {
			cmds := make([]rueidis.Completed, 0, 2)
			if len(ids) > 0 {
				cmds = append(cmds, cl.B().Xack().Key("bench-0").Group("bench").Id(ids...).Build())
			}
			if got < r.n {
				cmds = append(cmds, cl.B().Xreadgroup().Group("bench", "one").Count(redisRead).Streams().Key("bench-0").Id(">").Build())
			}
			answers := cl.DoMulti(ctx, cmds...)
			if len(ids) > 0 {
				if n, err := answers[0].AsInt64(); err != nil || int(n) != len(ids) {
					return fmt.Errorf("acknowledged %d of %d: %w", n, len(ids), err)
				}
			}
			if got == r.n {
				return nil
			}
			n, read, err := entries(answers[len(answers)-1], make([]string, 0, redisRead)) // the ids before are being sent
			if err != nil {
				return err
			}
			ids, got = read, got+n
		}
	})
}
