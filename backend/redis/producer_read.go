package redis

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// An outcome is a call of done that waits until the mutex is free.
type outcome struct {
	send
	receipt driver.Receipt
	err     error
}

// outcomes are to be delivered in their order.
type outcomes struct{ list []outcome }

func (o *outcomes) fail(sd send, err error) {
	if sd.done != nil {
		o.list = append(o.list, outcome{send: sd, err: err})
	}
}

// entry fails what the entry stands for.
func (o *outcomes) entry(e *entry, err error) {
	if e.batch == nil {
		o.fail(e.send, doubted(e.maybe, err))
		return
	}
	for i := range e.batch.items {
		o.fail(e.batch.items[i].send, doubted(e.batch.maybe, err))
	}
}

// doubted is err, which says that a record was not written, as ErrUnknown where
// an earlier try may have written it.
func doubted(maybe bool, err error) error {
	e := (*driver.Error)(nil)
	if !maybe || !errors.As(err, &e) || errors.Is(e.Kind, driver.ErrUnknown) {
		return err
	}
	return &driver.Error{Shard: e.Shard, Kind: driver.ErrUnknown, Err: fmt.Errorf("no reply, and when it was sent again: %w", e.Err)}
}

// deliver calls done. Without mu.
func (p *producer) deliver(o *outcomes) {
	if len(o.list) == 0 {
		return
	}
	var t tally
	for i := range o.list {
		x := &o.list[i]
		x.done(x.receipt, x.err)
		p.settle(&t, &x.send)
	}
	o.list = nil
	p.mu.Lock()
	p.account(&t)
	p.mu.Unlock()
}

// sent settles a chunk that is about to be written, with AtMostOnce.
func (p *producer) sent(c *chunk) {
	var t tally
	for i := range c.entries {
		if e := &c.entries[i]; e.s != nil {
			at := e.ts
			if at.IsZero() {
				at = c.born
			}
			e.done(driver.Receipt{Shard: e.s.Shard, Time: at}, nil)
			p.settle(&t, &e.send)
		}
	}
	p.mu.Lock()
	p.account(&t)
	p.mu.Unlock()
}

// read is the goroutine that reads one connection.
func (l *link) read(w *wire) {
	defer l.p.work.Done()
	n, err := l.replies(w)
	_ = w.Close()
	if l.p.wait != nil {
		n = 0 // nothing of a chunk is settled before its last reply
	}
	l.lost(n, err)
}

// replies reads replies until the connection fails, and returns the number of
// entries of the oldest chunk whose replies it has seen.
func (l *link) replies(w *wire) (int, error) {
	p := l.p
	var t tally
	var c *chunk
	var class driver.Class
	i := 0
	for {
		if w.from == w.to {
			if t.n > 0 {
				p.mu.Lock()
				p.account(&t)
				p.mu.Unlock()
			}
			// Also where nothing is flying: an idle connection that the
			// server closes is noticed before something is sent on it.
			if err := w.fill(); err != nil {
				return i, err
			}
		}
		if c == nil {
			p.mu.Lock()
			if len(l.flying) > 0 {
				c = l.flying[0]
			}
			p.mu.Unlock()
			class = p.c.class()
			if c == nil {
				return 0, fmt.Errorf("%w: it says something unasked", errProtocol)
			}
		}
		r, err := w.next()
		if err == nil {
			if p.wait != nil {
				err = l.await(w, c, i, r, &t)
			} else if !p.silent {
				l.apply(c, i, verdict(r), class, &t)
			} else if r.kind == '-' {
				l.learn(c.entries[i].s, string(r.text))
			}
		}
		if err != nil {
			p.mu.Lock()
			p.account(&t)
			p.mu.Unlock()
			return i, err
		}
		if i++; i == len(c.entries) {
			l.finish(w, c, &t)
			c, i = nil, 0
		}
	}
}

// A result is what a reply says of a record.
type result struct {
	seq driver.Seq
	no  string // why it was not written; empty where it was
}

// missing is the refusal of NOMKSTREAM.
const missing = "NOSTREAM"

// verdict turns a reply into a result. It allocates only for refusals.
func verdict(r reply) result {
	switch r.kind {
	case '$':
		if id, ok := entryID(r.text); ok {
			return result{seq: id}
		}
		return result{no: string(r.text)} // of the script of explicit ids
	case 0:
		return result{no: missing}
	case '-':
		return result{no: string(r.text)}
	}
	return result{}
}

// apply settles entry i.
func (l *link) apply(c *chunk, i int, r result, class driver.Class, t *tally) {
	e := &c.entries[i]
	p := l.p
	switch {
	case e.s == nil: // ASKING
	case e.batch != nil:
		l.applyBatch(e, r, class, nil)
	case r.no != "":
		l.refused(e, c.cmd(i), c.born, r.no)
	default:
		if e.s.holding {
			l.accepted(e)
		}
		e.done(receipt(e.s, &e.send, r.seq, class), nil)
		p.settle(t, &e.send)
	}
}

