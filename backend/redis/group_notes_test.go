package redis

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A gap is told although the connection breaks after the server has moved the
// group behind it and before the answer is there. No note stays.
func TestGapWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	cut := cut(t, s.Addr(1))
	c := open(t, "redis://"+cut.Addr().String(), Options{AckTimeout: time.Hour})
	w := little(t, c, s)
	for n := 200; n <= 1000; n += 200 {
		addNumbers(t, s, "s", numbers(n-199, n)...)
		w.until("something", func() bool { return len(w.got) > 0 })
		read := w.settled(s)
		if read >= n-20 {
			t.Fatalf("%d of %d are read already", read, n)
		}
		first := n - 10
		s.Call(t, 1, "XTRIM", "s", "MINID", strconv.Itoa(first)+"-0")
		// The lane is to read first, and not to look once more for what the last cut
		// has left pending: no answer to that would come.
		w.mu.Lock()
		w.lanes[0].posts[0].again = time.Time{}
		w.mu.Unlock()
		cut.armed.Store(-2)
		until(t, "a read behind the hole", func() bool { w.fetch(50 * time.Millisecond); return deliveredTo(t, s) >= first })
		cut.armed.Store(-1)
		w.reads(s, n)
		want := driver.GapError{Shard: driver.Shard{Stream: "s"}, From: driver.Seq{Hi: uint64(read), Lo: 1}, To: driver.Seq{Hi: uint64(first)}, Cause: driver.GapTrimmed} //nolint:gosec // small
		if len(w.gaps) != 1 || w.gaps[0] != want {
			t.Errorf("gaps %v, want %v once", w.gaps, want)
		}
		w.gaps, w.got = nil, nil
		if consumers := s.Call(t, 1, "XINFO", "CONSUMERS", "s", "g"); strings.Contains(consumers, gapNote) {
			t.Errorf("a note stays: %s", consumers)
		}
	}
}
