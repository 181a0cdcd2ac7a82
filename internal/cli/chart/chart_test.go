package chart

import (
	"math"
	"testing"
	"time"
	"unicode/utf8"
)

func TestSpark(t *testing.T) {
	nan := math.NaN()
	for _, test := range []struct {
		values []float64
		width  int
		want   string
	}{
		{nil, 3, "   "},
		{[]float64{0, 0}, 3, " ··"},
		{[]float64{0, 1, 2, 3, 4, 5, 6, 7, 8}, 9, "·▁▂▃▄▅▆▇█"},
		{[]float64{1, 100}, 2, "▁█"},
		{[]float64{nan, 5, nan, -1}, 4, " █ ·"},
		{[]float64{1000, 1, 1}, 2, "██"},
		{[]float64{math.Inf(1), 1}, 2, " █"},
	} {
		got := Spark(test.values, test.width)
		if utf8.RuneCountInString(got) != test.width {
			t.Errorf("%v: %q is not %d wide", test.values, got, test.width)
		}
		if got != test.want {
			t.Errorf("%v: %q, want %q", test.values, got, test.want)
		}
	}
}

func TestHistory(t *testing.T) {
	var h *History
	if got := h.Spark(3); got != "   " {
		t.Errorf("nothing is drawn as %q", got)
	}
	h = &History{}
	for i := range 2 * Looks {
		h.Add(float64(i))
		if want := min(i+1, Looks); h.Len() != want {
			t.Fatalf("%d values after %d, want %d", h.Len(), i+1, want)
		}
	}
	h.Add(math.NaN())
	h.Add(60)
	if got := h.Spark(4); got != Spark([]float64{118, 119, math.NaN(), 60}, 4) {
		t.Errorf("%q", got)
	}
}

func TestBar(t *testing.T) {
	for _, test := range []struct {
		part, whole float64
		want        string
	}{
		{0, 10, ""}, {10, 10, "████"}, {20, 10, "████"}, {5, 10, "██"}, {0.001, 10, "▏"}, {1.25, 10, "▌"}, {9.9, 10, "████"}, {9.7, 10, "███▉"}, {1, 0, ""},
	} {
		if got := Bar(test.part, test.whole, 4); got != test.want {
			t.Errorf("%v of %v: %q, want %q", test.part, test.whole, got, test.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{-1: "-", math.NaN(): "-", 0: "0", 0.001: "<0.01", 0.25: "0.25", 1: "1.0", 9.96: "10.0", 10: "10",
		999: "999", 1000: "1.0k", 12345: "12.3k", 123456: "123k", 999_600: "1.0M", 1.5e6: "1.5M", 2e9: "2.0G", 5e12: "5000G"} {
		if got := Rate(v); got != want {
			t.Errorf("Rate(%v) = %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{-1: "-", 0: "0B", 1536.4: "1.5KiB"} {
		if got := ByteRate(v); got != want {
			t.Errorf("ByteRate(%v) = %q, want %q", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "-", 0: "0", time.Millisecond: "<1s", 90 * time.Second: "1m30s", 1001 * 24 * time.Hour: ">1000d"} {
		if got := Time(d); got != want {
			t.Errorf("Time(%v) = %q, want %q", d, got, want)
		}
	}
}
