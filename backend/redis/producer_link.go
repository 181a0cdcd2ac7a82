package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A link is the way to one server: a queue of chunks, one connection at a
// time, a goroutine that writes and one that reads. All fields are guarded by
// the producer's mutex.
type link struct {
	p       *producer
	addr    string // empty where the driver says which server it is
	work    sync.Cond
	waiting bool     // the writer waits on work
	cur     *chunk   // which is being filled; nil for none
	ready   []*chunk // to be written, oldest first
	flying  []*chunk // written, or being written, without all replies
	n       uint64   // the number of the last chunk
	settled uint64   // of this chunk and all before it the replies were read
	sick    []*shard // that hold records and have some in flight
	wire    *wire    // nil where there is no connection
	broken  bool     // the connection has failed, and its reader is about to say so
	short   error    // of the reader: what the last wait found missing
	tries   int      // to connect, in vain
	failed  time.Time
	reopen  bool        // the server turned out to be the wrong one: connect anew
	timer   *time.Timer // of the linger
}

// A chunk is a piece of the pipeline: commands, and for each what becomes of
// its reply. It is filled under the producer's mutex; once it is flying its
// writer and its reader may read it without.
type chunk struct {
	buf     []byte
	entries []entry
	results []result // with wait: the replies, until the last has come
	n       uint64
	born    time.Time
	minID   []byte // what MINID trims to
	halves  int    // writer and reader are both through with it at 2
}

// An entry is one command. Its bytes end at end and begin where those of the
// entry before it end.
type entry struct {
	send
	s     *shard  // nil for a command that is no record
	batch *bundle // of records in one command, see explicit.go
	maybe bool    // it may be there already, see idmp.go
	end   int
}

// cmd is the command of entry i.
func (c *chunk) cmd(i int) []byte {
	from := 0
	if i > 0 {
		from = c.entries[i-1].end
	}
	return c.buf[from:c.entries[i].end]
}

// ask adds the command that makes a server take the next one although it does
// not own the slot yet.
func (c *chunk) ask() {
	c.buf = append(c.buf, "*1\r\n$6\r\nASKING\r\n"...)
	c.entries = append(c.entries, entry{end: len(c.buf)})
}

// newLink makes a link and starts its writer. Under mu.
func (p *producer) newLink(addr string) *link {
	if l := p.links[addr]; l != nil {
		return l
	}
	l := &link{p: p, addr: addr}
	l.work.L = &p.mu
	p.links[addr] = l
	if !p.dead {
		p.work.Add(1)
		go l.write()
	}
	return l
}

// room is a chunk with room for n more bytes.
func (l *link) room(n int) *chunk {
	c := l.cur
	if c != nil {
		if len(c.buf)+n <= chunkSize {
			return c
		}
		l.ready = append(l.ready, c)
	}
	p := l.p
	if i := len(p.free) - 1; i >= 0 && n <= chunkSize {
		c = p.free[i]
		p.free[i], p.free = nil, p.free[:i]
	} else {
		c = &chunk{buf: make([]byte, 0, max(n, chunkSize)+128)}
	}
	l.n++
	c.n, c.born = l.n, time.Now()
	if p.o.MaxAge > 0 {
		c.minID = strconv.AppendInt(c.minID[:0], c.born.Add(-p.o.MaxAge).UnixMilli(), 10)
	}
	l.cur = c
	if p.linger > 0 {
		if l.timer == nil {
			l.timer = time.AfterFunc(p.linger, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				l.work.Signal()
			})
		} else {
			l.timer.Reset(p.linger)
		}
	}
	if p.ready && c.born.After(p.lookNext) {
		p.relook(c.born)
	}
	return c
}

// recycle keeps the chunk for later, when both writer and reader have said so:
// replies may be read before the write that they answer returns. Under mu.
func (p *producer) recycle(c *chunk) {
	if c.halves++; c.halves < 2 {
		return
	}
	if cap(c.buf) > maxChunk || len(p.free) >= int(p.max/chunkSize)+1 {
		return
	}
	clear(c.entries)
	c.buf, c.entries, c.results, c.halves = c.buf[:0], c.entries[:0], c.results[:0], 0
	p.free = append(p.free, c)
}

// poke wakes the writer where there is something for it.
func (l *link) poke() {
	if l.waiting && l.sendable() {
		l.waiting = false
		l.work.Signal()
	}
}

// sendable reports whether the writer should write now. A full chunk goes at
// once. One that is being filled goes where the server has nothing to do;
// else it waits for company, one round trip at most.
func (l *link) sendable() bool {
	p := l.p
	if l.broken || len(l.ready)+len(l.flying) == 0 && l.cur == nil {
		return false
	}
	full := maxFlying
	if p.wait != nil {
		full = 2 // a chunk waits on the server for the replicas: let the next one grow
	}
	if len(l.flying) >= full {
		return false
	}
	if len(l.ready) > 0 {
		return true
	}
	if l.cur == nil || len(l.flying) > 1 {
		return false
	}
	return p.linger == 0 || p.waiting > 0 || p.flushing > 0 || p.closed || time.Since(l.cur.born) >= p.linger
}

