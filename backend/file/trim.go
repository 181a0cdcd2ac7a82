package file

import (
	"os"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// trim applies retention under the lock, when a segment has become full: it
// publishes the new start of the log and only then removes whole segments,
// oldest first and never the tail. Readers that have one open go on reading
// it; readers that come for one that is gone compare with the start. What a
// trim that was killed has left below the start goes with the next one.
func (w *appender) trim() {
	if w.set().Retention == 0 && w.set().RetentionBytes == 0 {
		return
	}
	bases, err := segments(w.l.root, w.l.dir)
	if err != nil {
		return
	}
	bases = pastTail(bases, w.end)
	n := w.expired(bases)
	if n == 0 {
		return
	}
	start, err := w.l.start()
	if err != nil {
		return
	}
	if first := bases[n]; first > start.first {
		start = startSlot{start.gen + 1, first, now(), uint32(driver.GapTrimmed)}
		if w.l.publishStart(start) != nil {
			return
		}
	}
	for _, b := range bases[:n] {
		_ = w.l.removeSegment(b)
	}
}

// expired is how many of the segments, from the first, retention removes.
func (w *appender) expired(bases []uint64) int {
	sealed := len(bases) - 1
	n := 0
	if age := w.set().Retention; age > 0 {
		before := time.Now().Add(-age).UnixMicro()
		for n < sealed {
			// The running maximum before the next segment is that of all up
			// to the end of this one.
			m, err := w.l.maxBefore(bases, n+1, w.end)
			if err != nil || m >= before {
				break
			}
			n++
		}
	}
	if limit := w.set().RetentionBytes; limit > 0 {
		var total int64
		for i := len(bases) - 1; i >= n; i-- {
			seg, err := w.l.openSegment(bases[i], os.O_RDONLY)
			if err != nil {
				break
			}
			size, err := seg.size()
			seg.f.Close()
			if err != nil {
				break
			}
			if total += size; total > limit && i < sealed {
				n = i + 1
				break
			}
		}
	}
	return n
}
