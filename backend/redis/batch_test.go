package redis

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// parsed is what rueidis makes of the bytes of one reply: it has no parser that
// others can call, so a client reads them from a connection.
func parsed(t testing.TB, reply []byte) (m rueidis.RedisMessage, err error) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		r := bufio.NewReader(there)
		for n := 0; ; n++ {
			words, err := command(r)
			if err != nil {
				return
			}
			answer := []byte("+OK\r\n")
			switch words[0] {
			case "HELLO":
				answer = []byte("%1\r\n$5\r\nproto\r\n:3\r\n")
			case "GET":
				answer = reply
			}
			if _, err := there.Write(answer); err != nil || words[0] == "GET" {
				return
			}
		}
	}()
	rc, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"pipe"}, ForceSingleClient: true, DisableCache: true, DisableRetry: true, ConnWriteTimeout: 5 * time.Second,
		Dialer:    net.Dialer{KeepAlive: -1},
		DialCtxFn: func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) { return here, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	// It has no goroutine, and must not get one: a goroutine of rueidis's panics
	// when more than one reply comes. So it is not closed.
	m, err = rc.Do(context.Background(), rc.B().Get().Key("k").Build()).ToMessage()
	if rueidis.IsRedisNil(err) {
		err = nil
	}
	return m, err
}

// command reads one command.
func command(r *bufio.Reader) ([]string, error) {
	number := func(mark byte) (int, error) {
		line, err := r.ReadString('\n')
		if err != nil || len(line) < 4 || line[0] != mark {
			return 0, errors.Join(err, io.ErrUnexpectedEOF)
		}
		return strconv.Atoi(line[1 : len(line)-2])
	}
	n, err := number('*')
	if err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		size, err := number('$')
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		words[i] = string(b[:size])
	}
	return words, nil
}

// resp writes a reply: strings, ints, nil, and lists of them.
func resp(v any) []byte {
	var b bytes.Buffer
	switch v := v.(type) {
	case nil:
		b.WriteString("*-1\r\n")
	case int:
		fmt.Fprintf(&b, ":%d\r\n", v)
	case string:
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(v), v)
	case []any:
		fmt.Fprintf(&b, "*%d\r\n", len(v))
		for _, e := range v {
			b.Write(resp(e))
		}
	}
	return b.Bytes()
}

type list = []any

// batchOf is the batch of a list of entries.
func batchOf(t testing.TB, entries list) (*batch, []driver.Seq, error) {
	t.Helper()
	return newBatch(&Options{Field: "msg"}, driver.Shard{Stream: "s", Index: 3}, resp(entries))
}

// read is what a batch says of message i.
func read(b driver.Batch, i int) driver.Record {
	r := driver.Record{Value: b.Value(i), Key: b.Key(i), Time: b.Time(i)}
	for k, v := range b.Headers(i) {
		r.Headers = append(r.Headers, driver.Header{Key: k, Value: v})
	}
	return r
}

