//go:build linux || darwin

package file

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

// A producer syncs the segment that it has written to while units of the same
// process go on: one of them may seal the segment and close its file.
func TestSyncWhileAUnitRolls(t *testing.T) {
	s := newSite(t, Options{SegmentSize: minSegment, Sync: SyncAlways})
	s.send("a")
	var first atomic.Bool
	entered, rolled := make(chan struct{}), make(chan struct{})
	s.env.sync = func(f *os.File) error {
		if strings.HasSuffix(f.Name(), ".log") && first.CompareAndSwap(false, true) {
			close(entered)
			<-rolled
		}
		return datasync(f)
	}
	d := s.open()
	o := newOwner(t, d, false)
	claim(t, o, at(0, 0))
	sent := make(chan error, 1)
	go func() { sent <- plain(d, out(0, "b")) }()
	<-entered
	if err := commit(t.Context(), o, []driver.Record{out(0, strings.Repeat("c", minSegment))}); err != nil {
		t.Error(err)
	}
	close(rolled)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if info, err := d.Cluster(t.Context()); err != nil || len(info.Problems) > 0 {
		t.Errorf("problems %v, %v", info.Problems, err)
	}
}
