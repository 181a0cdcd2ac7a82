package codec

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string. It is never nil.
func (d *decoder) str() ([]byte, error) {
	if d.peek() != '"' {
		return nil, errors.New("a string is wanted, or null for none")
	}
	d.at++
	start := d.at
	for d.at < len(d.in) {
		if d.at+8 <= len(d.in) && special(load(d.in, d.at)) == 0 {
			d.at += 8
			continue
		}
		switch c := d.in[d.at]; {
		case c == '"':
			s := d.in[start:d.at:d.at]
			if !utf8.Valid(s) {
				d.at = start
				return nil, errors.New("the string is not valid UTF-8: write bytes as base64, in key_b64 or value_b64")
			}
			d.at++
			return s, nil
		case c == '\\':
			return d.escaped(start)
		case c < 0x20:
			return nil, fmt.Errorf("control character %#02x in a string: write it as \\u%04x", c, c)
		}
		d.at++
	}
	return nil, errors.New("the string has no closing quote")
}

// escaped reads the rest of a string that began at start and has its first
// escape at d.at.
func (d *decoder) escaped(start int) ([]byte, error) {
	n := len(d.scratch)
	begin := start
	for {
		// The next byte that matters.
		i := d.at
		for i < len(d.in) {
			if i+8 <= len(d.in) {
				m := special(load(d.in, i))
				if m == 0 {
					i += 8
					continue
				}
			}
			if c := d.in[i]; c == '"' || c == '\\' || c < 0x20 {
				break
			}
			i++
		}
		d.scratch = append(d.scratch, d.in[start:i]...)
		if d.at = i; i == len(d.in) {
			return nil, errors.New("the string has no closing quote")
		}
		switch c := d.in[i]; c {
		case '"':
			s := d.scratch[n:len(d.scratch):len(d.scratch)]
			if !utf8.Valid(s) {
				d.at = begin
				return nil, errors.New("the string is not valid UTF-8: write bytes as base64, in key_b64 or value_b64")
			}
			d.at++
			return s, nil
		case '\\':
			if err := d.escape(); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("control character %#02x in a string: write it as \\u%04x", c, c)
		}
		start = d.at
	}
}

var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads one escape sequence, whose backslash is at d.at.
func (d *decoder) escape() error {
	if d.at+1 < len(d.in) {
		if c := unescaped[d.in[d.at+1]]; c != 0 {
			d.scratch = append(d.scratch, c)
			d.at += 2
			return nil
		}
	}
	r, ok := d.unicode()
	if !ok {
		return errors.New(`unknown escape: write \\ for a backslash`)
	}
	if utf16.IsSurrogate(r) {
		at := d.at
		low, ok := d.unicode()
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			d.at = at - 6
			return errors.New("half of a surrogate pair is no character: write bytes as base64, in key_b64 or value_b64")
		}
	}
	d.scratch = utf8.AppendRune(d.scratch, r)
	return nil
}

// unicode reads \uXXXX.
func (d *decoder) unicode() (rune, bool) {
	if d.at+6 > len(d.in) || d.in[d.at] != '\\' || d.in[d.at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range d.in[d.at+2 : d.at+6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	d.at += 6
	return r, true
}
