// Package faultnet is a TCP proxy that does to connections what networks do:
// delay, starve, cut, freeze and spoil them, and above all forward a request
// and swallow its reply.
//
//	p, err := faultnet.Listen("127.0.0.1:6379", faultnet.Options{Seed: seed, Requests: faultnet.RESP, Replies: faultnet.RESP})
//	defer p.Close()
//	dial(p.Addr())
//	p.OnReply(p.Share(0.01, "XADD", faultnet.CutBefore)) // one in a hundred
//	…
//	p.Counts().Unanswered["XADD"] // as many must have an unknown outcome
//
// What is decided by chance is decided by the seed: the same seed spoils the
// same bytes and cuts the same replies, by their number.
package faultnet

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Options say what a proxy understands. The zero value understands nothing:
// bytes are bytes.
type Options struct {
	Seed uint64
	// Requests and Replies make a framer for each connection. With both the
	// proxy knows which reply belongs to which request, for protocols that
	// answer in order, and OnReply works.
	Requests, Replies func() Framer
}

// Direction is one of the two ways through the proxy.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// Link is what one direction of every connection is like. The zero value is a
// perfect one.
type Link struct {
	Delay, Jitter time.Duration // each piece comes after Delay and at most Jitter more, in order
	Rate          int           // bytes a second and connection; 0 is no limit
	Frozen        bool          // nothing passes; connections stay
	Corrupt       float64       // the share of bytes that are changed
}

// Fate is what happens to a reply.
type Fate int

// The fates. The cuts swallow the reply and whatever follows it on its
// connection, end the client's side as by FIN, and still forward every request
// that the client has sent: so Counts knows all that stay without an answer.
const (
	Pass      Fate = iota
	CutBefore      // nothing of the reply arrives
	CutInside      // the first half of it arrives
)

// Counts are what a proxy has done so far. Replies counts those that passed
// whole, Unanswered by kind the requests that came in on connections that are
// over, whole or not, and whose reply did not pass.
type Counts struct {
	Connections, Refused, Cuts int64
	RequestBytes, ReplyBytes   int64 // received
	Requests, Replies          int64
	CorruptBytes, Open         int64
	Unanswered                 map[string]int64
}

// Proxy is a running proxy. Its methods may be called by several goroutines.
type Proxy struct {
	l net.Listener
	o Options

	mu       sync.Mutex
	changed  chan struct{} // closed, and made anew, when a link changes
	target   string
	links    [2]Link
	refuse   bool
	swallow  bool
	cutAfter int64
	onReply  func(kind string, k int64) Fate
	seen     map[string]int64 // replies by kind
	conns    map[*conn]struct{}
	counts   Counts
	closed   bool

	wg sync.WaitGroup
}

// Listen begins to forward connections from a free port of 127.0.0.1 to
// target, which may be "" until SetTarget.
func Listen(target string, o Options) (*Proxy, error) {
	if (o.Requests == nil) != (o.Replies == nil) {
		return nil, errors.New("faultnet: framers for requests and replies belong together")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultnet: %w", err)
	}
	p := &Proxy{l: l, o: o, target: target, changed: make(chan struct{}), conns: map[*conn]struct{}{}, seen: map[string]int64{}}
	p.counts.Unanswered = map[string]int64{}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// SetTarget sends new connections elsewhere.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Set makes one direction of all connections, new and old, like l.
func (p *Proxy) Set(d Direction, l Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[d] = l
	close(p.changed)
	p.changed = make(chan struct{})
}

// Refuse has new connections reset as soon as they are there, or no more so.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Swallow forwards requests and drops all that comes back, or no more so. It
// leaves connections out of step that had requests under way: cut them.
func (p *Proxy) Swallow(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = on
}

// CutAfter cuts, once, the first connection that comes to byte n of what it
// gets back, behind that byte; 0 takes it back.
func (p *Proxy) CutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAfter = n
}

// OnReply has f decide about the k-th reply (from 1, over all connections) to
// requests of each kind; nil lets all pass. It needs framers. f is called by
// one goroutine at a time and must not call the proxy.
func (p *Proxy) OnReply(f func(kind string, k int64) Fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onReply = f
}

// Share gives that share of the replies to requests of a kind the fate f, by
// their number and the proxy's seed.
func (p *Proxy) Share(share float64, kind string, f Fate) func(string, int64) Fate {
	return func(k string, n int64) Fate {
		if k == kind && rand.New(rand.NewPCG(p.o.Seed, uint64(n))).Float64() < share {
			return f
		}
		return Pass
	}
}

// Cut ends all connections now: as by FIN to the client, see Fate, or with a
// reset of both sides, which loses what is under way both ways.
func (p *Proxy) Cut(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.end()
		if reset {
			c.reset()
		} else {
			c.finish()
		}
	}
}

// Counts is what the proxy has done so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.Open = int64(len(p.conns))
	c.Unanswered = maps.Clone(c.Unanswered)
	return c
}

// Close resets all connections, ends the proxy and waits for its goroutines.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.reset()
	}
	p.mu.Unlock()
	_ = p.l.Close()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target, refuse := p.target, p.refuse || p.closed
		p.mu.Unlock()
		p.wg.Go(func() { p.serve(client.(*net.TCPConn), target, refuse) })
	}
}
