package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// What a server refuses for the time being is held and written in order.
func TestProduceRefused(t *testing.T) {
	t.Parallel()
	const times, room = 5, 200_000 // some thousand records
	for _, c := range []struct {
		name    string
		on, off []string
	}{
		{"OOM", []string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}},
		{"NOREPLICAS", []string{"CONFIG", "SET", "min-replicas-to-write", "1"}, []string{"CONFIG", "SET", "min-replicas-to-write", "0"}},
		{"READONLY", []string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}},
	} {
		for _, d := range []driver.Durability{driver.AtLeastOnce, driver.ExactlyOnce} {
			t.Run(c.name+"/"+d.String(), func(t *testing.T) {
				r := redistest.ForTest(t, redistest.Options{})
				p := producerForTest(t, r.URL()+"/?shards=3", driver.ProducerConfig{Durability: d, MaxBytes: room})
				l := newLedger(t, p, "s", 3)
				stop := make(chan struct{})
				go func() {
					defer close(stop)
					for range times {
						l.grow(100)
						r.Call(t, 1, c.on...)
						time.Sleep(50 * time.Millisecond)
						r.Call(t, 1, c.off...)
					}
				}()
				l.load(stop)
				flush(t, p)
				acked, unknown, failed := l.count()
				t.Logf("acknowledged %d, unknown %d, not written %d", acked, unknown, failed)
				if unknown > 0 {
					t.Errorf("%d unknown ones: a refusal is certain", unknown)
				}
				// A later record may be accepted while an earlier one is on its
				// way back: that one has failed then, rather than be overtaken.
				// That is so once when the server changes its mind, for what
				// was on its way at most: how much is acknowledged meanwhile
				// is a matter of the machine and says nothing.
				if most := times * room / sendCost; failed > most || acked == 0 {
					t.Errorf("%d failed, of which %d may, and %d did not", failed, most, acked)
				}
				l.check(entries(t, r, 1))
			})
		}
	}
}

