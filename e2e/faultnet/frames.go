package faultnet

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// A Framer finds the ends of frames in one direction of one connection. It
// gets the bytes in order, in pieces of any size.
type Framer interface {
	// Next looks at b, which is not empty, and consumes n > 0 of its bytes:
	// all of them where the frame does not end in b, or else up to its end. At
	// the end of a request kind says what is asked. That of a reply says
	// nothing, but for Push: nobody has asked for this.
	Next(b []byte) (n int, kind string, end bool)
}

// Push is the kind of a frame from the server that answers no request.
const Push = "push"

// Kafka makes a framer for the Kafka protocol, where a frame is its length in
// four bytes and as many bytes, and a request begins with its API key. The kind
// of a request is that key in decimal: "0" is Produce.
// https://kafka.apache.org/protocol#protocol_common
func Kafka() Framer { return &kafka{} }

type kafka struct {
	head []byte // the length and the API key, as far as they came
	left int    // of the frame
}

func (k *kafka) Next(b []byte) (n int, kind string, end bool) {
	for n < len(b) && len(k.head) < 6 {
		k.head = append(k.head, b[n])
		n++
		if len(k.head) == 4 {
			// No frame is shorter than a key, so that can be awaited.
			k.left = max(2, int(binary.BigEndian.Uint32(k.head)))
		} else if len(k.head) > 4 {
			k.left--
		}
	}
	if len(k.head) < 6 {
		return n, "", false
	}
	more := min(k.left, len(b)-n)
	k.left -= more
	n += more
	if k.left > 0 {
		return n, "", false
	}
	kind = strconv.Itoa(int(binary.BigEndian.Uint16(k.head[4:])))
	k.head = k.head[:0]
	return n, kind, true
}

// RESP makes a framer for Redis, versions 2 and 3 of its protocol. The kind of
// a request is its command in upper case.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
func RESP() Framer { return &resp{} }

type resp struct {
	line    []byte // the line that has begun
	bulk    int    // bytes that are left of a string and its line end
	left    []int  // values that are left of each open array
	command string // the first string of a request
	naming  bool
	push    bool
}

func (r *resp) Next(b []byte) (n int, kind string, end bool) {
	for n < len(b) {
		if r.bulk > 0 {
			m := min(r.bulk, len(b)-n)
			if r.naming {
				r.line = append(r.line, b[n:n+m]...)
			}
			n += m
			if r.bulk -= m; r.bulk > 0 {
				return n, "", false
			}
			if r.naming {
				r.command, r.naming = strings.ToUpper(strings.TrimSpace(string(r.line))), false
			}
			r.line = r.line[:0]
			if r.value() {
				return n, r.kind(), true
			}
			continue
		}
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			r.line = append(r.line, b[n:]...)
			return len(b), "", false
		}
		r.line = append(r.line, b[n:n+i+1]...)
		n += i + 1
		more := r.header()
		r.line = r.line[:0]
		if !more && r.value() {
			return n, r.kind(), true
		}
	}
	return n, "", false
}

// header reads a value's first line, and reports whether more belongs to it.
func (r *resp) header() (more bool) {
	text := strings.TrimSpace(string(r.line))
	if text == "" {
		return true // an empty line between requests is allowed, and is none
	}
	count, err := strconv.Atoi(text[1:])
	switch text[0] {
	case '$', '!', '=':
		if err != nil || count < 0 {
			return false
		}
		r.bulk = count + 2
		r.naming = r.command == "" && len(r.left) == 1
		return true
	case '%', '|':
		count *= 2
	case '>':
		r.push = r.push || len(r.left) == 0
	case '*', '~':
	default: // a line is the value
		return false
	}
	if text[0] == '|' {
		count++ // attributes, and the value that they belong to
	}
	if err != nil || count <= 0 {
		return false
	}
	r.left = append(r.left, count)
	return true
}

// value ends a value, and reports whether the frame ends with it.
func (r *resp) value() bool {
	for len(r.left) > 0 {
		last := len(r.left) - 1
		if r.left[last]--; r.left[last] > 0 {
			return false
		}
		r.left = r.left[:last]
	}
	return true
}

func (r *resp) kind() string {
	kind := r.command
	if r.push {
		kind = Push
	}
	r.command, r.push = "", false
	return kind
}
