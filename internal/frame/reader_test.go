package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// sessions is a source: each string is a session, read in pieces of at most
// chunk bytes.
type sessions struct {
	left  []string
	chunk func() int
	merge bool // the end comes with the last bytes
}

func (s *sessions) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.chunk())], s.left[0])
	s.left[0] = s.left[0][n:]
	if s.left[0] == "" && (n == 0 || s.merge) {
		s.left = s.left[1:]
		return n, ErrSessionEnd
	}
	return n, nil
}

// readAll reads to the end and says what came, errors and ends included.
func readAll(o Options, chunk func() int, merge bool, in ...string) (got []string, st Stats) {
	r := NewReader(&sessions{left: append([]string{}, in...), chunk: chunk, merge: merge}, NewPool(nil), o)
	defer r.Close()
	type kept struct {
		m    []byte
		b    *Block
		want string
	}
	var held []kept
	for {
		m, err := r.Next()
		switch {
		case err == io.EOF:
			for _, k := range held {
				if string(k.m) != k.want {
					got = append(got, fmt.Sprintf("BROKEN %q became %q", k.want, k.m))
				}
				k.b.Release()
			}
			return got, r.Stats()
		case err == ErrSessionEnd:
			got = append(got, "--")
		case err != nil:
			got = append(got, "error: "+err.Error())
		default:
			got = append(got, string(m))
			if len(held) < 1000 {
				r.Block().Hold()
				held = append(held, kept{m, r.Block(), string(m)})
			}
		}
	}
}

func all() int { return 1 << 30 }
func one() int { return 1 }

