package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrSessionEnd is what a source returns from Read, with the last bytes or
// alone, where one writer's session (or one file) ends and another may follow.
var ErrSessionEnd = errors.New("end of session")

// ErrStopped is what a source returns from Read that was told to stop before its
// end.
var ErrStopped = errors.New("stopped before the end")

// Oversize says what happens to a message longer than MaxMessage.
type Oversize uint8

// The oversize policies. None of them buffers the rest of the message.
const (
	FailOversize     Oversize = iota // Next returns an *OversizeError
	SkipOversize                     // it is left out and counted
	TruncateOversize                 // its first MaxMessage bytes are the message
)

// Partial says what happens to a last message whose end is missing when its
// session ends.
type Partial uint8

// The partial policies. With Len32be, SendPartial is FailPartial, since a piece
// of such a message is none.
const (
	SendPartial Partial = iota // it is a message
	DropPartial                // it is left out and counted
	HoldPartial                // the next session goes on with it; at the very end it is sent
	FailPartial                // Next returns an *PartialError
)

// DefaultMaxMessage is the largest message where Options do not say.
const DefaultMaxMessage = 16 << 20

// Options say how a [Reader] cuts. The zero value cuts lines.
type Options struct {
	Kind       Kind
	MaxMessage int // in bytes; 0 is DefaultMaxMessage
	Oversize   Oversize
	Partial    Partial
	CRLF       bool // take one \r off the end of a line
	KeepBlank  bool // messages without bytes are messages, else they are left out and counted
	// Notice is told once that there is a byte order mark. It may be nil.
	Notice func(string)
}

// Stats count what a [Reader] has read.
type Stats struct {
	Bytes    int64 // read from the source
	Frames   int64 // returned by Next
	Blank    int64 // left out: without bytes
	Oversize int64 // longer than MaxMessage: left out, truncated or failed
	Partial  int64 // without their end when the session ended
}

// An OversizeError is the failure of a message that is too long.
type OversizeError struct {
	Number int64 // of the message in the flow, from 1
	Offset int64 // of its first byte in the flow, from 0
	Max    int
	Kind   Kind
}

func (e *OversizeError) Error() string {
	return fmt.Sprintf("%s %d (from byte %d) is longer than %d bytes", e.Kind.noun(), e.Number, e.Offset, e.Max)
}

// A PartialError is the failure of a message without its end.
type PartialError struct {
	Number int64 // of the message in the flow, from 1
	Offset int64
	Have   int // bytes of it
	Kind   Kind
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("%s %d (from byte %d) has no end: the input stopped after %d bytes of it", e.Kind.noun(), e.Number, e.Offset, e.Have)
}

// noun is what one message is called in errors.
func (k Kind) noun() string {
	switch k {
	case Lines, Envelope:
		return "line"
	}
	return "message"
}

// A Reader cuts what it reads from a source into messages.
type Reader struct {
	src  io.Reader
	pool *Pool
	o    Options

	b       *Block
	from    int   // of the message that is being looked for, in b
	scanned int   // no delimiter before it
	base    int64 // offset in the flow of b.buf[0]
	number  int64 // messages seen, with those left out

	discard int64 // bytes of an oversize message still to pass over; with a delimiter -1: up to that
	session bool  // something of the present session was seen
	ended   error // what src returned last, to be acted on once the buffer is empty
	noted   bool
	stats   Stats
}

// NewReader makes a reader. The source's Read may return ErrSessionEnd any
// number of times and io.EOF at the end; what it returns else, such as
// ErrStopped, ends the reader after the messages that were read before it. What
// was read of one more is none then, and is left out and counted as partial.
func NewReader(src io.Reader, pool *Pool, o Options) *Reader {
	if o.MaxMessage <= 0 {
		o.MaxMessage = DefaultMaxMessage
	}
	return &Reader{src: src, pool: pool, o: o, b: pool.get(blockSize)}
}

// Stats is what was read so far. It must not be called while Next runs, other
// than from within the source's Read.
func (r *Reader) Stats() Stats { return r.stats }

// Block is the block that the message last returned is a window into. It must
// be held before the next call of Next if the message is kept.
func (r *Reader) Block() *Block { return r.b }

// Number is the number of the message last returned, from 1, counting those
// that were left out.
func (r *Reader) Number() int64 { return r.number }

