package redis

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
)

// window is s as bytes, never nil.
func window(s string) []byte { return append([]byte{}, s...) }

// decode reads an entry's fields as a batch does.
func decode(o *Options, fields []string) driver.Record {
	s := noFields
	for i := 0; i+1 < len(fields); i += 2 {
		s.add(o, int32(i/2), fields[i], fields[i+1])
	}
	var r driver.Record
	if s.value >= 0 {
		r.Value = window(fields[2*s.value+1])
	}
	if s.key >= 0 {
		r.Key = window(fields[2*s.key+1])
	}
	if s.time >= 0 {
		r.Time = s.at
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if name, ok := s.header(int32(i/2), fields[i], fields[i+1]); ok {
			r.Headers = append(r.Headers, driver.Header{Key: name, Value: window(fields[i+1])})
		}
	}
	return r
}

// encode is what a producer writes for rec, as a list of names and values.
func encode(t *testing.T, o *Options, rec *driver.Record) []string {
	t.Helper()
	var list []string
	for b := appendRecord(nil, o, rec); len(b) > 0; {
		size, rest, ok := bytes.Cut(b, []byte("\r\n"))
		n, err := strconv.Atoi(strings.TrimPrefix(string(size), "$"))
		if !ok || err != nil || len(rest) < n+2 || string(rest[n:n+2]) != "\r\n" {
			t.Fatalf("%q is no list of strings", b)
		}
		list = append(list, string(rest[:n]))
		b = rest[n+2:]
	}
	if len(list) != 2*fields(rec) {
		t.Fatalf("%q: %d fields are announced", list, fields(rec))
	}
	return list
}

func TestEntryFields(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	for _, c := range []struct {
		name string
		rec  driver.Record
		want []string
	}{
		{"a value alone is what every program reads", driver.Record{Value: []byte("v")}, []string{"msg", "v"}},
		{"an empty value", driver.Record{Value: []byte{}}, []string{"msg", ""}},
		{"nothing", driver.Record{}, []string{"", ""}},
		{"a tombstone with a key", driver.Record{Key: []byte("k")}, []string{"key", "k"}},
		{"an empty key", driver.Record{Key: []byte{}, Value: []byte("v")}, []string{"msg", "v", "key", ""}},
		{"a time", driver.Record{Value: []byte("v"), Time: at}, []string{"msg", "v", "ts", "1700000000123"}},
		{"a time with nanoseconds", driver.Record{Value: []byte("v"), Time: at.Add(1500)}, []string{"msg", "v", "ts", "1700000000123.0015"}},
		{"a time before 1970", driver.Record{Value: []byte("v"), Time: time.Unix(-1, 900_000_000)}, []string{"msg", "v", "ts", "-100"}},
		{"a time just before 1970", driver.Record{Value: []byte("v"), Time: time.Unix(0, -1)}, []string{"msg", "v", "ts", "-0.000001"}},
		{"headers with names that mean something", driver.Record{Headers: []driver.Header{
			{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "msg", Value: []byte("3")}, {Key: "key", Value: []byte("4")},
			{Key: "ts", Value: []byte("5")}, {Key: "", Value: []byte{}}, {Key: "h:x", Value: []byte("7")},
		}}, []string{"a", "1", "a", "2", "h:msg", "3", "h:key", "4", "h:ts", "5", "h:", "", "h:h:x", "7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &Options{Field: "msg"}
			got := encode(t, o, &c.rec)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("written (-want +got):\n%s", d)
			}
			back := decode(o, got)
			if !back.Time.Equal(c.rec.Time) {
				t.Errorf("time: got %v, want %v", back.Time, c.rec.Time)
			}
			back.Time = c.rec.Time
			if d := cmp.Diff(c.rec, back); d != "" {
				t.Errorf("read (-want +got):\n%s", d)
			}
		})
	}
}

func TestForeignEntries(t *testing.T) {
	header := func(k, v string) driver.Header { return driver.Header{Key: k, Value: []byte(v)} }
	for _, c := range []struct {
		name   string
		fields []string
		want   driver.Record
	}{
		{"other fields are headers", []string{"temp", "21", "unit", "C"}, driver.Record{Headers: []driver.Header{header("temp", "21"), header("unit", "C")}}},
		{"the first of two values counts", []string{"msg", "a", "msg", "b", "key", "c", "key", "d"},
			driver.Record{Value: []byte("a"), Key: []byte("c"), Headers: []driver.Header{header("msg", "b"), header("key", "d")}}},
		{"a time that is no number is a header", []string{"msg", "a", "ts", "yesterday"}, driver.Record{Value: []byte("a"), Headers: []driver.Header{header("ts", "yesterday")}}},
		{"a field without a name", []string{"", "a"}, driver.Record{Headers: []driver.Header{header("", "a")}}},
		{"no fields", nil, driver.Record{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, decode(&Options{Field: "msg"}, c.fields)); d != "" {
				t.Errorf("read (-want +got):\n%s", d)
			}
		})
	}
}

