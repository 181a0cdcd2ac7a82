//go:build linux || darwin

package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// in is a shard of the input; its stream need not exist for the owner.
func in(i int32) driver.Shard { return driver.Shard{Stream: "in", Index: i} }

func at(i int32, seq uint64) driver.Position {
	return driver.Position{Shard: in(i), Next: driver.SeqOf(seq)}
}

func move(i int32, from, to uint64) driver.Move {
	return driver.Move{Shard: in(i), From: driver.SeqOf(from), To: driver.SeqOf(to)}
}

func out(shard int32, value string) driver.Record {
	return driver.Record{Stream: "s", Shard: driver.On(shard), Value: []byte(value)}
}

func newOwner(t testing.TB, d *fileDriver, shared bool) *owner {
	t.Helper()
	o, err := d.Owner(t.Context(), driver.OwnerConfig{Name: "job", Shared: shared})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close(context.Background()) })
	return o.(*owner)
}

// claim takes shards, and says where they stand, as in "0:5 1:0".
func claim(t testing.TB, o driver.Owner, ps ...driver.Position) string {
	t.Helper()
	got, err := o.Claim(t.Context(), ps)
	if err != nil {
		t.Fatal(err)
	}
	var b []string
	for _, p := range got {
		b = append(b, fmt.Sprintf("%d:%v", p.Index, p.Next))
	}
	return strings.Join(b, " ")
}

// commit is a whole unit.
func commit(ctx context.Context, o driver.Owner, recs []driver.Record, moves ...driver.Move) error {
	t, err := o.Begin(ctx)
	if err != nil {
		return err
	}
	for _, r := range recs {
		if err := t.Produce(ctx, r); err != nil {
			return errors.Join(err, t.Abort(ctx))
		}
	}
	return t.Commit(ctx, moves)
}

// plain sends a record as any producer does.
func plain(d *fileDriver, rec driver.Record) error {
	p, err := d.Producer(context.Background(), driver.ProducerConfig{})
	if err != nil {
		return err
	}
	got := make(chan error, 1)
	if err := p.Produce(context.Background(), rec, func(_ driver.Receipt, err error) { got <- err }); err != nil {
		return err
	}
	return <-got
}

