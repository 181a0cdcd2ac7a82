package listing

import (
	"strings"
	"unicode"
)

// wide are the characters that take two cells of a terminal: those of East Asia,
// and small pictures.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1100, 0x115f, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0xa4cf, 1}, {0xa960, 0xa97c, 1}, {0xac00, 0xd7a3, 1},
		{0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1}},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1f9ff, 1}, {0x20000, 0x3fffd, 1}},
}

func cells(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf): // they stand on the one before
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// Cells is how many cells of a terminal a text takes, which has nothing in it that
// a terminal obeys.
func Cells(s string) int {
	n := 0
	for _, r := range s {
		n += cells(r)
	}
	return n
}

// Cut is a text in at most so many cells; … stands for what was cut off.
func Cut(s string, width int) string {
	if Cells(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n += cells(r); n >= width {
			return s[:i] + "…"
		}
	}
	return s
}

// Left is a text in just so many cells, from the left.
func Left(s string, width int) string {
	s = Cut(s, width)
	return s + strings.Repeat(" ", max(0, width-Cells(s)))
}

// Right is a text in just so many cells, at the right.
func Right(s string, width int) string {
	s = Cut(s, width)
	return strings.Repeat(" ", max(0, width-Cells(s))) + s
}
