package redis

import (
	"strconv"

	"github.com/seastreamer/seastreamer/driver"
)

// A shard's command is XADD with its key, the trimming and * or an id, and
// then the fields. What does not change is made once, in head.

// prepare makes the shard's part of every command.
func (s *shard) prepare(p *producer) {
	b := appendBulk([]byte(nil), "XADD")
	b = appendBulk(b, s.key)
	s.nhead = 2
	if p.o.NoAutocreate {
		b = appendBulk(b, "NOMKSTREAM")
		s.nhead++
	}
	if p.idmp {
		b = appendBulk(appendBulk(b, "IDMP"), p.id)
		s.nhead += 3 // with the record's own number
	}
	s.head = b
	b = nil
	switch {
	case p.o.MaxLen > 0:
		b = appendBulk(b, "MAXLEN")
		b = appendBulk(b, "~")
		b = appendBulk(b, strconv.FormatInt(p.o.MaxLen, 10))
		s.nhead += 3
	case p.o.MaxAge > 0:
		b = appendBulk(b, "MINID")
		b = appendBulk(b, "~") // and the id, see minID
		s.nhead += 3
	}
	if p.o.MaxAge == 0 {
		b = appendBulk(b, "*")
	}
	s.trim = b
	s.nhead++
	// The commonest command, a value alone, up to the value.
	if p.o.MaxAge == 0 && !p.idmp {
		b = appendHeader(nil, '*', s.nhead+2)
		b = append(b, s.head...)
		b = append(b, s.trim...)
		s.plain = appendBulk(b, p.o.Field)
	}
}

// size is a record's key, value and headers in bytes.
func size(r *driver.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// room is at least what the record's command has in bytes.
func (s *shard) room(r *driver.Record, n int) int {
	return n + len(s.head) + len(s.trim) + 192 + 40*len(r.Headers)
}

// appendAdd appends the command that adds rec.
func (s *shard) appendAdd(b []byte, p *producer, rec *driver.Record, minID []byte, number uint64) []byte {
	if s.plain != nil && rec.Value != nil && rec.Key == nil && rec.Time.IsZero() && len(rec.Headers) == 0 {
		b = append(b, s.plain...)
		return appendBulk(b, rec.Value)
	}
	b = appendHeader(b, '*', s.nhead+2*fields(rec))
	b = append(b, s.head...)
	if p.idmp {
		var n [20]byte
		b = appendBulk(b, strconv.AppendUint(n[:0], number, 36))
	}
	b = append(b, s.trim...)
	if p.o.MaxAge > 0 {
		b = appendBulk(b, minID)
		b = append(b, "$1\r\n*\r\n"...)
	}
	return appendRecord(b, p.o, rec)
}

// fields is how many fields appendRecord writes.
func fields(rec *driver.Record) int {
	n := len(rec.Headers)
	if rec.Value != nil {
		n++
	}
	if rec.Key != nil {
		n++
	}
	if !rec.Time.IsZero() {
		n++
	}
	return max(n, 1)
}

// appendRecord appends the fields of rec: see entry.go.
func appendRecord(b []byte, o *Options, rec *driver.Record) []byte {
	before := len(b)
	if rec.Value != nil {
		b = appendBulk(appendBulk(b, o.Field), rec.Value)
	}
	if rec.Key != nil {
		b = appendBulk(appendBulk(b, keyField), rec.Key)
	}
	if !rec.Time.IsZero() {
		var t [40]byte
		b = appendBulk(appendBulk(b, timeField), appendTime(t[:0], rec.Time))
	}
	for i := range rec.Headers {
		h := &rec.Headers[i]
		if o.reserved(h.Key) {
			b = appendHeader(b, '$', len(headerPrefix)+len(h.Key))
			b = append(b, headerPrefix...)
			b = append(b, h.Key...)
			b = append(b, '\r', '\n')
		} else {
			b = appendBulk(b, h.Key)
		}
		b = appendBulk(b, h.Value)
	}
	if len(b) == before {
		b = append(b, "$0\r\n\r\n$0\r\n\r\n"...)
	}
	return b
}