func TestReader(t *testing.T) {
	len32 := func(parts ...string) string {
		var b []byte
		for _, p := range parts {
			b = Len32be.Append(b, []byte(p))
		}
		return string(b)
	}
	for _, c := range []struct {
		name string
		o    Options
		in   []string
		want string // joined by |
		st   Stats
	}{
		{"lines", Options{}, []string{"a\nbb\n\nc\r\n"}, "a|bb|c\r|--", Stats{Frames: 3, Blank: 1}},
		{"crlf", Options{CRLF: true}, []string{"a\r\nb\n\r\nc\r"}, "a|b|c|--", Stats{Frames: 3, Blank: 1, Partial: 1}},
		{"crlf keeps other", Options{CRLF: true}, []string{"a\r\r\n\ra\n"}, "a\r|\ra|--", Stats{Frames: 2}},
		{"blank", Options{KeepBlank: true}, []string{"\n\na\n"}, "||a|--", Stats{Frames: 3}},
		{"nul", Options{Kind: Nul}, []string{"a\nb\x00\x00c"}, "a\nb|c|--", Stats{Frames: 2, Blank: 1, Partial: 1}},
		{"bom is kept", Options{}, []string{"\xef\xbb\xbfa\n"}, "\xef\xbb\xbfa|--", Stats{Frames: 1}},
		{"partial send", Options{}, []string{"a\n{1", "{2}\n"}, "a|{1|--|{2}|--", Stats{Frames: 3, Partial: 1}},
		{"partial drop", Options{Partial: DropPartial}, []string{"a\n{1", "{2}\n"}, "a|--|{2}|--", Stats{Frames: 2, Partial: 1}},
		{"partial hold", Options{Partial: HoldPartial}, []string{"a\n{1", "", "{2}\nend"}, "a|--|--|{1{2}|--|end", Stats{Frames: 3, Partial: 1}},
		{"partial fail", Options{Partial: FailPartial}, []string{"a\n{1", "{2}\n"}, "a|error: line 2 (from byte 2) has no end: the input stopped after 2 bytes of it|--|{2}|--", Stats{Frames: 2, Partial: 1}},
		{"oversize fail", Options{MaxMessage: 3}, []string{"abc\nabcd\nx\nabcdefghijkl"}, "abc|error: line 2 (from byte 4) is longer than 3 bytes|x|error: line 4 (from byte 11) is longer than 3 bytes|--", Stats{Frames: 2, Oversize: 2}},
		{"oversize skip", Options{MaxMessage: 3, Oversize: SkipOversize}, []string{"abc\nabcd\nx\nabcdefghijkl", "y\n"}, "abc|x|--|y|--", Stats{Frames: 3, Oversize: 2}},
		{"oversize truncate", Options{MaxMessage: 3, Oversize: TruncateOversize}, []string{"abc\nabcdefgh\nx\n"}, "abc|abc|x|--", Stats{Frames: 3, Oversize: 1}},
		{"oversize crlf", Options{MaxMessage: 3, CRLF: true}, []string{"abc\r\nx\nabc\r"}, "abc|x|abc|--", Stats{Frames: 3, Partial: 1}},
		{"oversize crlf at the end", Options{MaxMessage: 3, CRLF: true, Oversize: SkipOversize}, []string{"abcd"}, "--", Stats{Oversize: 1, Partial: 1}},
		{"whole", Options{Kind: Whole}, []string{"a\nb", "", "c"}, "a\nb|--|--|c|--", Stats{Frames: 2}},
		{"whole oversize", Options{Kind: Whole, MaxMessage: 3}, []string{"abcd", "abc"}, "error: message 1 (from byte 0) is longer than 3 bytes|--|abc|--", Stats{Frames: 1, Oversize: 1}},
		{"whole truncate", Options{Kind: Whole, MaxMessage: 3, Oversize: TruncateOversize}, []string{"abcde", "x"}, "abc|--|x|--", Stats{Frames: 2, Oversize: 1}},
		{"len32be", Options{Kind: Len32be}, []string{len32("a\n", "", "b")}, "a\n|b|--", Stats{Frames: 2, Blank: 1}},
		{"len32be partial", Options{Kind: Len32be}, []string{len32("a") + "\x00\x00", len32("b")}, "a|error: message 2 (from byte 5) has no end: the input stopped after 2 bytes of it|--|b|--", Stats{Frames: 2, Partial: 1}},
		{"len32be oversize", Options{Kind: Len32be, MaxMessage: 3}, []string{len32("abc", "abcdef", "x")}, "abc|error: message 2 (from byte 7) is longer than 3 bytes|x|--", Stats{Frames: 2, Oversize: 1}},
		{"len32be skip", Options{Kind: Len32be, MaxMessage: 3, Oversize: SkipOversize}, []string{len32("abcdef", "x")}, "x|--", Stats{Frames: 1, Oversize: 1}},
		{"len32be truncate", Options{Kind: Len32be, MaxMessage: 3, Oversize: TruncateOversize}, []string{len32("abcdef", "x")}, "abc|x|--", Stats{Frames: 2, Oversize: 1}},
		{"len32be absurd", Options{Kind: Len32be}, []string{"\xff\xff\xff\xffabc"}, "error: message 1 (from byte 0) is longer than 16777216 bytes|--", Stats{Oversize: 1}},
		{"nothing", Options{}, []string{}, "", Stats{}},
	} {
		for name, chunk := range map[string]func() int{"at once": all, "one byte": one} {
			for _, merge := range []bool{false, true} {
				got, st := readAll(c.o, chunk, merge, c.in...)
				for _, s := range c.in {
					c.st.Bytes += int64(len(s))
				}
				if d := cmp.Diff(c.want, strings.Join(got, "|")); d != "" {
					t.Errorf("%s, %s: %s", c.name, name, d)
				}
				if st != c.st {
					t.Errorf("%s, %s: stats %+v, want %+v", c.name, name, st, c.st)
				}
				c.st.Bytes = 0
			}
		}
	}
}

// Messages around every size that matters inside come out as they went in, and
// stay as they are while they are held.
func TestReaderSizes(t *testing.T) {
	sizes := []int{1, 4095, 4096, 4097, blockSize - 1, blockSize, blockSize + 1, 65535, 65536, 1 << 20, 3<<20 + 1}
	for _, k := range []Kind{Lines, Nul, Len32be} {
		var in []byte
		var want []string
		for i := range 40 {
			m := bytes.Repeat([]byte{byte('a' + i%26)}, sizes[i%len(sizes)])
			want = append(want, string(m))
			in = k.Append(in, m)
		}
		got, _ := readAll(Options{Kind: k}, func() int { return 1 + rand.IntN(100_000) }, true, string(in))
		if d := cmp.Diff(append(want, "--"), got); d != "" {
			t.Errorf("%v: %.300s", k, d)
		}
	}
}

