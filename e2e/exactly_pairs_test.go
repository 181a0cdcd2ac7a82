//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/all"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/e2e/ledger"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// backends are the brokers that outlive a process, and what an independent
// client reads from them.
type backends struct {
	urls  map[string]string // by name
	other map[string]func(ctx context.Context, stream string, saw ledger.Saw) error
	names []string
	topic func(string) // makes a topic, where streams must exist

	// ended waits until no transaction is open on a stream of a backend: readers
	// see the last one a moment after its commit.
	ended func(name, stream string) error
}

func (r *faultRun) backends() *backends {
	r.t.Helper()
	k := apachekafka.ForTest(r.t)
	s := redistest.ForTest(r.t, redistest.Options{AppendOnly: true})
	admin, stop := kafkaAdmin(r.t, k)
	r.t.Cleanup(stop)
	shards := r.plan.Shards
	query := fmt.Sprintf("?shards=%d", shards)
	return &backends{
		names: []string{"file", "kafka", "redis"},
		urls:  map[string]string{"file": "file://" + r.dir + "/log" + query, "kafka": "kafka://" + k.Brokers()[0], "redis": s.URL() + query},
		other: map[string]func(context.Context, string, ledger.Saw) error{
			"kafka": func(ctx context.Context, stream string, saw ledger.Saw) error {
				return ledger.Kcat(ctx, k.Brokers()[0], stream, saw)
			},
			"redis": func(ctx context.Context, stream string, saw ledger.Saw) error {
				return ledger.RedisCLI(ctx, s.Addr(1), stream, shards, saw)
			},
		},
		topic: func(name string) { kafkaCreate(r.t, admin, name, shards) },
		ended: func(name, stream string) error {
			if name != "kafka" {
				return nil
			}
			return stable(r.t.Context(), admin, stream, time.Minute)
		},
	}
}

// load writes all messages of the plan to a stream of a backend, at once.
func (r *faultRun) load(to, stream string, books *ledger.Books) {
	r.t.Helper()
	s, err := all.Open(r.t.Context(), to)
	r.must(err)
	defer s.Close(context.Background())
	r.loadTo(s, stream, books)
}

func (r *faultRun) loadTo(s *seastreamer.Streamer, stream string, books *ledger.Books) {
	r.t.Helper()
	p, err := s.Producer(r.t.Context(), seastreamer.ProducerConfig{Stream: stream})
	r.must(err)
	for id := range r.plan.Messages {
		body := ledger.Message{Run: r.plan.Run, Stream: "in", ID: id}.Append(nil)
		rec := seastreamer.Record{Shard: seastreamer.On(r.plan.Shard(id)), Key: []byte(r.plan.Key(id)), Value: body}
		r.must(p.Enqueue(r.t.Context(), rec, func(_ seastreamer.Receipt, err error) { books.Sent(0, id, err) }))
	}
	r.must(p.Close(r.t.Context()))
}

