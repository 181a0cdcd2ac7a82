package listing

import (
	"testing"
	"unicode/utf8"
)

func TestCells(t *testing.T) {
	for _, test := range []struct {
		text  string
		cells int
		width int
		left  string
		right string
	}{
		{"", 0, 2, "  ", "  "},
		{"news", 4, 6, "news  ", "  news"},
		{"news", 4, 4, "news", "news"},
		{"news", 4, 3, "ne…", "ne…"},
		{"news", 4, 1, "…", "…"},
		{"news", 4, 0, "", ""},
		{"news", 4, -3, "", ""},
		{"新闻", 4, 5, "新闻 ", " 新闻"},
		{"新闻", 4, 3, "新…", "新…"},
		{"新闻", 4, 2, "… ", " …"}, // half of a character cannot be shown
		{"뉴스", 4, 4, "뉴스", "뉴스"},
		{"ニュース", 8, 8, "ニュース", "ニュース"},
		{"e\u0301", 1, 2, "e\u0301 ", " e\u0301"}, // a letter and an accent
		{"émile", 5, 4, "émi…", "émi…"},
		{"🌊 sea", 6, 7, "🌊 sea ", " 🌊 sea"},
	} {
		if got := Cells(test.text); got != test.cells {
			t.Errorf("%q takes %d cells, want %d", test.text, got, test.cells)
		}
		if got := Left(test.text, test.width); got != test.left {
			t.Errorf("%q in %d from the left: %q, want %q", test.text, test.width, got, test.left)
		}
		if got := Right(test.text, test.width); got != test.right {
			t.Errorf("%q in %d at the right: %q, want %q", test.text, test.width, got, test.right)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("新闻 news", 5)
	f.Fuzz(func(t *testing.T, s string, width int) {
		if !utf8.ValidString(s) || width < 0 || width > 1000 {
			return
		}
		if got := Left(s, width); Cells(got) != width || !utf8.ValidString(got) {
			t.Errorf("%q in %d: %q", s, width, got)
		}
	})
}