func TestTimeText(t *testing.T) {
	for _, s := range []string{"", "-", ".", "1.", ".5", "+1", "1e3", "0x1", " 1", "1 ", "--1", "1.2.3", "1.-2", "99999999999999999999999", "9223372036854775808000"} {
		if at, ok := parseTime(s); ok {
			t.Errorf("%q is read as %v", s, at)
		}
	}
	for s, want := range map[string]time.Time{
		"0": time.Unix(0, 0), "-0": time.Unix(0, 0), "1700000000000": time.Unix(1_700_000_000, 0), "007": time.UnixMilli(7),
		"1.0000019": time.Unix(0, 1_000_001), "-1500.5": time.Unix(-2, 499_500_000), "-9223372036854775808000": time.Unix(-1<<63, 0),
	} {
		if at, ok := parseTime(s); !ok || !at.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", s, at, ok, want)
		}
	}
}

// FuzzEntry checks that reading gives what was written, whatever it is.
func FuzzEntry(f *testing.F) {
	f.Add("msg", []byte("v"), []byte("k"), uint8(0), int64(1_700_000_000), int64(5), "a", "b", uint64(1))
	f.Add("body", []byte(""), []byte(""), uint8(3), int64(-1), int64(999_999_999), "h:", "ts", uint64(2))
	f.Add("m", []byte("v"), []byte("k"), uint8(7), int64(-1<<63), int64(1), "", "h:h:key", uint64(3))
	f.Add("m", []byte("v"), []byte("k"), uint8(4), int64(1<<63-1), int64(999_999_999), "msg", "m", uint64(4))
	f.Fuzz(func(t *testing.T, field string, value, key []byte, which uint8, sec, ns int64, name, other string, seed uint64) {
		o := Options{Field: field}
		o.fill()
		if o.check() != nil {
			return
		}
		var rec driver.Record
		if which&1 != 0 {
			rec.Value = append([]byte{}, value...)
		}
		if which&2 != 0 {
			rec.Key = append([]byte{}, key...)
		}
		if which&4 != 0 {
			rec.Time = time.Unix(sec, ns&0x1fffffff) // below a second
		}
		names := []string{name, other, field, "msg", "key", "ts", "", "h:", "h:" + name, field + other}
		rnd := rand.New(rand.NewPCG(seed, 0))
		for range rnd.IntN(6) {
			rec.Headers = append(rec.Headers, driver.Header{Key: names[rnd.IntN(len(names))], Value: append([]byte{}, value[:rnd.IntN(len(value)+1)]...)})
		}
		fields := encode(t, &o, &rec)
		if len(fields) == 0 || len(fields)%2 != 0 {
			t.Fatalf("%q: Redis takes pairs, at least one", fields)
		}
		back := decode(&o, fields)
		if !back.Time.Equal(rec.Time) {
			t.Errorf("%q: time: got %v, want %v", fields, back.Time, rec.Time)
		}
		back.Time = rec.Time
		if d := cmp.Diff(rec, back); d != "" {
			t.Errorf("%q (-want +got):\n%s", fields, d)
		}
	})
}

// FuzzForeign checks that no entry is refused, and that no field is lost.
func FuzzForeign(f *testing.F) {
	f.Add("msg", "v", "ts", "1.5", "key", "k")
	f.Add("ts", "x", "ts", "12", "", "")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, n3, v3 string) {
		o := &Options{Field: "msg"}
		fields := []string{n1, v1, n2, v2, n3, v3}
		s := noFields
		for i := range int32(3) {
			s.add(o, i, fields[2*i], fields[2*i+1])
		}
		for i := range int32(3) {
			_, header := s.header(i, fields[2*i], fields[2*i+1])
			known := i == s.value || i == s.key || i == s.time
			nothing := fields[2*i] == "" && fields[2*i+1] == ""
			if n := header != (known || nothing); !n {
				t.Errorf("%q: field %d: header %v, known %v, nothing %v", fields, i, header, known, nothing)
			}
		}
	})
}

func TestIDs(t *testing.T) {
	for s, want := range map[string]driver.Seq{"0-0": {}, "1700000000000-7": {Hi: 1_700_000_000_000, Lo: 7}, "18446744073709551615-18446744073709551615": driver.MaxSeq} {
		got, ok := parseID(s)
		if !ok || got != want {
			t.Errorf("%q: got %v, %v, want %v", s, got, ok, want)
		}
		if text := idText(want); text != s {
			t.Errorf("got %q, want %q", text, s)
		}
	}
	for _, s := range []string{"", "1", "-", "1-", "-1", "1-2-3", "18446744073709551616-0", "a-1", "1-+1"} {
		if got, ok := parseID(s); ok {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

func TestIDsThatFollowEachOther(t *testing.T) {
	var r idReader
	for _, s := range []string{"1-0", "1-1", "1-", "1-x", "1-18446744073709551615", "1-18446744073709551616", "12-7", "1-2", "1", "", "-1", "1-2-3",
		"18446744073709551615-18446744073709551615", "18446744073709551615-3", "18446744073709551616-3", "1700000000000-123456789012345678", "1700000000000-00"} {
		got, ok := r.parse(s)
		want, wantOK := parseID(s)
		if got != want || ok != wantOK {
			t.Errorf("%q behind others: got %v, %v, want %v, %v", s, got, ok, want, wantOK)
		}
	}
}
