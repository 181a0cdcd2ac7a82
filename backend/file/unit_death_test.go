//go:build linux || darwin

package file

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

// dieInUnit commits a unit that dies at an instant, the n-th time that it
// comes. Its locks are freed as the kernel frees them.
func (s *site) dieInUnit(when step, n int, recs []driver.Record, moves ...driver.Move) {
	s.t.Helper()
	s.dieAs(false, []driver.Position{at(0, 0), at(1, 0)}, when, n, recs, moves...)
}

// dieAs is dieInUnit for an owner that shares its name, or not, and has claimed
// these shards.
func (s *site) dieAs(shared bool, claimed []driver.Position, when step, n int, recs []driver.Record, moves ...driver.Move) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e := s.env
	var mu sync.Mutex
	armed, dead := false, false
	e.at = func(is step) {
		mu.Lock()
		defer mu.Unlock()
		if !armed || is != when {
			return
		}
		if n--; n == 0 {
			dead = true
			cancel()
			runtime.Goexit()
		}
	}
	d, err := openDriver(s.dir, s.o, e)
	if err != nil {
		s.t.Fatal(err)
	}
	defer d.Close(context.Background())
	o := newOwner(s.t, d, shared)
	if _, err := o.Claim(ctx, claimed); err != nil {
		s.t.Fatal(err)
	}
	armed = true
	err = commit(ctx, o, recs, moves...)
	mu.Lock()
	defer mu.Unlock()
	if !dead {
		s.t.Fatalf("the unit did not die at step %d: %v", when, err)
	}
}

// whole checks that a unit is there in all or in none of its places.
func (s *site) whole(done bool, before uint64) {
	s.t.Helper()
	want, pos := "a] [b", before
	if done {
		want, pos = "a u v] [b w", before+1
	}
	if got := s.position(0); got != pos {
		s.t.Errorf("the position is %d, want %d", got, pos)
	}
	wantText(s.t, "after it", s.shards(), want)
}

// A committer that dies at any instant leaves a unit that is committed in both
// shards and the record, or in none of them; by whom it is found first, and
// whether the machine has started anew since, makes no difference.
func TestUnitDeathAtEachStep(t *testing.T) {
	unit := []driver.Record{out(0, "u"), out(1, "w"), out(0, "v")}
	steps := map[step]int{stepLocked: 2, stepLoaded: 2, stepTruncated: 2, stepCreated: 0, stepRolled: 0, stepAllocated: 2, stepHalf: 2, stepWritten: 2,
		stepUnitBatches: 2, stepUnitMarked: 2, stepUnitSettled: 2}
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		for when := step(0); when < unitSteps; when++ {
			times, ok := steps[when]
			switch {
			case !ok && when < stepUnitLocked || ok && times == 0 || when == stepPublished || when == stepUnlocked:
				continue
			case !ok:
				times = 1
			}
			for n := 1; n <= times; n++ {
				s := newSite(t, Options{Shards: 2, Sync: sync})
				o := newOwner(t, s.open(), false)
				claim(t, o, at(0, 7), at(1, 0))
				if err := commit(t.Context(), o, []driver.Record{out(0, "a"), out(1, "b")}); err != nil {
					t.Fatal(err)
				}
				s.dieInUnit(when, n, unit, move(0, 7, 8))
				for _, finder := range []string{"claim", "writer", "reader", "boot"} {
					t.Run(fmt.Sprintf("%s/%d.%d/%s", sync, when, n, finder), func(t *testing.T) {
						s := &site{t, copyTree(t, s.dir), s.env, s.o}
						s.found(finder, when >= stepUnitCommitted)
					})
				}
			}
		}
	}
}

