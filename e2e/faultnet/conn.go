package faultnet

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// conn is one connection through the proxy: for each direction a goroutine
// reads and decides, and another writes when it is time.
type conn struct {
	p              *Proxy
	client, server *net.TCPConn
	number         uint64
	over           chan struct{} // closed by reset
	once           sync.Once

	// Under the proxy's lock.
	cut     bool     // the client gets nothing more than what is queued
	got     int64    // reply bytes passed on
	pending []string // kinds of the requests whose reply was not written yet
	decided int      // how many of them have a reply that will be
	partial bool     // a request has begun and not ended
}

// piece is what a reader hands its writer.
type piece struct {
	b       []byte
	replies int // whole ones in b
	due     time.Time
	fin     bool // nothing comes after this
}

// lingers is how long a client may take to close after a cut, and a server to
// answer what was forwarded.
const lingers = 5 * time.Second

func (p *Proxy) serve(client *net.TCPConn, target string, refuse bool) {
	var server net.Conn
	err := net.ErrClosed
	if !refuse {
		server, err = net.DialTimeout("tcp", target, lingers)
	}
	p.mu.Lock()
	if err != nil || p.closed {
		p.counts.Refused++
		p.mu.Unlock()
		_ = client.SetLinger(0)
		_ = client.Close()
		if server != nil {
			_ = server.Close()
		}
		return
	}
	p.counts.Connections++
	c := &conn{p: p, client: client, server: server.(*net.TCPConn), over: make(chan struct{}), number: uint64(p.counts.Connections)}
	p.conns[c] = struct{}{}
	p.mu.Unlock()

	var wg sync.WaitGroup
	up, down := make(chan piece, 64), make(chan piece, 64)
	wg.Go(func() { c.read(ToServer, c.client, up) })
	wg.Go(func() { c.read(ToClient, c.server, down) })
	wg.Go(func() { c.write(ToServer, c.server, up) })
	wg.Go(func() { c.write(ToClient, c.client, down) })
	wg.Wait()
	_ = c.client.Close()
	_ = c.server.Close()

	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	for _, kind := range c.pending {
		p.counts.Unanswered[kind]++
	}
	if c.partial {
		p.counts.Unanswered[""]++
	}
}

// read passes what comes from one side to the other side's writer.
func (c *conn) read(d Direction, from *net.TCPConn, to chan<- piece) {
	defer close(to)
	var framer Framer
	if c.p.o.Requests != nil {
		framer = [2]func() Framer{c.p.o.Requests, c.p.o.Replies}[d]()
	}
	rnd := rand.New(rand.NewPCG(c.p.o.Seed, c.number<<1|uint64(d)))
	buf := make([]byte, 32<<10)
	var held []byte // of a reply that is not whole yet
	var due time.Time
	for {
		n, err := from.Read(buf)
		b := buf[:n]
		c.p.mu.Lock()
		link, cut, decided := c.p.links[d], c.cut, c.decided
		if d == ToServer {
			c.p.counts.RequestBytes += int64(n)
			c.requests(framer, b)
		} else {
			c.p.counts.ReplyBytes += int64(n)
			b, held = c.replies(framer, b, held)
			if err != nil && len(held) > 0 && !c.cut { // the server's own half reply
				b = append(b, held...)
			}
		}
		next := piece{replies: c.decided - decided, fin: d == ToClient && c.cut && !cut}
		c.p.mu.Unlock()
		if len(b) > 0 || next.fin {
			b = append([]byte(nil), b...)
			if link.Corrupt > 0 {
				c.corrupt(b, link.Corrupt, rnd)
			}
			wait := link.Delay
			if link.Jitter > 0 {
				wait += time.Duration(rnd.Int64N(int64(link.Jitter)))
			}
			// Not before what came before it.
			if t := time.Now().Add(wait); t.After(due) {
				due = t
			}
			next.b, next.due = b, due
			select {
			case to <- next:
			case <-c.over:
				return
			}
		}
		if err != nil {
			// One side's FIN becomes the other's, by the writer. Anything else
			// is the end of both.
			if err != io.EOF && !c.isCut() {
				c.reset()
			}
			return
		}
	}
}

// requests counts the requests in b.
func (c *conn) requests(f Framer, b []byte) {
	for f != nil && len(b) > 0 {
		n, kind, end := f.Next(b)
		c.partial = !end
		if end {
			c.p.counts.Requests++
			c.pending = append(c.pending, kind)
		}
		b = b[n:]
	}
}

