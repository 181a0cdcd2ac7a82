package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func ownerForTest(t testing.TB, url string, oc driver.OwnerConfig) driver.Owner {
	t.Helper()
	u, err := driver.ParseBroker(url)
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenDriver(t.Context(), u, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := d.(driver.Atomic).Owner(t.Context(), oc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := o.Close(ctx); err != nil {
			t.Errorf("close the owner: %v", err)
		}
		if err := d.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return o
}

// pos is a position in a shard.
func pos(stream string, index int32, lo uint64) driver.Position {
	return driver.Position{Shard: driver.Shard{Stream: stream, Index: index}, Next: driver.Seq{Lo: lo}}
}

func claim(t testing.TB, o driver.Owner, at ...driver.Position) []driver.Position {
	t.Helper()
	got, err := o.Claim(t.Context(), at)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return got
}

// unit commits records to streams, written stream=value, and a move of in[0].
func unit(t testing.TB, o driver.Owner, from, to uint64, records ...string) error {
	t.Helper()
	tx, err := o.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		stream, value, _ := strings.Cut(r, "=")
		if err := tx.Produce(t.Context(), driver.Record{Stream: stream, Value: []byte(value)}); err != nil {
			t.Fatalf("produce %s: %v", r, err)
		}
	}
	return tx.Commit(t.Context(), []driver.Move{moved(0, from, to)})
}

func moved(index int32, from, to uint64) driver.Move {
	return driver.Move{Shard: driver.Shard{Stream: "in", Index: index}, From: driver.Seq{Lo: from}, To: driver.Seq{Lo: to}}
}

// values are the values of a key's entries.
func values(t testing.TB, r *redistest.Servers, node int, key string) []string {
	t.Helper()
	words := strings.Fields(r.Call(t, node, "XRANGE", key, "-", "+"))
	got := []string{}
	for i := 2; i < len(words); i += 3 {
		got = append(got, words[i])
	}
	return got
}

func wantValues(t testing.TB, r *redistest.Servers, node int, key string, want ...string) {
	t.Helper()
	if d := cmp.Diff(append([]string{}, want...), values(t, r, node, key)); d != "" {
		t.Errorf("%s (-want +got):\n%s", key, d)
	}
}

func wantKind(t testing.TB, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than a line: %v", what, err)
	}
}

// sole is a fresh owner that shares with nobody.
func sole(t *testing.T, r *redistest.Servers) driver.Owner {
	t.Helper()
	return ownerForTest(t, r.URL(), driver.OwnerConfig{Name: "job"})
}

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
	if err := tx.Produce(t.Context(), driver.Record{Stream: "unit", Headers: append(many, many...)}); !errors.Is(err, driver.ErrTooLarge) {
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

func TestUnitAborted(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := sole(t, r)
	claim(t, o, pos("in", 0, 0))
	tx, _ := o.Begin(t.Context())
	if err := tx.Produce(t.Context(), driver.Record{Stream: "out", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	_, err := o.Begin(t.Context())
	wantKind(t, "a second unit", err, driver.ErrInvalid)
	if err := tx.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "produce after the end", tx.Produce(t.Context(), driver.Record{Stream: "out"}), driver.ErrClosed)
	wantKind(t, "commit after the end", tx.Commit(t.Context(), nil), driver.ErrClosed)
	if err := unit(t, o, 0, 1, "out=y"); err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, 1, "out", "y")
}

func TestUnitFenced(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, then bool // shared
	}{{"sole", false, false}, {"shared", true, true}, {"sole then shared", false, true}, {"shared then sole", true, false}} {
		t.Run(c.name, func(t *testing.T) {
			r := redistest.ForTest(t, redistest.Options{})
			a := ownerForTest(t, r.URL(), driver.OwnerConfig{Name: "job", Shared: c.first})
			b := ownerForTest(t, r.URL(), driver.OwnerConfig{Name: "job", Shared: c.then})
			claim(t, a, pos("in", 0, 0), pos("in", 1, 0))
			if err := unit(t, a, 0, 5, "out=a"); err != nil {
				t.Fatal(err)
			}
			tx, _ := a.Begin(t.Context()) // open while it is taken over
			if err := tx.Produce(t.Context(), driver.Record{Stream: "out", Value: []byte("late")}); err != nil {
				t.Fatal(err)
			}
			if got := claim(t, b, pos("in", 0, 0)); got[0].Next != (driver.Seq{Lo: 5}) {
				t.Errorf("position %v, want 0-5", got[0].Next)
			}
			wantKind(t, "the stale owner", tx.Commit(t.Context(), []driver.Move{moved(0, 5, 6)}), driver.ErrFenced)
			if err := unit(t, b, 5, 6, "out=b"); err != nil {
				t.Errorf("the newest owner: %v", err)
			}
			wantKind(t, "the stale owner again", unit(t, a, 6, 7, "out=late"), driver.ErrFenced)
			wantValues(t, r, 1, "out", "a", "b")
			if !c.first {
				_, err := a.Claim(t.Context(), []driver.Position{pos("in", 2, 0)})
				wantKind(t, "more shards for the stale owner", err, driver.ErrFenced)
			}
			if c.first && c.then { // the other shard is still its own
				tx, _ := a.Begin(t.Context())
				if err := tx.Commit(t.Context(), []driver.Move{moved(1, 0, 3)}); err != nil {
					t.Errorf("a shard that nobody has taken: %v", err)
				}
			}
			if got := r.Call(t, 1, "HGET", "sea:progress:{job}", "at:in:0"); got != "0-6" {
				t.Errorf("stored %s, want 0-6", got)
			}
		})
	}
}