// TestPairs relays between every two backends, exactly once and at least once,
// while the relay is killed again and again. The full run is
//
//	PAIRS_MESSAGES=200000 PAIRS_KILLS=100 go test -timeout 0 -run '^TestPairs$' -v .
func TestPairs(t *testing.T) {
	messages, kills := int64(fromEnv(t, "PAIRS_MESSAGES", 2_000)), fromEnv(t, "PAIRS_KILLS", 5)
	r := newFaultRun(t, ledger.Plan{Writers: 1, Messages: messages, Shards: 3, Keys: 300})
	b := r.backends()
	run := r.plan.Run
	in := "pairs-" + run
	b.topic(in)
	books := ledger.NewBooks(r.plan)
	for _, name := range b.names {
		r.load(b.urls[name], in, books)
	}
	unit := max(int(messages)/(kills*20), 1)
	var wg sync.WaitGroup
	var mu sync.Mutex // of the claims, and of r
	at := make(chan struct{}, 3)
	for _, from := range b.names {
		for _, to := range b.names {
			for _, do := range []string{"relay", "at-least"} {
				out := strings.Join([]string{do, from, to, run}, "-")
				b.topic(out)
				rnd := r.chance()
				name := out
				if do == "at-least" {
					name = filepath.Join(r.dir, out)
				}
				wg.Go(func() {
					at <- struct{}{}
					defer func() { <-at }()
					crew := ledger.NewCrew(r.t.TempDir(), r.program)
					defer crew.Stop()
					begun := time.Now()
					p, err := crew.Add(ledger.Task{Do: do, From: b.urls[from], In: in, To: b.urls[to], Out: out, Name: name, Until: true, Max: unit, Slow: 5 * time.Millisecond, Hold: 10})
					if err == nil {
						err = crew.KillWorkers(rnd, kills, 20*time.Millisecond, p)
						p.Release()
					}
					if err == nil {
						select {
						case <-p.Ended():
						case <-time.After(3 * time.Minute): // thousands of small units, on whatever machine
							crew.Dump()
							err = fmt.Errorf("it does not come to the end of its input: see %s", p.Log())
						}
					}
					took := time.Since(begun)
					fresh, other := books.Check(), books.Check()
					if err == nil {
						err = b.ended(to, out)
					}
					if err == nil {
						err = ledger.Fresh(t.Context(), r.program, b.urls[to], out, fresh.Saw)
					}
					if read := b.other[to]; err == nil && read != nil {
						err = read(t.Context(), out, other.Saw)
					} else {
						other = fresh
					}
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						r.claims.check(false, "%s from %s to %s: %v", do, from, to, err)
						return
					}
					v, w := fresh.Verdict(), other.Verdict()
					right := v.Exactly() && w.Exactly()
					if do == "at-least" {
						right = v.AtLeast() && w.AtLeast() && v.Twice <= int64(kills*unit)
					}
					r.claims.check(right && v.Messages >= messages && v.Same(w) && len(crew.Exits()) == 0,
						"%s from %s to %s, %d kills (%d effective), %v: %v; read by another: %v %q", do, from, to, p.Kills, p.Effective, took.Round(time.Millisecond), v, w, crew.Exits())
					r.kills += p.Kills
					r.hits += p.Effective
				})
			}
		}
	}
	wg.Wait()
	r.effective("relays", r.kills, r.hits, 80)
	t.Logf("seed %d: %d messages and %d kills for each of 9 pairs and 2 deliveries, units of %d", r.seed, messages, kills, unit)
	r.claims.end()
}

// TestPairsWithMemory is the same for pairs of which one side is the memory of
// a process: there is nothing to kill, so the relay is left in the middle of
// units, and its predecessors go on when it has taken over, as zombies.
func TestPairsWithMemory(t *testing.T) {
	const messages, deaths = 2_000, 5
	r := newFaultRun(t, ledger.Plan{Writers: 1, Messages: messages, Shards: 3, Keys: 300})
	b := r.backends()
	store := memory.NewStore()
	mem := func() *seastreamer.Streamer {
		s := seastreamer.New(store.Driver(memory.Options{}), seastreamer.Options{})
		t.Cleanup(func() { _ = s.Close(context.Background()) })
		return s
	}
	open := func(name string) *seastreamer.Streamer {
		if name == "memory" {
			return mem()
		}
		s, err := all.Open(t.Context(), b.urls[name])
		r.must(err)
		t.Cleanup(func() { _ = s.Close(context.Background()) })
		return s
	}
	in := "memory-pairs-" + r.plan.Run
	b.topic(in)
	books := ledger.NewBooks(r.plan)
	r.must(store.Create(in, memory.Options{Shards: r.plan.Shards}))
	for _, name := range append(b.names, "memory") {
		r.loadTo(open(name), in, books)
	}
	var pairs [][2]string
	for _, name := range b.names {
		pairs = append(pairs, [2]string{"memory", name}, [2]string{name, "memory"})
	}
	for _, pair := range append(pairs, [2]string{"memory", "memory"}) {
		from, to := pair[0], pair[1]
		out := from + "-" + to + "-" + r.plan.Run
		if to == "kafka" {
			b.topic(out)
		}
		if to == "memory" {
			r.must(store.Create(out, memory.Options{Shards: r.plan.Shards}))
		}
		fenced := r.relayHere(open, from, to, in, out, deaths, messages/deaths/4)
		check := books.Check()
		r.must(b.ended(to, out))
		s := open(to)
		end, err := s.End(t.Context(), out)
		r.must(err)
		c, err := s.Consumer(t.Context(), seastreamer.ConsumerConfig{Streams: []string{out}, Start: seastreamer.Earliest, Until: end})
		r.must(err)
		for m, err := range c.Messages(t.Context()) {
			r.must(err)
			check.Saw(m.Shard().Index, m.Key(), m.Value())
		}
		v := check.Verdict()
		r.claims.check(v.Exactly() && v.Messages == messages && fenced == deaths, "from %s to %s, left %d times, %d zombies fenced: %v", from, to, deaths, fenced, v)
	}
	r.claims.end()
}

