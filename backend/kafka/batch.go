package kafka

import (
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// batch is what one fetch had of one shard: franz-go's own records, as it
// decoded them.
type batch struct {
	shard driver.Shard
	gen   uint64
	next  int64
	recs  []*kgo.Record
	bytes int
}

func (b *batch) Shard() driver.Shard  { return b.shard }
func (b *batch) Gen() uint64          { return b.gen }
func (b *batch) Next() driver.Seq     { return seq(b.next) }
func (b *batch) Len() int             { return len(b.recs) }
func (b *batch) Seq(i int) driver.Seq { return seq(b.recs[i].Offset) }
func (b *batch) Time(i int) time.Time { return b.recs[i].Timestamp }
func (b *batch) Key(i int) []byte     { return b.recs[i].Key }
func (b *batch) Value(i int) []byte   { return b.recs[i].Value }
func (b *batch) Attempt(int) int      { return 1 }
func (b *batch) Size(i int) int       { return held(b.recs[i]) }
func (b *batch) Bytes() int           { return b.bytes }

// Release does nothing: the garbage collector finds what franz-go allocated.
func (b *batch) Release() {}

// Headers of a message without any is not allocated.
func (b *batch) Headers(i int) iter.Seq2[string, []byte] {
	if len(b.recs[i].Headers) == 0 {
		return noHeaders
	}
	return func(yield func(string, []byte) bool) {
		for _, h := range b.recs[i].Headers {
			if !yield(h.Key, h.Value) {
				return
			}
		}
	}
}

func noHeaders(func(string, []byte) bool) {}

// recordSize is what franz-go allocates for a record besides its bytes.
const recordSize = 168

// held is what a record holds in memory, about.
func held(r *kgo.Record) int {
	n := recordSize + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 40 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// newBatch makes a batch of what is in recs from an offset on, without control
// records. It takes recs over and works in place.
func newBatch(s driver.Shard, gen uint64, recs []*kgo.Record, from, next int64) *batch {
	for len(recs) > 0 && recs[0].Offset < from {
		recs = recs[1:]
	}
	b := &batch{shard: s, gen: gen, next: next, recs: recs[:0]}
	for _, r := range recs {
		if r.Attrs.IsControl() {
			continue
		}
		b.recs = append(b.recs, r)
		b.bytes += held(r)
	}
	return b
}
