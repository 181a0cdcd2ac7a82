package file

import "sync"

// blockSize is how much a reader reads at once. Batches are at most a quarter
// of it, so little of a block is read twice.
const blockSize = 256 << 10

// A block is what one read returned, and the place of each message in it.
// Blocks go back when the batch over them is released; those of batches that
// are merely dropped are the garbage collector's.
type block struct {
	data    []byte
	entries []entry
}

// Blocks come in a few sizes, so that a message that somebody keeps does not
// keep a quarter of a megabyte when it came alone.
var (
	blockSizes = [...]int{4 << 10, 32 << 10, blockSize}
	blockPools [len(blockSizes)]sync.Pool
)

// newBlock is a block whose data has the length n. Above blockSize it is made
// for the purpose and not kept.
func newBlock(n int) *block {
	for i, size := range blockSizes {
		if n > size {
			continue
		}
		b, ok := blockPools[i].Get().(*block)
		if !ok {
			b = &block{data: make([]byte, size)}
		}
		b.data = b.data[:n]
		return b
	}
	return &block{data: make([]byte, n)}
}

// free gives b back. Nothing of it may be used any more.
func (b *block) free() {
	b.data = b.data[:cap(b.data)]
	if invariants {
		for i := range b.data {
			b.data[i] = 0xdb
		}
		clear(b.entries)
	}
	b.entries = b.entries[:0]
	for i, size := range blockSizes {
		if len(b.data) == size {
			blockPools[i].Put(b)
			return // from here on b is somebody else's
		}
	}
}
