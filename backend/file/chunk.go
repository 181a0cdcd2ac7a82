package file

import "github.com/seastreamer/seastreamer/driver"

const (
	// batchSize is where a batch ends. Small enough that a block of a reader
	// holds several, large enough that its header does not count.
	batchSize = 64 << 10
	// chunkSize is how much is written in one hold of the lock. Appends below
	// 256 KiB cost visibly more a byte.
	chunkSize = 512 << 10
	// maxDelta is how far the times of a batch may lie above its base time.
	maxDelta = 1<<32 - 1
)

// A pending is a record that is not settled.
type pending struct {
	done func(driver.Receipt, error) // nil where nobody wants to know (any more)
	p    *producer
	size int64 // recordSize, counted against the producer's buffer
	time int64 // as stored, or minTime for that of the batch
}

// A newBatch is a batch in a chunk.
type newBatch struct {
	batchHeader
	off  int  // of its header in the chunk
	auto bool // its records all have the time at which it is written
}

// A chunk is what is written in one hold of the lock: batches, encoded one
// behind the other, and who waits for them. Chunks are reused.
type chunk struct {
	buf     []byte
	batches []newBatch
	pending []pending
	sealed  int // batches that are sealed
}

func (c *chunk) reset() {
	clear(c.pending) // lets go of the callbacks
	c.buf, c.batches, c.pending, c.sealed = c.buf[:0], c.batches[:0], c.pending[:0], 0
}

// add encodes a record. It copies all of it.
//
// A record without a time gets that of sending. Asking the clock for each
// record would cost as much as encoding it, so a batch of such records leaves
// its base time to the writer, with deltas of zero; the first record that
// brings its own time ends that.
func (c *chunk) add(rec *driver.Record, size int, p pending) {
	at, auto := rec.Time.UnixMicro(), rec.Time.IsZero()
	var b *newBatch
	if n := len(c.batches); n > 0 {
		b = &c.batches[n-1]
		if len(c.buf)-b.off+size > batchSize {
			b = nil
		}
	}
	if b != nil {
		switch {
		case auto && b.auto:
		case auto:
			at = now()
		case b.auto:
			b.time, b.auto = now(), false
		}
		if !b.auto && (at-b.time > maxDelta || at < b.time && at-b.time > 0) {
			b = nil
		}
	}
	if b == nil {
		c.batches = append(c.batches, newBatch{off: len(c.buf), auto: auto, batchHeader: batchHeader{time: at}})
		b = &c.batches[len(c.batches)-1]
		c.buf = append(c.buf, make([]byte, headerSize)...)
	}
	var delta int64
	p.time = minTime
	if !b.auto {
		delta, p.time = at-b.time, at
		b.maxDelta = max(b.maxDelta, uint32(max(delta, 0)))
	}
	c.buf = appendRecord(c.buf, rec, delta)
	b.count++
	c.pending = append(c.pending, p)
}

// seal computes what does not depend on where the batches will be, before the
// lock is taken.
func (c *chunk) seal() {
	for ; c.sealed < len(c.batches); c.sealed++ {
		b := &c.batches[c.sealed]
		end := len(c.buf)
		if c.sealed+1 < len(c.batches) {
			end = c.batches[c.sealed+1].off
		}
		payload := c.buf[b.off+headerSize : end]
		b.length, b.payload = uint32(len(payload)), checksum(payload)
	}
}

// place gives the batches their sequences, from next on, and those that left
// it open their time.
func (c *chunk) place(next uint64, at int64, seed uint32) {
	for i := range c.batches {
		b := &c.batches[i]
		if b.auto {
			b.time = at
		}
		b.base = next
		b.encode(c.buf[b.off:], seed)
		next = b.next()
	}
}
