package driver

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSeq(t *testing.T) {
	for _, c := range []struct {
		s    Seq
		text string
		succ Seq
	}{
		{Seq{}, "0", Seq{0, 1}},
		{Seq{0, 42}, "42", Seq{0, 43}},
		{Seq{1526919030474, 55}, "1526919030474-55", Seq{1526919030474, 56}},
		{Seq{0, math.MaxUint64}, "18446744073709551615", Seq{1, 0}},
		{MaxSeq, "18446744073709551615-18446744073709551615", MaxSeq},
	} {
		if c.s.String() != c.text || c.s.Succ() != c.succ {
			t.Errorf("%v: text %q succ %v, want %q %v", c.s, c.s.String(), c.s.Succ(), c.text, c.succ)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Seq{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
		got, err := ParseSeq(s.String())
		if err != nil || got != s {
			t.Fatalf("%v read back as %v, %v", s, got, err)
		}
		if s != MaxSeq && (s.Succ().Prev() != s || !s.Less(s.Succ()) || s.Compare(s.Succ()) >= 0) {
			t.Fatalf("%v: succ %v, prev of that %v", s, s.Succ(), s.Succ().Prev())
		}
	})
}

func FuzzParseSeq(f *testing.F) {
	f.Add("1-2")
	f.Fuzz(func(t *testing.T, s string) {
		q, err := ParseSeq(s)
		if err != nil {
			return
		}
		if again, err := ParseSeq(q.String()); err != nil || again != q {
			t.Fatalf("%q read as %v, again as %v, %v", s, q, again, err)
		}
	})
}

func TestParseDurationAndSize(t *testing.T) {
	for in, want := range map[string]time.Duration{"90s": 90 * time.Second, "7d": 168 * time.Hour, "1w": 168 * time.Hour, "1d12h": 36 * time.Hour, "500ms": 500 * time.Millisecond, "0": 0} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "d", "-1h", "7", "1x", "NaNd", "20000w", "15250w20000d", "100000d2562047h"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
	for in, want := range map[string]int64{"0": 0, "4096": 4096, "64KiB": 65536, "64k": 65536, "1MB": 1e6, "1.5GiB": 3 << 29} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", "-1", "1XB", "999999999999GiB", ".", "1..2"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", in, got)
		}
	}
}
