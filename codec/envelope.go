package codec

import (
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/seastreamer/seastreamer/driver"
)

// An Envelope is one record with where it was read from, as one line of JSON
// holds them. Its zero value is a tombstone without anything else.
type Envelope struct {
	Stream   string        // "" is not named
	Shard    driver.Target // zero is not named
	Seq      driver.Seq    // means something only with HasSeq
	HasSeq   bool
	Time     time.Time // zero is not named
	TimeType string    // what Time is: create or append; "" is not named
	Key      []byte    // nil is no key
	Headers  []driver.Header
	Value    []byte // nil is a tombstone
}

// Append writes e to the end of dst as one line, without the newline, and
// returns the longer slice. It allocates only to grow dst. What is not named is
// left out; key, headers and value are always there.
func (e *Envelope) Append(dst []byte) []byte {
	dst = append(dst, '{')
	if e.Stream != "" {
		dst = append(dst, `"stream":`...)
		dst = appendString(dst, e.Stream)
		dst = append(dst, ',')
	}
	if i, ok := e.Shard.Index(); ok {
		dst = append(dst, `"shard":`...)
		dst = strconv.AppendInt(dst, int64(i), 10)
		dst = append(dst, ',')
	}
	if e.HasSeq {
		dst = append(dst, `"seq":"`...)
		dst = e.Seq.Append(dst)
		dst = append(dst, `",`...)
	}
	if !e.Time.IsZero() {
		dst = append(dst, `"ts":"`...)
		dst = AppendTime(dst, e.Time)
		dst = append(dst, `",`...)
	}
	if e.TimeType != "" {
		dst = append(dst, `"tstype":`...)
		dst = appendString(dst, e.TimeType)
		dst = append(dst, ',')
	}
	dst = appendField(dst, `"key":`, `"key_b64":`, e.Key)
	dst = append(dst, `,"headers":[`...)
	for i := range e.Headers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = appendItem(dst, e.Headers[i].Key)
		dst = append(dst, ',')
		if v := e.Headers[i].Value; v == nil {
			dst = append(dst, "null"...)
		} else {
			dst = appendItem(dst, v)
		}
		dst = append(dst, ']')
	}
	dst = append(dst, "],"...)
	dst = appendField(dst, `"value":`, `"value_b64":`, e.Value)
	return append(dst, '}')
}

func appendField(dst []byte, name, nameB64 string, b []byte) []byte {
	switch {
	case b == nil:
		return append(append(dst, name...), "null"...)
	case utf8.Valid(b):
		return appendString(append(dst, name...), b)
	}
	dst = append(dst, nameB64...)
	return appendB64(dst, b)
}

// appendItem is a header's key or value.
func appendItem[T string | []byte](dst []byte, s T) []byte {
	if valid(s) {
		return appendString(dst, s)
	}
	dst = append(dst, `{"b64":`...)
	return append(appendB64(dst, []byte(s)), '}')
}

// valid is utf8.Valid without the copy that a conversion would make.
func valid[T string | []byte](s T) bool {
	switch s := any(s).(type) {
	case []byte:
		return utf8.Valid(s)
	case string:
		return utf8.ValidString(s)
	}
	return false
}

func appendB64(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

const hex = "0123456789abcdef"

// appendString writes valid UTF-8 as a JSON string. Only what JSON demands is
// escaped: quotes, backslashes and control characters.
func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from, i := 0, 0
	for i < len(s) {
		if i+8 <= len(s) {
			m := special(load(s, i))
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) / 8
		}
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		i++
		from = i
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

func load[T string | []byte](s T, i int) uint64 {
	var b [8]byte
	copy(b[:], s[i:i+8])
	return binary.LittleEndian.Uint64(b[:])
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special has the high bit of each byte of x set that a JSON string must
// escape: below 0x20, a quote, a backslash. A borrow can set bits above the
// lowest one by mistake, never below it, so only the lowest is to be trusted.
// (Bit Twiddling Hacks, Sean Eron Anderson: "Determine if a word has a byte
// less than n".)
func special(x uint64) uint64 {
	quote := x ^ ones*'"'
	slash := x ^ ones*'\\'
	return ((x-ones*0x20)&^x | (quote-ones)&^quote | (slash-ones)&^slash) & highs
}
