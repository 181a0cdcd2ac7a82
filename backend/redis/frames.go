package redis

import (
	"bytes"
	"errors"
)

// frames finds the ends of values in a stream of RESP, 2 or 3, which may come
// in pieces of any size. It does not look into what it skips.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
type frames struct {
	skip  int64 // bytes of a string that are still to come, its line end included
	open  int64 // values that are still to come until the outermost one is complete
	kind  byte  // of the line that has begun; 0 between lines
	n     int64 // its number, as far as it has come
	minus bool  // its number is negative
	push  bool  // the outermost value was not asked for
}

var errFrame = errors.New("what it says is no RESP")

// next reads to the end of the outermost value. It returns how much of b that
// was, and whether the value is complete; else it wants more.
func (f *frames) next(b []byte) (n int, complete bool, err error) {
	for n < len(b) {
		if f.skip > 0 {
			k := min(f.skip, int64(len(b)-n))
			n += int(k)
			if f.skip -= k; f.skip == 0 && f.end() {
				return n, true, nil
			}
			continue
		}
		if f.kind == 0 {
			f.kind, f.n, f.minus = b[n], 0, false
			n++
			if f.open == 0 {
				f.open, f.push = 1, f.kind == '>'
			}
		}
		switch f.kind {
		case '$', '!', '=', '*', '%', '~', '>', '|':
			for n < len(b) && b[n] != '\n' {
				switch d := b[n]; {
				case '0' <= d && d <= '9' && f.n < 1<<40:
					f.n = f.n*10 + int64(d-'0')
				case d == '-' && f.n == 0:
					f.minus = true
				case d != '\r':
					return n, false, errFrame
				}
				n++
			}
		case '+', '-', ':', '_', '#', ',', '(':
			if i := bytes.IndexByte(b[n:], '\n'); i >= 0 {
				n += i
			} else {
				n = len(b)
			}
		default:
			return n, false, errFrame
		}
		if n == len(b) {
			return n, false, nil
		}
		n++ // the line end
		if f.line() {
			return n, true, nil
		}
	}
	return n, false, nil
}

// line is the end of a line, and says whether that is the end of all.
func (f *frames) line() bool {
	kind := f.kind
	f.kind = 0
	if f.minus && kind != '-' {
		return f.end() // nothing, as RESP 2 writes it
	}
	switch kind {
	case '$', '!', '=':
		f.skip = f.n + 2
		return false
	case '*', '~', '>':
		f.open += f.n
	case '%':
		f.open += 2 * f.n
	case '|': // attributes come before a value
		f.open += 2 * f.n
		return false
	}
	return f.end()
}

// end is the end of a value.
func (f *frames) end() bool {
	f.open--
	return f.open == 0
}
