package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets that are at most 1/32 wide: each power
// of two is divided into 32. Any number of goroutines may add to it.
type histogram struct {
	buckets [60 * 32]atomic.Int64
	n       atomic.Int64
	top     atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucket(uint64(d))].Add(1)
	h.n.Add(1)
	for {
		top := h.top.Load()
		if int64(d) <= top || h.top.CompareAndSwap(top, int64(d)) {
			return
		}
	}
}

// bucket is exact below 32, and has the five bits below the highest one above.
func bucket(v uint64) int {
	if v < 32 {
		return int(v)
	}
	e := bits.Len64(v) - 6
	return (e+1)*32 + int(v>>e)&31
}

// lowest is the smallest value of a bucket.
func lowest(i int) uint64 {
	if i < 32 {
		return uint64(i)
	}
	e := i/32 - 1
	return uint64(32+i%32) << e
}

// quantile is the value that a share q of all is not above, within a bucket;
// zero where there is none.
func (h *histogram) quantile(q float64) time.Duration {
	n := h.n.Load()
	if n == 0 {
		return 0
	}
	rank := int64(q*float64(n) + 0.5)
	var seen int64
	for i := range h.buckets {
		if seen += h.buckets[i].Load(); seen >= max(rank, 1) {
			return min(time.Duration(lowest(i+1)-1), h.max())
		}
	}
	return h.max()
}

func (h *histogram) max() time.Duration { return time.Duration(h.top.Load()) }