func TestBatch(t *testing.T) {
	b, gone, err := batchOf(t, list{
		list{"5-0", list{"msg", "five"}},
		list{"5-1", nil},
		list{"6-0", list{"key", "k", "h:msg", "x", "msg", "", "ts", "7.5"}},
		nil,
		list{"7-0", list{}},
		list{"8-0", nil},
		list{"9-2", list{"", "", "temp", "21", "msg", "a", "msg", "b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]driver.Seq{{Hi: 5, Lo: 1}, {Hi: 8}}, gone); d != "" {
		t.Errorf("gone (-want +got):\n%s", d)
	}
	want := []driver.Record{
		{Value: []byte("five"), Time: time.UnixMilli(5)},
		{Value: []byte{}, Key: []byte("k"), Time: time.UnixMicro(7500), Headers: []driver.Header{{Key: "msg", Value: []byte("x")}}},
		{Time: time.UnixMilli(7)},
		{Value: []byte("a"), Time: time.UnixMilli(9), Headers: []driver.Header{{Key: "temp", Value: []byte("21")}, {Key: "msg", Value: []byte("b")}}},
	}
	ids := []driver.Seq{{Hi: 5}, {Hi: 6}, {Hi: 7}, {Hi: 9, Lo: 2}}
	check := func(want []driver.Record, ids []driver.Seq) {
		t.Helper()
		if b.Len() != len(want) {
			t.Fatalf("Len: got %d, want %d", b.Len(), len(want))
		}
		sum := 0
		for i := range want {
			if d := cmp.Diff(want[i], read(b, i)); d != "" {
				t.Errorf("message %d (-want +got):\n%s", i, d)
			}
			if b.Seq(i) != ids[i] {
				t.Errorf("message %d: got id %v, want %v", i, b.Seq(i), ids[i])
			}
			sum += b.Size(i)
		}
		if b.Bytes() != sum {
			t.Errorf("Bytes: got %d, want the sum of sizes %d", b.Bytes(), sum)
		}
	}
	check(want, ids)
	if b.Next() != (driver.Seq{Hi: 9, Lo: 3}) || b.Shard() != (driver.Shard{Stream: "s", Index: 3}) || b.Attempt(1) != 1 {
		t.Errorf("got next %v, shard %v, attempt %d", b.Next(), b.Shard(), b.Attempt(1))
	}
	b.attempts = []int32{1, 2, 3, 4}
	b.drop(2)
	check(want[2:], ids[2:])
	if b.Attempt(0) != 3 {
		t.Errorf("attempt of the third: got %d, want 3", b.Attempt(0))
	}
}

// TestBatchOfValues: the usual case needs no shapes.
func TestBatchOfValues(t *testing.T) {
	b, _, err := batchOf(t, list{list{"1-0", list{"msg", "a"}}, list{"1-1", list{"msg", ""}}})
	if err != nil {
		t.Fatal(err)
	}
	if b.shapes != nil || string(b.Value(0)) != "a" || b.Value(1) == nil || b.Key(0) != nil || !b.Time(1).Equal(time.UnixMilli(1)) {
		t.Errorf("got %+v", b)
	}
	for range b.Headers(0) {
		t.Error("a header")
	}
}

func TestBatchRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries list
	}{
		{"no pair", list{list{"1-0"}}},
		{"three", list{list{"1-0", list{}, ""}}},
		{"a number", list{1}},
		{"no id", list{list{"one", list{"msg", "a"}}}},
		{"a number for an id", list{list{1, list{"msg", "a"}}}},
		{"descending", list{list{"2-0", list{"msg", "a"}}, list{"1-0", list{"msg", "a"}}}},
		{"twice", list{list{"2-0", list{"msg", "a"}}, list{"2-0", nil}}},
		{"odd fields", list{list{"1-0", list{"msg", "a", "b"}}}},
		{"text for fields", list{list{"1-0", "msg"}}},
		{"a list for a name", list{list{"1-0", list{list{}, "b"}}}},
		{"a number for a value", list{list{"1-0", list{"msg", 5}}}},
		{"nil for a value", list{list{"1-0", list{"msg", nil}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if b, _, err := batchOf(t, c.entries); !errors.Is(err, errReply) {
				t.Errorf("got %+v, %v, want an error", b, err)
			}
		})
	}
}

func TestEachStream(t *testing.T) {
	got := map[string]string{}
	reply := value(resp(list{list{"a", list{list{"1-0", list{"msg", "x"}}}}, list{"b", list{}}}))
	err := reply.eachStream(func(key string, entries value) error { got[key] = string(entries); return nil })
	if d := cmp.Diff(map[string]string{"a": string(resp(list{list{"1-0", list{"msg", "x"}}})), "b": "*0\r\n"}, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for _, reply := range []value{resp(1), resp("x"), resp(list{list{"a"}}), resp(list{list{1, list{}}}), resp(list{1})} {
		if err := reply.eachStream(func(string, value) error { return nil }); !errors.Is(err, errReply) {
			t.Errorf("%q: got %v", reply, err)
		}
	}
	for _, reply := range []value{resp(nil), value("$-1\r\n"), resp(list{})} {
		if err := reply.eachStream(nil); err != nil {
			t.Errorf("%q: %v", reply, err)
		}
	}
}

// FuzzBatch reads whatever a server may say as a reply of XREAD.
func FuzzBatch(f *testing.F) {
	f.Add(resp(list{list{"s", list{list{"5-0", list{"msg", "five"}}, list{"5-1", nil}, nil}}}))
	f.Add(resp(list{list{"s", list{list{"6-0", list{"key", "k", "h:msg", "x", "msg", "", "ts", "7.5"}}, list{"7-0", list{}}}}}))
	f.Add(resp(list{list{"s", list{list{"1-0", list{"msg", "a", "b"}}}}}))
	f.Add(resp(list{list{"s", list{list{1, list{"msg", nil}}}}}))
	f.Add(resp(nil))
	f.Add([]byte("%1\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n"))
	f.Add([]byte("*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n+1-0\r\n*2\r\n=3\r\nmsg\r\n(99\r\n"))
	f.Add([]byte("*1\r\n*2\r\n+s\r\n*99999999\r\n*2\r\n$3\r\n1-0\r\n*99999999\r\n"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		for _, v := range []value{reply, bytes.Clone(reply)[:len(reply):len(reply)]} {
			_, _ = v.table()
			_, _ = v.texts()
			_, _ = v.number()
			_ = v.err()
		}
		_ = value(reply).eachStream(func(_ string, entries value) error {
			listed, _ := entries.list()
			b, gone, err := newBatch(&Options{Field: "msg"}, driver.Shard{}, entries)
			if err != nil {
				return nil //nolint:nilerr // the next stream
			}
			if b.Len()+len(gone) > len(listed) {
				t.Fatalf("%d messages and %d gone of %d entries", b.Len(), len(gone), len(listed))
			}
			sum := 0
			for i := range b.Len() {
				read(b, i)
				sum += b.Size(i)
				if i > 0 && !b.Seq(i-1).Less(b.Seq(i)) || b.Seq(i) != driver.MaxSeq && !b.Seq(i).Less(b.Next()) {
					t.Fatalf("message %d at %v, next %v", i, b.Seq(i), b.Next())
				}
			}
			if sum != b.Bytes() {
				t.Fatalf("Bytes: got %d, want %d", b.Bytes(), sum)
			}
			return nil
		})
	})
}

// hugeLength reports whether there are five digits in a row.
func hugeLength(reply []byte) bool {
	n := 0
	for _, c := range reply {
		if n++; c < '0' || c > '9' {
			n = 0
		}
		if n == 5 {
			return true
		}
	}
	return false
}
