package redis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
)

func TestValue(t *testing.T) {
	if s, err := value("+OK\r\n").text(); s != "OK" || err != nil {
		t.Errorf("got %q, %v", s, err)
	}
	if n, err := value(":-12\r\n").number(); n != -12 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if err := value("-ERR no such key\r\n").err(); !isNoKey(err) {
		t.Errorf("got %v", err)
	}
	if _, err := value("-NOGROUP there is none\r\n").list(); !isNoGroup(err) {
		t.Errorf("got %v", err)
	}
	m, err := value(resp(list{"a", 1, "b", list{"c", list{}}})).table()
	if d := cmp.Diff(map[string]value{"a": resp(1), "b": resp(list{"c", list{}})}, m); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for _, nothing := range []value{value("*-1\r\n"), value("$-1\r\n")} {
		if !nothing.isNil() || nothing.err() != nil {
			t.Errorf("%q is nil", nothing)
		}
	}
}

// TestValueOf: what rueidis has parsed is as it was sent.
func TestValueOf(t *testing.T) {
	for _, want := range []value{resp("x"), resp(""), resp(-7), resp(nil), resp(list{list{"5-0", list{"msg", "five"}}, list{"5-1", nil}, nil})} {
		m, err := parsed(t, want)
		if err != nil {
			t.Fatal(err)
		}
		if got := valueOf(m); !bytes.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	m, err := parsed(t, []byte("%1\r\n$1\r\na\r\n:1\r\n")) // RESP3
	if err != nil {
		t.Fatal(err)
	}
	if got, want := valueOf(m), value(resp(list{"a", 1})); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRedirects(t *testing.T) {
	for _, c := range []struct{ said, word, want string }{
		{"MOVED 3999 127.0.0.1:6381", "MOVED", "127.0.0.1:6381"},
		{"ASK 3999 127.0.0.1:6381", "ASK", "127.0.0.1:6381"},
		{"ASK 3999 127.0.0.1:6381", "MOVED", ""},
		{"MOVED 3999 ::1:6381", "MOVED", "[::1]:6381"},
		{"MOVED 3999 :6381", "MOVED", "[::2]:6381"},
		{"MOVED", "MOVED", ""},
		{"", "MOVED", ""},
	} {
		if got, ok := refusal(c.said).redirects(c.word, "[::2]:7000"); got != c.want || ok != (c.want != "") {
			t.Errorf("%q: got %q, %t", c.said, got, ok)
		}
	}
}

// TestAnswers reads small and large replies that come in pieces of any size.
func TestAnswers(t *testing.T) {
	t.Parallel()
	large := resp(list{list{"s", list{list{"5-0", list{"msg", string(bytes.Repeat([]byte("x"), 20_000))}}}}})
	rounds := [][]value{{resp(1)}, {resp("a"), large, value("-ERR b\r\n")}, {large}, {resp(nil), resp(2)}, {large, large}}
	for _, size := range []int{61, 4096, 1 << 20} {
		here, there := net.Pipe()
		go func() {
			for _, round := range rounds {
				for all := bytes.Join(bytesOf(round), nil); len(all) > 0; all = all[min(size, len(all)):] {
					if _, err := there.Write(all[:min(size, len(all))]); err != nil {
						return
					}
				}
			}
			there.Close()
		}()
		w := newWire(here)
		var kept [][]value
		for range rounds {
			got, err := w.answers(len(rounds[len(kept)]))
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, got)
		}
		if !reflect.DeepEqual(rounds, kept) { // only now: later ones must not overwrite those before
			t.Errorf("in pieces of %d (-want +got):\n%s", size, cmp.Diff(rounds, kept))
		}
		if _, err := w.answers(1); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: got %v", err)
		}
		here.Close()
	}
}

// TestAnswersTooLarge: what is too large is not taken for another protocol.
func TestAnswersTooLarge(t *testing.T) {
	defer func(most int) { maxAnswers = most }(maxAnswers)
	maxAnswers = 32 << 10
	here, there := net.Pipe()
	defer here.Close()
	go func() { defer there.Close(); _, _ = there.Write(resp(string(make([]byte, 100_000)))) }()
	if _, err := newWire(here).answers(1); !tooMuch(err) || errors.Is(err, errProtocol) {
		t.Errorf("got %v", err)
	}
}

func bytesOf(vs []value) [][]byte {
	bs := make([][]byte, len(vs))
	for i := range vs {
		bs[i] = vs[i]
	}
	return bs
}

// TestAnswersRefuses: a server that says what it was not asked, or what is no
// RESP, is not listened to.
func TestAnswersRefuses(t *testing.T) {
	for _, said := range []string{"+OK\r\n+OK\r\n", "HTTP/1.1 400\r\n", "$x\r\n"} {
		here, there := net.Pipe()
		go func() { fmt.Fprint(there, said); there.Close() }()
		if got, err := newWire(here).answers(1); !errors.Is(err, errProtocol) {
			t.Errorf("%q: got %q, %v", said, got, err)
		}
		here.Close()
	}
}

func BenchmarkBatch(b *testing.B) {
	var entries list
	for i := range 1000 {
		entries = append(entries, list{fmt.Sprintf("1700000000000-%d", i), list{"msg", string(make([]byte, 256))}})
	}
	reply := resp(entries)
	o := &Options{Field: "msg"}
	for b.Loop() {
		var f frames
		if _, complete, err := f.next(reply); !complete || err != nil {
			b.Fatal(err)
		}
		if _, _, err := newBatch(o, driver.Shard{}, reply); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/entry")
}
