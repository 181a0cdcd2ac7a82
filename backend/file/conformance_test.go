//go:build linux || darwin

package file

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

func TestConformance(t *testing.T) {
	for name, o := range map[string]Options{
		"never":  {},
		"always": {Sync: SyncAlways},
		"small":  {SegmentSize: minSegment, Sync: SyncInterval},
	} {
		t.Run(name, func(t *testing.T) { conformance(t, o) })
	}
}

func conformance(t *testing.T, o Options) {
	dir := t.TempDir()
	open := func(t testing.TB, o Options) *fileDriver {
		d, err := OpenDriver(t.Context(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return d.(*fileDriver)
	}
	drivertest.Run(t, drivertest.Harness{
		Open: func(t testing.TB) driver.Driver { return open(t, o) },
		Create: func(t testing.TB, stream string, shards int) {
			o := o
			o.Shards = shards
			d := open(t, o)
			if _, err := d.writerOf(stream); err != nil {
				t.Fatal(err)
			}
			d.Close(t.Context())
		},
		Trim: func(t testing.TB, shard driver.Shard, before driver.Seq) {
			d := open(t, o)
			defer d.Close(t.Context())
			if err := d.trimTo(shard, before.Lo); err != nil {
				t.Fatal(err)
			}
		},
		LosePositions: func(t testing.TB, name string) {
			if err := os.Remove(filepath.Join(dir, unitsDir(name), "record")); err != nil {
				t.Fatal(err)
			}
		},
	})
}

// trimTo removes what is below seq, as retention does but in the middle of a
// segment: the start is published, and segments that lie below it go.
func (d *fileDriver) trimTo(shard driver.Shard, seq uint64) error {
	s, err := d.writerOf(shard.Stream)
	if err != nil {
		return err
	}
	l, err := s.lane(shard.Index)
	if err != nil {
		return err
	}
	w := l.w
	if err := w.lock(); err != nil {
		return err
	}
	defer w.unlock()
	if err := w.begin(); err != nil {
		return err
	}
	bases, err := segments(w.l.root, w.l.dir)
	if err != nil {
		return err
	}
	start, err := w.l.start()
	if err != nil {
		return err
	}
	if seq <= start.first {
		return nil
	}
	if err := w.l.publishStart(startSlot{start.gen + 1, seq, now(), uint32(driver.GapTrimmed)}); err != nil {
		return err
	}
	for i, b := range bases {
		if i+1 < len(bases) && bases[i+1] <= seq {
			w.l.removeSegment(b)
		}
	}
	return nil
}
