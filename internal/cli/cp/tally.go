package cp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// A tally is how far the copy has come.
type tally struct {
	copied, bytes atomic.Int64
	until         ss.Checkpoint // where a bounded copy ends; nil is never
	unit          unitTally

	mu      sync.Mutex
	at      ss.Checkpoint // how far SRC was copied
	began   ss.Checkpoint // where this run found it
	resumed bool          // an earlier run had copied some of it
	ends    ss.Checkpoint // of SRC, as they were last seen
}

// A unitTally is what is known of the unit in hand, with --delivery exactly. The
// loop over units alone touches messages, bytes and records.
type unitTally struct {
	messages, bytes int64
	records         recorder // of the unit, whose headers it has until the next one

	mu      sync.Mutex
	open    bool
	stopped bool
	left    int64 // below 0 is no limit
	end     context.CancelCauseFunc
	unknown ss.Checkpoint // where shards stand if the unit was stored whose outcome is not known
}

// begin begins to count a unit, and returns how many messages it may have.
func (u *unitTally) begin() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open = true
	u.messages, u.bytes = 0, 0
	u.records.reset()
	return u.left
}

// stop ends the loop, once the unit in hand is stored.
func (u *unitTally) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stopped = true; !u.open {
		u.end(errStopped)
	}
}

// committed is told by DST's observer what became of a unit, on the goroutine
// of the loop over units.
func (c *copier) committed(at []ss.Position, err error) {
	t, u := &c.tally, &c.tally.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open = false
	switch {
	case err == nil:
		t.mu.Lock()
		for _, p := range at {
			t.at[p.Shard] = p.Next
		}
		t.mu.Unlock()
		t.count(u)
	case errors.Is(err, ss.ErrUnknown):
		u.unknown = ss.Checkpoint{}
		for _, p := range at {
			u.unknown[p.Shard] = p.Next
		}
	default:
		u.messages, u.bytes = 0, 0 // they come again
	}
	switch {
	case u.left == 0:
		u.end(errEnough)
	case u.stopped:
		u.end(errStopped)
	}
}

// count takes the unit's messages as copied. Under u.mu.
func (t *tally) count(u *unitTally) {
	t.copied.Add(u.messages)
	t.bytes.Add(u.bytes)
	if u.left >= 0 {
		u.left -= u.messages
	}
	u.messages, u.bytes, u.unknown = 0, 0, nil
}

// claimed is told where shards would have begun and where they do. It finds out
// what became of a unit whose outcome was not known.
func (t *tally) claimed(begin, at []driver.Position) {
	u := &t.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began == nil {
		t.began, t.at = ss.Checkpoint{}, ss.Checkpoint{}
	}
	stored := u.unknown != nil
	for i, p := range at {
		if _, known := t.began[p.Shard]; !known {
			t.began[p.Shard] = p.Next
			t.resumed = t.resumed || p.Next != begin[i].Next
		}
		t.at[p.Shard] = p.Next
	}
	for sh, next := range u.unknown {
		stored = stored && t.at[sh] == next
	}
	if stored {
		t.count(u)
		if u.left == 0 && u.end != nil {
			u.end(errEnough)
		}
	}
	u.unknown = nil
}

// behind is how much of SRC, as far as is known, is not copied yet: messages
// where sequence numbers count them, else milliseconds from the first of them to
// the end.
func (t *tally) behind() (n int64, ids bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ends := t.until
	if t.ends != nil {
		ends = t.ends
	}
	for sh, end := range ends {
		at, ok := t.at[sh]
		switch {
		case !ok || end == driver.MaxSeq || !at.Less(end):
		case end.Hi != 0:
			ids = true
			n = max(n, 1, int64(end.Hi-at.Hi)) //nolint:gosec // milliseconds
		default:
			n += int64(end.Lo - at.Lo) //nolint:gosec // a number of messages
		}
	}
	return n, ids
}

// left is behind in words, or "".
func (t *tally) left() string {
	switch n, ids := t.behind(); {
	case n == 0:
		return ""
	case ids:
		return fmt.Sprintf("%.3f s behind", float64(n)/1000)
	default:
		return iostreams.Thousands(n) + " behind"
	}
}

// summary says how much was copied, in a few words.
func (c *copier) summary() string {
	n := c.tally.copied.Load()
	return fmt.Sprintf("%s %s copied, %s", iostreams.Thousands(n), map[bool]string{true: "message", false: "messages"}[n == 1], iostreams.Bytes(c.tally.bytes.Load()))
}

// result is summary with where it began, when that was not the start.
func (c *copier) result() string {
	t := &c.tally
	t.mu.Lock()
	began, resumed := t.began, t.resumed
	t.mu.Unlock()
	switch {
	case resumed && t.copied.Load() == 0:
		return fmt.Sprintf("nothing new since %s; %s", where(began), c.summary())
	case resumed:
		return fmt.Sprintf("gone on at %s; %s", where(began), c.summary())
	}
	return c.summary()
}

// where is a checkpoint for people.
func where(at ss.Checkpoint) string {
	const most = 4
	var list []string
	for _, sh := range slices.SortedFunc(maps.Keys(at), ss.Shard.Compare) {
		if len(list) == most {
			list = append(list, fmt.Sprintf("and %d more", len(at)-most))
			break
		}
		list = append(list, fmt.Sprintf("%v %v", sh, at[sh]))
	}
	return strings.Join(list, ", ")
}