// relayHere relays to the end of the input with one Transactor behind the
// other: each stops inside a unit, the next one takes over, and when that has
// committed the first goes on. It returns how many of them were told that they
// are fenced.
func (r *faultRun) relayHere(open func(string) *seastreamer.Streamer, from, to, in, out string, deaths, unit int) (fenced int) {
	r.t.Helper()
	source := open(from)
	end, err := source.End(r.t.Context(), in)
	r.must(err)
	var run func(life int)
	run = func(life int) {
		tr, err := open(to).Transactor(r.t.Context(), seastreamer.TransactorConfig{Name: out, From: source, MaxMessages: unit,
			Input: seastreamer.ConsumerConfig{Streams: []string{in}, Start: seastreamer.Earliest, Until: end}})
		r.must(err)
		units := 0
		for tx, err := range tr.Units(r.t.Context()) {
			if errors.Is(err, seastreamer.ErrFenced) {
				fenced++
				return
			}
			r.must(err)
			for m := range tx.Messages() {
				r.must(tx.Send(seastreamer.Record{Stream: out, Shard: seastreamer.On(m.Shard().Index), Key: m.Key(), Value: m.Value(), Time: m.Time()}))
			}
			if units++; units == 3 && life < deaths {
				run(life + 1) // meanwhile this one stands still, its unit full
			}
		}
	}
	run(0)
	return fenced
}

// TestPausedOwner stops two owners, each inside a unit, and each is succeeded by
// another one. The first goes on while the last is at work, the second when all
// is done. They change nothing, and end because they were fenced. On every sink.
func TestPausedOwner(t *testing.T) {
	for _, to := range []string{"file", "kafka", "redis"} {
		t.Run(to, func(t *testing.T) {
			r := newFaultRun(t, ledger.Plan{Writers: 1, Messages: 3_000, Shards: 3, Keys: 300})
			b := r.backends()
			in, out := "paused-in-"+to+r.plan.Run, "paused-"+to+r.plan.Run
			b.topic(out)
			books := ledger.NewBooks(r.plan)
			r.load(b.urls["file"], in, books)
			ended := func(p *ledger.Place, want int, what string) {
				select {
				case <-p.Ended():
					r.claims.check(p.Exit() == want, "%s ends with %d, want %d", what, p.Exit(), want)
				case <-time.After(2 * time.Minute):
					r.crew.Dump()
					r.claims.check(false, "%s does not end", what)
				}
			}
			first := r.add(ledger.Task{Do: "relay", From: b.urls["file"], In: in, To: b.urls[to], Out: out, Name: out, Until: true, Max: 30, Slow: 10 * time.Millisecond, Hold: 20})
			second, err := r.crew.Usurp(first)
			r.must(err)
			first.Release()
			third, err := r.crew.Usurp(second)
			r.must(err)
			second.Release()
			r.must(first.Continue())
			ended(first, ledger.ExitFenced, "the first, which goes on while the third is at work,")
			third.Release()
			ended(third, 0, "the third")
			r.must(second.Continue())
			ended(second, ledger.ExitFenced, "the second, which goes on when all is done,")
			fresh, other := books.Check(), books.Check()
			r.must(b.ended(to, out))
			r.must(ledger.Fresh(t.Context(), r.program, b.urls[to], out, fresh.Saw))
			if read := b.other[to]; read != nil {
				r.must(read(t.Context(), out, other.Saw))
			} else {
				other = fresh
			}
			v, w := fresh.Verdict(), other.Verdict()
			r.claims.check(v.Exactly() && v.Same(w) && v.Messages == r.plan.Messages, "the output: %v; read by another: %v", v, w)
			r.claims.end()
		})
	}
}

// TestPairsThatCannot are refused when they are opened, with the reason.
func TestPairsThatCannot(t *testing.T) {
	r := newFaultRun(t, ledger.Plan{Writers: 1, Messages: 10, Shards: 3, Keys: 300})
	b := r.backends()
	in := "cannot-" + r.plan.Run
	b.topic(in)
	books := ledger.NewBooks(r.plan)
	for _, name := range b.names {
		r.load(b.urls[name], in, books)
	}
	for _, c := range []struct{ what, from, to, group string }{
		{"a group of Redis, which hands out messages and not shards", "redis", "file", "g"},
		{"an owner of Kafka that shares the shards of another system", "file", "kafka", "g"},
	} {
		p := r.add(ledger.Task{Do: "relay", From: b.urls[c.from], In: in, To: b.urls[c.to], Out: in, Name: "cannot", Group: c.group})
		p.Expect()
		select {
		case <-p.Ended():
			r.claims.check(p.Exit() == ledger.ExitUnsupported, "%s: exit code %d, want %d: %s", c.what, p.Exit(), ledger.ExitUnsupported, p.LastWords())
		case <-time.After(time.Minute):
			r.claims.check(false, "%s: it is not refused", c.what)
		}
	}
	r.claims.end()
}
