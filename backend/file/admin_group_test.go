//go:build linux || darwin

package file

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
)

// group describes one group that exists.
func (s *site) group(d *fileDriver, name string) driver.GroupInfo {
	s.t.Helper()
	infos, err := d.DescribeGroups(context.Background(), []string{name})
	if err == nil {
		err = infos[0].Err
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return infos[0]
}

// A group is described as it is: its members, what each reads, and where it
// stands.
func TestDescribeGroup(t *testing.T) {
	s := newSite(t, Options{Shards: 3})
	w := s.open()
	if _, err := send(w, "a", "b", "c", "d", "e", "f"); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("Ü", 100)
	d := s.open()
	var members []*client
	for _, group := range []string{"G/1", long} {
		for range 2 {
			members = append(members, consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Group: group, Start: driver.Earliest}))
		}
	}
	if got, want := fmt.Sprint(names(t, d.GroupNames(t.Context(), nil))), fmt.Sprint([]string{"G/1", long}); got != want {
		t.Errorf("groups %s, want %s", got, want)
	}
	if got := names(t, d.GroupNames(t.Context(), []string{"none"})); len(got) > 0 {
		t.Errorf("groups of no stream: %q", got)
	}
	for _, name := range []string{"G/1", long} {
		await(t, "every shard has a member", func() bool {
			g := s.group(d, name)
			n := 0
			for _, m := range g.Members {
				n += len(m.Shards)
			}
			return n == 3 && g.State == "stable" && len(g.Members[0].Shards) > 0 && len(g.Members[1].Shards) > 0
		})
		g := s.group(d, name)
		if len(g.Members) != 2 || len(g.Positions) != 0 {
			t.Fatalf("%+v", g)
		}
		me := fmt.Sprintf("%s[%d]", filepath.Base(os.Args[0]), os.Getpid())
		for _, m := range g.Members {
			if m.Client != me || m.Host != nodeID || m.Pending != -1 {
				t.Errorf("member %+v, want one of %s", m, me)
			}
		}
	}
	committed := map[int32]bool{}
	await(t, "a position of every shard", func() bool { // whose member may learn of it a moment later
		for _, m := range members[:2] {
			for len(m.assigned) > 0 {
				p := <-m.assigned
				p.Next = driver.SeqOf(1)
				err := m.Consumer.(driver.Committer).Commit(t.Context(), []driver.Position{p})
				if err != nil && !errors.Is(err, driver.ErrFenced) {
					t.Fatal(err)
				}
				committed[p.Index] = committed[p.Index] || err == nil
			}
		}
		return committed[0] && committed[1] && committed[2]
	})
	g := s.group(d, "G/1")
	infos := s.describe(d, "s", driver.DetailBounds)
	if len(g.Positions) != 3 {
		t.Fatalf("%+v", g.Positions)
	}
	for i, p := range g.Positions {
		want := driver.Count{N: infos.Shards[i].Messages.N - 1}
		if p.Next.Lo != 1 || p.Behind != want || p.Member == "" {
			t.Errorf("%+v, want at 1 and %v behind", p, want)
		}
	}
	for _, m := range members {
		m.Close(t.Context())
	}
	g = s.group(d, "G/1")
	if g.State != "empty" || len(g.Members) != 0 || len(g.Positions) != 3 || g.Positions[0].Member != "" {
		t.Errorf("without members: %+v", g)
	}
	// Damage is said, and what can be read is there.
	progress := filepath.Join(s.dir, groupDir("G/1"), progressFolder, "s")
	f, err := os.OpenFile(progress, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte(strings.Repeat("x", pairSize)), pairSize)
	f.Close()
	got, err := d.DescribeGroups(t.Context(), []string{"G/1", "none"})
	if err != nil || !errors.Is(got[0].Err, driver.ErrLost) || len(got[0].Positions) != 2 || !errors.Is(got[1].Err, driver.ErrNotFound) {
		t.Errorf("%+v, %v", got, err)
	}
	// A damaged position can be set, and that heals it.
	if err := d.SetPositions(t.Context(), "G/1", []driver.Position{{Shard: driver.Shard{Stream: "s", Index: 1}, Next: driver.SeqOf(0)}}); err != nil {
		t.Error(err)
	}
	if g := s.group(d, "G/1"); len(g.Positions) != 3 || g.Positions[1].Next.Lo != 0 {
		t.Errorf("%+v", g)
	}
}