// write is the goroutine that writes, and connects first where it has to.
func (l *link) write() {
	p := l.p
	defer p.work.Done()
	for {
		p.mu.Lock()
		for !p.dead && !l.sendable() {
			l.waiting = true
			l.work.Wait()
		}
		l.waiting = false
		w := l.wire
		if p.dead {
			p.mu.Unlock()
			return
		}
		if w == nil {
			p.mu.Unlock()
			l.connect()
			continue
		}
		c := l.take()
		p.mu.Unlock()
		if p.silent {
			p.sent(c)
		}
		err := w.writeAll(c.buf, p.o.RequestTimeout)
		p.mu.Lock()
		p.recycle(c)
		if err != nil {
			_ = w.Close() // the reader notices
		} else if l.wire == w && len(l.flying) > 0 {
			l.expect(w)
		}
		p.mu.Unlock()
	}
}

// take makes the oldest chunk fly.
func (l *link) take() *chunk {
	var c *chunk
	if len(l.ready) > 0 {
		c = l.ready[0]
		l.ready[0], l.ready = nil, l.ready[1:]
	} else {
		c, l.cur = l.cur, nil
	}
	if l.p.wait != nil {
		c.buf = append(c.buf, l.p.wait...)
		c.entries = append(c.entries, entry{end: len(c.buf)})
	}
	l.flying = append(l.flying, c)
	return c
}

// expect gives the server time to answer what is flying.
func (l *link) expect(w *wire) {
	_ = w.SetReadDeadline(time.Now().Add(l.p.o.RequestTimeout))
}

// connect tries to reach the server, and deals with what waits for it where
// that fails.
func (l *link) connect() {
	p := l.p
	p.mu.Lock()
	pause := backoff(l.tries) - time.Since(l.failed)
	p.mu.Unlock()
	if l.tries > 0 && pause > 0 && !sleep(p.life, pause) {
		return
	}
	w, err := p.dial(l.addr)
	var out outcomes
	p.mu.Lock()
	switch {
	case p.dead:
		if w != nil {
			_ = w.Close()
		}
	case err == nil:
		l.tries, l.wire = 0, w
		p.work.Add(1)
		go l.read(w)
	default:
		l.tries++
		l.failed = time.Now()
		l.unreachable(err, &out)
	}
	p.mu.Unlock()
	p.deliver(&out)
	// Only now may the shards go on, perhaps with another link: what comes later
	// must not be settled first.
	p.mu.Lock()
	l.quiet()
	p.changed.Broadcast()
	p.mu.Unlock()
}

// unreachable fails what has waited for too long, or cannot succeed. In a
// cluster it makes the rest look for another server, and exactly once it has the
// shards hold it, which know how long each record may still be tried. Under mu.
func (l *link) unreachable(err error, out *outcomes) {
	p := l.p
	kind, text := p.c.describe(err)
	if e := (*driver.Error)(nil); errors.As(err, &e) {
		kind, text = e.Kind, err
	}
	final := kind == driver.ErrDenied || kind == driver.ErrInvalid || errors.Is(kind, errors.ErrUnsupported)
	if (p.slots != nil || p.exact) && !final {
		p.stale = p.slots != nil
		l.evacuate(text)
		return
	}
	if l.cur != nil {
		l.ready = append(l.ready, l.cur)
		l.cur = nil
	}
	since := time.Now().Add(-p.o.DeliveryTimeout)
	for len(l.ready) > 0 {
		c := l.ready[0]
		if !final && c.born.After(since) {
			break
		}
		l.ready = l.ready[1:]
		for i := range c.entries {
			e := &c.entries[i]
			if e.s == nil {
				continue
			}
			e.s.overtaken(e.no, out) // which came before
			fail := &driver.Error{Shard: e.s.Shard, Kind: kind, Err: text}
			if !final {
				fail.Kind, fail.Err = driver.ErrUnavailable, fmt.Errorf("not sent within delivery_timeout (%v): %w", p.o.DeliveryTimeout, text)
			}
			out.entry(e, fail)
		}
		l.settled = c.n
	}
}

// evacuate takes back what was not sent and makes its shards hold it. Under
// mu.
func (l *link) evacuate(why error) {
	if l.cur != nil {
		l.ready = append(l.ready, l.cur)
		l.cur = nil
	}
	for _, c := range l.ready {
		for i := range c.entries {
			if e := &c.entries[i]; e.s != nil {
				l.hold(e, c.cmd(i), c.born, why)
			}
		}
	}
	l.ready = nil
	if len(l.flying) == 0 {
		l.settled = l.n
	} else {
		l.n = l.flying[len(l.flying)-1].n
	}
	// What was taken back is behind what flies. At most once a shard may have gone
	// on to another link, whose numbers say nothing here.
	for _, s := range l.sick {
		s.last = min(s.last, l.n)
	}
	l.quiet()
}

// stop ends the goroutines of the link. Under mu.
func (l *link) stop() {
	if l.wire != nil {
		_ = l.wire.Close()
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.work.Broadcast()
}

// backoff is how long to wait before the next try after so many in vain.
func backoff(tries int) time.Duration {
	if tries == 0 {
		return 0
	}
	return min(minBackoff<<min(tries-1, 10), maxBackoff)
}

// sleep waits, and reports whether the context goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