// A line of 1 GiB is passed over in the memory of a few blocks.
func TestOversizeIsNotBuffered(t *testing.T) {
	pool := NewPool(nil)
	r := NewReader(io.LimitReader(zeros{}, 1<<30), pool, Options{MaxMessage: 1 << 20, Oversize: SkipOversize})
	defer r.Close()
	_, err := r.Next()
	largest := len(r.b.buf)
	if err != io.EOF || largest > 4<<20 {
		t.Errorf("error %v with a buffer of %d bytes", err, largest)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBOMNotice(t *testing.T) {
	n := 0
	o := Options{Notice: func(string) { n++ }}
	readAll(o, one, false, "\xef\xbb\xbfa\n", "\xef\xbb\xbfb\n")
	if n != 1 {
		t.Errorf("%d notices, want 1", n)
	}
	n = 0
	readAll(o, one, false, "a\xef\xbb\xbf\n", "\xef\xbb", "\n")
	if n != 0 {
		t.Errorf("%d notices, want none", n)
	}
}

// A source that ends in the middle of a message has not ended it, whatever is done
// about a last message that has no end.
func TestSourceError(t *testing.T) {
	broken := errors.New("broken")
	for _, k := range []Kind{Lines, Whole} {
		for _, p := range []Partial{SendPartial, DropPartial, HoldPartial, FailPartial} {
			r := NewReader(io.MultiReader(strings.NewReader("a\nb"), brokenSource{broken}), NewPool(nil), Options{Kind: k, Partial: p})
			if k == Lines {
				m, err := r.Next()
				if string(m) != "a" || err != nil {
					t.Fatal(m, err)
				}
			}
			if m, err := r.Next(); err != broken || r.Stats().Partial != 1 {
				t.Errorf("%v, %d: %q, error %v, %+v", k, p, m, err, r.Stats())
			}
		}
	}
}

type brokenSource struct{ err error }

func (e brokenSource) Read([]byte) (int, error) { return 0, e.err }

// What Append joins, the reader cuts, whatever the payloads and the pieces.
func TestJoinAndCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Kind(rapid.IntRange(0, int(Len32be)).Draw(t, "kind"))
		var in []byte
		var want []string
		for _, m := range rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "messages") {
			if k.Ambiguous(m) {
				continue
			}
			want = append(want, string(m))
			in = k.Append(in, m)
		}
		if len(in) > 0 {
			want = append(want, "--")
		}
		n := rapid.IntRange(1, 50).Draw(t, "piece")
		var src []string
		if len(in) > 0 {
			src = []string{string(in)}
		}
		got, _ := readAll(Options{Kind: k, KeepBlank: true}, func() int { return n }, true, src...)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n\xef\xbb\xbfc"), uint16(0), uint8(3))
	f.Add([]byte("\x00\x00\x00\x01a\x00\x00\x00\x09abc"), uint16(0x1234), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, bits uint16, piece uint8) {
		o := Options{Kind: Kind(bits & 7 % 5), Oversize: Oversize(bits >> 3 & 3 % 3), Partial: Partial(bits >> 5 & 3), CRLF: bits&128 != 0, KeepBlank: bits&256 != 0, MaxMessage: int(bits >> 9 & 63)}
		cut := len(in) / 2
		src := []string{string(in[:cut]), string(in[cut:])}
		a, sa := readAll(o, all, true, src...)
		b, sb := readAll(o, func() int { return int(piece)%16 + 1 }, false, src...)
		if d := cmp.Diff(a, b); d != "" || sa != sb {
			t.Fatalf("%+v: in pieces it reads otherwise: %s %+v %+v", o, d, sa, sb)
		}
		if sa.Bytes != int64(len(in)) {
			t.Fatalf("read %d of %d bytes", sa.Bytes, len(in))
		}
		if o.MaxMessage > 0 {
			for _, m := range a {
				if len(m) > o.MaxMessage && m != "--" && !strings.HasPrefix(m, "error: ") {
					t.Fatalf("a message of %d bytes, at most %d", len(m), o.MaxMessage)
				}
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	line := append(bytes.Repeat([]byte("x"), 255), '\n')
	in := bytes.Repeat(line, 1<<14)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	src := &loop{in: in}
	r := NewReader(src, NewPool(nil), Options{})
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
		r.Block().Hold()
		r.Block().Release()
	}
}

type loop struct {
	in []byte
	at int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.in[l.at:])
	if l.at += n; l.at == len(l.in) {
		l.at = 0
	}
	return n, nil
}

func TestKinds(t *testing.T) {
	for k := Lines; k <= Envelope; k++ {
		if got, err := ParseKind(k.String()); got != k || err != nil {
			t.Errorf("%v reads as %v, %v", k, got, err)
		}
	}
	if _, err := ParseKind("line"); err == nil || !strings.Contains(err.Error(), "use lines, nul, len32be, whole, envelope") {
		t.Error(err)
	}
	if got := Len32be.Append(nil, []byte("ab")); binary.BigEndian.Uint32(got) != 2 || len(got) != 6 {
		t.Errorf("%q", got)
	}
}