// Close lets go of the reader's block.
func (r *Reader) Close() {
	if r.b != nil {
		r.b.Release()
		r.b = nil
	}
}

// Next is the next message, a window into [Reader.Block], or an error: io.EOF
// at the end, ErrSessionEnd between sessions, *OversizeError, *PartialError, or
// what the source returned. After an oversize or partial failure it may be
// called again and goes on behind.
func (r *Reader) Next() ([]byte, error) {
	for {
		m, st, err := r.cut()
		if err != nil {
			return nil, err
		}
		if st == isMessage {
			r.stats.Frames++
			return m, nil
		}
		if st == isSkipped {
			continue
		}
		if r.ended != nil {
			m, ok, err := r.end()
			if ok || err != nil {
				return m, err
			}
			continue
		}
		r.fill()
	}
}

type state uint8

const (
	needsMore state = iota
	isMessage
	isSkipped
)

// cut takes one message out of what was read.
func (r *Reader) cut() ([]byte, state, error) {
	if r.from == r.b.n {
		return nil, needsMore, nil
	}
	r.mark()
	if r.discard != 0 {
		return nil, r.passOver(), nil
	}
	switch r.o.Kind {
	case Len32be:
		return r.cutLength()
	case Whole:
		if r.b.n-r.from > r.o.MaxMessage {
			return r.oversize(r.from, -1)
		}
		return nil, needsMore, nil
	}
	d, _ := r.o.Kind.delimiter()
	i := bytes.IndexByte(r.b.buf[r.scanned:r.b.n], d)
	if i < 0 {
		r.scanned = r.b.n
		if r.b.n-r.from > r.o.MaxMessage+1 || !r.o.CRLF && r.b.n-r.from > r.o.MaxMessage {
			return r.oversize(r.from, -1)
		}
		return nil, needsMore, nil
	}
	end := r.scanned + i
	m := r.trim(r.b.buf[r.from:end:end])
	if len(m) > r.o.MaxMessage {
		return r.oversize(r.from, int64(end+1-r.from))
	}
	r.from, r.scanned = end+1, end+1
	r.number++
	if len(m) == 0 && !r.o.KeepBlank {
		r.stats.Blank++
		return nil, isSkipped, nil
	}
	return m, isMessage, nil
}

func (r *Reader) trim(m []byte) []byte {
	if r.o.CRLF && len(m) > 0 && m[len(m)-1] == '\r' {
		return m[:len(m)-1]
	}
	return m
}

func (r *Reader) cutLength() ([]byte, state, error) {
	have := r.b.buf[r.from:r.b.n]
	if len(have) < 4 {
		return nil, needsMore, nil
	}
	n := int64(binary.BigEndian.Uint32(have))
	if n > int64(r.o.MaxMessage) {
		if r.o.Oversize == TruncateOversize && len(have) < 4+r.o.MaxMessage {
			return nil, needsMore, nil
		}
		return r.oversize(r.from+4, n+4)
	}
	if int64(len(have)) < 4+n {
		return nil, needsMore, nil
	}
	end := r.from + 4 + int(n)
	m := r.b.buf[r.from+4 : end : end]
	r.from, r.scanned = end, end
	r.number++
	if n == 0 && !r.o.KeepBlank {
		r.stats.Blank++
		return nil, isSkipped, nil
	}
	return m, isMessage, nil
}

// oversize deals with the message at r.from, whose payload begins at payload
// and which takes size bytes with what is around it; -1 is up to a delimiter
// that was not seen yet, or to the end of the session.
func (r *Reader) oversize(payload int, size int64) ([]byte, state, error) {
	r.number++
	r.stats.Oversize++
	offset := r.base + int64(r.from)
	m := r.b.buf[payload:min(payload+r.o.MaxMessage, r.b.n)]
	m = m[:len(m):len(m)]
	r.discard = size // counts down from the message's first byte
	r.passOver()
	switch r.o.Oversize {
	case SkipOversize:
		return nil, isSkipped, nil
	case TruncateOversize:
		return m, isMessage, nil
	}
	return nil, isSkipped, &OversizeError{Number: r.number, Offset: offset, Max: r.o.MaxMessage, Kind: r.o.Kind}
}