// A group that nobody reads for is moved, forgets and is removed; one that is
// at work refuses.
func TestMoveGroup(t *testing.T) {
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		s := newSite(t, Options{Sync: sync})
		s.send("a", "b", "c")
		d := s.open()
		shard := driver.Shard{Stream: "s"}
		to := func(n uint64) []driver.Position { return []driver.Position{{Shard: shard, Next: driver.SeqOf(n)}} }
		for _, c := range []struct {
			at   []driver.Position
			kind error
		}{
			{[]driver.Position{{Shard: driver.Shard{Stream: "none"}}}, driver.ErrNotFound},
			{[]driver.Position{{Shard: driver.Shard{Stream: "s", Index: 1}}}, driver.ErrNotFound},
			{[]driver.Position{{Shard: shard, Next: driver.Seq{Hi: 1}}}, driver.ErrInvalid},
		} {
			if err := d.SetPositions(t.Context(), "g", c.at); !errors.Is(err, c.kind) {
				t.Errorf("set %v: %v, want %v", c.at, err, c.kind)
			}
		}
		if err := d.DeleteGroup(t.Context(), "g"); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("delete no group: %v", err)
		}
		if err := d.SetPositions(t.Context(), "g", to(2)); err != nil {
			t.Fatal(err)
		}
		c := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Earliest})
		if got := c.next(); got != "s[0]:2=c" {
			t.Errorf("a new member got %q", got)
		}
		if err := d.SetPositions(t.Context(), "g", to(0)); !errors.Is(err, driver.ErrFenced) {
			t.Errorf("set under a member: %v", err)
		}
		if err := d.DeletePositions(t.Context(), "g", []driver.Shard{shard}); !errors.Is(err, driver.ErrFenced) {
			t.Errorf("forget under a member: %v", err)
		}
		if err := d.DeleteGroup(t.Context(), "g"); !errors.Is(err, driver.ErrFenced) {
			t.Errorf("delete under a member: %v", err)
		}
		if err := c.Consumer.(driver.Committer).Commit(t.Context(), to(3)); err != nil {
			t.Errorf("commit after that: %v", err)
		}
		c.Close(t.Context())
		if err := d.SetPositions(t.Context(), "g", to(1)); err != nil {
			t.Fatal(err)
		}
		c = consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g"})
		if got := c.next(); got != "s[0]:1=b s[0]:2=c" {
			t.Errorf("after the move: %q", got)
		}
		c.Close(t.Context())
		if err := d.DeletePositions(t.Context(), "g", []driver.Shard{shard, {Stream: "none"}, {Stream: "s", Index: -1}}); err != nil {
			t.Error(err)
		}
		if got := names(t, d.GroupNames(t.Context(), []string{"s"})); len(got) > 0 {
			t.Errorf("it knows the stream: %q", got)
		}
		if g := s.group(d, "g"); len(g.Positions) > 0 {
			t.Errorf("%+v", g)
		}
		if err := d.SetPositions(t.Context(), "g", to(1)); err != nil {
			t.Error(err)
		}
		if err := d.DeleteGroup(t.Context(), "g"); err != nil {
			t.Error(err)
		}
		if es, _ := os.ReadDir(filepath.Join(s.dir, "groups")); len(es) > 0 {
			t.Errorf("left behind: %v", es)
		}
		// A stream that was made anew has another log: the group is at its start.
		if err := d.SetPositions(t.Context(), "g", to(2)); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(filepath.Join(s.dir, "s")); err != nil {
			t.Fatal(err)
		}
		if g := s.group(d, "g"); len(g.Positions) != 1 || g.Positions[0].Next.Lo != 2 || g.Positions[0].Behind.N != -1 {
			t.Errorf("without the stream: %+v", g)
		}
		s.send("x")
		if g := s.group(d, "g"); len(g.Positions) != 1 || g.Positions[0].Next.Lo != 0 || g.Positions[0].Behind.N != 1 {
			t.Errorf("with the next one: %+v", g)
		}
	}
}

