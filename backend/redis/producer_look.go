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
		if st.pending && len(st.waiting) == 0 && n > 0 {
			delete(p.streams, st.name) // the next record asks again
			if p.last == st {
				p.last = nil
			}
		}
	}
	p.mu.Unlock()
	p.deliver(&out)
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
	c, err := p.c.dial(ctx, addr, nil, nil)
	if err != nil {
		return nil, err
	}
	w := newWire(c)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	err = p.greet(w, addr)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	if v, ok := c.(*conversation); ok {
		// What it looks at has been seen; from here on it would only cost.
		w.Conn, w.whole = v.Conn, v
	}
	return w, nil
}

// greet begins a connection: who we are, which database, and whether the
// server is ready for commands.
func (p *producer) greet(w *wire, addr string) error {
	who, err := p.c.credentials(rueidis.AuthCredentialsContext{Address: w.RemoteAddr()})
	if err != nil {
		return err
	}
	user, password := who.Username, who.Password
	_ = w.SetDeadline(time.Now().Add(p.o.ConnectTimeout))
	defer w.SetDeadline(time.Time{}) //nolint:errcheck // a broken one fails soon enough
	var b []byte
	var names []string
	say := func(args ...string) {
		b = appendCommand(b, args...)
		names = append(names, args[0])
	}
	hello := []string{"HELLO", "2"}
	if password != "" {
		if user == "" {
			user = "default"
		}
		hello = append(hello, "AUTH", user, password)
	}
	say(append(hello, "SETNAME", p.o.ClientName)...)
	if p.o.DB != 0 {
		say("SELECT", strconv.Itoa(p.o.DB))
	}
	say("PING")
	if p.exact && !p.idmp {
		say("TIME")
	}
	asked := time.Now()
	if _, err := w.Write(b); err != nil {
		return err
	}
	for _, name := range names {
		r, err := w.next()
		if err != nil {
			return err
		}
		if name == "TIME" && r.kind == '*' {
			err = w.time(r.num, asked)
		} else {
			err = w.skip(r)
		}
		if err != nil {
			return err
		}
		if r.kind != '-' {
			continue
		}
		text := string(r.text)
		switch word := firstWord(text); {
		case name == "HELLO", name == "SELECT", word == "NOAUTH", word == "DENIED", word == "LOADING", word == "MASTERDOWN":
			kind, said := p.c.describeText(addr, text)
			return &driver.Error{Kind: kind, Err: errors.New(said)}
		}
	}
	return nil
}

// time reads the answer to TIME.
func (w *wire) time(n int, asked time.Time) error {
	var at [2]int64
	for i := range n {
		r, err := w.next()
		if err != nil {
			return err
		}
		if i < 2 {
			at[i], _ = strconv.ParseInt(string(r.text), 10, 64)
		}
	}
	now := time.Now()
	w.skew = time.Unix(at[0], at[1]*1000).Sub(asked.Add(now.Sub(asked) / 2))
	return nil
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
