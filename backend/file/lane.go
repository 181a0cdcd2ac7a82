package file

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A lane takes the records that all producers of a driver send to one shard
// and writes them in chunks, from a goroutine that lives while there is work.
// While it writes one chunk the next one fills, so the busier it is, the
// larger are its writes.
type lane struct {
	w     *appender
	shard driver.Shard
	gone  func() // the stream was deleted
	look  func() // at the stream's settings, if it is time to

	// settling is held while callbacks run; it is taken before mu.
	settling sync.Mutex

	mu      sync.Mutex
	running bool
	full    []*chunk // to be written, oldest first
	cur     *chunk   // takes records; may be nil
	urgent  bool     // cur does not wait for its linger
	due     time.Time
	writing *chunk // what the goroutine has
	taken   uint64 // records taken, ever
	settled uint64
	waits   []flushWait
	closed  bool
}

// chunks are reused by all lanes.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

type flushWait struct {
	mark uint64
	done chan struct{}
}

// take encodes a record, to be written at once or, with company, after at most
// linger. It does not block.
func (l *lane) take(rec *driver.Record, p pending, linger time.Duration) error {
	size := int(p.size)
	l.mu.Lock()
	if p.p.closed.Load() || l.closed {
		l.mu.Unlock()
		return driver.ErrClosed
	}
	c := l.cur
	if c != nil && len(c.buf)+size > chunkSize {
		l.full = append(l.full, c)
		c, l.urgent = nil, false
	}
	fresh := c == nil
	if fresh {
		c = l.fresh()
		l.cur = c
	}
	c.add(rec, size, p)
	l.taken++
	switch {
	case linger <= 0:
		l.urgent = true
	case fresh:
		l.due = time.Now().Add(linger)
		if !l.running {
			time.AfterFunc(linger, l.start)
		}
	}
	if !l.running && (l.urgent || len(l.full) > 0) {
		l.running = true
		go l.write()
	}
	l.mu.Unlock()
	return nil
}

// fresh is an empty chunk; mu is held. While another one is being written
// this one is going to be filled, so it gets its full size at once.
func (l *lane) fresh() *chunk {
	c := chunks.Get().(*chunk)
	if l.running && cap(c.buf) < chunkSize {
		c.buf = make([]byte, 0, chunkSize)
	}
	return c
}

// start begins to write, if there is something that is due.
func (l *lane) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running && (l.cur != nil || len(l.full) > 0) {
		l.running = true
		go l.write()
	}
}

// next is the next chunk to write, or nil, and then the goroutine ends.
func (l *lane) next() *chunk {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = nil
	if len(l.full) == 0 && l.cur != nil {
		if wait := time.Until(l.due); !l.urgent && wait > 0 {
			l.running = false
			time.AfterFunc(wait, l.start)
			return nil
		}
		l.gather()
	}
	switch {
	case len(l.full) > 0:
		l.writing = l.full[0]
		l.full = append(l.full[:0], l.full[1:]...)
	case l.cur != nil:
		l.writing, l.cur, l.urgent = l.cur, nil, false
	default:
		l.running = false
	}
	return l.writing
}

// gather lets a sender that is busy on another processor go on for a moment,
// as long as that makes the chunk grow: a write of a few kilobytes costs as
// much as one of a hundred. Where nobody sends it costs some 100 ns.
func (l *lane) gather() {
	const enough = 256 << 10
	for l.cur != nil && len(l.cur.buf) < enough && len(l.full) == 0 {
		c, n := l.cur, len(l.cur.pending)
		l.mu.Unlock()
		for range 4 {
			runtime.Gosched()
		}
		l.mu.Lock()
		if l.cur == c && len(c.pending) < n+4 {
			return
		}
	}
}

func (l *lane) write() {
	for {
		c := l.next()
		if c == nil {
			return
		}
		l.look()
		c.seal()
		seg, err := l.w.append(c)
		class := driver.ClassProcess
		if err == nil {
			switch l.w.set().Sync {
			case SyncAlways:
				class = driver.ClassSynced
				err = l.w.syncTo(c.batches[len(c.batches)-1].next(), seg)
			case SyncInterval:
				l.w.syncLater(time.Second)
			}
		}
		if err != nil {
			if errors.Is(err, errDeleted) {
				l.gone()
			}
			err = wrap("send to", l.shard, err)
		}
		l.settle(c, class, err)
	}
}

// settle calls back for every record of c, in order.
func (l *lane) settle(c *chunk, class driver.Class, err error) {
	l.settling.Lock()
	i := 0
	var p *producer // of the run of records whose bytes are counted
	var bytes int64
	for k := range c.batches {
		b := &c.batches[k]
		r := driver.Receipt{Shard: l.shard, Class: class}
		auto := time.UnixMicro(b.time)
		for j := range b.count {
			e := &c.pending[i]
			i++
			if e.p != p {
				if p != nil {
					p.release(bytes)
				}
				p, bytes = e.p, 0
			}
			bytes += e.size
			if e.done == nil {
				continue
			}
			if err != nil {
				e.done(driver.Receipt{}, err)
				continue
			}
			if e.p.blind {
				e.done(driver.Receipt{Shard: l.shard}, nil)
				continue
			}
			r.Seq = driver.SeqOf(b.base + uint64(j))
			if r.Time = auto; e.time != minTime {
				r.Time = time.UnixMicro(e.time)
			}
			e.done(r, nil)
		}
	}
	if p != nil {
		p.release(bytes)
	}
	n := uint64(len(c.pending))
	c.reset()
	l.settling.Unlock()

	l.mu.Lock()
	l.writing = nil
	l.settled += n
	kept := l.waits[:0]
	for _, f := range l.waits {
		if f.mark <= l.settled {
			close(f.done)
		} else {
			kept = append(kept, f)
		}
	}
	l.waits = kept
	l.mu.Unlock()
	if cap(c.buf) <= 2*chunkSize {
		chunks.Put(c)
	}
}

// flush stops lingering and returns a channel that is closed once what was
// taken up to now is settled, or nil where it is.
func (l *lane) flush() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.settled == l.taken {
		return nil
	}
	l.urgent = l.cur != nil
	if !l.running {
		l.running = true
		go l.write()
	}
	f := flushWait{l.taken, make(chan struct{})}
	l.waits = append(l.waits, f)
	return f.done
}

// giveUp settles with err what p has not been told about.
func (l *lane) giveUp(p *producer, err error) {
	l.settling.Lock()
	defer l.settling.Unlock()
	l.mu.Lock()
	var dones []func(driver.Receipt, error)
	chunks := append([]*chunk{l.writing}, l.full...)
	for _, c := range append(chunks, l.cur) {
		if c == nil {
			continue
		}
		for i := range c.pending {
			if e := &c.pending[i]; e.p == p && e.done != nil {
				dones = append(dones, e.done)
				e.done = nil
			}
		}
	}
	l.mu.Unlock()
	for _, done := range dones {
		done(driver.Receipt{}, err)
	}
}

// close ends the lane once everything is written, or leaves it behind when ctx
// ends.
func (l *lane) close(ctx context.Context) error {
	done := l.flush()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return wrap("close", l.shard, context.Cause(ctx))
		}
	}
	ended := make(chan struct{})
	go func() {
		l.w.close()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return wrap("close", l.shard, context.Cause(ctx))
	}
}
