package file

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// The format on disk. Little-endian; every CRC is CRC-32C (Castagnoli, RFC
// 3720 appendix B.4). Times are microseconds since 1970.
//
// Segment header, 64 bytes at the start of each segment:
//
//	 0 magic u32 · 4 version u32 · 8 flags u32 · 12 zero · 16 base sequence u64
//	24 time of creation i64 · 32 log id [16]byte · 48 zero · 60 CRC u32 of 0–59
//
// Batch header, 64 bytes, then the payload:
//
//	 0 magic u32 · 4 CRC u32 of 8–63, seeded with the log id
//	 8 payload length u32 · 12 payload CRC u32 · 16 base sequence u64
//	24 base time i64 · 32 count u32 · 36 flags u32
//	40 id of the owner of units u64 · 48 id of the unit u64 (zero without one)
//	56 zero · 60 maximum time delta u32
//
// There are two CRCs so that a good header over a bad payload still says which
// sequences are missing and where the next batch begins. The seed keeps stale
// bytes, and values that happen to contain log batches, from passing for this
// log's.
const (
	magicCtl     = 0x4c544353 // "SCTL"
	magicSegment = 0x47455353 // "SSEG"
	magicBatch   = 0x54414253 // "SBAT"
	version      = 1

	headerSize = 64

	// flagJump in a segment's flags: the sequences between the end of the
	// segment before and this one's base were given up after power loss.
	flagJump = 1 << 0

	// Flags of a batch. A reader refuses the bits it does not know.
	batchControl = 1 << 0 // no messages for the application
	// batchUnit: it is of the unit and the owner of units named in the header.
	// It exists once that owner's record says so (see unitrec.go).
	batchUnit = 1 << 1
	// batchDurable, with batchUnit: the record was made durable before the
	// batch was published, so that it can be asked after power loss, too.
	batchDurable = 1 << 2
	batchKnown   = batchControl | batchUnit | batchDurable

	// jump is the grid on which the log goes on after power loss.
	jump = 1 << 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var le = binary.LittleEndian

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// A logID tells the batches of one log from those of every other.
type logID [16]byte

// seed is what the CRC of this log's batch headers starts from.
func (id logID) seed() uint32 { return checksum(id[:]) }

// hash is the log id in the eight bytes that a progress slot has room for.
func (id logID) hash() uint64 { return le.Uint64(id[:8]) ^ le.Uint64(id[8:]) }

// seal puts the CRC of the first 60 bytes behind them; sealed checks it.
func seal(b []byte)        { le.PutUint32(b[60:], checksum(b[:60])) }
func sealed(b []byte) bool { return le.Uint32(b[60:64]) == checksum(b[:60]) }

// A segmentHeader begins each segment file.
type segmentHeader struct {
	flags   uint32
	base    uint64
	created int64
	id      logID
}

func (h segmentHeader) encode() [headerSize]byte {
	var b [headerSize]byte
	le.PutUint32(b[0:], magicSegment)
	le.PutUint32(b[4:], version)
	le.PutUint32(b[8:], h.flags)
	le.PutUint64(b[16:], h.base)
	le.PutUint64(b[24:], uint64(h.created))
	copy(b[32:48], h.id[:])
	seal(b[:])
	return b
}

// decodeSegmentHeader reads the first 64 bytes of b; false says that they are
// not a segment header of this version.
func decodeSegmentHeader(b []byte) (segmentHeader, bool) {
	if len(b) < headerSize || le.Uint32(b) != magicSegment || le.Uint32(b[4:]) != version || !sealed(b) {
		return segmentHeader{}, false
	}
	return segmentHeader{
		flags:   le.Uint32(b[8:]),
		base:    le.Uint64(b[16:]),
		created: int64(le.Uint64(b[24:])),
		id:      logID(b[32:48]),
	}, true
}

// A batchHeader describes one run of records.
type batchHeader struct {
	length   uint32 // of the payload
	payload  uint32 // CRC of the payload
	base     uint64 // sequence of the first record
	time     int64  // base time
	count    uint32
	flags    uint32
	owner    uint64 // with batchUnit
	unit     uint64 // with batchUnit
	maxDelta uint32 // largest time minus base time, where that is positive
}

// size is that of the batch on disk.
func (h *batchHeader) size() int64 { return headerSize + int64(h.length) }

// next is the sequence behind the batch.
func (h *batchHeader) next() uint64 { return h.base + uint64(h.count) }

// maxTime is the largest time of the batch, or its base time.
func (h *batchHeader) maxTime() int64 { return h.time + int64(h.maxDelta) }

// encode fills the first 64 bytes of b.
func (h *batchHeader) encode(b []byte, seed uint32) {
	_ = b[headerSize-1]
	le.PutUint32(b[0:], magicBatch)
	le.PutUint32(b[8:], h.length)
	le.PutUint32(b[12:], h.payload)
	le.PutUint64(b[16:], h.base)
	le.PutUint64(b[24:], uint64(h.time))
	le.PutUint32(b[32:], h.count)
	le.PutUint32(b[36:], h.flags)
	le.PutUint64(b[40:], h.owner)
	le.PutUint64(b[48:], h.unit)
	clear(b[56:60])
	le.PutUint32(b[60:], h.maxDelta)
	le.PutUint32(b[4:], crc32.Update(seed, castagnoli, b[8:headerSize]))
}

// decodeBatchHeader reads the first 64 bytes of b; false says that they are
// not a batch header of the log with that seed.
func decodeBatchHeader(b []byte, seed uint32) (batchHeader, bool) {
	if len(b) < headerSize || le.Uint32(b) != magicBatch || le.Uint32(b[4:]) != crc32.Update(seed, castagnoli, b[8:headerSize]) {
		return batchHeader{}, false
	}
	h := batchHeader{
		length:   le.Uint32(b[8:]),
		payload:  le.Uint32(b[12:]),
		base:     le.Uint64(b[16:]),
		time:     int64(le.Uint64(b[24:])),
		count:    le.Uint32(b[32:]),
		flags:    le.Uint32(b[36:]),
		owner:    le.Uint64(b[40:]),
		unit:     le.Uint64(b[48:]),
		maxDelta: le.Uint32(b[60:]),
	}
	return h, uint64(h.count) <= uint64(h.length) && h.base <= math.MaxUint64-uint64(h.count)
}
