//go:build unix

package ledger

import mathbits "math/bits"

// bits is a set of small numbers: ten million take 1.25 MB.
type bits []uint64

func newBits(n int64) bits { return make(bits, (n+63)/64) }

func (b bits) has(i int64) bool { return b[i/64]>>(i%64)&1 == 1 }

func (b bits) set(i int64) { b[i/64] |= 1 << (i % 64) }

func (b bits) count() (n int64) {
	for _, w := range b {
		n += int64(mathbits.OnesCount64(w))
	}
	return n
}
