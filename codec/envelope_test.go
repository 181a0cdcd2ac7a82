package codec

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seastreamer/seastreamer/driver"
)

func TestAppend(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.FixedZone("", 3600))
	for _, c := range []struct {
		name string
		e    Envelope
		want string
	}{
		{"zero", Envelope{}, `{"key":null,"headers":[],"value":null}`},
		{"empty is not null", Envelope{Key: []byte{}, Value: []byte{}}, `{"key":"","headers":[],"value":""}`},
		{"all", Envelope{Stream: "news", Shard: driver.On(0), Seq: driver.SeqOf(42), HasSeq: true, Time: at, TimeType: "create", Key: []byte("k1"),
			Headers: []driver.Header{{Key: "h", Value: []byte("v")}, {Key: "h", Value: nil}, {Key: "\xff", Value: []byte{0xfe}}}, Value: []byte("text")},
			`{"stream":"news","shard":0,"seq":"42","ts":"2026-01-02T02:04:05.678901Z","tstype":"create","key":"k1","headers":[["h","v"],["h",null],[{"b64":"/w=="},{"b64":"/g=="}]],"value":"text"}`},
		{"bytes", Envelope{Key: []byte{0xc3}, Value: []byte("a\xffb")}, `{"key_b64":"ww==","headers":[],"value_b64":"Yf9i"}`},
		{"escapes", Envelope{Value: []byte("\x00\x1f\"\\\n\r\t\b/<\u2028é\U0001f30a12345678\"")}, `{"key":null,"headers":[],"value":"\u0000\u001f\"\\\n\r\t\u0008/<` + "\u2028é\U0001f30a12345678" + `\""}`},
		{"redis id", Envelope{HasSeq: true, Seq: driver.Seq{Hi: math.MaxUint64, Lo: 1}, Value: []byte{}}, `{"seq":"18446744073709551615-1","key":null,"headers":[],"value":""}`},
	} {
		got := string(c.e.Append(nil))
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: not JSON: %s", c.name, got)
		}
	}
}

