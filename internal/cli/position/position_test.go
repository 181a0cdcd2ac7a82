package position

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	ss "github.com/seastreamer/seastreamer"
)

var now = time.Date(2026, 3, 29, 12, 30, 0, 0, time.FixedZone("here", 2*3600))

func TestStart(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, now.Location()) }
	for in, want := range map[string]ss.Start{
		"start":                      ss.Earliest,
		"end":                        ss.Latest,
		"now":                        ss.Latest,
		"42":                         ss.From(ss.SeqOf(42)),
		"1700000000000-3":            ss.From(ss.Seq{Hi: 1700000000000, Lo: 3}),
		"yesterday":                  ss.Since(day(28)),
		"today":                      ss.Since(day(29)),
		"-1h":                        ss.Since(now.Add(-time.Hour)),
		"-1d12h":                     ss.Since(now.Add(-36 * time.Hour)),
		"@2026-03-28":                ss.Since(day(28)),
		"@2026-03-28T01:02":          ss.Since(day(28).Add(62 * time.Minute)),
		"@2026-03-28 01:02:03.5":     ss.Since(day(28).Add(time.Hour + 2*time.Minute + 3500*time.Millisecond)),
		"@2026-03-27T22:00:00Z":      ss.Since(day(28)),
		"@1700000000":                ss.Since(time.Unix(1700000000, 0)),
		"@1700000000123":             ss.Since(time.UnixMilli(1700000000123)),
		"@1700000000123456":          ss.Since(time.UnixMicro(1700000000123456)),
		"@1700000000123456789":       ss.Since(time.Unix(0, 1700000000123456789)),
		"@0":                         ss.Since(time.Unix(0, 0)),
		"@2026-03-28T00:00:00+02:00": ss.Since(day(28)),
	} {
		spec, err := Parse(in, now)
		got, ok := spec.Start()
		if err != nil || !ok || got.At != want.At || got.Seq != want.Seq || !got.Time.Equal(want.Time) {
			t.Errorf("%q is %v %v, %v, want %v", in, got, ok, err, want)
		}
	}
}

func TestRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"": "not a position", "begin": "use start, end", "--5": "not a position", "+-5": "not a position", "-": "not a position", "+": "not a position",
		"+1h": "not a position", "@": "not a time", "@yesterday": "not a time", "-1x": "not a position", "0=": "not a position", "=1": "not SHARD=POSITION",
		"0=1,0=2": "twice", "a=1": "not SHARD", "0=-1h": "for all shards at once", "0=1,2": "not SHARD", "18446744073709551616": "not a position", "-1=5": "not SHARD",
	} {
		if _, err := Parse(in, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	s := func(i int32) ss.Shard { return ss.Shard{Stream: "s", Index: i} }
	n := ss.SeqOf
	bounds := map[ss.Shard]ss.Bound{s(0): {First: n(10), Next: n(100)}, s(1): {First: n(0), Next: n(0)}, s(2): {First: n(5), Next: n(7)}}
	for in, want := range map[string]ss.Checkpoint{
		"start":       {s(0): n(10), s(1): n(0), s(2): n(5)},
		"end":         {s(0): n(100), s(1): n(0), s(2): n(7)},
		"42":          {s(0): n(42), s(1): n(42), s(2): n(42)},
		"+5":          {s(0): n(15), s(1): n(5), s(2): n(10)},
		"-5":          {s(0): n(95), s(1): n(0), s(2): n(5)},
		"-1000":       {s(0): n(10), s(1): n(0), s(2): n(5)},
		"-0":          {s(0): n(100), s(1): n(0), s(2): n(7)},
		"0=20,1=end":  {s(0): n(20), s(1): n(0), s(2): n(7)},
		"0=-1,2=+1":   {s(0): n(99), s(1): n(0), s(2): n(6)},
		"2=start":     {s(0): n(100), s(1): n(0), s(2): n(5)},
		"0=start,1=9": {s(0): n(10), s(1): n(9), s(2): n(7)},
	} {
		spec, err := Parse(in, now)
		if err != nil {
			t.Fatal(err)
		}
		got, err := spec.Numbers(bounds, ss.Latest, nil)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", in, err, d)
		}
	}
	spec, _ := Parse("7=1", now)
	if _, err := spec.Numbers(bounds, ss.Latest, nil); err == nil || !strings.Contains(err.Error(), "no shard 7") {
		t.Error(err)
	}
	spec, _ = Parse("0=20", now)
	if got, _ := spec.Numbers(bounds, ss.Earliest, nil); got[s(2)] != n(5) {
		t.Errorf("a shard that is not named begins at %v", got[s(2)])
	}
}

