package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func TestUnitTogether(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := sole(t, r)
	if d := cmp.Diff([]driver.Position{pos("in", 0, 7), pos("in", 1, 8)}, claim(t, o, pos("in", 0, 7), pos("in", 1, 8))); d != "" {
		t.Errorf("positions (-want +got):\n%s", d)
	}
	if err := unit(t, o, 7, 9, "a=1", "b=2", "a=3"); err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, 1, "a", "1", "3")
	wantValues(t, r, 1, "b", "2")
	if got := claim(t, o, pos("in", 0, 0)); got[0].Next != (driver.Seq{Lo: 9}) {
		t.Errorf("position %v, want 0-9", got[0].Next)
	}
	if err := unit(t, o, 9, 10); err != nil {
		t.Errorf("a unit with a move alone: %v", err)
	}
	tx, _ := o.Begin(t.Context())
	if err := tx.Commit(t.Context(), nil); err != nil {
		t.Errorf("an empty unit: %v", err)
	}
	if got, want := r.Call(t, 1, "HGET", "sea:progress:{job}", "at:in:0"), "0-10"; got != want {
		t.Errorf("stored %q, want %q", got, want)
	}
	if got, want := len(strings.Fields(r.Call(t, 1, "SMEMBERS", "sea:shards:{job}"))), 2; got != want {
		t.Errorf("%d shards are listed, want %d", got, want)
	}
}

// The start that was given first is kept, and claiming again returns it.
func TestUnitStartIsKept(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	claim(t, sole(t, r), pos("in", 0, 7))
	o := sole(t, r)
	for range 2 {
		at := []driver.Position{pos("in", 0, 99)}
		got := claim(t, o, at...)
		if at[0] != pos("in", 0, 99) {
			t.Errorf("the claim has changed what it was given to %v", at)
		}
		if got[0].Next != (driver.Seq{Lo: 7}) {
			t.Errorf("position %v, want 0-7", got[0].Next)
		}
	}
}

