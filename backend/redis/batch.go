package redis

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// batch is a run of entries of one shard. It keeps the reply as the server has
// sent it, and where in it the values are: nothing is copied, and nothing is
// allocated per message. The reply lives as long as any part of it is used.
type batch struct {
	o        *Options
	shard    driver.Shard
	gen      uint64
	next     driver.Seq
	reply    value // that values and shapes point into
	ids      []driver.Seq
	values   []extent
	shapes   []shape // nil where every entry is just a value, as most are
	attempts []int32 // nil where nobody counted: then each is the first
	bytes    int
}

// An extent is a piece of a reply. Nothing begins at 0, which is none.
type extent struct{ from, to uint32 }

func extentOf(from, to int) extent { return extent{uint32(from), uint32(to)} } //nolint:gosec // newBatch looks

func (s extent) size() int { return int(s.to - s.from) }

// errReply says that a server's reply is not what the command's documentation
// promises: there is something else than Redis in the way.
var errReply = errors.New("the reply cannot be read")

// newBatch makes a batch of the entries of one stream, as XREAD, XREADGROUP,
// XRANGE, XCLAIM and XAUTOCLAIM list them: pairs of an id and a list of fields,
// by ascending id. It stands behind its last entry, in generation 0: the caller
// may change next and gen before anybody else sees it.
//
// Pairs without fields are entries that a group has delivered and that do not
// exist any more: they are not in the batch but in gone, in their order. (Bare
// nils, which XCLAIM before 7.0 has for such entries, name nothing and are left
// out.)
func newBatch(o *Options, shard driver.Shard, entries value) (b *batch, gone []driver.Seq, err error) {
	kind, n, at := head(entries, 0)
	if kind != '*' {
		return nil, nil, entries.not("list of entries")
	}
	if uint64(len(entries)) > math.MaxUint32 { // see extent
		return nil, nil, errTooMuch
	}
	n = min(max(n, 0), len(entries)/len("*-1\r\n"))
	b = &batch{o: o, shard: shard, reply: entries, ids: make([]driver.Seq, 0, n), values: make([]extent, 0, n)}
	var last driver.Seq
	var read idReader
	for i := range n {
		kind, n, next := head(entries, at)
		if (kind == '*' || kind == '$') && n < 0 {
			at = next
			continue
		}
		if kind != '*' || n != 2 {
			return nil, nil, fmt.Errorf("%w: an entry is no pair", errReply)
		}
		from, to, next, ok := stringAt(entries, next)
		text := borrowed(entries[from:to])
		var id driver.Seq
		if ok {
			id, ok = read.parse(text)
		}
		if !ok {
			return nil, nil, fmt.Errorf("%w: %.50q is no entry id", errReply, text)
		}
		if i > 0 && !last.Less(id) {
			return nil, nil, fmt.Errorf("%w: entry %s comes after %s", errReply, idText(id), idText(last))
		}
		last = id
		if at, ok = b.add(id, next); !ok {
			return nil, nil, fmt.Errorf("%w: the fields of entry %s are no pairs of strings", errReply, idText(id))
		}
		if len(b.ids) == 0 || b.ids[len(b.ids)-1] != id {
			gone = append(gone, id)
		}
	}
	b.next = last.Succ()
	return b, gone, nil
}

// entrySize is what an entry holds besides its value or its fields: what is
// around them in the reply, and its id and its place as we have them.
const entrySize = 96

// add takes the entry whose fields are at reply[at:], unless they are nil. It
// looks at each field once, so that what is asked later needs no errors.
func (b *batch) add(id driver.Seq, at int) (next int, ok bool) {
	body := at
	kind, n, at := head(b.reply, at)
	switch {
	case (kind == '*' || kind == '$') && n < 0:
		return at, true
	case kind != '*' || n%2 != 0 || n > len(b.reply):
		return at, false
	}
	s := noFields
	var v extent
	for i := range n / 2 {
		from, to, next, ok := stringAt(b.reply, at)
		if !ok {
			return at, false
		}
		name := borrowed(b.reply[from:to])
		if from, to, at, ok = stringAt(b.reply, next); !ok {
			return at, false
		}
		if name == b.o.Field && s.value < 0 {
			v = extentOf(from, to)
		}
		s.add(b.o, int32(i), name, borrowed(b.reply[from:to])) //nolint:gosec // a reply has less than 1<<31 elements
	}
	plain := n == 2 && s.value == 0
	if b.shapes == nil && !plain {
		b.shapes = make([]shape, len(b.ids), cap(b.ids))
		for i := range b.shapes {
			b.shapes[i] = justValue
		}
	}
	if b.shapes != nil {
		if !plain {
			s.body = extentOf(body, at)
		}
		b.shapes = append(b.shapes, s)
	}
	b.ids = append(b.ids, id)
	b.values = append(b.values, v)
	b.bytes += b.Size(len(b.ids) - 1)
	return at, true
}

// justValue is the shape of an entry with one field, the value.
var justValue = shape{value: 0, key: -1, time: -1}

// drop leaves the first n messages out.
func (b *batch) drop(n int) {
	for i := range n {
		b.bytes -= b.Size(i)
	}
	b.ids, b.values = b.ids[n:], b.values[n:]
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

// fields calls f with each field of message i, until it returns false.
func (b *batch) fields(i int, f func(n int32, name, value []byte) bool) {
	body := b.shapes[i].body
	_, n, at := head(b.reply, int(body.from))
	for i := range n / 2 {
		nameFrom, nameTo, next, _ := stringAt(b.reply, at)
		from, to, next, _ := stringAt(b.reply, next)
		at = next
		if !f(int32(i), b.reply[nameFrom:nameTo], b.reply[from:to:to]) { //nolint:gosec // as above
			return
		}
	}
}

func (b *batch) Shard() driver.Shard  { return b.shard }
func (b *batch) Gen() uint64          { return b.gen }
func (b *batch) Next() driver.Seq     { return b.next }
func (b *batch) Len() int             { return len(b.ids) }
func (b *batch) Seq(i int) driver.Seq { return b.ids[i] }
func (b *batch) Bytes() int           { return b.bytes }

// Release does nothing: the garbage collector finds the reply, which nobody else uses.
func (b *batch) Release() {}

func (b *batch) Time(i int) time.Time {
	if s := b.shape(i); s.time >= 0 {
		return s.at
	}
	return idTime(b.ids[i])
}

func (b *batch) Value(i int) []byte {
	v := b.values[i]
	if v.from == 0 {
		return nil
	}
	return b.reply[v.from:v.to:v.to]
}

func (b *batch) Key(i int) (key []byte) {
	if n := b.shape(i).key; n >= 0 {
		b.fields(i, func(i int32, _, value []byte) bool {
			key = value
			return i != n
		})
	}
	return key
}

// Headers of a message without any is not allocated.
func (b *batch) Headers(i int) iter.Seq2[string, []byte] {
	s := b.shape(i)
	if s.body.from == 0 {
		return noHeaders
	}
	return func(yield func(string, []byte) bool) {
		b.fields(i, func(n int32, name, value []byte) bool {
			header, ok := s.header(n, borrowed(name), borrowed(value))
			return !ok || yield(header, value)
		})
	}
}

func noHeaders(func(string, []byte) bool) {}

func (b *batch) Size(i int) int {
	if s := b.shape(i); s.body.from > 0 {
		return entrySize + s.body.size()
	}
	return entrySize + b.values[i].size()
}

func (b *batch) Attempt(i int) int {
	if b.attempts == nil {
		return 1
	}
	return int(b.attempts[i])
}
