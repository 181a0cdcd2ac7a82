package kafka

import (
	"context"
	"time"
)

// A pause is what passes between the end of a transaction and the first record
// of the next. A broker says that a transaction has ended before it has marked
// its end in all partitions, and a record that comes before that has to wait
// there, in steps of add.partitions.to.txn.retry.backoff.ms: 20 ms lost for
// the sake of one or two. So a little is waited here, more where a record was
// kept nevertheless and less and less where none is.
type pause struct {
	wait  time.Duration
	best  time.Duration // the fastest first acknowledgement lately
	ended time.Time     // of the last transaction
}

const (
	pauseFirst = 2 * time.Millisecond
	pauseMost  = 4 * time.Millisecond  // a stall seen where there was none costs no more than this
	stalled    = 15 * time.Millisecond // above best
)

func newPause() pause { return pause{wait: pauseFirst} }

// due is when the next record may leave.
func (p *pause) due() time.Time { return p.ended.Add(p.wait) }

// learn takes note of how long a unit's first record took to be acknowledged.
func (p *pause) learn(took time.Duration) {
	if p.best == 0 || took < p.best {
		p.best = took
	} else {
		p.best += p.best / 64 // the way to the broker may have become longer
	}
	if took > p.best+stalled {
		p.wait = min(max(2*p.wait, time.Millisecond), pauseMost)
	} else {
		p.wait -= p.wait / 32
	}
}

// pausing waits, and reports whether ctx allowed it.
func pausing(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
