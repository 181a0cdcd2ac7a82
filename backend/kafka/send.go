package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// A send is one record on its way. Objects are used again, since allocating
// and collecting them is a fifth of what franz-go costs. A send embeds the
// kgo.Record and is its Record.Context, so that the promise, bound once, finds
// its way back without a closure.
//
// franz-go does not touch a record after it has called the promise. Its
// documentation does not say so, hence TestReuse, to be run at each upgrade.
// It keeps the Context of the first record of a topic that it does not know
// yet, so a send has no state as a context: it never ends.
type send struct {
	rec   kgo.Record
	done  func(driver.Receipt, error)
	class *streamClass
	run   *run
	n     int64 // bytes that it counts for
	next  *send
}

func (*send) Deadline() (t time.Time, ok bool) { return t, false }
func (*send) Done() <-chan struct{}            { return nil }
func (*send) Err() error                       { return nil }
func (*send) Value(any) any                    { return nil }

var _ context.Context = (*send)(nil)

// cost is what a record counts for in the budget: its bytes, about what a send
// and franz-go's own book-keeping weigh, and what its headers weigh.
func cost(r *driver.Record) int64 {
	return int64(size(r)) + 256 + 40*int64(len(r.Headers))
}

// size is a record's key, value and headers in bytes.
func size(r *driver.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// fill makes the send carry rec, whose bytes it borrows.
func (s *send) fill(rec *driver.Record, stream string) {
	k := &s.rec
	k.Topic, k.Key, k.Value = stream, rec.Key, rec.Value
	if n := len(rec.Headers); n > 0 {
		// Grown at once and then written: appending one by one costs a third
		// more than the whole path.
		if cap(k.Headers) < n {
			k.Headers = make([]kgo.RecordHeader, n)
		}
		k.Headers = k.Headers[:n]
		for i := range rec.Headers {
			k.Headers[i] = kgo.RecordHeader(rec.Headers[i])
		}
	}
	k.Timestamp = rec.Time
	if rec.Time.IsZero() {
		k.Timestamp = time.Now()
	}
	k.Partition = noShard
	if i, ok := rec.Shard.Index(); ok {
		k.Partition = explicit(i)
	}
	k.Attrs = kgo.RecordAttrs{}
	k.Context = s
}

// clear forgets what the send carried, and keeps the room for headers.
func (s *send) clear() {
	k := &s.rec
	clear(k.Headers)
	k.Key, k.Value, k.Headers = nil, nil, k.Headers[:0]
	s.done, s.class, s.run = nil, nil, nil
}