// found has a unit whose committer died found by somebody, and then looks at
// what is there.
func (s *site) found(finder string, done bool) {
	s.t.Helper()
	switch finder {
	case "claim":
		want := "0:7"
		if done {
			want = "0:8"
		}
		wantText(s.t, "claim", claim(s.t, newOwner(s.t, s.open(), false), at(0, 0)), want)
		for i, n := range []uint64{3, 2} {
			if end := s.end(int32(i)); done && end.next != n {
				s.t.Errorf("after the claim shard %d ends at %d, want %d", i, end.next, n)
			}
		}
	case "writer":
		d := s.open()
		for i := range int32(2) {
			if err := plain(d, out(i, "p")); err != nil {
				s.t.Fatal(err)
			}
			if end := s.end(i); end.flags&flagPending != 0 {
				s.t.Errorf("shard %d still has a unit pending", i)
			}
		}
		want := "a p] [b p"
		if done {
			want = "a u v p] [b w p"
		}
		wantText(s.t, "behind the unit", s.shards(), want)
		return
	case "boot":
		s.env.boot++
	}
	s.whole(done, 7)
	s.retry(done)
}

// end is the published end of a shard of the stream s.
func (s *site) end(i int32) slot {
	s.t.Helper()
	d := s.open()
	l, err := openLog(d.store.root, driver.Shard{Stream: "s", Index: i})
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.close()
	end, err := (&tail{l: l}).load()
	if err != nil {
		s.t.Fatal(err)
	}
	return end
}

// retry does what a successor does: claims, and runs the unit again where the
// position says that it was not committed.
func (s *site) retry(done bool) {
	s.t.Helper()
	o := newOwner(s.t, s.open(), false)
	if got := claim(s.t, o, at(0, 0)); (got == "0:8") != done {
		s.t.Errorf("claimed %s", got)
	}
	if !done {
		if err := commit(s.t.Context(), o, []driver.Record{out(0, "u"), out(1, "w"), out(0, "v")}, move(0, 7, 8)); err != nil {
			s.t.Fatal(err)
		}
	}
	s.whole(true, 7)
}

// A member that dies behind its commit has not published it, and another member
// commits before somebody claims what the dead one had: then its unit is not the
// last one. The heir must find what it is told that it has done.
func TestUnitDeathOfAMember(t *testing.T) {
	s := newSite(t, Options{Shards: 2})
	other := newOwner(t, s.open(), true)
	claim(t, other, at(1, 0))
	s.dieAs(true, []driver.Position{at(0, 0)}, stepUnitCommitted, 1, []driver.Record{out(0, "u")}, move(0, 0, 1))
	if err := commit(t.Context(), other, []driver.Record{out(1, "w")}, move(1, 0, 1)); err != nil {
		t.Fatal(err)
	}
	wantText(t, "the heir's claim", claim(t, newOwner(t, s.open(), true), at(0, 0)), "0:1")
	if end := s.end(0); end.next != 1 {
		t.Errorf("after the claim the output ends at %d, want 1", end.next)
	}
}

// A reader that waits sees what a dead committer had committed, though nobody
// writes.
func TestUnitIdleReader(t *testing.T) {
	s := newSite(t, Options{Shards: 2})
	o := newOwner(t, s.open(), false)
	claim(t, o, at(0, 7), at(1, 0))
	if err := commit(t.Context(), o, []driver.Record{out(0, "a"), out(1, "b")}); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 10)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := s.open().Consumer(ctx, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { return 1, nil, nil },
		Revoked:  func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	go func() {
		for {
			bs, err := c.Fetch(ctx, nil)
			if err != nil {
				seen <- err.Error()
				return
			}
			for _, b := range bs {
				for i := range b.Len() {
					seen <- string(b.Value(i))
				}
			}
		}
	}()
	got := map[string]bool{<-seen: true, <-seen: true}
	s.dieInUnit(stepUnitCommitted, 1, []driver.Record{out(0, "u"), out(1, "w"), out(0, "v")}, move(0, 7, 8))
	for range 3 {
		got[<-seen] = true
	}
	for _, v := range []string{"a", "b", "u", "v", "w"} {
		if !got[v] {
			t.Errorf("%s is missing in %v", v, got)
		}
	}
}

// FuzzUnitRecord: what is taken for a record is written back as the same bytes.
