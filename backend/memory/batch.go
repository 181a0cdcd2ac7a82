package memory

import (
	"iter"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// batch is a window over one block of a shard.
type batch struct {
	shard driver.Shard
	gen   uint64
	first uint64
	msgs  []message
	bytes int
}

func (b *batch) Shard() driver.Shard  { return b.shard }
func (b *batch) Gen() uint64          { return b.gen }
func (b *batch) Next() driver.Seq     { return driver.SeqOf(b.first + uint64(len(b.msgs))) }
func (b *batch) Len() int             { return len(b.msgs) }
func (b *batch) Seq(i int) driver.Seq { return driver.SeqOf(b.first + uint64(i)) }
func (b *batch) Time(i int) time.Time { return b.msgs[i].time }
func (b *batch) Key(i int) []byte     { return b.msgs[i].key }
func (b *batch) Value(i int) []byte   { return b.msgs[i].value }
func (b *batch) Size(i int) int       { return b.msgs[i].size() + messageOverhead }
func (b *batch) Bytes() int           { return b.bytes }
func (b *batch) Attempt(int) int      { return 1 }

// Release does nothing: the bytes are the store's and stay.
func (b *batch) Release() {}

// Headers of a message without any is not allocated.
func (b *batch) Headers(i int) iter.Seq2[string, []byte] {
	if len(b.msgs[i].headers) == 0 {
		return noHeaders
	}
	return func(yield func(string, []byte) bool) {
		for _, h := range b.msgs[i].headers {
			if !yield(h.Key, h.Value) {
				return
			}
		}
	}
}

func noHeaders(func(string, []byte) bool) {}
