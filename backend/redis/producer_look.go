package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// postpone keeps a record until the shards of its stream are known. Under mu.
func (p *producer) postpone(st *stream, rec *driver.Record, sd send) {
	sd.run, sd.born = p.enter(sd.cost), time.Now()
	st.waiting = append(st.waiting, postponed{send: sd, rec: *rec})
	st.pending = true
	p.startLook()
}

func (p *producer) startLook() {
	if !p.looking && !p.dead {
		p.looking = true
		p.work.Add(1)
		go p.look()
	}
}

// relook asks again which shards there are of the streams that were used since
// it was asked last. Under mu.
func (p *producer) relook(now time.Time) {
	p.lookNext = now.Add(p.o.DiscoverEvery)
	if p.o.Shards == 0 {
		p.startLook()
	}
}

// look is the goroutine that finds servers and shards. It runs while records
// wait for that, or once in a while.
func (p *producer) look() {
	defer p.work.Done()
	for tries := 0; ; tries++ {
		p.mu.Lock()
		if p.dead {
			p.mu.Unlock()
			return
		}
		var todo []*stream
		left := false
		for _, st := range p.streams {
			_, fixed := p.fixed(st.name)
			if st.pending || st.used && !fixed {
				todo = append(todo, st)
				st.used = false
			}
			left = left || st.pending
		}
		if len(todo) == 0 || tries > 0 && !left {
			p.looking = false
			p.mu.Unlock()
			return
		}
		ready := p.ready
		p.mu.Unlock()

		var err error
		if !ready {
			err = p.prepare()
		}
		if err == nil {
			err = p.discover(todo)
		}
		if err != nil {
			p.lookFailed(err)
			if !sleep(p.life, backoff(tries+1)) {
				return
			}
		}
	}
}

// lookFailed settles the records that wait for shards, where waiting is no use
// any more.
func (p *producer) lookFailed(err error) {
	kind, text := p.c.describe(err)
	if e := (*driver.Error)(nil); errors.As(err, &e) {
		kind, text = e.Kind, err
	}
	final := kind == driver.ErrDenied || kind == driver.ErrInvalid || errors.Is(kind, errors.ErrUnsupported)
	var out outcomes
	var known []*stream
	p.mu.Lock()
	since := time.Now().Add(-p.o.DeliveryTimeout)
	for _, st := range p.streams {
		n := 0
		for n < len(st.waiting) && (final || !st.waiting[n].born.After(since)) {
			e := &driver.Error{Kind: kind, Err: text}
			if !final {
				e = &driver.Error{Kind: driver.ErrUnavailable, Err: fmt.Errorf("not sent within delivery_timeout (%v): %w", p.o.DeliveryTimeout, text)}
			}
			out.fail(st.waiting[n].send, e)
			n++
		}
		st.waiting = st.waiting[n:]
		switch { // the next record asks again
		case !st.pending || len(st.waiting) > 0 || n == 0:
		case len(st.shards) > 0: // they may hold records, or have some in flight
			known = append(known, st)
		default:
			delete(p.streams, st.name)
			if p.last == st {
				p.last = nil
			}
		}
	}
	p.mu.Unlock()
	p.deliver(&out)
	p.mu.Lock()
	for _, st := range known { // what comes now is settled behind what has failed
		st.pending = len(st.waiting) > 0
	}
	p.changed.Broadcast()
	p.mu.Unlock()
}

// discover asks for the shards of streams and sends what waits for them.
func (p *producer) discover(todo []*stream) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	places := make(chan struct{}, 32) // at once
	for _, st := range todo {
		places <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-places; wg.Done() }()
			l, ok := p.fixed(st.name)
			var err error
			if !ok {
				l, err = p.c.discover(p.life, st.name)
			}
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
				return
			}
			p.found(st, l)
		}()
	}
	wg.Wait()
	return failed
}

// found sends what waited for the shards of a stream.
func (p *producer) found(st *stream, l layout) {
	var out outcomes
	p.mu.Lock()
	if len(l.shards) >= len(st.shards) {
		p.lay(st, l)
	} else { // a key that was deleted comes back with its next record
		st.pending, st.checked = false, time.Now()
	}
	for i := range st.waiting {
		w := &st.waiting[i]
		s, err := st.choose(p, &w.rec)
		if err != nil {
			out.fail(w.send, err)
			continue
		}
		p.add(s, &w.rec, size(&w.rec), w.send)
	}
	st.waiting = nil
	p.mu.Unlock()
	p.deliver(&out)
}

// prepare finds out what the servers are, before the first record is sent.
func (p *producer) prepare() error {
	rc, err := p.c.connect(p.life)
	if err != nil {
		return err
	}
	if err := p.probe(); err != nil {
		return err
	}
	if rc.Mode() == rueidis.ClientModeCluster {
		p.mu.Lock()
		p.slots = new([16384]*link)
		p.mu.Unlock()
		if err := p.askSlots(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.ready, p.lookNext = true, time.Now().Add(p.o.DiscoverEvery)
	p.mu.Unlock()
	return nil
}

// askSlots asks a cluster which server has which slots.
func (p *producer) askSlots() error {
	rc, err := p.c.connect(p.life)
	if err != nil {
		return err
	}
	answers, err := p.c.ask(p.life, rc, rc.B().ClusterSlots().Build())
	if err != nil {
		return err
	}
	ranges, err := answers[0].ToArray()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead || p.slots == nil {
		return nil
	}
	for i := range ranges {
		r, err := ranges[i].ToArray()
		if err != nil || len(r) < 3 {
			continue
		}
		from, err1 := r[0].AsInt64()
		to, err2 := r[1].AsInt64()
		node, err3 := r[2].ToArray()
		if err := errors.Join(err1, err2, err3); err != nil || len(node) < 2 {
			continue
		}
		host, _ := node[0].ToString() // nil where the server does not know its own
		port, err := node[1].AsInt64()
		if err != nil || host == "?" {
			continue
		}
		if host == "" {
			host = hostOf(p.c.nodes[0])
		}
		l := p.newLink(net.JoinHostPort(host, strconv.FormatInt(port, 10)))
		for s := max(from, 0); s <= to && s < int64(len(p.slots)); s++ {
			p.slots[s] = l
		}
	}
	return nil
}

// dial connects to a server and makes sure that it is one that works.
func (p *producer) dial(addr string) (*wire, error) {
	ctx, cancel := context.WithTimeout(p.life, p.o.ConnectTimeout)
	defer cancel()
	if addr == "" {
		rc, err := p.c.connect(ctx)
		if err != nil {
			return nil, err
		}
		for a := range rc.Nodes() { // the server, or the master
			addr = a
		}
	}
	var also [][]string
	if p.exact && !p.idmp {
		also = append(also, []string{"TIME"})
	}
	asked := time.Now()
	w, answers, err := p.c.openWire(ctx, addr, also...)
	if err != nil {
		return nil, err
	}
	if at, err := answers[len(answers)-1].texts(); err == nil && len(also) > 0 && len(at) == 2 {
		sec, _ := strconv.ParseInt(at[0], 10, 64)
		us, _ := strconv.ParseInt(at[1], 10, 64)
		w.skew = time.Unix(sec, us*1000).Sub(asked.Add(time.Since(asked) / 2))
	}
	return w, nil
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