func receipt(s *shard, sd *send, id driver.Seq, class driver.Class) driver.Receipt {
	at := sd.ts
	if at.IsZero() {
		at = time.UnixMilli(int64(id.Hi)) //nolint:gosec // a server's clock
	}
	return driver.Receipt{Shard: s.Shard, Seq: id, Time: at, Class: class}
}

// accepted deals with a record that was written while its shard holds others:
// it was the probe, or it has overtaken them.
func (l *link) accepted(e *entry) {
	var out outcomes
	p := l.p
	p.mu.Lock()
	if e.s.probing {
		e.s.probing, e.s.tries, e.s.proved = false, 0, true
	} else {
		e.s.overtaken(e.no, &out)
	}
	p.mu.Unlock()
	p.deliver(&out)
}

// overtaken fails what the shard holds from before record no, which was, or may
// have been, written: to send it now would break the order. Under mu.
func (s *shard) overtaken(no uint64, out *outcomes) {
	if !s.holding || len(s.held) == 0 {
		return
	}
	s.sort()
	n := 0
	for n < len(s.held) && s.held[n].no < no {
		out.fail(s.held[n].send, doubted(s.held[n].maybe, &driver.Error{Shard: s.Shard, Kind: driver.ErrUnavailable,
			Err: fmt.Errorf("not written, and not tried again since later records of the shard were: %w", s.why)}))
		n++
	}
	s.held = slices.Delete(s.held, 0, n)
}

// sort puts what the shard holds into the order in which it was taken: records
// come back from several places.
func (s *shard) sort() {
	slices.SortFunc(s.held, func(a, b held) int { return int(int64(a.no) - int64(b.no)) }) //nolint:gosec // near each other
}

// refused deals with a record that the server refused. If trying again may
// help it is held, else it has failed.
func (l *link) refused(e *entry, cmd []byte, born time.Time, why string) {
	var out outcomes
	p, s := l.p, e.s
	p.mu.Lock()
	again, err := l.judge(s, why)
	if s.probing {
		s.probing = false
	} else if s.holding {
		again = true // whatever it is, those before it come first
	}
	if again {
		l.hold(e, cmd, born, err)
	} else {
		out.entry(e, err)
	}
	p.mu.Unlock()
	p.deliver(&out)
}

// hold keeps a record back that was refused, or taken back. Under mu.
func (l *link) hold(e *entry, cmd []byte, born time.Time, why error) {
	s := e.s
	s.why = why
	if d := (*driver.Error)(nil); errors.As(why, &d) && d.Err != nil {
		s.why = d.Err // where it is said again there is the shard and the kind already
	}
	if e.batch != nil {
		e.batch.again(s)
	} else {
		s.held = append(s.held, held{send: e.send, cmd: bytes.Clone(cmd), maybe: e.maybe})
		if h := &s.held[len(s.held)-1]; h.born.IsZero() {
			h.born = born
		}
	}
	if !s.holding {
		s.holding = true
		if time.Since(s.resent) > time.Second {
			s.tries = 0
		}
	}
	l.watch(s)
}

// watch notes that something has to be done with the shard as soon as nothing
// of it is in flight. Under mu.
func (l *link) watch(s *shard) {
	if !s.watched {
		s.watched = true
		l.sick = append(l.sick, s)
	}
}

// judge says whether a refusal is temporary, what it is as an error, and
// learns from it. Under mu.
func (l *link) judge(s *shard, why string) (again bool, err error) {
	p := l.p
	word, rest, _ := cutWord(why)
	s.redirect = false
	switch word {
	case "MOVED", "ASK":
		l.learnLocked(s, word, rest)
	case "NOSCRIPT":
		s.redirect = true // it comes with the command next time
		if l.wire != nil {
			l.wire.script = false
		}
	case missing:
		return false, &driver.Error{Shard: s.Shard, Kind: driver.ErrNotFound, Err: errors.New("there is no such stream, and no_autocreate is set")}
	case "TRYAGAIN": // the slot is on its way
	case "CLUSTERDOWN":
		p.stale = true
	default:
		if !errors.Is(codes[word], driver.ErrUnavailable) {
			return false, l.refusal(s, why)
		}
		// All of the server's shards are refused now: what was not sent yet
		// would be, too, or would overtake.
		if l.reopen = word == "READONLY" || word == "MASTERDOWN"; l.reopen {
			p.stale = p.slots != nil
		}
		if time.Since(p.warned) > 10*time.Second {
			p.warned = time.Now()
			_, said := p.c.describeText(l.name(), why)
			p.c.log.Warn(fmt.Sprintf("%s; records are held for up to %v", said, p.o.DeliveryTimeout))
		}
		err = l.refusal(s, why)
		if len(l.ready) > 0 || l.cur != nil {
			l.evacuate(err)
		}
		return true, err
	}
	return true, l.refusal(s, why)
}

