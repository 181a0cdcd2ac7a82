package admin

import (
	"math"
	"time"
)

// A mean is one over about meanOver of which later values weigh more.
type mean struct {
	v     float64
	known bool
}

// add is the mean with a value that was had for so long. NaN is not known.
func (m *mean) add(v float64, over time.Duration) float64 {
	switch {
	case math.IsNaN(v) || over <= 0:
	case !m.known:
		m.v, m.known = v, true
	default:
		m.v += (v - m.v) * (1 - math.Exp(-over.Seconds()/meanOver.Seconds()))
	}
	if !m.known {
		return math.NaN()
	}
	return m.v
}

// A meter is what is remembered of one stream from one look to the next.
type meter struct {
	at    time.Time  // of the last look
	in    StreamInfo // at the last look at which it could be described
	since time.Time  // of that; zero is never
	now   float64    // messages a second
	was   float64    // the mean before the last interval; NaN for a stream whose first rate this is
	mean  mean
	moved time.Time // when messages were last seen to have come
	gap   mean      // seconds from one message to the next

	// The last closer look, and what changed since.
	changed bool
	looked  time.Time
	close   StreamInfo
	size    float64 // of a message; NaN is not known
	newest  time.Time
}

// add is a look at the bounds.
func (m *meter) add(at time.Time, in StreamInfo) {
	m.at, m.now, m.was = at, math.NaN(), m.mean.add(math.NaN(), 0)
	over, before, first := at.Sub(m.since), m.in, m.since.IsZero()
	if in.Err != nil || over <= 0 {
		return
	}
	m.since, m.in = at, in
	if first {
		m.changed, m.size = true, math.NaN()
		return
	}
	m.changed = m.changed || !sameBounds(before.Shards, in.Shards)
	n, known := came(before.Shards, in.Shards)
	if known {
		m.now = float64(n) / over.Seconds()
	}
	m.mean.add(m.now, over)
	if n > 0 {
		if !m.moved.IsZero() && known {
			m.gap.add(at.Sub(m.moved).Seconds()/float64(n), max(over, at.Sub(m.moved)))
		}
		m.moved, m.newest = at, at // until a closer look tells
	}
}

// look is one that also asks for times and sizes.
func (m *meter) look(at time.Time, in StreamInfo) {
	m.changed = false
	if m.size = sizeOf(m.close, in, m.size); in.Err == nil || len(in.Shards) > 0 {
		m.close = in
	}
	m.looked = at
	m.newest = time.Time{}
	var first time.Time
	for _, sh := range in.Shards {
		if sh.LastTime.After(m.newest) {
			m.newest = sh.LastTime
		}
		if !sh.FirstTime.IsZero() && (first.IsZero() || sh.FirstTime.Before(first)) {
			first = sh.FirstTime
		}
	}
	if m.newest.IsZero() { // the backend does not say
		m.newest = m.moved
	}
	if n := Messages(in).N; m.moved.IsZero() && n > 1 && m.newest.After(first) {
		// It has not been seen growing: what it holds says how fast it grew.
		m.gap = mean{v: m.newest.Sub(first).Seconds() / float64(n-1)}
	}
}

// rate is what is known after a look at the bounds, and perhaps a closer one.
func (m *meter) rate(in StreamInfo) StreamRate {
	r := StreamRate{StreamInfo: in, Looked: m.looked, Newest: m.newest, Usual: m.was,
		Messages: Rate{Now: m.now, Mean: m.mean.add(math.NaN(), 0)}, Gap: time.Duration(m.gap.v * float64(time.Second))}
	r.Bytes = Rate{Now: m.now * m.size, Mean: r.Messages.Mean * m.size}
	if m.now == 0 { // also where the size is not known
		r.Bytes.Now = 0
	}
	// The driver's shards are not ours to write to.
	shards := make([]ShardInfo, len(in.Shards))
	copy(shards, in.Shards)
	for i := range shards {
		shards[i].Bytes = -1
		if i < len(m.close.Shards) {
			c := &m.close.Shards[i]
			shards[i].Bytes, shards[i].FirstTime, shards[i].LastTime = c.Bytes, c.FirstTime, c.LastTime
		}
	}
	r.Shards = shards
	return r
}

// came is how many messages there are in b that were not in a. Shards that are
// new have got all that they hold.
func came(a, b []ShardInfo) (n int64, known bool) {
	for i, sh := range b {
		if i >= len(a) {
			if sh.Messages.N < 0 {
				return 0, false
			}
			n += sh.Messages.N
			continue
		}
		if sh.Bound.Next == a[i].Bound.Next {
			continue
		}
		grew := grown(a[i], sh)
		if grew < 0 && sh.Bound.First == a[i].Bound.First && min(a[i].Messages.N, sh.Messages.N) >= 0 {
			grew = max(0, sh.Messages.N-a[i].Messages.N) // nothing was removed
		}
		if grew < 0 {
			return 0, false
		}
		n += grew
	}
	return n, true
}

func sameBounds(a, b []ShardInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Bound != b[i].Bound {
			return false
		}
	}
	return true
}

// sizeOf is the size of a message: of those that came from a to b, else of all;
// the one before where neither is known.
func sizeOf(a, b StreamInfo, was float64) float64 {
	whole, n := Bytes(b), Messages(b).N
	if whole < 0 || n <= 0 {
		return was
	}
	same := len(a.Shards) == len(b.Shards)
	for i := 0; same && i < len(a.Shards); i++ {
		same = a.Shards[i].Bound.First == b.Shards[i].Bound.First
	}
	if more, bytes := n-Messages(a).N, whole-Bytes(a); same && more > 0 && bytes > 0 && bytes < whole {
		return float64(bytes) / float64(more)
	}
	return float64(whole) / float64(n)
}