// Entries are those of a producer, whatever a record has.
func TestUnitEntries(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	many := make([]driver.Header, maxUnitField-1)
	for i := range many {
		many[i] = driver.Header{Key: "h", Value: []byte("v")}
	}
	records := []driver.Record{
		{Value: []byte("plain")}, {Value: []byte{}}, {}, {Key: []byte("k")}, {Key: []byte{}, Value: []byte("v")},
		{Value: []byte("v"), Time: time.Unix(5, 6)}, {Value: []byte("v"), Headers: []driver.Header{{Key: "key", Value: []byte("x")}, {Key: "a"}}},
		{Headers: []driver.Header{{Key: "a", Value: []byte("x")}}}, {Value: []byte("v"), Headers: many}, {Value: []byte("plain")},
	}
	o := sole(t, r)
	p := producerForTest(t, r.URL(), driver.ProducerConfig{})
	tx, err := o.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records {
		rec.Stream = "unit"
		if err := tx.Produce(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		rec.Stream = "produced"
		if err := p.Produce(t.Context(), rec, func(driver.Receipt, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Produce(t.Context(), driver.Record{Stream: "unit", Headers: slices.Concat(many, many)}); !errors.Is(err, driver.ErrTooLarge) {
		t.Errorf("more fields than fit: %v, want %v", err, driver.ErrTooLarge)
	}
	if err := tx.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	flush(t, p)
	fields := func(key string) []string {
		answers, err := r.Do(1, "EVAL", "local s = '' for _, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do s = s .. #e[2] .. '<' .. table.concat(e[2], '|') .. '>' end return s", "1", key)
		if err != nil {
			t.Fatal(err)
		}
		return strings.SplitAfter(answers, ">")
	}
	if d := cmp.Diff(fields("produced"), fields("unit")); d != "" {
		t.Errorf("entries (-produced +unit):\n%s", d)
	}
}

// Shards are chosen as a producer chooses them.
func TestUnitShards(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := ownerForTest(t, r.URL()+"/?shards=3", driver.OwnerConfig{Name: "job"})
	p := producerForTest(t, r.URL()+"/?shards=3", driver.ProducerConfig{})
	tx, _ := o.Begin(t.Context())
	for i := range 30 {
		rec := driver.Record{Stream: "unit", Value: fmt.Append(nil, i), Key: fmt.Append(nil, i)}
		if i%3 == 0 {
			rec.Shard = driver.On(int32(i % 2))
		}
		if err := tx.Produce(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		rec.Stream = "produced"
		if err := p.Produce(t.Context(), rec, func(driver.Receipt, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	for _, shard := range []driver.Target{driver.On(3), -1} {
		if err := tx.Produce(t.Context(), driver.Record{Stream: "unit", Shard: shard}); err == nil {
			t.Errorf("shard %d was taken", shard)
		}
	}
	if err := tx.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	flush(t, p)
	values := func(key string) (got []string) {
		words := strings.Fields(r.Call(t, 1, "XRANGE", key, "-", "+"))
		for i := 2; i < len(words); i += 5 {
			got = append(got, words[i])
		}
		return got
	}
	for i := range 3 {
		want := values(fmt.Sprintf("produced:%d", i))
		if d := cmp.Diff(want, values(fmt.Sprintf("unit:%d", i))); d != "" || len(want) == 0 {
			t.Errorf("shard %d (-produced +unit):\n%s", i, d)
		}
	}
}

// A stream that gets shards between two units is seen within DiscoverEvery, and
// at once where a record names one of them.
func TestUnitFreshShards(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := ownerForTest(t, r.URL()+"/?discover_every=100ms", driver.OwnerConfig{Name: "job"})
	claim(t, o, pos("in", 0, 0))
	if err := unit(t, o, 0, 1, "out=1"); err != nil {
		t.Fatal(err)
	}
	r.Call(t, 1, "XADD", "out:0", "*", "msg", "x")
	for i := uint64(1); r.Call(t, 1, "XLEN", "out:0") != "2"; i++ {
		if err := unit(t, o, i, i+1, "out=2"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnitTrimmed(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	o := ownerForTest(t, r.URL()+"/?max_len=100", driver.OwnerConfig{Name: "job"})
	for range 3 {
		tx, _ := o.Begin(t.Context())
		for range 30000 {
			if err := tx.Produce(t.Context(), driver.Record{Stream: "out", Value: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Call(t, 1, "XLEN", "out"); len(got) > 3 {
		t.Errorf("%s entries, want about 100", got)
	}
	r.Call(t, 1, "XADD", "aged", "5-0", "msg", "old")
	r.Call(t, 1, "CONFIG", "SET", "stream-node-max-entries", "1")
	aged := ownerForTest(t, r.URL()+"/?max_age=1h", driver.OwnerConfig{Name: "job"})
	claim(t, aged, pos("in", 0, 0))
	if err := unit(t, aged, 0, 1, "aged=1", "aged=2", "aged=3"); err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, 1, "aged", "1", "2", "3")
}

// A unit of the largest size that is taken at once is one unit.
func TestUnitLarge(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := sole(t, r)
	tx, _ := o.Begin(t.Context())
	for i := range 10000 {
		if err := tx.Produce(t.Context(), driver.Record{Stream: "out", Value: fmt.Append(nil, i), Key: []byte("k")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := r.Call(t, 1, "XLEN", "out"); got != "10000" {
		t.Errorf("%s entries, want 10000", got)
	}
}

// Units of a server that has no heads of scripts are refused in time, too.
func TestUnitScriptsWithoutHead(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := sole(t, r).(*owner)
	old := *o.c.state.info.Load()
	old.version = version{6, 2, 0}
	o.c.state.info.Store(&old)
	claim(t, o, pos("in", 0, 0))
	r.Call(t, 1, "CONFIG", "SET", "maxmemory", "1")
	wantKind(t, "no memory", unit(t, o, 0, 1, "out=1"), driver.ErrAborted)
	r.Call(t, 1, "CONFIG", "SET", "maxmemory", "0")
	if err := unit(t, o, 0, 1, "out=1", "out=2"); err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, 1, "out", "1", "2")
}