// shards reads every shard of stream s to its end, as in "[a b] [c]".
func (s *site) shards() string {
	s.t.Helper()
	d := s.open()
	defer d.Close(context.Background())
	_, m, err := d.meta("s")
	if errors.Is(err, driver.ErrNotFound) {
		return ""
	}
	got := make([][]string, m.Shards)
	err = readStream(s.t, d, "s", func(b driver.Batch) error {
		for i := range b.Len() {
			got[b.Shard().Index] = append(got[b.Shard().Index], string(b.Value(i)))
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Trim(fmt.Sprint(got), "[]")
}

// position is where a shard of the input stands in the record.
func (s *site) position(i int32) uint64 {
	s.t.Helper()
	d := s.open()
	defer d.Close(context.Background())
	root, err := d.store.open(false)
	if err != nil {
		s.t.Fatal(err)
	}
	u, err := openUnits(root, unitsDir("job"), &d.env)
	if err != nil {
		s.t.Fatal(err)
	}
	defer u.f.Close()
	rec, err := u.load(false)
	if err != nil {
		s.t.Fatal(err)
	}
	k, ok := rec.input(in(i))
	if !ok {
		s.t.Fatalf("no position of shard %d", i)
	}
	return rec.inputs[k].next.Lo
}

func wantErr(t testing.TB, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) || err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v, want one line that is %v", what, err, kind)
	}
}

// Records and positions of a unit go together; a later owner goes on from
// there, whatever start it names.
func TestUnit(t *testing.T) {
	for _, sync := range []Sync{SyncNever, SyncInterval, SyncAlways} {
		t.Run(string(sync), func(t *testing.T) {
			s := newSite(t, Options{Shards: 2, Sync: sync, SegmentSize: minSegment})
			d := s.open()
			o := newOwner(t, d, false)
			wantText(t, "first claim", claim(t, o, at(0, 5), at(1, 0)), "0:5 1:0")
			ctx := t.Context()
			if err := commit(ctx, o, []driver.Record{out(0, "a"), out(1, "b"), out(0, "c")}, move(0, 5, 7), move(1, 0, 1)); err != nil {
				t.Fatal(err)
			}
			wantText(t, "after a unit", s.shards(), "a c] [b")
			if err := commit(ctx, o, nil, move(0, 7, 9)); err != nil {
				t.Fatal(err)
			}
			if err := commit(ctx, o, []driver.Record{out(1, "d")}); err != nil {
				t.Fatal(err)
			}
			if err := commit(ctx, o, nil); err != nil {
				t.Fatal(err)
			}
			wantErr(t, "a wrong From", commit(ctx, o, []driver.Record{out(0, "x")}, move(0, 7, 10)), driver.ErrFenced)
			tx, err := o.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Produce(ctx, out(0, "y")); err != nil {
				t.Fatal(err)
			}
			if _, err := o.Begin(ctx); !errors.Is(err, driver.ErrInvalid) {
				t.Errorf("a second unit at a time: %v", err)
			}
			if err := tx.Abort(ctx); err != nil {
				t.Fatal(err)
			}
			if tx.Produce(ctx, out(0, "z")) == nil || tx.Commit(ctx, nil) == nil {
				t.Error("an aborted unit takes records or commits")
			}
			wantText(t, "after an abort", s.shards(), "a c] [b d")
			if err := o.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if err := plain(s.open(), out(0, "plain")); err != nil {
				t.Fatal(err)
			}
			wantText(t, "second owner", claim(t, newOwner(t, s.open(), false), at(1, 77), at(0, 77)), "1:1 0:9")
			wantText(t, "at the end", s.shards(), "a c plain] [b d")
			var big []driver.Record
			o2 := newOwner(t, d, false)
			claim(t, o2, at(0, 0))
			for i := range 300 {
				big = append(big, out(int32(i%2), strings.Repeat("x", 1000)))
			}
			if err := commit(ctx, o2, big, move(0, 9, 10)); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(s.shards(), "xxx x"); n != 298 {
				t.Errorf("%d messages of 300", n+2)
			}
		})
	}
}

// Later claims fence earlier owners: of the name where it has one owner, of
// the shards claimed where it is shared.
func TestUnitFence(t *testing.T) {
	s := newSite(t, Options{Shards: 1})
	ctx := t.Context()
	a, b := newOwner(t, s.open(), false), newOwner(t, s.open(), false)
	claim(t, a, at(0, 0), at(1, 0))
	if err := commit(ctx, a, []driver.Record{out(0, "a")}, move(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	tx, err := a.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Produce(ctx, out(0, "zombie")); err != nil {
		t.Fatal(err)
	}
	wantText(t, "the successor", claim(t, b, at(0, 0)), "0:1")
	wantErr(t, "commit of the first", tx.Commit(ctx, []driver.Move{move(1, 0, 1)}), driver.ErrFenced)
	wantErr(t, "outputs only of the first", commit(ctx, a, []driver.Record{out(0, "zombie")}), driver.ErrFenced)
	_, err = a.Claim(ctx, []driver.Position{at(0, 0)})
	wantErr(t, "claim of the first", err, driver.ErrFenced)
	if err := commit(ctx, b, []driver.Record{out(0, "b")}, move(0, 1, 2)); err != nil {
		t.Fatal(err)
	}

	c, e := newOwner(t, s.open(), true), newOwner(t, s.open(), true)
	claim(t, c, at(0, 0))
	claim(t, e, at(1, 0))
	wantErr(t, "commit of the sole owner", commit(ctx, b, nil, move(0, 2, 3)), driver.ErrFenced)
	for _, o := range []struct {
		o driver.Owner
		m driver.Move
	}{{c, move(0, 2, 3)}, {e, move(1, 0, 1)}, {c, move(0, 3, 4)}} {
		if err := commit(ctx, o.o, []driver.Record{out(0, "c")}, o.m); err != nil {
			t.Fatal(err)
		}
	}
	wantText(t, "another takes the shard", claim(t, e, at(0, 0)), "0:4")
	wantErr(t, "commit of who had it", commit(ctx, c, []driver.Record{out(0, "zombie")}, move(0, 4, 5)), driver.ErrFenced)
	if err := e.Release(ctx, []driver.Shard{in(0)}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "commit of who released it", commit(ctx, e, nil, move(0, 4, 5)), driver.ErrFenced)
	wantText(t, "and back", claim(t, c, at(0, 0)), "0:4")
	if err := commit(ctx, c, []driver.Record{out(0, "d")}, move(0, 4, 5)); err != nil {
		t.Fatal(err)
	}
	wantText(t, "outputs", s.shards(), "a b c c c d")
}

// A position that was there and is not any more is never taken for a start.
func TestUnitLost(t *testing.T) {
	s := newSite(t, Options{})
	o := newOwner(t, s.open(), false)
	claim(t, o, at(0, 3))
	if err := commit(t.Context(), o, []driver.Record{out(0, "a")}, move(0, 3, 4)); err != nil {
		t.Fatal(err)
	}
	o.Close(t.Context())
	record := filepath.Join(s.dir, "units", "job", "record")
	whole, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	again := func() error {
		_, err := newOwner(t, s.open(), false).Claim(t.Context(), []driver.Position{at(0, 3)})
		return err
	}
	os.Remove(record)
	wantErr(t, "without the record", again(), driver.ErrLost)
	if _, err := os.Stat(record); err == nil {
		t.Error("a claim that is ErrLost has made a new record")
	}
	o2 := newOwner(t, s.open(), false)
	wantText(t, "a shard that never had a position", claim(t, o2, at(1, 8)), "1:8")
	wantErr(t, "without the position", again(), driver.ErrLost)
	// Every byte that holds something: changed, it is ErrLost or still right.
	lost := 0
	for i := range whole {
		if whole[i] == 0 && i%64 < 60 || i > 192 && i < unitsHeader {
			continue
		}
		b := append([]byte(nil), whole...)
		b[i] ^= 4
		if err := os.WriteFile(record, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := newOwner(t, s.open(), false).Claim(t.Context(), []driver.Position{at(0, 3)})
		switch {
		case errors.Is(err, driver.ErrLost):
			lost++
		case err != nil:
			t.Errorf("byte %d: %v", i, err)
		case got[0].Next != driver.SeqOf(4):
			t.Errorf("byte %d: claimed at %v", i, got[0].Next)
		}
	}
	if lost < 80 {
		t.Errorf("%d changes were ErrLost", lost)
	}
	if err := os.WriteFile(record, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(record), "shards"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Errorf("the list is damaged and the positions are not: %v", err)
	}
}

// A disk that is full before the commit aborts the unit; then the same can be
// committed.
func TestUnitNoSpace(t *testing.T) {
	s := newSite(t, Options{Shards: 2})
	d := s.open()
	o := newOwner(t, d, false)
	claim(t, o, at(0, 0))
	unit := []driver.Record{out(0, strings.Repeat("a", 3000)), out(1, strings.Repeat("b", 3000))}
	if err := commit(t.Context(), o, []driver.Record{out(0, "a"), out(1, "b")}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{unitsHeader + 100, 2 << 10} { // the limit of a file's size stands in for a full disk
		err := withFileLimit(t, size, func() error { return commit(t.Context(), o, unit, move(0, 0, 1)) })
		if err == nil {
			t.Fatal("no error")
		}
		if errors.Is(err, driver.ErrUnknown) {
			t.Errorf("limit %d: %v", size, err)
		}
		if got := s.shards(); got != "a] [b" {
			t.Errorf("limit %d: a part is visible: %.40s", size, got)
		}
		if n := s.position(0); n != 0 {
			t.Errorf("limit %d: the position has moved", size)
		}
	}
	if err := commit(t.Context(), o, unit, move(0, 0, 1)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		wantErr(t, errno.Error(), outcome(wrap("write to", driver.Shard{}, fmt.Errorf("write: %w", os.NewSyscallError("pwrite", errno)))), driver.ErrAborted)
	}
}

// withFileLimit runs f with files limited to a size.
func withFileLimit(t *testing.T, size uint64, f func() error) error {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}()
	return f()
}

// A sync that fails before the commit aborts the unit and poisons the log; one
// of the record itself leaves it unknown, and the next claim knows.
func TestUnitSyncFails(t *testing.T) {
	for _, c := range []struct {
		file string
		nth  int
		kind error
	}{{".log", 1, driver.ErrAborted}, {".log", 2, driver.ErrAborted}, {"record", 1, nil}, {"record", 2, driver.ErrUnknown}} {
		t.Run(fmt.Sprint(c.file, c.nth), func(t *testing.T) {
			s := newSite(t, Options{Shards: 2, Sync: SyncAlways})
			fail := errors.New("the disk is on fire")
			var mu sync.Mutex
			n := -1
			good := s.env
			s.env.sync = func(f *os.File) error {
				mu.Lock()
				defer mu.Unlock()
				if n >= 0 && strings.HasSuffix(f.Name(), c.file) {
					if n++; n == c.nth {
						return fail
					}
				}
				return datasync(f)
			}
			o := newOwner(t, s.open(), false)
			claim(t, o, at(0, 7))
			if err := commit(t.Context(), o, []driver.Record{out(0, "a"), out(1, "b")}); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			n = 0
			mu.Unlock()
			unit := []driver.Record{out(0, "u"), out(1, "w"), out(0, "v")}
			err := commit(t.Context(), o, unit, move(0, 7, 8))
			if !errors.Is(err, fail) || c.kind != nil && !errors.Is(err, c.kind) || errors.Is(err, driver.ErrUnknown) != (c.kind == driver.ErrUnknown) {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			s.env = good
			if c.kind == driver.ErrAborted {
				s.whole(false, 7)
				if err := commit(t.Context(), o, unit, move(0, 7, 8)); err != nil {
					t.Errorf("the same again: %v", err)
				}
				s.whole(true, 7)
				return
			}
			s.retry(c.kind == driver.ErrUnknown)
		})
	}
}

// An owner that replaces one whose claim may have been stored or not takes that
// for no stranger's, and a stranger's for one.
func TestClaimSyncFails(t *testing.T) {
	for nth, kind := range map[int]error{1: nil, 2: driver.ErrUnknown} {
		t.Run(fmt.Sprint(nth), func(t *testing.T) {
			s := newSite(t, Options{})
			var n atomic.Int32
			fail := errors.New("the disk is on fire")
			s.env.sync = func(f *os.File) error {
				if strings.HasSuffix(f.Name(), "record") && n.Add(-1) == 0 {
					return fail
				}
				return datasync(f)
			}
			d := s.open()
			next := func(o driver.Owner) driver.Owner {
				next, err := d.Owner(t.Context(), driver.OwnerConfig{Name: "job", After: o.Claimed()})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { next.Close(context.Background()) })
				return next
			}
			var o driver.Owner = newOwner(t, d, false)
			claim(t, o, at(0, 7))
			o = next(o)
			n.Store(int32(nth))
			if _, err := o.Claim(t.Context(), []driver.Position{at(0, 0)}); !errors.Is(err, fail) || kind != nil && !errors.Is(err, kind) {
				t.Fatalf("got %v, want %v, which is %v", err, fail, kind)
			}
			o = next(o)
			wantText(t, "the next one", claim(t, o, at(0, 0)), "0:7")
			claim(t, newOwner(t, s.open(), false), at(0, 0))
			_, err := next(o).Claim(t.Context(), []driver.Position{at(0, 0)})
			wantErr(t, "the one after a stranger", err, driver.ErrFenced)
		})
	}
}

// A holder of a lock that does not go on: nothing was begun, so the unit is
// aborted, in the owner's time or in the caller's.
func TestUnitLockHeld(t *testing.T) {
	s := newSite(t, Options{Shards: 2})
	s.env.patience = 30 * time.Millisecond
	d := s.open()
	o := newOwner(t, d, false)
	claim(t, o, at(0, 7))
	if err := commit(t.Context(), o, []driver.Record{out(0, "a"), out(1, "b")}); err != nil {
		t.Fatal(err)
	}
	unit := []driver.Record{out(0, "u"), out(1, "w"), out(0, "v")}
	holder, err := openLog(d.store.root, driver.Shard{Stream: "s", Index: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer holder.close()
	if ok, err := flock(holder.ctl, false); !ok {
		t.Fatal(err)
	}
	wantErr(t, "commit", commit(t.Context(), o, unit, move(0, 7, 8)), driver.ErrAborted)
	d.env.patience = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	wantErr(t, "commit with a context", commit(ctx, o, unit, move(0, 7, 8)), driver.ErrAborted)
	if err := funlock(holder.ctl); err != nil {
		t.Fatal(err)
	}
	s.whole(false, 7)
	d.env.patience = limit
	if err := commit(t.Context(), o, unit, move(0, 7, 8)); err != nil {
		t.Fatal(err)
	}
	s.whole(true, 7)

	s.env.patience = 30 * time.Millisecond
	if ok, err := flock(o.u.f, false); !ok {
		t.Fatal(err)
	}
	_, err = newOwner(t, s.open(), false).Claim(t.Context(), []driver.Position{at(0, 0)})
	wantErr(t, "claim", err, driver.ErrUnavailable)
	if err := funlock(o.u.f); err != nil {
		t.Fatal(err)
	}
}

// An output stream that is deleted is created again by the next try.
func TestUnitStreamDeleted(t *testing.T) {
	s := newSite(t, Options{})
	o := newOwner(t, s.open(), false)
	claim(t, o, at(0, 0))
	if err := commit(t.Context(), o, []driver.Record{out(0, "a")}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "s")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "deleted", commit(t.Context(), o, []driver.Record{out(0, "b")}, move(0, 0, 1)), driver.ErrAborted)
	if err := commit(t.Context(), o, []driver.Record{out(0, "b")}, move(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	wantText(t, "the new stream", s.shards(), "b")
	if err := os.RemoveAll(filepath.Join(s.dir, "s")); err != nil {
		t.Fatal(err)
	}
	wantText(t, "a claim without the stream", claim(t, newOwner(t, s.open(), false), at(0, 0)), "0:1")
}

func FuzzUnitRecord(f *testing.F) {
	r := &unitRecord{claims: 1, fence: 2, units: 3, last: 4}
	f.Add(r.append(nil))
	r.inputs = []unitInput{{in(0), 1, driver.SeqOf(5)}, {in(1), 2, driver.Seq{Hi: 7, Lo: 8}}}
	r.wrote(unitOutput{driver.Shard{Stream: "s", Index: 3}, 1, 2, 3})
	r.wrote(unitOutput{driver.Shard{Stream: "a", Index: -1}, 1, 2, 3})
	f.Add(r.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseUnitRecord(b)
		if err == nil && string(r.append(nil)) != string(b) {
			t.Errorf("%x was read as %+v", b, r)
		}
		if p, ok := decodePending(b); ok && p.to.next < p.from {
			t.Errorf("impossible: %+v", p)
		}
	})
}
