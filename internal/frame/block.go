package frame

import (
	"sync"
	"sync/atomic"

	"github.com/seastreamer/seastreamer/driver"
)

// blockSize is how much is read at a time: large enough that a block costs
// little per line, small enough that a slow broker does not hold much memory
// for few lines.
const blockSize = 256 << 10

// keepScratch is the largest scratch that a block keeps for its next use.
const keepScratch = 1 << 20

// A Block is memory that messages are windows into. The reader holds the block
// it reads into; whoever keeps a message beyond the next call of [Reader.Next]
// holds it with Hold, and lets go with Release, from any goroutine. After the
// last Release its memory is used again.
type Block struct {
	buf  []byte // buf[:n] was read
	n    int
	refs atomic.Int64
	pool *Pool

	// Scratch is for decoded messages that live as long as the block.
	Scratch []byte
	// Done, if the pool's bind has set it, is a callback for producers that
	// releases the block once. It is made once per block, since making it once
	// per message would allocate.
	Done func(driver.Receipt, error)
}

// Hold keeps the block's memory as it is until Release.
func (b *Block) Hold() { b.refs.Add(1) }

// Release lets go of the block.
func (b *Block) Release() {
	if b.refs.Add(-1) == 0 {
		b.pool.put(b)
	}
}

// A Pool makes blocks and keeps those that nobody holds for the next use.
type Pool struct {
	blocks sync.Pool
	bind   func(*Block)
}

// NewPool makes a pool. bind, if it is not nil, is called once for each new
// block, for instance to set its Done.
func NewPool(bind func(*Block)) *Pool { return &Pool{bind: bind} }

// get is an empty block with room for size bytes, held once.
func (p *Pool) get(size int) *Block {
	b, _ := p.blocks.Get().(*Block)
	if b == nil || len(b.buf) < size {
		// A smaller one is left to the garbage collector.
		b = &Block{buf: make([]byte, max(size, blockSize)), pool: p}
		if p.bind != nil {
			p.bind(b)
		}
	}
	b.n = 0
	b.refs.Store(1)
	return b
}

func (p *Pool) put(b *Block) {
	if len(b.buf) > blockSize {
		return // made for one large message
	}
	if b.Scratch = b.Scratch[:0]; cap(b.Scratch) > keepScratch {
		b.Scratch = nil
	}
	p.blocks.Put(b)
}
