package codec

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/seastreamer/seastreamer/driver"
)

const known = "stream, shard, seq, ts, tstype, key, key_b64, headers, value, value_b64"

// Decode reads one line into e, replacing all of it, and returns scratch,
// possibly grown. Strings without escapes are windows into line, others are
// appended to scratch; neither may change as long as e is used. Headers are
// appended to e.Headers[:0], so set it to nil where those of the last record
// are still needed.
//
// It is strict, since what it would pass over is lost: a field it does not know
// is an error, and so is a field given twice, a missing value (a tombstone says
// "value":null), a string that is not valid UTF-8 or has half of a surrogate
// pair, and anything behind the object. Fields may come in any order, with
// spaces between them, and null where they are not known, other than in headers.
// Errors say the column, counted in bytes from 1, and what is wrong there.
func (e *Envelope) Decode(line, scratch []byte) ([]byte, error) {
	if scratch == nil {
		scratch = []byte{} // an empty window into it must not be nil
	}
	d := decoder{in: line, scratch: scratch, stream: e.Stream}
	*e = Envelope{Headers: e.Headers[:0]}
	if err := d.envelope(e); err != nil {
		return d.scratch, fmt.Errorf("envelope: column %d: %w", d.at+1, err)
	}
	return d.scratch, nil
}

// A decoder is the place in a line.
type decoder struct {
	in, scratch []byte
	at          int
	stream      string // of the last record: most records are of the same, and keep its string
}

// The fields that were seen, so that none comes twice. A field and its base64
// form are the same.
const (
	seenStream = 1 << iota
	seenShard
	seenSeq
	seenTime
	seenTimeType
	seenKey
	seenHeaders
	seenValue
)

func (d *decoder) envelope(e *Envelope) error {
	if err := d.token('{', "an object"); err != nil {
		return err
	}
	seen := 0
	for first := true; ; first = false {
		d.space()
		if d.peek() == '}' && first {
			d.at++
			break
		}
		start := d.at
		name, err := d.str()
		if err != nil {
			return err
		}
		if err := d.token(':', "a colon"); err != nil {
			return err
		}
		bit, err := d.field(e, unsafeString(name), start)
		if err != nil {
			return err
		}
		if seen&bit != 0 {
			d.at = start
			return fmt.Errorf("%q is given twice", name)
		}
		seen |= bit
		d.space()
		if d.peek() == ',' {
			d.at++
			continue
		}
		if err := d.token('}', "a comma or the closing brace"); err != nil {
			return err
		}
		break
	}
	if d.space(); d.at < len(d.in) {
		return errors.New("there is more behind the object: one record is one line")
	}
	if seen&seenValue == 0 {
		return errors.New(`"value" is missing: write "value":null for a tombstone`)
	}
	return nil
}

// field reads the value of one field, whose name began at start.
func (d *decoder) field(e *Envelope, name string, start int) (seen int, err error) {
	d.space()
	switch name {
	case "stream":
		b, err := d.strOrNull()
		if e.Stream = d.stream; string(b) != d.stream {
			e.Stream = string(b)
		}
		return seenStream, err
	case "shard":
		return seenShard, d.shard(e)
	case "seq":
		at := d.at
		b, err := d.strOrNull()
		if err == nil && b != nil {
			e.HasSeq = true
			if e.Seq, err = driver.ParseSeq(unsafeString(b)); err != nil {
				d.at = at
			}
		}
		return seenSeq, err
	case "ts":
		at := d.at
		b, err := d.strOrNull()
		if err == nil && b != nil {
			if e.Time, err = ParseTime(unsafeString(b)); err != nil {
				d.at = at
			}
		}
		return seenTime, err
	case "tstype":
		b, err := d.strOrNull()
		e.TimeType = string(b)
		return seenTimeType, err
	case "key":
		e.Key, err = d.strOrNull()
		return seenKey, err
	case "key_b64":
		e.Key, err = d.b64()
		return seenKey, err
	case "headers":
		return seenHeaders, d.headers(e)
	case "value":
		e.Value, err = d.strOrNull()
		return seenValue, err
	case "value_b64":
		e.Value, err = d.b64()
		return seenValue, err
	}
	d.at = start
	return 0, fmt.Errorf("unknown field %.40q: known are %s", name, known)
}

