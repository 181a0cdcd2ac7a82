package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

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

// A claim that was given up and comes late does nothing.
func TestClaimComesLate(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	a, b := sole(t, r).(*owner), sole(t, r).(*owner)
	late := a.claimCommand("first", 0, []driver.Position{pos("in", 0, 3)})
	claim(t, b, pos("in", 0, 7))
	if err := a.reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	said, _, err := a.converse(t.Context(), late, nil)
	if d := cmp.Diff([]string{"AGAIN", "1", b.token}, said.words); err != nil || d != "" {
		t.Errorf("%v, answer (-want +got):\n%s", err, d)
	}
	if err := unit(t, b, 7, 8, "out=b"); err != nil {
		t.Errorf("who has claimed since: %v", err)
	}
}

// An owner that replaces another knows a claim of its own run of which no answer
// came, and a server that has forgotten one, from somebody who has taken over.
func TestClaimAfter(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	cut := cut(t, r.Addr(1))
	url := "redis://" + cut.Addr().String()
	next := func(o driver.Owner) driver.Owner {
		return ownerForTest(t, url, driver.OwnerConfig{Name: "job", After: o.Claimed()})
	}
	o := ownerForTest(t, url, driver.OwnerConfig{Name: "job"})
	claim(t, o, pos("in", 0, 0))
	if err := unit(t, o, 0, 1, "out=1"); err != nil {
		t.Fatal(err)
	}
	hash := strings.Fields(r.Call(t, 1, "HGETALL", "sea:progress:{job}"))
	for range 2 { // the second does not know of the first's claim
		o = next(o)
		if err := o.(*owner).reach(t.Context()); err != nil {
			t.Fatal(err)
		}
		cut.armed.Store(-2)
		_, err := o.Claim(t.Context(), []driver.Position{pos("in", 0, 0)})
		wantKind(t, "a claim without an answer", err, driver.ErrUnavailable)
		cut.armed.Store(-1)
	}
	if d := cmp.Diff(driver.Claimed{Run: o.(*owner).run, Count: 1}, o.Claimed()); d != "" {
		t.Errorf("what it tells the next one (-want +got):\n%s", d)
	}
	o = next(o)
	claim(t, o, pos("in", 0, 0))
	if err := unit(t, o, 1, 2, "out=2"); err != nil {
		t.Fatal(err)
	}
	// As a fail-over may leave it, which takes the entries back, too.
	r.Call(t, 1, append([]string{"HSET", "sea:progress:{job}"}, append(hash, "owner", "from before")...)...)
	wantKind(t, "a server that has forgotten", unit(t, o, 2, 3, "out=x"), driver.ErrUnknown)
	o = next(o)
	claim(t, o, pos("in", 0, 0))
	if err := unit(t, o, 1, 2, "out=again"); err != nil {
		t.Fatal(err)
	}
	stranger := sole(t, r)
	claim(t, stranger, pos("in", 0, 0))
	for range 2 {
		o = next(o)
		_, err := o.Claim(t.Context(), []driver.Position{pos("in", 0, 0)})
		wantKind(t, "a claim after somebody else's", err, driver.ErrFenced)
	}
	if err := unit(t, stranger, 2, 3, "out=3"); err != nil {
		t.Errorf("who has taken over: %v", err)
	}
	wantValues(t, r, 1, "out", "1", "2", "again", "3")
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