// refusal is what the server said, as an error.
func (l *link) refusal(s *shard, why string) error {
	p := l.p
	kind, said := p.c.describeText(l.name(), why)
	switch firstWord(why) {
	case "WRONGTYPE":
		said = fmt.Sprintf("key %q on %s is no stream: choose another name, or delete the key", s.key, l.name())
	case "NOPERM":
		said = fmt.Sprintf("%s does not allow %s to use key %q: %s", l.name(), p.c.who(), s.key, otherWords(why))
	}
	return &driver.Error{Shard: s.Shard, Kind: kind, Err: errors.New(said)}
}

// learn takes a redirection to heart without a record to send again.
func (l *link) learn(s *shard, why string) {
	word, rest, _ := cutWord(why)
	if s == nil || word != "MOVED" && word != "ASK" {
		return
	}
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.learnLocked(s, word, rest)
	if s.next != nil {
		s.link, s.asking, s.next = s.next, s.askNext, nil
	}
}

// learnLocked takes a redirection to heart: "slot host:port". Under mu.
func (l *link) learnLocked(s *shard, word, rest string) {
	p := l.p
	addr, _ := refusal(word+" "+rest).redirects(word, l.addr)
	if p.slots == nil || addr == "" {
		p.stale = true
		return
	}
	s.redirect = true
	s.next, s.askNext = p.newLink(addr), word == "ASK"
	if word == "MOVED" {
		p.slots[s.slot] = s.next
	}
}

// finish ends a chunk whose replies have all come.
func (l *link) finish(w *wire, c *chunk, t *tally) {
	p := l.p
	p.mu.Lock()
	p.account(t)
	l.flying[0] = nil
	l.flying = l.flying[1:]
	l.settled = c.n
	p.recycle(c)
	switch {
	case len(l.flying) == 0:
		_ = w.SetReadDeadline(time.Time{})
		if l.reopen {
			// Nothing goes out over it until the reader has noticed: that would
			// be of unknown outcome.
			l.reopen, l.broken = false, true
			_ = w.Close() // the reader notices
		}
	case l.flying[0].halves > 0:
		l.expect(w)
	default: // the writer has not ended with it, and begins the wait then
		_ = w.SetReadDeadline(time.Time{})
	}
	if len(l.sick) > 0 {
		l.quiet()
	}
	l.poke()
	if p.closed || len(l.flying) == 0 && len(l.ready) == 0 && l.cur == nil {
		p.changed.Broadcast() // see drain; and this link makes no more room
	}
	p.mu.Unlock()
}

// quiet looks which of the shards that are watched have nothing in flight any
// more. Under mu.
func (l *link) quiet() {
	rest := l.sick[:0]
	var done []*shard
	for _, s := range l.sick {
		if s.last > l.settled {
			rest = append(rest, s)
		} else {
			s.watched = false
			done = append(done, s)
		}
	}
	clear(l.sick[len(rest):])
	l.sick = rest
	for _, s := range done {
		l.p.rested(s)
	}
}

// lost settles what was flying on a connection that failed: it may have been
// written. Its first n entries were settled before.
func (l *link) lost(n int, err error) {
	p := l.p
	_, text := p.c.describe(err)
	if text == nil {
		text = err
	}
	var out outcomes
	p.mu.Lock()
	l.broken = true
	if !p.dead {
		p.c.suspect(true)
	}
	for k, c := range l.flying {
		for i := range c.entries {
			if e := &c.entries[i]; e.s != nil && (k > 0 || i >= n) && !p.silent {
				l.unknown(e, c.cmd(i), c.born, text, &out)
			}
		}
		l.settled = c.n
	}
	l.flying = nil
	p.mu.Unlock()
	p.deliver(&out)
	// Only now may another connection settle records of the same shards.
	p.mu.Lock()
	l.wire, l.broken, l.reopen = nil, false, false
	l.quiet()
	l.work.Signal()
	p.changed.Broadcast()
	p.mu.Unlock()
}

// unknown settles a record whose reply will not come: exactly once it is sent
// again, as it cannot double, else its outcome is unknown. Under mu.
func (l *link) unknown(e *entry, cmd []byte, born time.Time, text error, out *outcomes) {
	err := &driver.Error{Shard: e.s.Shard, Kind: driver.ErrUnknown, Err: fmt.Errorf("no reply: %w", text)}
	if l.p.exact && !l.p.dead {
		if e.batch != nil {
			e.batch.maybe = true
		}
		l.hold(e, cmd, born, err)
		if e.batch == nil {
			e.s.held[len(e.s.held)-1].maybe = true
		}
		return
	}
	e.s.overtaken(e.no, out)
	e.s.probing = false
	out.entry(e, err)
}

func (l *link) name() string {
	if l.addr != "" {
		return l.addr
	}
	return l.p.c.where()
}
