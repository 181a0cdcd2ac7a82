package iostreams

import (
	"unicode/utf16"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// EscapeLine appends b to dst with everything written out that could move a
// terminal's cursor, change its state or hide text: control characters (C0,
// DEL, C1, as bytes and as code points), invalid UTF-8, bidirectional controls
// and characters without width. A newline or tab is escaped too, so that the
// result is one line. Bytes are written \xNN, code points \u{NNNN}, and a
// backslash stays as it is.
func EscapeLine(dst, b []byte) []byte { return escape(dst, b, false) }

// EscapeText is EscapeLine, but newlines and tabs stay.
func EscapeText(dst, b []byte) []byte { return escape(dst, b, true) }

func escape(dst, b []byte, text bool) []byte {
	for len(b) > 0 {
		n := plain(b)
		dst = append(dst, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			break
		}
		if c := b[0]; c < utf8.RuneSelf {
			switch {
			case text && (c == '\n' || c == '\t'):
				dst = append(dst, c)
			case c == '\n':
				dst = append(dst, '\\', 'n')
			case c == '\t':
				dst = append(dst, '\\', 't')
			case c == '\r':
				dst = append(dst, '\\', 'r')
			default:
				dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
			}
			b = b[1:]
			continue
		}
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size <= 1:
			dst = append(dst, '\\', 'x', hex[b[0]>>4], hex[b[0]&15])
		case dangerous(r):
			dst = append(dst, '\\', 'u', '{')
			for shift := 28; shift >= 0; shift -= 4 {
				if d := r >> shift; d != 0 || shift < 16 {
					dst = append(dst, hex[d&15])
				}
			}
			dst = append(dst, '}')
		default:
			dst = append(dst, b[:size]...)
		}
		b = b[size:]
	}
	return dst
}

// plain counts the bytes at the front of b that are printable ASCII.
func plain(b []byte) int {
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			return i
		}
	}
	return len(b)
}

// EscapeJSON appends a line of JSON to dst with the same characters written as
// \uNNNN. In JSON that is not written by hand they only occur in strings, where
// the escape means the same.
func EscapeJSON(dst, b []byte) []byte {
	for len(b) > 0 {
		n := plain(b)
		dst = append(dst, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			break
		}
		r, size := utf8.DecodeRune(b)
		switch {
		case r == '\n' || !dangerous(r) && (r >= 0x20 || size > 1):
			dst = append(dst, b[:size]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			dst = appendU(appendU(dst, hi), lo)
		default:
			dst = appendU(dst, r)
		}
		b = b[size:]
	}
	return dst
}

func appendU(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// dangerous reports whether a code point is a control (DEL, C1), reorders text
// (bidirectional controls and marks), has no width, or separates lines.
func dangerous(r rune) bool {
	switch {
	case r < 0x20, 0x7f <= r && r <= 0x9f:
		return true
	case r == 0x00ad, r == 0x034f, r == 0x061c, r == 0x180e, r == 0xfeff:
		return true
	case 0x200b <= r && r <= 0x200f, 0x2028 <= r && r <= 0x202e, 0x2060 <= r && r <= 0x206f:
		return true
	case 0xfff9 <= r && r <= 0xfffb, 0xe0000 <= r && r <= 0xe007f:
		return true
	}
	return false
}

// An Escaper is a writer for a terminal: what is written goes out escaped as
// EscapeText does, or EscapeJSON with JSON. Each Write must end with a whole
// message, since a character that is cut in two is not recognised.
type Escaper struct {
	W    interface{ Write([]byte) (int, error) }
	JSON bool
	buf  []byte
}

// Write writes all of b escaped, or fails.
func (e *Escaper) Write(b []byte) (int, error) {
	if e.JSON {
		e.buf = EscapeJSON(e.buf[:0], b)
	} else {
		e.buf = EscapeText(e.buf[:0], b)
	}
	if _, err := e.W.Write(e.buf); err != nil {
		return 0, err
	}
	return len(b), nil
}