// passOver drops bytes of an oversize message.
func (r *Reader) passOver() state {
	if r.discard > 0 {
		n := min(r.discard, int64(r.b.n-r.from))
		r.from += int(n)
		r.discard -= n
	} else if d, ok := r.o.Kind.delimiter(); ok {
		if i := bytes.IndexByte(r.b.buf[r.scanned:r.b.n], d); i >= 0 {
			r.from, r.discard = r.scanned+i+1, 0
		} else {
			r.from = r.b.n
		}
	} else {
		r.from = r.b.n
	}
	r.scanned = r.from
	return isSkipped
}

// mark notes the beginning of a session, where a byte order mark may be.
func (r *Reader) mark() {
	if r.session {
		return
	}
	m := r.b.buf[r.from:r.b.n]
	bom := []byte("\xef\xbb\xbf")
	if len(m) < len(bom) && bytes.HasPrefix(bom, m) && r.ended == nil {
		return // not enough to tell
	}
	r.session = true
	if !r.noted && r.o.Notice != nil && r.o.Kind != Len32be && bytes.HasPrefix(m, bom) {
		r.noted = true
		r.o.Notice("the input begins with a UTF-8 byte order mark, which is kept as part of the first message")
	}
}

// end acts on the end of a session or of everything, with what is left.
func (r *Reader) end() ([]byte, bool, error) {
	ended := r.ended
	hold := r.o.Partial == HoldPartial && r.o.Kind != Whole && ended == ErrSessionEnd
	if r.from < r.b.n && !hold {
		m := r.b.buf[r.from:r.b.n:r.b.n]
		offset := r.base + int64(r.from)
		r.from, r.scanned = r.b.n, r.b.n
		if ended != io.EOF && ended != ErrSessionEnd {
			r.stats.Partial++
		} else if m, ok, err := r.last(m, offset); ok || err != nil {
			return m, ok, err // r.ended stays for the next call
		}
	}
	if !hold {
		r.discard = 0
	}
	if ended == ErrSessionEnd {
		r.ended = nil
		r.session = false
	}
	return nil, false, ended
}

// last is what becomes of the bytes m behind the last complete message.
func (r *Reader) last(m []byte, offset int64) ([]byte, bool, error) {
	r.number++
	switch {
	case r.o.Kind == Whole:
	case r.o.Partial == DropPartial:
		r.stats.Partial++
		return nil, false, nil
	case r.o.Partial == FailPartial, r.o.Kind == Len32be:
		r.stats.Partial++
		return nil, false, &PartialError{Number: r.number, Offset: offset, Have: len(m), Kind: r.o.Kind}
	default:
		r.stats.Partial++
		if m = r.trim(m); len(m) == 0 {
			r.stats.Blank++
			return nil, r.o.KeepBlank, nil
		}
	}
	if len(m) > r.o.MaxMessage { // a \r that was waiting for its \n
		r.stats.Oversize++
		if r.o.Oversize != TruncateOversize {
			var err error
			if r.o.Oversize == FailOversize {
				err = &OversizeError{Number: r.number, Offset: offset, Max: r.o.MaxMessage, Kind: r.o.Kind}
			}
			return nil, false, err
		}
		m = m[:r.o.MaxMessage:r.o.MaxMessage]
	}
	r.stats.Frames++
	return m, true, nil
}

// fill reads more, into the present block while there is room for a read worth
// its system call, else into another one, to which the incomplete message
// moves.
func (r *Reader) fill() {
	const worth = 4 << 10
	switch left := r.b.n - r.from; {
	case left == 0 && r.b.refs.Load() == 1:
		// Nobody else holds it, and only this goroutine hands it out.
		r.base += int64(r.b.n)
		r.b.n, r.from, r.scanned = 0, 0, 0
		r.b.Scratch = r.b.Scratch[:0]
	case len(r.b.buf)-r.b.n < worth:
		size := blockSize
		if left > blockSize/2 {
			size = min(2*left, r.o.MaxMessage+8) + worth
		}
		b := r.pool.get(size)
		b.n = copy(b.buf, r.b.buf[r.from:r.b.n])
		r.base += int64(r.from)
		r.scanned -= r.from
		r.from = 0
		r.b.Release()
		r.b = b
	}
	n, err := r.src.Read(r.b.buf[r.b.n:])
	r.b.n += n
	r.stats.Bytes += int64(n)
	if err != nil {
		r.ended = err
	}
}
