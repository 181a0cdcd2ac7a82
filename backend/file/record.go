package file

import (
	"encoding/binary"
	"math"

	"github.com/seastreamer/seastreamer/driver"
)

// A record in a batch's payload:
//
//	attributes u8 (zero) · time minus base time, zigzag
//	key length + 1 (0: nil), key · value length + 1 (0: nil), value
//	number of headers, each: key length, key, value length + 1 (0: nil), value
//
// Numbers without a width are unsigned varints as in encoding/binary. The
// sequence of a record is the batch's base plus its index.

// minTime is below every time that a record can have.
const minTime = math.MinInt64

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// appendUvarint is binary.AppendUvarint with its first two lengths inlined.
func appendUvarint(b []byte, v uint64) []byte {
	if v < 1<<7 {
		return append(b, byte(v))
	}
	if v < 1<<14 {
		return append(b, byte(v)|0x80, byte(v>>7))
	}
	return binary.AppendUvarint(b, v)
}

// appendRecord encodes a record of time base + delta.
func appendRecord(b []byte, rec *driver.Record, delta int64) []byte {
	b = append(b, 0)
	b = appendUvarint(b, zigzag(delta))
	b = appendNullable(b, rec.Key)
	b = appendNullable(b, rec.Value)
	b = appendUvarint(b, uint64(len(rec.Headers)))
	for i := range rec.Headers {
		h := &rec.Headers[i]
		b = appendUvarint(b, uint64(len(h.Key)))
		b = append(b, h.Key...)
		b = appendNullable(b, h.Value)
	}
	return b
}

func appendNullable(b, v []byte) []byte {
	if v == nil {
		return append(b, 0)
	}
	b = appendUvarint(b, uint64(len(v))+1)
	return append(b, v...)
}

// recordSize is at least what appendRecord appends.
func recordSize(rec *driver.Record) int {
	n := 32 + len(rec.Key) + len(rec.Value)
	for i := range rec.Headers {
		n += 20 + len(rec.Headers[i].Key) + len(rec.Headers[i].Value)
	}
	return n
}

// userSize is what Features.MaxRecord limits.
func userSize(rec *driver.Record) int {
	n := len(rec.Key) + len(rec.Value)
	for i := range rec.Headers {
		n += len(rec.Headers[i].Key) + len(rec.Headers[i].Value)
	}
	return n
}

// An entry says where a message lies in a block: the offsets of its key's and
// its value's length, and its time.
type entry struct {
	time       int64
	key, value uint32
}

// uvarint reads a number at b[i:], and returns where it ends. A negative end
// says that there is none, or one that no writer writes.
func uvarint(b []byte, i int) (uint64, int) {
	if i+1 < len(b) {
		x := b[i]
		if x < 0x80 {
			return uint64(x), i + 1
		}
		if y := b[i+1]; y < 0x80 {
			return uint64(x&0x7f) | uint64(y)<<7, i + 2
		}
	} else if i >= len(b) {
		return 0, -1
	}
	v, n := binary.Uvarint(b[i:])
	if n <= 0 {
		return 0, -1
	}
	return v, i + n
}

// skipNullable is where the field at b[i:] ends, or negative.
func skipNullable(b []byte, i int) int {
	n, i := uvarint(b, i)
	if i < 0 || n == 0 {
		return i
	}
	if n-1 > uint64(len(b)-i) {
		return -1
	}
	return i + int(n-1)
}

// decodeRecords appends an entry for each of the records of the payload
// b[from:to]; false says that it does not hold exactly count records. It never
// reads behind to.
func decodeRecords(into []entry, b []byte, from, to int, count uint32, base int64) ([]entry, bool) {
	b = b[:to]
	i := from
	for range count {
		if i >= to || b[i] != 0 {
			return into, false
		}
		var e entry
		d, i2 := uvarint(b, i+1)
		if i2 < 0 {
			return into, false
		}
		e.time = base + unzigzag(d)
		e.key = uint32(i2)
		if i = skipNullable(b, i2); i < 0 {
			return into, false
		}
		e.value = uint32(i)
		if i = skipNullable(b, i); i < 0 {
			return into, false
		}
		if i < to && b[i] == 0 {
			i++
		} else if i = skipHeaders(b, i); i < 0 {
			return into, false
		}
		into = append(into, e)
	}
	return into, i == to
}

func skipHeaders(b []byte, i int) int {
	n, i := uvarint(b, i)
	for ; i >= 0 && n > 0; n-- {
		k, j := uvarint(b, i)
		if j < 0 || k > uint64(len(b)-j) {
			return -1
		}
		i = skipNullable(b, j+int(k))
	}
	return i
}

// nullable is the field at b[i:] of a record that decodeRecords accepted, and
// where it ends. Its capacity ends with it, so that appending to it does not
// write into its neighbour.
func nullable(b []byte, i int) ([]byte, int) {
	n, i := uvarint(b, i)
	if n == 0 {
		return nil, i
	}
	end := i + int(n-1)
	return b[i:end:end], end
}
