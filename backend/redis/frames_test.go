package redis

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestFrames(t *testing.T) {
	values := []string{
		"+OK\r\n", "-ERR no\r\n", ":12\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "(123\r\n",
		"$3\r\nabc\r\n", "$0\r\n\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "%0\r\n",
		"*2\r\n*1\r\n$4\r\n*9\r\n\r\n:1\r\n", "%1\r\n+a\r\n*2\r\n+b\r\n+c\r\n", "~1\r\n+a\r\n",
		"|1\r\n+a\r\n+b\r\n*1\r\n+c\r\n", "=7\r\ntxt:abc\r\n", "!5\r\nERR x\r\n", ">2\r\n+message\r\n+x\r\n",
	}
	all := strings.Join(values, "")
	for size := 1; size <= len(all); size++ {
		var f frames
		var got []string
		var part strings.Builder
		for rest := all; rest != ""; {
			piece := rest[:min(size, len(rest))]
			rest = rest[len(piece):]
			for piece != "" {
				n, complete, err := f.next([]byte(piece))
				if err != nil {
					t.Fatal(err)
				}
				part.WriteString(piece[:n])
				piece = piece[n:]
				if complete {
					got = append(got, part.String())
					part.Reset()
				}
			}
		}
		if g, w := fmt.Sprintf("%q", got), fmt.Sprintf("%q", values); g != w {
			t.Fatalf("in pieces of %d: got %s, want %s", size, g, w)
		}
	}
}

// FuzzFrames checks that pieces make no difference, and that nothing is
// skipped without end.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n:1\r\n+x\r\n"), uint64(1))
	f.Add([]byte("$99999999999999999999\r\n"), uint64(2))
	f.Add([]byte("%-5\r\n|1\r\n"), uint64(2))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		ends := func(piece func(int) int) (at []int, err error) {
			var f frames
			for from := 0; from < len(b); {
				to := from + piece(len(b)-from)
				for from < to {
					n, complete, err := f.next(b[from:to])
					if err != nil {
						return at, err
					}
					if n == 0 {
						t.Fatalf("no progress at %d", from)
					}
					if from += n; complete {
						at = append(at, from)
					}
				}
			}
			return at, nil
		}
		whole, err := ends(func(n int) int { return n })
		rnd := rand.New(rand.NewPCG(seed, 0))
		pieces, err2 := ends(func(n int) int { return 1 + rnd.IntN(n) })
		if fmt.Sprint(whole) != fmt.Sprint(pieces) || (err == nil) != (err2 == nil) {
			t.Errorf("whole: %v, %v; in pieces: %v, %v", whole, err, pieces, err2)
		}
	})
}

func BenchmarkFrames(b *testing.B) {
	var buf bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&buf, "*2\r\n$15\r\n1700000000000-%d\r\n*2\r\n$3\r\nmsg\r\n$256\r\n%s\r\n", i%10, strings.Repeat("x", 256))
	}
	b.ReportAllocs()
	for b.Loop() {
		var f frames
		for rest := buf.Bytes(); len(rest) > 0; {
			n, _, err := f.next(rest)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/entry")
}