// replies decides what of b passes, after what is held back already, and what
// is to be held back until its frame is whole.
func (c *conn) replies(f Framer, b, held []byte) (pass, hold []byte) {
	if c.cut || c.p.swallow {
		return nil, nil
	}
	if f == nil {
		return c.passes(b), nil
	}
	for len(b) > 0 && !c.cut {
		n, kind, end := f.Next(b)
		held = append(held, b[:n]...)
		b = b[n:]
		if !end {
			continue
		}
		fate, known := Pass, kind != Push && len(c.pending) > c.decided
		if known {
			kind = c.pending[c.decided]
			c.p.seen[kind]++
			if c.p.onReply != nil {
				fate = c.p.onReply(kind, c.p.seen[kind])
			}
		}
		part := held
		switch fate {
		case CutBefore:
			part = nil
		case CutInside:
			part = held[:len(held)/2]
		}
		part = c.passes(part)
		pass = append(pass, part...)
		if fate != Pass {
			c.end()
		}
		if known && len(part) == len(held) {
			c.decided++
		}
		held = held[:0]
	}
	if c.cut {
		held = nil
	}
	return pass, held
}

// passes is what of b the client gets, see Proxy.CutAfter.
func (c *conn) passes(b []byte) []byte {
	if n := c.p.cutAfter; c.got < n && n <= c.got+int64(len(b)) {
		b = b[:n-c.got]
		c.p.cutAfter = 0
		c.end()
	}
	c.got += int64(len(b))
	return b
}

// end cuts: the client's side ends behind what its writer is handed. The lock
// is held.
func (c *conn) end() {
	if !c.cut {
		c.cut = true
		c.p.counts.Cuts++
	}
}

func (c *conn) isCut() bool {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.cut
}

func (c *conn) corrupt(b []byte, share float64, rnd *rand.Rand) {
	changed := int64(0)
	for i := range b {
		if rnd.Float64() < share {
			b[i] ^= byte(1 + rnd.IntN(255))
			changed++
		}
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.counts.CorruptBytes += changed
}

// write writes to one side what the other side's reader hands over.
func (c *conn) write(d Direction, to *net.TCPConn, from <-chan piece) {
	open := true
	for next := range from {
		if !open {
			continue // so that the reader goes on reading
		}
		if !c.sleep(time.Until(next.due)) || !c.send(d, to, next.b) {
			open = false
			continue
		}
		c.p.mu.Lock()
		c.pending = c.pending[next.replies:]
		c.decided -= next.replies
		c.p.counts.Replies += int64(next.replies)
		c.p.mu.Unlock()
		if next.fin {
			open = false
			c.finish()
		}
	}
	if open {
		_ = to.CloseWrite()
	}
}

// finish ends the client's side. What it has sent is still read and forwarded
// until it closes too.
func (c *conn) finish() {
	_ = c.client.CloseWrite()
	_ = c.client.SetReadDeadline(time.Now().Add(lingers))
	_ = c.server.SetReadDeadline(time.Now().Add(2 * lingers))
}

// send writes b at the link's rate, when it is not frozen.
func (c *conn) send(d Direction, to *net.TCPConn, b []byte) bool {
	for len(b) > 0 {
		c.p.mu.Lock()
		link, changed := c.p.links[d], c.p.changed
		c.p.mu.Unlock()
		if link.Frozen {
			select {
			case <-changed:
				continue
			case <-c.over:
				return false
			}
		}
		n := len(b)
		if link.Rate > 0 {
			n = min(n, max(1, link.Rate/50))
		}
		if _, err := to.Write(b[:n]); err != nil {
			if !c.isCut() {
				c.reset()
			}
			return false
		}
		b = b[n:]
		if link.Rate > 0 && !c.sleep(time.Duration(n)*time.Second/time.Duration(link.Rate)) {
			return false
		}
	}
	return true
}

// sleep returns false when the connection is over.
func (c *conn) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.over:
		return false
	}
}

// reset ends both sides at once.
func (c *conn) reset() {
	c.once.Do(func() {
		close(c.over)
		for _, s := range []*net.TCPConn{c.client, c.server} {
			_ = s.SetLinger(0)
			_ = s.Close()
		}
	})
}
