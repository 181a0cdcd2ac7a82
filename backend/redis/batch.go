package redis

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// batch is a run of entries of one shard. It keeps the reply as rueidis parsed
// it, and two slices beside: nothing is copied, and nothing is allocated per
// message.
type batch struct {
	o        *Options
	shard    driver.Shard
	gen      uint64
	next     driver.Seq
	ids      []driver.Seq
	bodies   []rueidis.RedisMessage // lists of names and values, in the reply's own array
	shapes   []shape                // nil where every body is just a value, as most are
	attempts []int32                // nil where nobody counted: then each is the first
	bytes    int
}

// errReply says that a server's reply is not what the command's documentation
// promises: there is something else than Redis in the way.
var errReply = errors.New("the reply cannot be read")

// newBatch makes a batch of the entries of one stream, as XREAD, XREADGROUP,
// XRANGE, XCLAIM and XAUTOCLAIM list them: pairs of an id and a list of fields,
// by ascending id. It takes the entries over and works in their array. It
// stands behind its last entry, in generation 0: the caller may change next and
// gen before anybody else sees it.
//
// Pairs without fields are entries that a group has delivered and that do not
// exist any more: they are not in the batch but in gone, in their order. (Bare
// nils, which XCLAIM before 7.0 has for such entries, name nothing and are left
// out.)
func newBatch(o *Options, shard driver.Shard, entries []rueidis.RedisMessage) (b *batch, gone []driver.Seq, err error) {
	b = &batch{o: o, shard: shard, ids: make([]driver.Seq, 0, len(entries)), bodies: entries[:0]}
	var last driver.Seq
	var read idReader
	for i := range entries {
		if entries[i].IsNil() {
			continue
		}
		pair, err := entries[i].ToArray()
		if err != nil || len(pair) != 2 {
			return nil, nil, fmt.Errorf("%w: an entry is no pair", errReply)
		}
		text, err := pair[0].ToString()
		id, ok := read.parse(text)
		if err != nil || !ok {
			return nil, nil, fmt.Errorf("%w: %.50q is no entry id", errReply, text)
		}
		if i > 0 && !last.Less(id) {
			return nil, nil, fmt.Errorf("%w: entry %s comes after %s", errReply, idText(id), idText(last))
		}
		last = id
		if pair[1].IsNil() {
			gone = append(gone, id)
			continue
		}
		if err := b.add(id, pair[1]); err != nil {
			return nil, nil, err
		}
	}
	b.next = last.Succ()
	return b, gone, nil
}

// entrySize is what an entry holds besides its fields: itself, its pair and its
// id as rueidis has them, and the id as we have it. fieldSize is what a name
// and a value hold besides their bytes.
const (
	entrySize = 48 + 2*48 + 24 + 16
	fieldSize = 2 * 48
)

// add takes one entry. It looks at each field once, so that what is asked
// later needs no errors.
func (b *batch) add(id driver.Seq, body rueidis.RedisMessage) error {
	fields, err := body.ToArray()
	if err != nil || len(fields)%2 != 0 {
		return fmt.Errorf("%w: the fields of entry %s are no pairs", errReply, idText(id))
	}
	b.bytes += entrySize + len(fields)/2*fieldSize
	s := noFields
	for i := 0; i < len(fields); i += 2 {
		name, err := fields[i].ToString()
		if err != nil {
			return fmt.Errorf("%w: a field of entry %s has no name", errReply, idText(id))
		}
		value, err := fields[i+1].ToString()
		if err != nil {
			return fmt.Errorf("%w: field %.50q of entry %s has no value", errReply, name, idText(id))
		}
		b.bytes += len(name) + len(value)
		s.add(b.o, int32(i/2), name, value) //nolint:gosec // a reply has less than 1<<31 elements
	}
	if b.shapes == nil && (len(fields) != 2 || s.value != 0) {
		b.shapes = make([]shape, len(b.ids), cap(b.ids))
		for i := range b.shapes {
			b.shapes[i] = justValue
		}
	}
	if b.shapes != nil {
		b.shapes = append(b.shapes, s)
	}
	b.ids = append(b.ids, id)
	b.bodies = append(b.bodies, body)
	return nil
}

