package seastreamer

import (
	"iter"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// Views are at most this long and this large, so that one batch neither keeps
// the loop from a revoke nor a lot of memory from being freed.
const (
	maxViewLen   = 1000
	maxViewBytes = 1 << 20
)

// A Batch is a run of messages of one shard, with ascending sequence numbers.
type Batch struct {
	d        driver.Batch
	src      *source
	w        *window
	from, to int32  // messages [from, to) of d
	start    int32  // the first that the application sees: above from after a loop over Messages left early
	next     Seq    // where the shard stands when all of them are done
	size     int    // bytes, about
	again    int32  // deliveries before this one, by this consumer
	of       *Batch // the batch that a redelivered message came from

	// passed is the index up to which the loop has gone with AckOnAdvance and
	// AckOnDelivery. The loop stores it for each message without a lock, and
	// commits load it.
	passed atomic.Int32
	// acked has a bit for each message that Ack, or a Nack to the broker, has
	// done, and ackedUpTo is the index of the first without. Under w.mu.
	acked     []uint64
	ackedUpTo int32

	// For verdicts, see settle.go.
	told   int32        // index up to which passed was turned into verdicts; under w.mu
	stored int32        // messages whose verdict is stored; under w.mu
	seen   atomic.Int32 // index up to which the application has seen them, where passed does not say it
	since  time.Time    // when it was fetched or extended; under w.mu or the queue's

	pos      int32 // where the next range begins; the loop's own
	released bool  // by the application; under w.mu
	settled  bool  // nothing of it is outstanding; under w.mu
}

// A source is a driver's batch and the number of views on it that are neither
// released nor garbage; the driver's Release is called when it falls to zero.
type source struct {
	d    driver.Batch
	refs atomic.Int32
}

func (s *source) unref() {
	if s.refs.Add(-1) == 0 {
		s.d.Release()
	}
}

// views splits a driver's batch. It always yields at least one view, so that
// a batch without messages still moves its shard. Only a batch of large
// messages is asked for the size of each: looking at every message would cost
// more than all the rest of the read path.
func views(d driver.Batch, into []*Batch) []*Batch {
	head := &struct { // most batches are one view: one allocation for both
		source
		Batch
	}{source: source{d: d}}
	src, next := &head.source, &head.Batch
	first := len(into)
	n, bytes := int32(d.Len()), d.Bytes()
	large := bytes > maxViewBytes && bytes/int(n) > maxViewBytes/maxViewLen
	for from := int32(0); ; {
		b := next
		b.d, b.src, b.from, b.start, b.pos, b.ackedUpTo, b.told = d, src, from, from, from, from, from
		b.passed.Store(from)
		to := min(n, from+maxViewLen)
		if large {
			for to = from; to < n && to-from < maxViewLen && b.size < maxViewBytes; to++ {
				b.size += d.Size(int(to))
			}
		} else if n > 0 {
			b.size = bytes * int(to-from) / int(n)
		}
		b.to = to
		into = append(into, b)
		if to == n {
			b.next = d.Next()
			src.refs.Store(int32(len(into) - first))
			return into
		}
		b.next = d.Seq(int(to))
		from, next = to, new(Batch)
	}
}

// split cuts a view in two at message i, for a unit that takes only a part of
// it. Nothing of it may be acknowledged yet.
func (b *Batch) split(i int32) (head, tail *Batch) {
	b.src.refs.Add(1)
	head = &Batch{d: b.d, src: b.src, w: b.w, from: b.start, to: i, start: b.start, next: b.d.Seq(int(i))}
	tail = &Batch{d: b.d, src: b.src, w: b.w, from: i, to: b.to, start: i, next: b.next}
	head.size = b.size * head.Len() / b.Len()
	tail.size = b.size - head.size
	return head, tail
}

// Shard is the shard that the batch was read from.
func (b *Batch) Shard() Shard { return b.d.Shard() }

// Len is the number of messages.
func (b *Batch) Len() int { return int(b.to - b.start) }

// At is message i of the batch, from 0.
func (b *Batch) At(i int) Message { return Message{b, b.start + int32(i)} }

// Messages yields the messages in order.
func (b *Batch) Messages() iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for i := b.start; i < b.to; i++ {
			if !yield(Message{b, i}) {
				return
			}
		}
	}
}

// Ack says that every message of the batch is done, see [Message.Ack].
func (b *Batch) Ack() { b.w.ackAll(b) }

// Nack hands every message of the batch back, see [Message.Nack].
func (b *Batch) Nack(after time.Duration) {
	for m := range b.Messages() {
		m.Nack(after)
	}
}

// Lost is closed when the shard has gone elsewhere, see [Message.Lost].
func (b *Batch) Lost() <-chan struct{} { return b.w.lost }

// Release says that the application no longer touches the batch, its messages
// and what they returned, so that their memory can be used again. It is
// optional: the garbage collector finds what is not released. Messages that
// are not acknowledged yet still can be.
func (b *Batch) Release() {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if !b.released {
		b.released = true
		b.unrefIfDone()
	}
}

// giveUp ends what a unit has to do with a view: it is committed, or its shard
// has gone elsewhere. Until then Release keeps it, since it may come again.
func (b *Batch) giveUp() {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.released, b.settled = true, true
	b.unrefIfDone()
}

// unrefIfDone gives the view up once it is released and settled; settling and
// nacked messages need sequences and bytes until then. Under w.mu.
func (b *Batch) unrefIfDone() {
	if b.released && b.settled {
		b.src.unref()
	}
}

// undone is the index of the first message that is not done, held messages
// aside. Under w.mu.
func (b *Batch) undone() int32 {
	if b.w.explicit {
		return b.ackedUpTo
	}
	return b.passed.Load()
}

// hasVerdict reports whether setAcked has marked the message. Under w.mu.
func (b *Batch) hasVerdict(i int32) bool {
	n := i - b.from
	return i < b.ackedUpTo || b.acked != nil && b.acked[n/64]&(1<<(n%64)) != 0
}

// setAcked marks one message and reports whether it was not marked before.
// Under w.mu.
func (b *Batch) setAcked(i int32) bool {
	if i < b.ackedUpTo {
		return false
	}
	if i == b.ackedUpTo && b.acked == nil {
		b.ackedUpTo++ // acknowledged in order: no bitmap at all
		return true
	}
	if b.acked == nil {
		b.acked = make([]uint64, (b.to-b.from+63)/64)
	}
	word, bit := (i-b.from)/64, uint64(1)<<((i-b.from)%64)
	if b.acked[word]&bit != 0 {
		return false
	}
	b.acked[word] |= bit
	for b.ackedUpTo < b.to {
		n := b.ackedUpTo - b.from
		if n/64 >= int32(len(b.acked)) || b.acked[n/64]&(1<<(n%64)) == 0 {
			break
		}
		b.ackedUpTo++
	}
	return true
}
