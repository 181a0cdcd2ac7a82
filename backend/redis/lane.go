package redis

import (
	"errors"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A lane reads the shards of one slot of a cluster, or all of them where there
// is one server, over one connection of its own. As long as something is known
// to be there it reads without waiting, a few shards at a time; then it waits
// for all of them together.
type lane struct {
	m    *reader
	slot int // −1 where there are none
	w    *waiter
	poke chan struct{} // ends a wait that is not at the server

	// The rest is guarded by the reader's mu.
	cursors []*cursor
	turn    int   // which cursor is looked at first
	size    int   // of a message, about; zero is not known
	most    int   // messages in a read, until size is known well
	waits   bool  // for room
	err     error // to be told by Fetch, once
}

// A task is one read of one cursor. It remembers the place: when the cursor has
// another by the time of the answer, that is void.
type task struct {
	cur   *cursor
	place *place
}

const (
	mostMessages  = 1000 // in an answer; more do not make it faster
	firstMessages = 16   // before anything is known of their size
	fewMessages   = 8    // per shard, where not more are to be expected
	mostLooks     = 64   // at once
	mostLanes     = 32   // that read at once
)

// wake ends whatever wait the lane is in. It may be called with mu held.
func (l *lane) wake() {
	l.nudge()
	l.w.wake()
}

// nudge ends a wait that is not at the server.
func (l *lane) nudge() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// run reads until the consumer is closed.
func (l *lane) run() {
	m := l.m
	for !m.isClosing() {
		m.mu.Lock()
		looks, reads, n, wait := l.plan()
		room := m.queued < max(m.budget/2, 1) // what is left of a budget of one byte is nothing
		parallel := min(len(m.lanes), mostLanes)
		l.waits = !wait && (!room || m.reading >= parallel)
		if !l.waits && !wait {
			m.reading++
		}
		waits := l.waits
		m.mu.Unlock()
		var err error
		switch {
		case waits:
			select {
			case <-l.poke:
			case <-m.closing:
			}
			continue
		case wait:
			err = l.wait(reads, n)
		case len(looks) > 0:
			err = l.look(looks, n)
		default:
			err = l.read(reads, n)
		}
		m.mu.Lock()
		if !wait {
			if m.reading--; m.reading == mostLanes-1 {
				m.hungry()
			}
		}
		switch {
		case err == nil:
			l.err = nil
		case !errors.Is(err, errWoken) && !m.isClosing():
			l.err = err
			if tooMuch(err) {
				l.most = max(l.most/4, 1)
			}
			m.notify()
		}
		m.mu.Unlock()
		if err != nil && !errors.Is(err, errWoken) && !errors.Is(err, driver.ErrUnavailable) {
			l.rest() // the waiter rests by itself where it has failed
		}
	}
}

// rest keeps a lane from asking again and again what a server refuses.
func (l *lane) rest() {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.m.closing:
	}
}

// plan says what to do next: to look at places whose state is not known, or to
// read n messages from others, or to wait for all of them. It is called with mu
// held.
func (l *lane) plan() (looks, reads []task, n int, wait bool) {
	total := len(l.cursors)
	budget := l.share()
	if n = l.most; l.size > 0 {
		n = max(min(n, budget/l.size), 1)
	}
	each := min(n, fewMessages)
	for i := range total {
		cur := l.cursors[(l.turn+i)%total]
		p := cur.place
		if !cur.ready || p.tail && p.settled && !p.doubt {
			continue
		}
		if p.doubt || p.witness.IsZero() || p.tail {
			if looks = append(looks, task{cur, p}); len(looks) == min(mostLooks, max(n/each, 1)) {
				break
			}
			continue
		}
		// Those of which much is to be expected are read apart from those of
		// which it is not: COUNT is for all shards of a read.
		if len(reads) > 0 && reads[0].place.full != p.full {
			continue
		}
		if p.full {
			each = min(n, 64)
		}
		if reads = append(reads, task{cur, p}); len(reads) >= max(n/each, 1) {
			break
		}
	}
	if total > 0 {
		l.turn = (l.turn + len(reads) + len(looks)) % total
	}
	if len(looks) > 0 {
		return looks, nil, max(n/len(looks), 1), false
	}
	if len(reads) > 0 {
		return nil, reads, max(n/len(reads), 1), false
	}
	for _, cur := range l.cursors {
		if cur.ready {
			reads = append(reads, task{cur, cur.place})
		}
	}
	return nil, reads, n, true
}

// share is how many bytes a read of the lane may bring, by the size of the
// messages that came before: Redis limits an answer by their number only. It is called with mu
// held.
func (l *lane) share() int {
	return max(l.m.budget/2/min(len(l.m.lanes), mostLanes), 1)
}

// learn takes the size of messages that came. What is next is more like the last
// of them than like the first. It is called with mu held.
func (l *lane) learn(b *batch) {
	if b.Len() == 0 {
		return
	}
	size := max(b.bytes/b.Len(), b.Size(b.Len()-1))
	if l.size == 0 || size > l.size {
		l.size = size
	} else {
		l.size += (size - l.size) / 4
	}
	l.most = min(4*l.most, mostMessages)
}