// justValue is the shape of an entry with one field, the value.
var justValue = shape{value: 0, key: -1, time: -1}

// drop leaves the first n messages out.
func (b *batch) drop(n int) {
	for i := range n {
		b.bytes -= b.Size(i)
	}
	b.ids, b.bodies = b.ids[n:], b.bodies[n:]
	if b.shapes != nil {
		b.shapes = b.shapes[n:]
	}
	if b.attempts != nil {
		b.attempts = b.attempts[n:]
	}
}

func (b *batch) shape(i int) *shape {
	if b.shapes == nil {
		return &justValue
	}
	return &b.shapes[i]
}

// field is half of a field of message i: n counts names and values.
func (b *batch) field(i, n int) string {
	fields, _ := b.bodies[i].ToArray()
	s, _ := fields[n].ToString()
	return s
}

func (b *batch) Shard() driver.Shard  { return b.shard }
func (b *batch) Gen() uint64          { return b.gen }
func (b *batch) Next() driver.Seq     { return b.next }
func (b *batch) Len() int             { return len(b.ids) }
func (b *batch) Seq(i int) driver.Seq { return b.ids[i] }
func (b *batch) Bytes() int           { return b.bytes }

// Release does nothing: the garbage collector finds what rueidis allocated.
func (b *batch) Release() {}

func (b *batch) Time(i int) time.Time {
	if s := b.shape(i); s.time >= 0 {
		return s.at
	}
	return idTime(b.ids[i])
}

func (b *batch) Value(i int) []byte {
	n := b.shape(i).value
	if n < 0 {
		return nil
	}
	return window(b.field(i, 2*int(n)+1))
}

func (b *batch) Key(i int) []byte {
	n := b.shape(i).key
	if n < 0 {
		return nil
	}
	return window(b.field(i, 2*int(n)+1))
}

func (b *batch) Headers(i int) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if b.shapes == nil {
			return
		}
		s := &b.shapes[i]
		fields, _ := b.bodies[i].ToArray()
		for n := 0; n < len(fields); n += 2 {
			name, _ := fields[n].ToString()
			value, _ := fields[n+1].ToString()
			if name, ok := s.header(int32(n/2), name, value); ok && !yield(name, window(value)) { //nolint:gosec // as above
				return
			}
		}
	}
}

func (b *batch) Size(i int) int {
	fields, _ := b.bodies[i].ToArray()
	n := entrySize + len(fields)/2*fieldSize
	for j := range fields {
		s, _ := fields[j].ToString()
		n += len(s)
	}
	return n
}

func (b *batch) Attempt(i int) int {
	if b.attempts == nil {
		return 1
	}
	return int(b.attempts[i])
}

// eachStream calls f with each stream of a reply of XREAD or XREADGROUP and its
// entries, in the order of the command on a connection that speaks RESP2, as a
// waiter's does. A nil reply has no streams. It returns the first error.
func eachStream(reply rueidis.RedisMessage, f func(key string, entries []rueidis.RedisMessage) error) error {
	if reply.IsNil() {
		return nil
	}
	if reply.IsMap() { // RESP3
		m, err := reply.AsMap()
		if err != nil {
			return fmt.Errorf("%w: %w", errReply, err)
		}
		for key, list := range m {
			entries, err := list.ToArray()
			if err != nil {
				return fmt.Errorf("%w: stream %.50q has no entries", errReply, key)
			}
			if err := f(key, entries); err != nil {
				return err
			}
		}
		return nil
	}
	streams, err := reply.ToArray()
	if err != nil {
		return fmt.Errorf("%w: %w", errReply, err)
	}
	for i := range streams {
		pair, err := streams[i].ToArray()
		if err != nil || len(pair) != 2 {
			return fmt.Errorf("%w: a stream is no pair", errReply)
		}
		key, err := pair[0].ToString()
		if err != nil {
			return fmt.Errorf("%w: a stream has no name", errReply)
		}
		entries, err := pair[1].ToArray()
		if err != nil {
			return fmt.Errorf("%w: stream %.50q has no entries", errReply, key)
		}
		if err := f(key, entries); err != nil {
			return err
		}
	}
	return nil
}
