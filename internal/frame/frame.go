// Package frame cuts a flow of bytes into messages and joins messages to a
// flow: lines, NUL-terminated, length-prefixed, or a whole session as one.
//
// [Reader] hands out windows into the blocks that it reads into; nothing is
// copied but what lies across two blocks. A block is used again once the reader
// has left it and everybody who held it has let go, see [Block].
package frame

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A Kind is a way to tell messages apart in a flow of bytes.
type Kind uint8

// The kinds.
const (
	Lines    Kind = iota // each ends in a newline
	Nul                  // each ends in a zero byte
	Len32be              // each has its length before it, four bytes, highest first
	Whole                // a session is one message: a file, or what writers wrote until the last one closed
	Envelope             // lines of JSON, see package codec
)

var kinds = []string{"lines", "nul", "len32be", "whole", "envelope"}

// String is the name that flags use.
func (k Kind) String() string { return kinds[k] }

// ParseKind reads what String writes.
func ParseKind(s string) (Kind, error) {
	for i, name := range kinds {
		if s == name {
			return Kind(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not a frame: use %s", s, strings.Join(kinds, ", "))
}

// delimiter is the byte that ends a message, where one does.
func (k Kind) delimiter() (byte, bool) {
	switch k {
	case Lines, Envelope:
		return '\n', true
	case Nul:
		return 0, true
	}
	return 0, false
}

// Append joins one message to dst: the payload and what the kind puts around
// it, which for Whole is nothing. A payload may be at most 4 GiB - 1.
func (k Kind) Append(dst, payload []byte) []byte {
	if k == Len32be {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)))
	}
	dst = append(dst, payload...)
	if d, ok := k.delimiter(); ok {
		dst = append(dst, d)
	}
	return dst
}

// Ambiguous reports whether the payload contains the byte that ends a message,
// so that a reader would take it for several.
func (k Kind) Ambiguous(payload []byte) bool {
	d, ok := k.delimiter()
	if !ok {
		return false
	}
	for _, c := range payload {
		if c == d {
			return true
		}
	}
	return false
}
