package listing

import (
	"iter"
	"strconv"
	"time"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// Safe is a text without what a terminal obeys; it keeps its lines.
func Safe(text string) []byte { return iostreams.EscapeText(nil, []byte(text)) }

// Number is n, or nothing where it is below zero: not known.
func Number(n int64) string {
	if n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// Bytes is a size for people, or a dash.
func Bytes(n int64) string {
	if n < 0 {
		return "-"
	}
	return admin.FormatBytes(n)
}

// Count is a count for programs; an estimated one begins with ~.
func Count(c admin.Count) string {
	if c.Estimated && c.N >= 0 {
		return "~" + Number(c.N)
	}
	return Number(c.N)
}

// HumanCount is a count for people.
func HumanCount(c admin.Count) string {
	switch {
	case c.N < 0:
		return "-"
	case c.Estimated:
		return "~" + iostreams.Thousands(c.N)
	}
	return iostreams.Thousands(c.N)
}

// Of is a count of things for people, such as 1 shard or ~2,000 messages.
func Of(c admin.Count, thing string) string {
	if c != (admin.Count{N: 1}) {
		thing += "s"
	}
	return HumanCount(c) + " " + thing
}

// Things is Of for a number that is known.
func Things(n int, thing string) string { return Of(admin.Count{N: int64(n)}, thing) }

// Time is a time for programs, in UTC; nothing where it is zero.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// Ago is how long ago something was, for people; a dash where it is zero.
func Ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Since(t)
	if d < 0 {
		return "in " + Duration(-d)
	}
	return Duration(d) + " ago"
}

// Duration is a duration for people, in one or two units.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	n := func(n time.Duration, unit string) string { return strconv.FormatInt(int64(n), 10) + unit }
	switch {
	case d < time.Second:
		return n(d/time.Millisecond, "ms")
	case d < time.Minute:
		return n(d/time.Second, "s")
	case d < time.Hour:
		return n(d/time.Minute, "m") + n(d%time.Minute/time.Second, "s")
	case d < day:
		return n(d/time.Hour, "h") + n(d%time.Hour/time.Minute, "m")
	}
	return n(d/day, "d") + n(d%day/time.Hour, "h")
}

// Known is n for JSON, nil where it is below zero or NaN: not known.
func Known[T int64 | float64](n T) *T {
	if n < 0 || n != n { // which is how NaN shows
		return nil
	}
	return &n
}

// Seconds is a time for programs; nothing where it is below zero: not known.
func Seconds(d time.Duration) string {
	if d < 0 {
		return ""
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
}

// When is t for JSON, in UTC, nil where it is zero.
func When(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

// ErrorText is what err says, nothing for nil.
func ErrorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Each are things that are all there already.
func Each[T any](all []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, t := range all {
			if !yield(t, nil) {
				return
			}
		}
	}
}

// ConfigDoc is a setting as JSON.
func ConfigDoc(e admin.ConfigEntry) any {
	return struct {
		Name     string `json:"name"`
		Value    string `json:"value"`
		Source   string `json:"source,omitempty"`
		ReadOnly bool   `json:"read_only,omitempty"`
		Secret   bool   `json:"secret,omitempty"`
	}(e)
}

// ParseIndex reads the index of a shard.
func ParseIndex(s string) (int32, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int32(n), err
}
