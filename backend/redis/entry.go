package redis

import (
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/seastreamer/seastreamer/driver"
)

// An entry of a stream is a list of fields, pairs of names and values:
//
//   - the field named by Options.Field holds the value (none is a nil value);
//   - key holds the key (none is a nil key);
//   - ts holds the record's own time, in milliseconds since 1970 as a decimal
//     number, with a fraction where it has one (none is the entry id's time);
//   - every other field is a header. Headers whose names mean something else
//     here are written behind h:, of which reading takes one away;
//   - an empty name with an empty value is nothing: Redis wants at least one
//     field.
//
// Of fields that come twice the first counts and the others are headers, so
// that what others write is delivered as it is.
const (
	keyField     = "key"
	timeField    = "ts"
	headerPrefix = "h:"
)

// reserved reports whether a header of that name needs the prefix.
func (o *Options) reserved(name string) bool {
	return name == "" || name == keyField || name == timeField || name == o.Field || strings.HasPrefix(name, headerPrefix)
}

// borrowed is b as a string without a copy.
func borrowed(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// A shape says which fields of an entry are not headers. Fields are counted
// from 0; −1 is none.
type shape struct {
	value, key, time int32
	at               time.Time // the record's own time where time is not −1
	body             extent    // of a batch, where an entry is more than a value: its list of fields
}

// noFields is the shape of an entry before its first field.
var noFields = shape{value: -1, key: -1, time: -1}

// add looks at field i. Fields are added in their order.
func (s *shape) add(o *Options, i int32, name, value string) {
	switch name {
	case o.Field:
		if s.value < 0 {
			s.value = i
		}
	case keyField:
		if s.key < 0 {
			s.key = i
		}
	case timeField:
		if s.time < 0 {
			if at, ok := parseTime(value); ok {
				s.time, s.at = i, at
			}
		}
	}
}

// header says under which name field i of an entry of this shape is a header,
// and whether it is one.
func (s *shape) header(i int32, name, value string) (string, bool) {
	if i == s.value || i == s.key || i == s.time || name == "" && value == "" {
		return "", false
	}
	name, _ = strings.CutPrefix(name, headerPrefix)
	return name, true
}

// appendTime appends t in milliseconds since 1970. Every time that
// time.Time holds can be written, which an int64 of milliseconds could not.
func appendTime(b []byte, t time.Time) []byte {
	sec, ns := t.Unix(), int64(t.Nanosecond())
	size := uint64(sec) //nolint:gosec // it is made positive below
	if sec < 0 {
		b = append(b, '-')
		if size = -size; ns > 0 { // −1 s + 0.9 s is −0.1 s
			size, ns = size-1, 1e9-ns
		}
	}
	if size > 0 {
		b = strconv.AppendUint(b, size, 10)
		b = append(b, byte('0'+ns/1e8), byte('0'+ns/1e7%10), byte('0'+ns/1e6%10))
	} else {
		b = strconv.AppendInt(b, ns/1e6, 10)
	}
	if ns %= 1e6; ns > 0 {
		b = append(b, '.')
		for unit := int64(1e5); ns > 0; unit /= 10 {
			b = append(b, byte('0'+ns/unit))
			ns %= unit
		}
	}
	return b
}

// parseTime reads what appendTime writes. Digits below a nanosecond are cut
// off.
func parseTime(s string) (t time.Time, ok bool) {
	s, negative := strings.CutPrefix(s, "-")
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" || len(whole) > 25 || len(s) > 64 || s[len(s)-1] == '.' {
		return t, false
	}
	var size, ns uint64
	for i := range len(whole) {
		d := uint64(whole[i] - '0')
		switch {
		case d > 9:
			return t, false
		case i >= len(whole)-3:
			ns = ns*10 + d
		case size > (1<<63-d)/10: // the next digit would not fit
			return t, false
		default:
			size = size*10 + d
		}
	}
	ns *= 1e6
	unit := uint64(1e5)
	for i := range len(fraction) {
		d := uint64(fraction[i] - '0')
		if d > 9 {
			return t, false
		}
		ns += d * unit
		unit /= 10
	}
	sec := int64(size) //nolint:gosec // at most 1<<63, whose negative is itself
	if !negative {
		if sec < 0 {
			return t, false
		}
		return time.Unix(sec, int64(ns)), true //nolint:gosec // below 1e9
	}
	if sec = -sec; ns > 0 {
		if sec == -1<<63 {
			return t, false
		}
		sec, ns = sec-1, 1e9-ns
	}
	return time.Unix(sec, int64(ns)), true //nolint:gosec // below 1e9
}

// appendID appends an entry id as Redis writes it.
func appendID(b []byte, s driver.Seq) []byte {
	b = strconv.AppendUint(b, s.Hi, 10)
	b = append(b, '-')
	return strconv.AppendUint(b, s.Lo, 10)
}

// idText is an entry id as Redis writes it.
func idText(s driver.Seq) string {
	var b [41]byte
	return string(appendID(b[:0], s))
}

// parseID reads an entry id. It is on the way of every message that is read.
func parseID(s string) (driver.Seq, bool) {
	var id driver.Seq
	n := &id.Hi
	digits := 0
	for i := range len(s) {
		d := uint64(s[i] - '0')
		switch {
		case d <= 9:
			if digits >= 19 && *n > (1<<64-1-d)/10 { // 19 digits always fit
				return driver.Seq{}, false
			}
			*n = *n*10 + d
			digits++
		case s[i] == '-' && n == &id.Hi && digits > 0:
			n, digits = &id.Lo, 0
		default:
			return driver.Seq{}, false
		}
	}
	return id, n == &id.Lo && digits > 0
}

// An idReader reads ids that follow each other, most of which share the part
// before the dash: under load a millisecond has a thousand of them.
type idReader struct {
	before string // of the last id, with the dash
	hi     uint64
}

func (r *idReader) parse(s string) (driver.Seq, bool) {
	if n := len(r.before); n > 0 && len(s) > n && len(s) < n+19 && s[:n] == r.before {
		var lo uint64
		for i := n; i < len(s); i++ {
			d := uint64(s[i] - '0')
			if d > 9 {
				return driver.Seq{}, false
			}
			lo = lo*10 + d
		}
		return driver.Seq{Hi: r.hi, Lo: lo}, true
	}
	id, ok := parseID(s)
	if ok {
		r.before, r.hi = s[:strings.IndexByte(s, '-')+1], id.Hi
	}
	return id, ok
}

// idTime is the time of an entry id.
func idTime(s driver.Seq) time.Time {
	if s.Hi > 1<<62 {
		return time.UnixMilli(1 << 62)
	}
	return time.UnixMilli(int64(s.Hi)) //nolint:gosec // bounded above
}
