package screen

import "unicode/utf8"

// A Key is a character, or one of the keys without one.
type Key rune

// The keys without a character, and some that have one.
const (
	Up Key = -1 - iota
	Down
	Left
	Right
	PageUp
	PageDown
	Home
	End

	Enter     Key = '\r'
	Escape    Key = 0x1b
	Backspace Key = 0x7f
	Interrupt Key = 3  // ^C
	Suspend   Key = 26 // ^Z
	Redraw    Key = 12 // ^L
)

// sequences are what terminals send for keys without a character, with and
// without application mode.
var sequences = map[string]Key{
	"[A": Up, "[B": Down, "[C": Right, "[D": Left, "OA": Up, "OB": Down, "OC": Right, "OD": Left,
	"[5~": PageUp, "[6~": PageDown, "[H": Home, "[F": End, "OH": Home, "OF": End, "[1~": Home, "[4~": End,
}

// parse is the keys in what was read at once. A sequence that is not known is no
// key; an escape that nothing follows is the key of that name.
func parse(b []byte) (keys []Key) {
	for len(b) > 0 {
		if b[0] == 0x1b && len(b) > 1 {
			n := sequence(b[1:])
			if k, ok := sequences[string(b[1:1+n])]; ok {
				keys = append(keys, k)
			}
			b = b[1+n:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		if b = b[n:]; r == '\b' {
			r = rune(Backspace)
		}
		if r != utf8.RuneError {
			keys = append(keys, Key(r))
		}
	}
	return keys
}

// sequence is how many bytes belong to an escape sequence, without the escape.
func sequence(b []byte) int {
	switch b[0] {
	case '[':
		for i, c := range b[1:] {
			if 0x40 <= c && c <= 0x7e {
				return i + 2
			}
		}
		return len(b)
	case 'O':
		return min(2, len(b))
	}
	_, n := utf8.DecodeRune(b) // Alt and a character
	return n
}