// What is refused for longer than the delivery time-out has failed, with one
// line that says who and why.
func TestProduceRefusedForGood(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	// Long enough that the refusal comes within it, on a busy machine too.
	const brief = "/?delivery_timeout=2s&request_timeout=4s"
	one := func(url string, rec driver.Record, pc driver.ProducerConfig) error {
		t.Helper()
		p := producerForTest(t, url, pc)
		outcome := make(chan error, 1)
		if err := p.Produce(t.Context(), rec, func(_ driver.Receipt, err error) { outcome <- err }); err != nil {
			return err
		}
		select {
		case err := <-outcome:
			return err
		case <-time.After(time.Minute):
			t.Fatal("no outcome")
			return nil
		}
	}
	rec := driver.Record{Stream: "s", Value: []byte("v")}
	for _, c := range []struct {
		name string
		prep []string
		undo []string
		url  string
		rec  driver.Record
		pc   driver.ProducerConfig
		kind error
		says string
	}{
		{name: "OOM", prep: []string{"CONFIG", "SET", "maxmemory", "1"}, undo: []string{"CONFIG", "SET", "maxmemory", "0"}, rec: rec, kind: driver.ErrUnavailable, says: "is full (maxmemory)"},
		{name: "OOM, exactly once", prep: []string{"CONFIG", "SET", "maxmemory", "1"}, undo: []string{"CONFIG", "SET", "maxmemory", "0"}, rec: rec, pc: driver.ProducerConfig{Durability: driver.ExactlyOnce}, kind: driver.ErrUnavailable, says: "is full (maxmemory)"},
		{name: "WRONGTYPE", prep: []string{"SET", "s", "x"}, undo: []string{"DEL", "s"}, rec: rec, kind: driver.ErrInvalid, says: `key "s"`},
		{name: "WRONGTYPE, exactly once", prep: []string{"SET", "s", "x"}, undo: []string{"DEL", "s"}, rec: rec, pc: driver.ProducerConfig{Durability: driver.ExactlyOnce}, kind: driver.ErrInvalid, says: `key "s"`},
		{name: "no_autocreate", url: "&no_autocreate", rec: rec, kind: driver.ErrNotFound, says: "no such stream"},
		{name: "no_autocreate, exactly once", url: "&no_autocreate", rec: rec, pc: driver.ProducerConfig{Durability: driver.ExactlyOnce}, kind: driver.ErrNotFound, says: "no such stream"},
		{name: "replicas", url: "&replicas=1", rec: rec, kind: driver.ErrUnknown, says: "0 of 1 replicas"},
		{name: "synced", url: "&synced", rec: rec, kind: errors.ErrUnsupported, says: "appendfsync always, or with an AOF and WAITAOF"},
		{name: "shard", rec: driver.Record{Stream: "s", Shard: driver.On(7), Value: []byte("v")}, kind: driver.ErrNotFound, says: "no shard 7"},
		{name: "negative shard", rec: driver.Record{Stream: "s", Shard: -3, Value: []byte("v")}, kind: driver.ErrInvalid, says: "negative"},
		{name: "too large", url: "&max_record=10", rec: driver.Record{Stream: "s", Value: make([]byte, 11)}, kind: driver.ErrTooLarge, says: "has 11 bytes and max_record is 10"},
		{name: "name", rec: driver.Record{Stream: "", Value: []byte("v")}, kind: driver.ErrInvalid, says: "stream"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.prep != nil {
				r.Call(t, 1, c.prep...)
				defer r.Call(t, 1, c.undo...)
			}
			err := one(r.URL()+brief+c.url, c.rec, c.pc)
			if !errors.Is(err, c.kind) || !strings.Contains(fmt.Sprint(err), c.says) || strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("got %v\nwant %v: … %s …", err, c.kind, c.says)
			}
			t.Log(err)
			r.Call(t, 1, "DEL", "s")
		})
	}
	t.Run("denied", func(t *testing.T) {
		r := redistest.ForTest(t, redistest.Options{Password: "secret"})
		err := one(strings.Replace(r.URL(), "redis://", "redis://:wrong@", 1), rec, driver.ProducerConfig{})
		if !errors.Is(err, driver.ErrDenied) {
			t.Errorf("got %v, want %v", err, driver.ErrDenied)
		}
		if err := one(strings.Replace(r.URL(), "redis://", "redis://:secret@", 1), rec, driver.ProducerConfig{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		err := one("redis://127.0.0.1:1"+brief, rec, driver.ProducerConfig{})
		if !errors.Is(err, driver.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("got %v, want %v", err, driver.ErrUnavailable)
		}
		t.Log(err)
	})
}

// A server away for longer than the delivery time-out.
func TestProduceServerGone(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "no"}) // see TestProduceKilledServer
	p := producerForTest(t, r.URL()+"/?shards=2&delivery_timeout=5s", driver.ProducerConfig{})
	l := newLedger(t, p, "s", 2)
	for i := range 100 {
		if err := l.send(t.Context(), i%2); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	r.Kill(1)
	for i := range 100 {
		if err := l.send(t.Context(), i%2); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	if err := r.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := l.send(t.Context(), i%2); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	acked, unknown, failed := l.count()
	if acked != 200 || unknown+failed != 100 {
		t.Errorf("acknowledged %d, unknown %d, not written %d; want 200, and 100 of the others", acked, unknown, failed)
	}
	l.check(entries(t, r, 1))
}

// Produce waits for room, within its context, and goes on when there is some.
func TestProduceRoom(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	s := swallow(t, r.Addr(1))
	p := producerForTest(t, "redis://"+s.Addr().String()+"/?request_timeout=4s", driver.ProducerConfig{MaxBytes: 10_000})
	l := newLedger(t, p, "s", 1)
	if err := l.send(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	flush(t, p)
	s.hang.Store(true)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i := 0; ; i++ { // who has no time takes what room there is
		err := l.send(over, 0)
		if errors.Is(err, context.Canceled) {
			if i < 10 || i > 100 {
				t.Errorf("%d records fitted", i)
			}
			break
		}
		if err != nil || i > 1000 {
			t.Fatal(i, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := l.send(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a record for which there is no room: %v, want %v", err, context.DeadlineExceeded)
	}
	s.hang.Store(false)
	if err := l.send(t.Context(), 0); err != nil { // when the reply has timed out
		t.Fatal(err)
	}
	flush(t, p)
	l.check(entries(t, r, 1))
}

// Several producers of explicit ids on one stream.
func TestProduceExactlySeveral(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	const producers, records = 4, 2000
	var wg sync.WaitGroup
	for g := range producers {
		p := producerForTest(t, r.URL(), driver.ProducerConfig{Durability: driver.ExactlyOnce})
		wg.Add(1)
		go func() {
			defer wg.Done()
			last := driver.Seq{}
			for i := range records {
				err := p.Produce(t.Context(), driver.Record{Stream: "s", Value: fmt.Appendf(nil, "%d/%d", g, i)}, func(rc driver.Receipt, err error) {
					if err != nil || !last.Less(rc.Seq) {
						t.Errorf("producer %d, record %d: id %v after %v, %v", g, i, rc.Seq, last, err)
					}
					last = rc.Seq
					if rc.Seq.Lo > maxCounter {
						t.Errorf("id %v", rc.Seq)
					}
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
			flush(t, p)
		}()
	}
	// And somebody who writes with *.
	for range 200 {
		r.Call(t, 1, "XADD", "s", "*", "msg", "9/9")
	}
	wg.Wait()
	var next [producers]int
	words := strings.Fields(r.Call(t, 1, "XRANGE", "s", "-", "+"))
	for i := 0; i+2 < len(words); i += 3 {
		var g, n int
		if _, err := fmt.Sscanf(words[i+2], "%d/%d", &g, &n); err != nil {
			t.Fatal(err)
		}
		if g == 9 {
			continue
		}
		if n != next[g] {
			t.Fatalf("producer %d: record %d where %d comes", g, n, next[g])
		}
		next[g]++
	}
	for g, n := range next {
		if n != records {
			t.Errorf("producer %d: %d records, want %d", g, n, records)
		}
	}
}

// The script of explicit ids adds a batch once.
func TestAddScript(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{Directives: []string{"stream-node-max-entries 2"}})
	add := func(again string, ms, n int, values ...string) string {
		t.Helper()
		args := []string{"EVAL", addScript, "1", "s", again, fmt.Sprint(ms), fmt.Sprint(n), "0", "", "", fmt.Sprint(len(values))}
		for _, v := range values {
			args = append(args, "2", "msg", v)
		}
		word, _, _ := strings.Cut(r.Call(t, 1, args...), " ")
		return word
	}
	for _, c := range []struct {
		what   string
		do     func()
		again  string
		ms, n  int
		values []string
		want   string
		length string
	}{
		{what: "new", again: "0", ms: 1000, n: 5, values: []string{"a", "b", "c", "d"}, want: "OK", length: "4"},
		{what: "another's with the same ids", again: "0", ms: 1000, n: 5, values: []string{"a", "b", "c", "d"}, want: "LATE", length: "4"},
		{what: "a repeat", again: "1", ms: 1000, n: 5, values: []string{"a", "b", "c", "d"}, want: "OK", length: "4"},
		{what: "a repeat that never came", again: "1", ms: 2000, n: 0, values: []string{"e"}, want: "OK", length: "5"},
		{what: "a repeat overtaken", again: "1", ms: 1500, n: 0, values: []string{"f"}, want: "LATE", length: "5"},
		{what: "a repeat with another's at its ids", again: "1", ms: 1000, n: 5, values: []string{"a", "b", "x", "d"}, want: "LATE", length: "5"},
		{what: "a repeat partly at another's ids", again: "1", ms: 1000, n: 7, values: []string{"c", "d", "y"}, want: "LATE", length: "5"},
		{what: "a repeat trimmed in part", do: func() { r.Call(t, 1, "XTRIM", "s", "MINID", "1000-7") }, again: "1", ms: 1000, n: 5, values: []string{"a", "b", "c", "d"}, want: "OK", length: "3"},
		{what: "a repeat trimmed whole", do: func() { r.Call(t, 1, "XTRIM", "s", "MINID", "2000-0") }, again: "1", ms: 1000, n: 5, values: []string{"a", "b", "c", "d"}, want: "TRIMMED", length: "1"},
		{what: "a repeat on an emptied stream", do: func() { r.Call(t, 1, "XTRIM", "s", "MAXLEN", "0") }, again: "1", ms: 2000, n: 0, values: []string{"e"}, want: "TRIMMED", length: "0"},
		{what: "counters above 9 digits of a float", again: "0", ms: 1700000000000, n: 65535, values: []string{"z"}, want: "OK", length: "1"},
	} {
		if c.do != nil {
			c.do()
		}
		if got := add(c.again, c.ms, c.n, c.values...); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		if got := r.Call(t, 1, "XLEN", "s"); got != c.length {
			t.Errorf("%s: %s entries, want %s", c.what, got, c.length)
		}
	}
}