// While a group is moved and removed, members come and go: no shard ever has
// two, and one that comes finds the group either as it was set or gone.
func TestGroupRace(t *testing.T) {
	s := newSite(t, Options{Shards: 2})
	s.send("a", "b", "c", "d")
	var readers [2]atomic.Int32
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var joined, moved, removed, refused atomic.Int64
	began := time.Now()
	// Some milliseconds, and ever more: where it takes long to join, members have
	// the time in the end.
	while := func(most int) time.Duration {
		return time.Duration(rand.IntN(most)) * (time.Second + time.Since(began)) / 1000
	}
	for range 3 {
		d := s.open()
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := make(chan struct{}, 10)
				c, err := d.Consumer(context.Background(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Events: driver.Events{
					Assigned: func(_ context.Context, at []driver.Position) (uint64, []driver.Position, error) {
						for _, p := range at {
							if n := readers[p.Index].Add(1); n != 1 {
								t.Errorf("shard %d has %d readers", p.Index, n)
							}
						}
						got <- struct{}{}
						return 1, nil, nil
					},
					Revoked: func(_ context.Context, shards []driver.Shard, _ bool) {
						for _, sh := range shards {
							readers[sh.Index].Add(-1)
						}
					},
				}})
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-got:
					joined.Add(1)
				case <-time.After(while(20)):
				}
				if err := c.Close(context.Background()); err != nil {
					t.Error(err)
				}
				runtime.Gosched()
				time.Sleep(while(3))
			}
		})
	}
	d := s.open()
	deadline := began.Add(2 * limit)
	for (time.Since(began) < 2*time.Second || moved.Load() < 10 || removed.Load() < 10 || joined.Load() < 10 || refused.Load() < 10) && time.Now().Before(deadline) {
		var err error
		count := &moved
		switch rand.IntN(3) {
		case 0:
			err = d.SetPositions(t.Context(), "g", []driver.Position{{Shard: driver.Shard{Stream: "s"}, Next: driver.SeqOf(rand.Uint64N(4))}, {Shard: driver.Shard{Stream: "s", Index: 1}}})
		case 1:
			count, err = &removed, d.DeleteGroup(t.Context(), "g")
		case 2:
			err = d.DeletePositions(t.Context(), "g", []driver.Shard{{Stream: "s", Index: 1}})
		}
		switch {
		case err == nil:
			count.Add(1)
		case errors.Is(err, driver.ErrFenced):
			refused.Add(1)
		case !errors.Is(err, driver.ErrNotFound):
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("joined %d times, moved %d, removed %d, refused %d", joined.Load(), moved.Load(), removed.Load(), refused.Load())
	if joined.Load() < 10 || moved.Load() < 10 || removed.Load() < 10 || refused.Load() < 10 {
		t.Error("this run proves nothing")
	}
}

// A member that looked the group's folder up just before it was removed may put
// something into it: the group is deleted nevertheless.
func TestDeleteGroupWhileItIsEntered(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a")
	d := s.open()
	for range 30 {
		if err := d.SetPositions(t.Context(), "g", []driver.Position{{Shard: driver.Shard{Stream: "s"}}}); err != nil {
			t.Fatal(err)
		}
		folder, err := os.OpenRoot(filepath.Join(s.dir, groupDir("g")))
		if err != nil {
			t.Fatal(err)
		}
		var late sync.WaitGroup
		var stop atomic.Bool
		late.Go(func() {
			for !stop.Load() {
				_ = folder.Mkdir("late", 0o700)
				_ = folder.Remove("late")
			}
		})
		err = d.DeleteGroup(t.Context(), "g")
		stop.Store(true)
		late.Wait()
		folder.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(s.dir, "groups")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzMember(f *testing.F) {
	f.Add((&memberSlot{1, 2, 3, "sea"}).encode())
	f.Add((&memberSlot{program: strings.Repeat("x", 1000)}).encode())
	f.Add(make([]byte, memberNote))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := decodeMember(b)
		if !ok {
			return
		}
		again, ok := decodeMember(m.encode())
		if diff := cmp.Diff(m, again, cmp.AllowUnexported(memberSlot{})); !ok || diff != "" {
			t.Fatal(diff)
		}
	})
}
