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
			if _, err := d.Trim(t.Context(), []driver.Position{{Shard: shard, Next: before}}); err != nil {
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
