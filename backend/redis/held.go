package redis

import (
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A delivery is a batch that a member of a group has read, and what of it has
// no verdict yet: what the member holds. The server keeps the same in its list
// of pending entries; what is held here is not delivered a second time when
// that list is looked at.
type delivery struct {
	*batch
	post *post

	// The rest is guarded by the member's mu.
	open  int       // messages that are held
	front int       // none below is held
	done  []uint64  // a bit for each message that is not held; nil where front says it all
	gone  []int     // messages whose entries do not exist any more, so that they cannot be delivered again
	since time.Time // when it was read, or last extended
}

// holds reports whether message i has no verdict yet.
func (d *delivery) holds(i int) bool {
	return i >= d.front && (d.done == nil || d.done[i/64]&(1<<(i%64)) == 0)
}

// release lets go of messages [from, to), which are held.
func (d *delivery) release(from, to int) {
	d.open -= to - from
	if from == d.front && d.done == nil {
		d.front = to
		return
	}
	if d.done == nil {
		d.done = make([]uint64, (d.Len()+63)/64)
	}
	for i := from; i < to; i++ {
		d.done[i/64] |= 1 << (i % 64)
	}
}

// runs calls f with the runs of [from, to) that are held, none of them longer
// than most.
func (d *delivery) runs(from, to, most int, f func(from, to int)) {
	from, to = max(from, d.front), min(to, d.Len())
	for i := from; i < to; {
		if !d.holds(i) {
			i++
			continue
		}
		start := i
		for i < to && i-start < most && d.holds(i) {
			i++
		}
		f(start, i)
	}
}

// find is the delivery that holds an entry, and which message it is there; nil
// where none does.
func (p *post) find(id driver.Seq) (*delivery, int) {
	for _, d := range p.held {
		if i, ok := slices.BinarySearchFunc(d.ids, id, driver.Seq.Compare); ok && d.holds(i) {
			return d, i
		}
	}
	return nil, 0
}

// busy reports whether an entry is held, by somebody who has given a sign of
// life within the time-out.
func (p *post) busy(id driver.Seq, now time.Time) bool {
	d, _ := p.find(id)
	return d != nil && now.Sub(d.since) < p.m.c.o.AckTimeout
}

// let forgets who holds an entry, and for when it was handed back.
func (p *post) let(id driver.Seq) {
	if d, i := p.find(id); d != nil {
		d.release(i, i+1)
	}
	delete(p.delayed, id)
}

// sweep forgets deliveries of which nothing is held.
func (p *post) sweep() {
	p.held = slices.DeleteFunc(p.held, func(d *delivery) bool { return d.open == 0 })
}

// isGone reports whether the entry of message i is known not to exist.
func (d *delivery) isGone(i int) bool { return slices.Contains(d.gone, i) }

// hold keeps a batch that is about to be delivered.
func (p *post) hold(b *batch, now time.Time) *delivery {
	d := &delivery{batch: b, post: p, open: b.Len(), since: now}
	p.held = append(p.held, d)
	return d
}

// holding is how many entries of the server's list of pending ones are known
// to be in good hands.
func (p *post) holding(now time.Time) (n int) {
	for _, d := range p.held {
		if now.Sub(d.since) < p.m.c.o.AckTimeout {
			n += d.open
		}
	}
	return n + len(p.delayed)
}

// only keeps the messages that ok chooses.
func (b *batch) only(ok func(i int) bool) {
	n := 0
	for i := range b.ids {
		if !ok(i) {
			b.bytes -= b.Size(i)
			continue
		}
		b.ids[n], b.values[n] = b.ids[i], b.values[i]
		if b.shapes != nil {
			b.shapes[n] = b.shapes[i]
		}
		if b.attempts != nil {
			b.attempts[n] = b.attempts[i]
		}
		n++
	}
	b.ids, b.values = b.ids[:n], b.values[:n]
	if b.shapes != nil {
		b.shapes = b.shapes[:n]
	}
	if b.attempts != nil {
		b.attempts = b.attempts[:n]
	}
}
