package file

import (
	"iter"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A batch is the messages of one block, in the driver's terms. It may come
// from several batches on disk.
type batch struct {
	shard   driver.Shard
	gen     uint64
	base    uint64 // sequence of the first message
	next    uint64 // where the reader stands after it
	entries []entry
	end     uint32 // of the last message in the block
	b       *block // nil where there are no messages
}

func (b *batch) Shard() driver.Shard  { return b.shard }
func (b *batch) Gen() uint64          { return b.gen }
func (b *batch) Next() driver.Seq     { return driver.SeqOf(b.next) }
func (b *batch) Len() int             { return len(b.entries) }
func (b *batch) Seq(i int) driver.Seq { return driver.SeqOf(b.base + uint64(i)) }
func (b *batch) Time(i int) time.Time { return time.UnixMicro(b.entries[i].time) }
func (b *batch) Attempt(int) int      { return 1 }

func (b *batch) Key(i int) []byte {
	k, _ := nullable(b.b.data, int(b.entries[i].key))
	return k
}

func (b *batch) Value(i int) []byte {
	v, _ := nullable(b.b.data, int(b.entries[i].value))
	return v
}

// Headers allocates the strings of the keys: they could not be kept otherwise.
func (b *batch) Headers(i int) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		d := b.b.data
		at := skipNullable(d, int(b.entries[i].value))
		n, at := uvarint(d, at)
		for ; n > 0; n-- {
			k, from := uvarint(d, at)
			key := string(d[from : from+int(k)])
			var v []byte
			v, at = nullable(d, from+int(k))
			if !yield(key, v) {
				return
			}
		}
	}
}

// entrySize is what an entry takes of memory.
const entrySize = 16

func (b *batch) Size(i int) int {
	end := b.end
	if i+1 < len(b.entries) {
		end = b.entries[i+1].key
	}
	return int(end-b.entries[i].key) + entrySize
}

func (b *batch) Bytes() int {
	if len(b.entries) == 0 {
		return 0
	}
	return int(b.end-b.entries[0].key) + entrySize*len(b.entries)
}

// Release gives the block to the next read.
func (b *batch) Release() {
	if b.b != nil {
		b.b.free()
		b.b, b.entries = nil, nil
	}
}