func TestDecodeAccepts(t *testing.T) {
	for in, want := range map[string]Envelope{
		`{"value":"x"}`:                        {Value: []byte("x")},
		` { "value" : null , "key" : "k" } `:   {Key: []byte("k")},
		`{"value_b64":""}`:                     {Value: []byte{}},
		`{"value":"\ud83c\udf0a\u00e9\/\b\f"}`: {Value: []byte("🌊é/\b\f")},
		`{"stream":null,"shard":null,"seq":null,"ts":null,"tstype":null,"value":""}`: {Value: []byte{}},
		`{"ts":"2026-01-02T03:04:05+01:00","value":""}`:                              {Time: time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC), Value: []byte{}},
		`{"value":"","\u0073hard":7}`:                                                {Shard: driver.On(7), Value: []byte{}},
	} {
		var got Envelope
		if _, err := got.Decode([]byte(in), nil); err != nil {
			t.Errorf("%s: %v", in, err)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", in, d)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for in, want := range map[string]string{
		``:                               "column 1: an object is wanted",
		`null`:                           "column 1: an object is wanted",
		`[]`:                             "column 1: an object is wanted",
		`{`:                              "column 2: a string is wanted",
		`{}`:                             `"value" is missing: write "value":null`,
		`{"key":"k"}`:                    `"value" is missing`,
		`{"vlaue":"x"}`:                  `column 2: unknown field "vlaue": known are stream`,
		`{"value":"x","value":"y"}`:      `column 14: "value" is given twice`,
		`{"value":"x","value_b64":""}`:   `"value_b64" is given twice`,
		`{"value":{"a":1}}`:              "column 10: a string is wanted, or null",
		`{"value":12}`:                   "a string is wanted",
		`{"value":"x"} {}`:               "column 15: there is more behind the object",
		`{"value":"x",}`:                 "a string is wanted",
		`{"value":"x" "key":"k"}`:        "a comma or the closing brace is wanted",
		`{"value":"x`:                    "no closing quote",
		`{"value":"x\`:                   "unknown escape",
		`{"value":"\x41"}`:               "column 11: unknown escape",
		`{"value":"\u12"}`:               "unknown escape",
		`{"value":"\ud800"}`:             "column 11: half of a surrogate pair",
		`{"value":"\ud800\u0041"}`:       "column 11: half of a surrogate pair",
		`{"value":"\udc00"}`:             "half of a surrogate pair",
		"{\"value\":\"a\tb\"}":           `column 12: control character 0x09 in a string`,
		"{\"value\":\"a\\n\tb\"}":        `control character 0x09`,
		"{\"value\":\"\xff\"}":           "not valid UTF-8",
		"{\"value\":\"\\n\xff\"}":        "not valid UTF-8",
		`{"value_b64":"Yf9i="}`:          "not base64",
		`{"value_b64":"Yf9"}`:            "not base64",
		`{"value_b64":null}`:             "a string is wanted",
		`{"seq":42,"value":""}`:          "column 8: a string is wanted",
		`{"seq":"-1","value":""}`:        "column 8: \"-1\" is not a sequence number",
		`{"seq":"","value":""}`:          "not a sequence number",
		`{"shard":-1,"value":""}`:        "column 10: a shard is a whole number",
		`{"shard":1.5,"value":""}`:       "a shard is a whole number",
		`{"shard":"1","value":""}`:       "a shard is a whole number",
		`{"shard":2147483647,"value":0}`: "a shard is a whole number",
		`{"ts":1,"value":""}`:            "a string is wanted",
		`{"ts":"yesterday","value":""}`:  "column 7: \"yesterday\" is not a time",
		`{"ts":"2026-01-02T03:04:05.1234567891Z","value":""}`: "is not a time",
		`{"ts":"2026-01-02T03:04:05,5Z","value":""}`:          "is not a time",
		`{"ts":"@x","value":""}`:                              "is not a time",
		`{"headers":{},"value":""}`:                           "an array of",
		`{"headers":null,"value":""}`:                         "an array of",
		`{"headers":["a","b"],"value":""}`:                    "pair is wanted",
		`{"headers":[["a"]],"value":""}`:                      "a comma and the header's value",
		`{"headers":[["a","b","c"]],"value":""}`:              "the end of the pair",
		`{"headers":[[null,"b"]],"value":""}`:                 "must not be null",
		`{"headers":[["a",{"c64":""}]],"value":""}`:           `bytes are {"b64":"…"}`,
		`{"headers":[["a","b"],],"value":""}`:                 "pair is wanted",
	} {
		var e Envelope
		_, err := e.Decode([]byte(in), nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", in, err, want)
		}
	}
}

func genBytes(t *rapid.T, label string) []byte {
	switch rapid.IntRange(0, 3).Draw(t, label+" kind") {
	case 0:
		return nil
	case 1:
		return []byte(rapid.String().Draw(t, label))
	}
	return append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, label)...)
}

func genEnvelope(t *rapid.T) Envelope {
	e := Envelope{Key: genBytes(t, "key"), Value: genBytes(t, "value"), Stream: rapid.String().Draw(t, "stream")}
	if rapid.Bool().Draw(t, "has shard") {
		e.Shard = driver.On(rapid.Int32Range(0, math.MaxInt32-1).Draw(t, "shard"))
	}
	if rapid.Bool().Draw(t, "has seq") {
		e.HasSeq, e.Seq = true, driver.Seq{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")}
	}
	if rapid.Bool().Draw(t, "has time") {
		// What a 64-bit count of milliseconds can say, which is more than
		// RFC 3339 can.
		ms := rapid.Int64().Draw(t, "ms")
		e.Time = time.UnixMilli(ms).Add(time.Duration(rapid.IntRange(0, 999_999).Draw(t, "ns"))).UTC()
	}
	for range rapid.IntRange(0, 4).Draw(t, "headers") {
		k := genBytes(t, "header key")
		e.Headers = append(e.Headers, driver.Header{Key: string(k), Value: genBytes(t, "header value")})
	}
	return e
}

// What is written reads back, whatever it is; every byte, nil and empty apart.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEnvelope(t)
		line := e.Append([]byte("before"))[len("before"):]
		if !json.Valid(line) || bytes.IndexByte(line, '\n') >= 0 {
			t.Fatalf("not a line of JSON: %s", line)
		}
		var got Envelope
		if _, err := got.Decode(line, []byte("in use")); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if d := cmp.Diff(e, got); d != "" {
			t.Fatalf("%s: %s", line, d)
		}
		if again := got.Append(nil); !bytes.Equal(again, line) {
			t.Fatalf("written again: %s, want %s", again, line)
		}
	})
}

// A standard decoder sees the same text.
func TestSameAsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		e := Envelope{Value: []byte(s)}
		var got struct{ Value string }
		if err := json.Unmarshal(e.Append(nil), &got); err != nil || got.Value != s {
			t.Fatalf("%q reads as %q, %v", s, got.Value, err)
		}
		line, err := json.Marshal(map[string]string{"value": s})
		if err != nil {
			t.Fatal(err)
		}
		var d Envelope
		if _, err := d.Decode(line, nil); err != nil || string(d.Value) != s {
			t.Fatalf("%s reads as %q, %v", line, d.Value, err)
		}
	})
}

// Several records share one scratch buffer, and the windows into it stay as
// they are when it grows.
func TestScratchIsShared(t *testing.T) {
	var scratch []byte
	var got []Envelope
	for i := range 100 {
		var e Envelope
		line := Envelope{Key: []byte{0xff, byte(i)}, Value: []byte(strings.Repeat("\n", i))}
		var err error
		if scratch, err = e.Decode(line.Append(nil), scratch); err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	for i, e := range got {
		if !bytes.Equal(e.Key, []byte{0xff, byte(i)}) || string(e.Value) != strings.Repeat("\n", i) {
			t.Fatalf("record %d became %q %q", i, e.Key, e.Value)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	e := Envelope{Stream: "news", Shard: driver.On(3), HasSeq: true, Seq: driver.SeqOf(1 << 40), Time: time.Now(), Key: []byte{0xff},
		Headers: []driver.Header{{Key: "a", Value: []byte("b")}, {Key: "\xff", Value: []byte("\xfe")}}, Value: []byte("a \"text\"\n")}
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = e.Append(buf[:0]) }); n != 0 {
		t.Errorf("Append allocates %v times, want 0", n)
	}
	line := []byte(`{"stream":"news","shard":0,"seq":"42","ts":"2026-01-02T03:04:05.678901Z","key":"k1","headers":[],"value":"a \"text\""}`)
	var d Envelope
	scratch := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Decode(line, scratch); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Decode allocates %v times for a record without headers, want 0", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"stream":"news","shard":0,"seq":"42","ts":"2026-01-02T03:04:05.678901Z","tstype":"create","key_b64":"/w==","headers":[["h",{"b64":"/w=="}],["h",null]],"value":"\ud83c\udf0a"}`))
	f.Add([]byte(` { "value" : null } `))
	f.Add([]byte(`{"ts":"@-1.5","value":""}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var e Envelope
		if _, err := e.Decode(line, nil); err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("the error is not one line: %q", err)
			}
			return
		}
		if !json.Valid(line) {
			t.Fatalf("accepted what is not JSON: %q", line)
		}
		var again Envelope
		if _, err := again.Decode(e.Append(nil), nil); err != nil {
			t.Fatalf("%q does not read back: %v", line, err)
		}
		if d := cmp.Diff(e, again); d != "" && len(e.Headers)+len(again.Headers) > 0 || !bytes.Equal(e.Value, again.Value) || !e.Time.Equal(again.Time) {
			t.Fatalf("%q: %s", line, d)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	e := Envelope{Stream: "news", Shard: driver.On(0), HasSeq: true, Seq: driver.SeqOf(123456), Time: time.Now(), Value: []byte(strings.Repeat(`{"id":1234567,"title":"Some words and more"},`, 6)[:256])}
	buf := make([]byte, 0, 4096)
	b.SetBytes(int64(len(e.Value)))
	for b.Loop() {
		buf = e.Append(buf[:0])
	}
}

func BenchmarkDecode(b *testing.B) {
	e := Envelope{Stream: "news", Shard: driver.On(0), HasSeq: true, Seq: driver.SeqOf(123456), Time: time.Now(), Value: []byte(strings.Repeat(`{"id":1234567,"title":"Some words and more"},`, 6)[:256])}
	line := e.Append(nil)
	scratch := make([]byte, 0, 4096)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := e.Decode(line, scratch); err != nil {
			b.Fatal(err)
		}
	}
}
