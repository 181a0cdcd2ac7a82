package seastreamer

import (
	"iter"
	"time"
)

// A Message is a handle of two words on a message within its batch: copy it
// freely. What its methods return is read-only and valid as long as you hold
// it, unless the batch is released. It may be a window into a larger buffer,
// so clone a small piece that you keep for long.
//
// The zero Message is no message: Ack and Nack do nothing with it, and the
// other methods must not be called.
type Message struct {
	b *Batch
	i int32 // index within the driver's batch
}

// Shard is the shard that the message was read from.
func (m Message) Shard() Shard { return m.b.d.Shard() }

// Seq is the message's place within its shard.
func (m Message) Seq() Seq { return m.b.d.Seq(int(m.i)) }

// Time is the message's timestamp.
func (m Message) Time() time.Time { return m.b.d.Time(int(m.i)) }

// Key is the message's key, nil where it has none.
func (m Message) Key() []byte { return m.b.d.Key(int(m.i)) }

// Value is the message's payload; a tombstone's is nil.
func (m Message) Value() []byte { return m.b.d.Value(int(m.i)) }

// Headers yields the headers in order, duplicates included.
func (m Message) Headers() iter.Seq2[string, []byte] { return m.b.d.Headers(int(m.i)) }

// Header is the value of the last header with that key, and whether there is
// one.
func (m Message) Header(key string) (value []byte, ok bool) {
	for k, v := range m.Headers() {
		if k == key {
			value, ok = v, true
		}
	}
	return value, ok
}

// Attempt counts deliveries of the message by this consumer, and by others
// where the backend counts those: 1 is the first.
func (m Message) Attempt() int { return m.b.d.Attempt(int(m.i)) + int(m.b.again) }

// Ack says that the message is done. It needs AckExplicit, where it may be
// called in any order and from any goroutine; with AckOnAdvance it serves to
// acknowledge before leaving the loop. It does nothing when the message is
// done already or its shard has gone to somebody else.
func (m Message) Ack() {
	if m.b != nil {
		m.b.w.ack(m)
	}
}

// Nack says that the message could not be processed: it is delivered again
// after the given time, as a batch of its own, while later messages pass. Until
// it is done it holds the shard's position. Where a group keeps a verdict per
// message (Features.Ack) it goes back to the broker, which delivers it to any
// member. It does nothing when the message is done already, such as with
// AckOnDelivery.
func (m Message) Nack(after time.Duration) {
	if m.b != nil {
		m.b.w.nack(m, after)
	}
}

// Lost is closed when the message's shard has gone to another consumer or was
// sought elsewhere: acknowledging it no longer has an effect.
func (m Message) Lost() <-chan struct{} { return m.b.w.lost }