func TestUnitReleased(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := sole(t, r)
	claim(t, o, pos("in", 0, 4))
	if err := o.Release(t.Context(), []driver.Shard{{Stream: "in"}}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "a shard given up", unit(t, o, 4, 5, "out=x"), driver.ErrFenced)
	claim(t, o, pos("in", 0, 0))
	if err := unit(t, o, 4, 5, "out=y"); err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, 1, "out", "y")
}

// Another position than the owner believes: nothing is done, and a claim tells.
func TestUnitOtherPosition(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := sole(t, r)
	claim(t, o, pos("in", 0, 4))
	err := unit(t, o, 3, 5, "out=x")
	wantKind(t, "another position", err, driver.ErrUnknown)
	wantValues(t, r, 1, "out")
}

func TestUnitLost(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := sole(t, r)
	claim(t, o, pos("in", 0, 4))
	r.Call(t, 1, "DEL", "sea:progress:{job}")
	wantKind(t, "a commit without progress", unit(t, o, 4, 5, "out=x"), driver.ErrUnknown)
	_, err := sole(t, r).Claim(t.Context(), []driver.Position{pos("in", 1, 0), pos("in", 0, 0)})
	wantKind(t, "a claim without progress", err, driver.ErrLost)
	if err != nil && (!strings.Contains(err.Error(), "in[0]") || !strings.Contains(err.Error(), "sea:shards:{job}")) {
		t.Errorf("%v: it names neither the shard nor the key", err)
	}
	if got := r.Call(t, 1, "EXISTS", "sea:progress:{job}", "out"); got != "0" {
		t.Errorf("%s keys were made, want none", got)
	}
}

// What a unit cannot write it finds out before it writes anything.
func TestUnitRefused(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{Users: map[string]string{
		"few": "on >secret ~sea:* +@all", "noadd": "on >secret ~* +@all -xadd"}})
	o := sole(t, r)
	claim(t, o, pos("in", 0, 0))
	r.Call(t, 1, "SET", "b", "text")
	err := unit(t, o, 0, 1, "a=1", "b=2")
	wantKind(t, "a key of another type", err, driver.ErrInvalid)
	if err != nil && !strings.Contains(err.Error(), `key "b"`) {
		t.Errorf("%v: it does not name the key", err)
	}
	strict := ownerForTest(t, r.URL()+"/?no_autocreate", driver.OwnerConfig{Name: "job"})
	claim(t, strict, pos("in", 0, 0))
	wantKind(t, "a missing stream", unit(t, strict, 0, 1, "a=1"), driver.ErrNotFound)
	for _, user := range []string{"few", "noadd"} {
		url := strings.Replace(r.URL(), "redis://", "redis://"+user+":secret@", 1)
		o := ownerForTest(t, url+"/?shards=1", driver.OwnerConfig{Name: "job"})
		claim(t, o, pos("in", 0, 0))
		wantKind(t, user, unit(t, o, 0, 1, "a=1"), driver.ErrDenied)
	}
	r.Call(t, 1, "SET", "sea:progress:{other}", "text")
	other := ownerForTest(t, r.URL(), driver.OwnerConfig{Name: "other"})
	_, err = other.Claim(t.Context(), []driver.Position{pos("in", 0, 0)})
	wantKind(t, "progress of another type", err, driver.ErrInvalid)
	if got := r.Call(t, 1, "EXISTS", "a", "a:0"); got != "0" {
		t.Errorf("%s keys were made, want none", got)
	}
	if got := r.Call(t, 1, "HGET", "sea:progress:{job}", "at:in:0"); got != "0-0" {
		t.Errorf("stored %s, want 0-0", got)
	}
}