func (d *decoder) shard(e *Envelope) error {
	if d.null() {
		return nil
	}
	start := d.at
	for d.at < len(d.in) && strings.IndexByte("+-.0123456789eE", d.in[d.at]) >= 0 {
		d.at++
	}
	n, err := strconv.ParseUint(string(d.in[start:d.at]), 10, 31)
	if err != nil || n == 1<<31-1 {
		d.at = start
		return errors.New("a shard is a whole number from 0")
	}
	e.Shard = driver.On(int32(n))
	return nil
}

func (d *decoder) headers(e *Envelope) error {
	if err := d.token('[', `an array of ["key","value"] pairs`); err != nil {
		return err
	}
	for first := true; ; first = false {
		d.space()
		if d.peek() == ']' && first {
			d.at++
			return nil
		}
		h, err := d.header()
		if err != nil {
			return err
		}
		e.Headers = append(e.Headers, h)
		if d.space(); d.peek() == ',' {
			d.at++
			continue
		}
		return d.token(']', "a comma or the closing bracket")
	}
}

func (d *decoder) header() (h driver.Header, err error) {
	if err := d.token('[', `a ["key","value"] pair`); err != nil {
		return h, err
	}
	key, err := d.item()
	if err == nil && key == nil {
		err = errors.New("a header's key must not be null")
	}
	if err != nil {
		return h, err
	}
	h.Key = string(key)
	if err := d.token(',', "a comma and the header's value"); err != nil {
		return h, err
	}
	if h.Value, err = d.item(); err != nil {
		return h, err
	}
	return h, d.token(']', "the end of the pair")
}

// item is a string, null or {"b64":"…"}.
func (d *decoder) item() ([]byte, error) {
	d.space()
	if d.peek() != '{' {
		return d.strOrNull()
	}
	d.at++
	d.space()
	start := d.at
	name, err := d.str()
	if err == nil && string(name) != "b64" {
		d.at = start
		err = errors.New(`bytes are {"b64":"…"}`)
	}
	if err == nil {
		err = d.token(':', "a colon")
	}
	if err != nil {
		return nil, err
	}
	d.space()
	b, err := d.b64()
	if err != nil {
		return nil, err
	}
	return b, d.token('}', "the closing brace")
}

func (d *decoder) strOrNull() ([]byte, error) {
	if d.null() {
		return nil, nil
	}
	return d.str()
}

func (d *decoder) b64() ([]byte, error) {
	start := d.at
	s, err := d.str()
	if err != nil {
		return nil, err
	}
	n := len(d.scratch)
	// Decoding ignores line breaks, which nobody writes into an envelope.
	if d.scratch, err = base64.StdEncoding.Strict().AppendDecode(d.scratch, s); err != nil || strings.ContainsAny(unsafeString(s), "\r\n") {
		d.at = start
		return nil, errors.New("this is not base64 with padding")
	}
	return d.scratch[n:len(d.scratch):len(d.scratch)], nil
}

// unsafeString is b as a string for as long as b does not change.
func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (d *decoder) null() bool {
	if d.at+4 <= len(d.in) && string(d.in[d.at:d.at+4]) == "null" {
		d.at += 4
		return true
	}
	return false
}

func (d *decoder) space() {
	for d.at < len(d.in) {
		switch d.in[d.at] {
		case ' ', '\t', '\r', '\n':
			d.at++
		default:
			return
		}
	}
}

// peek is the byte at the place, or 0 at the end.
func (d *decoder) peek() byte {
	if d.at < len(d.in) {
		return d.in[d.at]
	}
	return 0
}

func (d *decoder) token(c byte, want string) error {
	if d.space(); d.peek() != c || d.at == len(d.in) {
		return fmt.Errorf("%s is wanted", want)
	}
	d.at++
	return nil
}
