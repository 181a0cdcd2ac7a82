//go:build linux || darwin

package file

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

// A disk remembers what was synced of each file of a tree.
type disk struct {
	dir    string
	synced map[string][]byte
}

// files reads a tree.
func (d *disk) files() map[string][]byte {
	got := make(map[string][]byte)
	filepath.WalkDir(d.dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel, _ := filepath.Rel(d.dir, name)
			got[rel], _ = os.ReadFile(name)
		}
		return nil
	})
	return got
}

// sync is datasync for an env. Tests run it with one unit at a time, and
// shards that are synced at once have a file each.
func (d *disk) sync(f *os.File) error {
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	name, err := filepath.Rel(d.dir, f.Name())
	d.synced[name] = b
	return err
}

const page = 4096

// afterPowerLoss is a tree in which each page of each file that was written
// after its last sync has reached the disk or not.
func (d *disk) afterPowerLoss(t testing.TB) string {
	to := t.TempDir()
	for name, now := range d.files() {
		was := d.synced[name]
		size := len(was) // or any that it has had since
		if rand.IntN(3) > 0 {
			size = min(len(was), len(now)) + rand.IntN(max(len(was), len(now))-min(len(was), len(now))+1)
		}
		if rand.IntN(3) == 0 {
			size = len(now)
		}
		b := make([]byte, size)
		for i := 0; i < size; i += page {
			from := now
			if rand.IntN(2) == 0 {
				from = was
			}
			if i < len(from) {
				copy(b[i:min(i+page, size)], from[i:])
			}
		}
		name = filepath.Join(to, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// With the policy "always" a unit survives power loss, or leaves no trace,
// whenever the power goes, and whatever of what was not synced has reached the
// disk. A unit that was acknowledged survives it.
func TestUnitPowerLoss(t *testing.T) {
	unit := []driver.Record{out(0, "u"), out(1, "w"), out(0, "v")}
	both := map[bool]int{}
	first := rand.IntN(2) // every other instant is for the visitors, so that some are not
	for when := step(0); when <= unitSteps; when++ {
		s := newSite(t, Options{Shards: 2, Sync: SyncAlways})
		o := newOwner(t, s.open(), false)
		claim(t, o, at(0, 7), at(1, 0))
		if err := commit(t.Context(), o, []driver.Record{out(0, "a"), out(1, "b")}); err != nil {
			t.Fatal(err)
		}
		o.Close(t.Context())
		d := &disk{dir: s.dir, synced: make(map[string][]byte)}
		d.synced = d.files()
		good := s.env.sync
		steps := map[step]bool{stepCreated: true, stepRolled: true, stepPublished: true, stepUnlocked: true}
		n := 1 + rand.IntN(2)
		switch {
		case steps[when]:
			continue
		case when == unitSteps: // it is acknowledged
			s.env.sync = serial(d.sync)
			o := newOwner(t, s.open(), false)
			claim(t, o, at(0, 0), at(1, 0))
			if err := commit(t.Context(), o, unit, move(0, 7, 8)); err != nil {
				t.Fatal(err)
			}
			o.Close(t.Context())
		default:
			if when >= stepUnitLocked && when != stepUnitBatches && when != stepUnitMarked && when != stepUnitSettled {
				n = 1
			}
			s.env.sync = serial(d.sync)
			s.dieInUnit(when, n, unit, move(0, 7, 8))
		}
		if when < unitSteps && int(when)%2 == first {
			s.visited(d, good)
			continue
		}
		s.env.sync = good
		for range 12 {
			s := &site{t, d.afterPowerLoss(t), s.env, s.o}
			s.env.boot++
			got := claim(t, newOwner(t, s.open(), false), at(0, 0))
			done := got == "0:8"
			both[done]++
			if !done && (got != "0:7" || when == unitSteps) || done && when < stepUnitStaged {
				t.Errorf("step %d: claimed at %s", when, got)
			}
			s.whole(done, 7)
			s.retry(done)
			if t.Failed() {
				t.Fatalf("step %d", when)
			}
		}
	}
	t.Logf("committed %d, not committed %d", both[true], both[false])
	if both[true] == 0 || both[false] == 0 {
		t.Error("one of them never happened")
	}
}

// visited has other writers find the dead unit first. What they have been told
// is safe, and the unit is all there or not at all.
func (s *site) visited(d *disk, good func(*os.File) error) {
	s.t.Helper()
	w := s.open()
	for i := range int32(2) {
		if err := plain(w, out(i, "p")); err != nil {
			s.t.Fatal(err)
		}
	}
	w.Close(context.Background())
	s.env.sync = good
	for range 12 {
		s := &site{s.t, d.afterPowerLoss(s.t), s.env, s.o}
		s.env.boot++
		want := "a p] [b p"
		if claim(s.t, newOwner(s.t, s.open(), false), at(0, 0)) == "0:8" {
			want = "a u v p] [b w p"
		}
		wantText(s.t, "behind the unit, after power loss", s.shards(), want)
	}
}

// serial is f, one call at a time.
func serial(f func(*os.File) error) func(*os.File) error {
	one := make(chan struct{}, 1)
	return func(file *os.File) error {
		one <- struct{}{}
		defer func() { <-one }()
		return f(file)
	}
}
