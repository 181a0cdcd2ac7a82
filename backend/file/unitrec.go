package file

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// What a name has committed is in the file units/<name>/record:
//
//	  0 magic u32 · 4 version u32 · 8 id of the owner of units u64 · 16 zero
//	 60 CRC u32 of 0–59
//	 64, 128 where the record is     (a pair of slots, see [unitSlot])
//	4096 and behind: records
//
// The id is random; batches of units have it in their headers. Publishing a
// slot is the instant at which a unit is committed: its record was written
// before, to a place that the current one does not occupy.
//
// A record, with numbers without a width being unsigned varints as in
// encoding/binary:
//
//	claims u64 · fence u64 · units u64 · id of the last unit u64
//	number of inputs, each: stream's length, stream, index,
//	    owner u64, position Hi u64, Lo u64
//	number of outputs, each: stream's length, stream, index,
//	    log id hash u64, id of the last unit u64, next sequence u64
//
// claims numbers the owners: each takes the next number with its first claim.
// Those below fence own nothing any more. An input's owner is who may move its
// position, the sequence of the next message. An output is a shard that the
// name's units have written to: its last unit, and the sequence behind that.
const (
	magicUnits   = 0x494e5553 // "SUNI"
	unitsHeader  = 4096
	unitsSlots   = 64
	maxUnitsBody = 64 << 20
)

// A unitSlot says where the current record is, 64 bytes: 0 generation u64 ·
// 8 offset u64 · 16 length u32 · 20 CRC u32 of the record · 24 time i64 ·
// 32 boot id hash u64 · 40 flags u32 · 44 zero · 60 CRC u32 of 0–59.
type unitSlot struct {
	gen   uint64
	off   int64
	size  uint32
	crc   uint32
	time  int64
	boot  uint64
	flags uint32
}

// unitDurable in a slot's flags: the record was on stable storage before the
// slot was written.
const unitDurable = 1 << 0

func (s *unitSlot) encode(b []byte) {
	clear(b[:slotSize])
	le.PutUint64(b[0:], s.gen)
	le.PutUint64(b[8:], uint64(s.off))
	le.PutUint32(b[16:], s.size)
	le.PutUint32(b[20:], s.crc)
	le.PutUint64(b[24:], uint64(s.time))
	le.PutUint64(b[32:], s.boot)
	le.PutUint32(b[40:], s.flags)
	seal(b[:slotSize])
}

func decodeUnitSlot(b []byte) (unitSlot, bool) {
	if len(b) < slotSize || !sealed(b) {
		return unitSlot{}, false
	}
	s := unitSlot{
		gen: le.Uint64(b[0:]), off: int64(le.Uint64(b[8:])), size: le.Uint32(b[16:]), crc: le.Uint32(b[20:]),
		time: int64(le.Uint64(b[24:])), boot: le.Uint64(b[32:]), flags: le.Uint32(b[40:]),
	}
	return s, s.off >= unitsHeader && s.off <= 1<<40 && s.size <= maxUnitsBody
}

func chooseUnitSlot(pair []byte) (unitSlot, bool, bool) {
	return choose(pair, decodeUnitSlot, func(s unitSlot) uint64 { return s.gen })
}

// newUnits is the whole file of a name that has committed nothing.
func newUnits(id, boot uint64) []byte {
	body := (&unitRecord{}).append(nil)
	b := make([]byte, unitsHeader, unitsHeader+len(body))
	le.PutUint32(b[0:], magicUnits)
	le.PutUint32(b[4:], version)
	le.PutUint64(b[8:], id)
	seal(b)
	for g := range uint64(2) {
		s := unitSlot{gen: g, off: unitsHeader, size: uint32(len(body)), crc: checksum(body), time: now(), boot: boot, flags: unitDurable}
		s.encode(b[unitsSlots+g*slotSize:])
	}
	return append(b, body...)
}

// decodeUnitsHeader reads the owner's id.
func decodeUnitsHeader(b []byte) (uint64, bool) {
	if len(b) < slotSize || le.Uint32(b) != magicUnits || le.Uint32(b[4:]) != version || !sealed(b) {
		return 0, false
	}
	return le.Uint64(b[8:]), true
}

// A unitRecord is what a name has committed, sorted by shards.
type unitRecord struct {
	claims  uint64
	fence   uint64
	units   uint64
	last    uint64
	inputs  []unitInput
	outputs []unitOutput
}