// What the documentation says a user needs is enough.
func TestUnitPermissions(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{Users: map[string]string{
		"app": "on >secret ~sea:* ~out* +@stream +@connection +@transaction +@scripting +@hash +@set +type +exists"}})
	o := ownerForTest(t, strings.Replace(r.URL(), "redis://", "redis://app:secret@", 1)+"/?max_len=10", driver.OwnerConfig{Name: "job"})
	claim(t, o, pos("in", 0, 0))
	if err := unit(t, o, 0, 1, "out=1"); err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, 1, "out", "1")
}

// A stream whose ids are used up fails in the middle of a unit, which then
// takes back what it has done.
func TestUnitTakenBack(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := sole(t, r)
	claim(t, o, pos("in", 0, 0))
	r.Call(t, 1, "XADD", "a", "1-1", "msg", "first")
	r.Call(t, 1, "XADD", "b", "18446744073709551615-18446744073709551614", "msg", "top")
	err := unit(t, o, 0, 1, "a=1", "a=2", "b=3", "b=4")
	wantKind(t, "ids used up", err, driver.ErrInvalid)
	wantValues(t, r, 1, "a", "first")
	wantValues(t, r, 1, "b", "top")
	if err := unit(t, o, 0, 1, "a=5"); err != nil {
		t.Errorf("the same progress without that stream: %v", err)
	}
}

// A server short of memory refuses the unit and takes it later.
func TestUnitOutOfMemory(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	o := sole(t, r)
	claim(t, o, pos("in", 0, 0))
	r.Call(t, 1, "CONFIG", "SET", "maxmemory", "1")
	wantKind(t, "no memory", unit(t, o, 0, 1, "out=1"), driver.ErrAborted)
	_, err := sole(t, r).Claim(t.Context(), []driver.Position{pos("in", 0, 0)})
	wantKind(t, "a claim without memory", err, driver.ErrUnavailable)
	r.Call(t, 1, "CONFIG", "SET", "maxmemory", "0")
	if err := unit(t, o, 0, 1, "out=1"); err != nil {
		t.Errorf("the same owner later: %v", err)
	}
	wantValues(t, r, 1, "out", "1")
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

// A claim that was given up and comes late does nothing.
func TestClaimComesLate(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	a, b := sole(t, r).(*owner), sole(t, r)
	late := a.claimCommand("first", 0, []driver.Position{pos("in", 0, 3)})
	claim(t, b, pos("in", 0, 7))
	if err := a.reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	said, _, err := a.converse(t.Context(), late, nil)
	if d := cmp.Diff([]string{"AGAIN", "1"}, said.words); err != nil || d != "" {
		t.Errorf("%v, answer (-want +got):\n%s", err, d)
	}
	if err := unit(t, b, 7, 8, "out=b"); err != nil {
		t.Errorf("who has claimed since: %v", err)
	}
}

// Owners that share a name and claim at the same time all succeed.
func TestClaimTogether(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	var wg sync.WaitGroup
	for i := range int32(8) {
		o := ownerForTest(t, r.URL(), driver.OwnerConfig{Name: "job", Shared: true})
		wg.Go(func() {
			if _, err := o.Claim(t.Context(), []driver.Position{pos("in", i, 0)}); err != nil {
				t.Error(err)
				return
			}
			tx, err := o.Begin(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if err := tx.Commit(t.Context(), []driver.Move{moved(i, 0, 1)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := r.Call(t, 1, "HGET", "sea:progress:{job}", "epoch"); got != "8" {
		t.Errorf("epoch %s, want 8", got)
	}
}

func TestOwnerRefused(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	c, err := opened(r.URL(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, name := range []string{"", "a b", "{a}", strings.Repeat("x", 201)} {
		_, err := c.Owner(t.Context(), driver.OwnerConfig{Name: name})
		wantKind(t, fmt.Sprintf("name %q", name), err, driver.ErrInvalid)
	}
	o := ownerForTest(t, r.URL(), driver.OwnerConfig{Name: "job"})
	if err := o.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = o.Begin(t.Context())
	wantKind(t, "begin after close", err, driver.ErrClosed)
	_, err = o.Claim(t.Context(), []driver.Position{pos("in", 0, 0)})
	wantKind(t, "claim after close", err, driver.ErrClosed)
	synced := ownerURL(t, r.URL()+"/?synced")
	wantKind(t, "synced without an AOF", synced, errors.ErrUnsupported)
}

// ownerURL is why a URL has no owner.
func ownerURL(t *testing.T, url string) error {
	t.Helper()
	u, err := driver.ParseBroker(url)
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenDriver(t.Context(), u, Options{})
	if err != nil {
		return err
	}
	defer d.Close(context.Background())
	_, err = d.(driver.Atomic).Owner(t.Context(), driver.OwnerConfig{Name: "job"})
	return err
}