// Where sequence numbers are ids, the backend counts.
func TestIds(t *testing.T) {
	a, b := ss.Shard{Stream: "s"}, ss.Shard{Stream: "s", Index: 1}
	id := func(ms, n uint64) ss.Seq { return ss.Seq{Hi: ms, Lo: n} }
	bounds := map[ss.Shard]ss.Bound{a: {First: id(1000, 0), Next: id(2000, 1)}, b: {}}
	if !AreIDs(bounds) || AreIDs(map[ss.Shard]ss.Bound{a: {Next: ss.SeqOf(7)}}) {
		t.Error("these are ids, and those are not")
	}
	count := func(at ss.Position, n int64) (ss.Seq, error) {
		if from := bounds[at.Shard]; at.Shard != a || n > 0 && at.Next != from.First || n < 0 && at.Next != from.Next {
			t.Errorf("counts %d from %v", n, at)
		}
		return id(1500, uint64(n+100)), nil
	}
	for in, want := range map[string]ss.Checkpoint{
		"+5":           {a: id(1500, 105), b: ss.SeqOf(5)},
		"-5":           {a: id(1500, 95), b: ss.SeqOf(0)},
		"-0":           {a: id(2000, 1), b: ss.SeqOf(0)},
		"+0":           {a: id(1000, 0), b: ss.SeqOf(0)},
		"1700":         {a: id(1700, 0), b: id(1700, 0)},
		"1700-3":       {a: id(1700, 3), b: id(1700, 3)},
		"0=1600,1=end": {a: id(1600, 0), b: ss.SeqOf(0)},
	} {
		spec, err := Parse(in, now)
		if err != nil {
			t.Fatal(err)
		}
		got, err := spec.IDs().Numbers(bounds, ss.Latest, count)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", in, err, d)
		}
	}
	spec, _ := Parse("-5", now)
	if _, err := spec.Numbers(bounds, ss.Latest, nil); err == nil || !strings.Contains(err.Error(), "do not count messages") {
		t.Errorf("without a count: %v", err)
	}
	spec, _ = Parse("1700000000000", now)
	if got, ok := spec.IDs().Start(); !ok || got != ss.From(id(1700000000000, 0)) {
		t.Errorf("milliseconds are %v", got)
	}
}

func TestParseShards(t *testing.T) {
	if got, err := ParseShards("0,2,4-6"); err != nil || !cmp.Equal(got, []int32{0, 2, 4, 5, 6}) {
		t.Error(got, err)
	}
	for _, in := range []string{"", "a", "1-", "-1", "3-1", "0-4294967295", "1,,2"} {
		if got, err := ParseShards(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"start", "+5", "-1h", "@1700000000", "0=100,1=end", "1-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		spec, err := Parse(s, now)
		if err == nil && !spec.Given() {
			t.Fatalf("%q is nothing", s)
		}
	})
}

func TestWithin(t *testing.T) {
	numbers := map[ss.Shard]ss.Bound{{Stream: "s", Index: 1}: {First: ss.SeqOf(5), Next: ss.SeqOf(20)}, {Stream: "s"}: {Next: ss.SeqOf(10)}}
	ids := map[ss.Shard]ss.Bound{{Stream: "s"}: {First: ss.Seq{Hi: 1000}, Next: ss.Seq{Hi: 3000, Lo: 1}}}
	for _, test := range []struct {
		text   string
		bounds map[ss.Shard]ss.Bound
		want   string // "" is an error
	}{
		{"7", numbers, "[s[0] 7] [s[1] 7] "},
		{"0", numbers, "[s[0] 0] [s[1] 5] "},
		{"99", numbers, "[s[0] 10] [s[1] 20] "},
		{"-3", numbers, "[s[0] 7] [s[1] 17] "},
		{"+3", numbers, "[s[0] 3] [s[1] 8] "},
		{"1=end", numbers, "[s[1] 20] "},
		{"0=2,1=-1", numbers, "[s[0] 2] [s[1] 19] "},
		{"2=1", numbers, ""},
		{"2000", ids, "[s[0] 2000-0] "},
		{"2000-7", ids, "[s[0] 2000-7] "},
		{"9000", ids, "[s[0] 3000-1] "},
		{"-3", ids, "[s[0] 2000-0] "},
		{"0=+7", ids, "[s[0] 2000-0] "},
	} {
		spec, err := Parse(test.text, time.Now())
		if err != nil || !spec.Numeric() {
			t.Fatal(test.text, err)
		}
		at, err := spec.Within(test.bounds, func(at ss.Position, n int64) (ss.Seq, error) {
			if at.Next.Hi == 0 {
				t.Errorf("%s: %v is a number, and is counted", test.text, at)
			}
			return ss.Seq{Hi: 2000}, nil
		})
		got := ""
		for _, p := range at {
			got += fmt.Sprintf("[%v %v] ", p.Shard, p.Next)
		}
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %s, %v, want %s", test.text, got, err, test.want)
		}
	}
	spec, _ := Parse("-3", time.Now())
	if _, err := spec.Within(ids, nil); err == nil || !strings.Contains(err.Error(), "do not count messages") {
		t.Errorf("where nobody can count: %v", err)
	}
	for _, text := range []string{"start", "end", "-1h", "@2026-01-01"} {
		if spec, err := Parse(text, time.Now()); err != nil || spec.Numeric() || spec.Shards() != nil {
			t.Errorf("%s is numeric: %v", text, err)
		}
	}
}