type unitInput struct {
	shard driver.Shard
	owner uint64
	next  driver.Seq
}

type unitOutput struct {
	shard driver.Shard
	log   uint64
	unit  uint64
	next  uint64
}

func compareShards(a, b driver.Shard) int {
	return cmp.Or(strings.Compare(a.Stream, b.Stream), cmp.Compare(a.Index, b.Index))
}

// clone is a copy that may be changed.
func (r *unitRecord) clone() *unitRecord {
	c := *r
	c.inputs, c.outputs = slices.Clone(r.inputs), slices.Clone(r.outputs)
	return &c
}

// input is the place of a shard among the inputs, where it is or would be.
func (r *unitRecord) input(sh driver.Shard) (int, bool) {
	return slices.BinarySearchFunc(r.inputs, sh, func(in unitInput, sh driver.Shard) int { return compareShards(in.shard, sh) })
}

func (r *unitRecord) output(sh driver.Shard) (int, bool) {
	return slices.BinarySearchFunc(r.outputs, sh, func(out unitOutput, sh driver.Shard) int { return compareShards(out.shard, sh) })
}

// wrote notes that a unit was written to a shard.
func (r *unitRecord) wrote(out unitOutput) {
	i, ok := r.output(out.shard)
	if !ok {
		r.outputs = slices.Insert(r.outputs, i, out)
	}
	r.outputs[i] = out
}

func (r *unitRecord) append(b []byte) []byte {
	for _, n := range [...]uint64{r.claims, r.fence, r.units, r.last} {
		b = le.AppendUint64(b, n)
	}
	shard := func(sh driver.Shard) {
		b = binary.AppendUvarint(b, uint64(len(sh.Stream)))
		b = append(b, sh.Stream...)
		b = binary.AppendUvarint(b, uint64(uint32(sh.Index)))
	}
	three := func(x, y, z uint64) {
		b = le.AppendUint64(b, x)
		b = le.AppendUint64(b, y)
		b = le.AppendUint64(b, z)
	}
	b = binary.AppendUvarint(b, uint64(len(r.inputs)))
	for _, in := range r.inputs {
		shard(in.shard)
		three(in.owner, in.next.Hi, in.next.Lo)
	}
	b = binary.AppendUvarint(b, uint64(len(r.outputs)))
	for _, out := range r.outputs {
		shard(out.shard)
		three(out.log, out.unit, out.next)
	}
	return b
}

var errUnitRecord = errors.New("the record of its units is damaged")

// parseUnitRecord reads what append wrote, and nothing else.
func parseUnitRecord(b []byte) (*unitRecord, error) {
	bad := false
	fixed := func() uint64 {
		if bad = bad || len(b) < 8; bad {
			return 0
		}
		n := le.Uint64(b)
		b = b[8:]
		return n
	}
	number := func(most uint64) uint64 {
		n, size := binary.Uvarint(b)
		if bad = bad || size <= 0 || n > most || size > 1 && b[size-1] == 0; bad {
			return 0
		}
		b = b[size:]
		return n
	}
	shard := func() (sh driver.Shard) {
		if n := int(number(uint64(len(b)))); !bad && n <= len(b) {
			sh.Stream, b = string(b[:n]), b[n:]
		} else {
			bad = true
		}
		sh.Index = int32(uint32(number(1<<32 - 1)))
		return sh
	}
	r := &unitRecord{claims: fixed(), fence: fixed(), units: fixed(), last: fixed()}
	for n := number(uint64(len(b))); n > 0 && !bad; n-- {
		in := unitInput{shard(), fixed(), driver.Seq{Hi: fixed(), Lo: fixed()}}
		if k := len(r.inputs); k > 0 && compareShards(r.inputs[k-1].shard, in.shard) >= 0 {
			bad = true
		}
		r.inputs = append(r.inputs, in)
	}
	for n := number(uint64(len(b))); n > 0 && !bad; n-- {
		out := unitOutput{shard(), fixed(), fixed(), fixed()}
		if k := len(r.outputs); k > 0 && compareShards(r.outputs[k-1].shard, out.shard) >= 0 {
			bad = true
		}
		r.outputs = append(r.outputs, out)
	}
	if bad || len(b) > 0 {
		return nil, errUnitRecord
	}
	return r, nil
}
