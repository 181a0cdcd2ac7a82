package redis

import (
	"fmt"
	"strconv"

	"github.com/seastreamer/seastreamer/driver"
)

// With Options.Replicas or Options.Synced every chunk ends in WAIT or WAITAOF:
// it waits on its own connection, for the writes before it, and so says what
// became of all records of the chunk. Until then none of them is settled.
//
//	WAIT n ms           → how many replicas have the writes
//	WAITAOF 1 n ms      → whether the server's own disk has them, and how many replicas'
//
// https://redis.io/docs/latest/commands/wait/
// https://redis.io/docs/latest/commands/waitaof/ (7.2; run against a scripted server only)

// waitCommand is the command that ends chunks; nil for none.
func (p *producer) waitCommand(aof bool) []byte {
	within := strconv.FormatInt(max(1, p.o.RequestTimeout.Milliseconds()/2), 10)
	switch {
	case p.silent:
		return nil // nobody waits
	case aof:
		return appendCommand(nil, "WAITAOF", "1", strconv.Itoa(p.o.Replicas), within)
	case p.o.Replicas > 0:
		return appendCommand(nil, "WAIT", strconv.Itoa(p.o.Replicas), within)
	}
	return nil
}

// await keeps what a reply says until the chunk's last one, and then settles
// the chunk. The error is the connection's.
func (l *link) await(w *wire, c *chunk, i int, r reply, t *tally) error {
	if i+1 < len(c.entries) {
		c.results = append(c.results, verdict(r))
		return nil
	}
	class, err := l.enough(w, r)
	if err != nil {
		return err
	}
	for i, res := range c.results {
		e := &c.entries[i]
		if e.s == nil {
			continue
		}
		switch {
		case e.batch != nil:
			l.applyBatch(e, res, class, l.short)
		case res.no == "" && l.short != nil:
			if e.s.holding {
				l.accepted(e)
			}
			e.done(driver.Receipt{}, &driver.Error{Shard: e.s.Shard, Kind: driver.ErrUnknown, Err: l.short})
			l.p.settle(t, &e.send)
		default:
			l.apply(c, i, res, class, t)
		}
	}
	return nil
}

// enough reads the answer of the wait. It sets l.short to what is missing.
func (l *link) enough(w *wire, r reply) (driver.Class, error) {
	p := l.p
	l.short = nil
	want := p.o.Replicas
	if r.kind == '-' {
		l.short = fmt.Errorf("written, but %s could not wait for it to be safe: %s", l.name(), r.text)
		return 0, nil
	}
	replicas := r.num
	if r.kind == '*' {
		var at [2]int
		for i := range r.num {
			n, err := w.next()
			if err != nil {
				return 0, err
			}
			if i < len(at) {
				at[i] = n.num
			}
		}
		replicas = at[1]
		if at[0] < 1 {
			l.short = fmt.Errorf("written, but not on the disk of %s within %v", l.name(), p.o.RequestTimeout/2)
			return 0, nil
		}
	}
	switch {
	case replicas < want:
		l.short = fmt.Errorf("written, but %d of %d replicas have acknowledged it within %v", replicas, want, p.o.RequestTimeout/2)
		return 0, nil
	case want > 0:
		return driver.ClassReplicated, nil
	}
	return driver.ClassSynced, nil
}
