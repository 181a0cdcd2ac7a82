package codec

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AppendTime writes t as the envelope does: RFC 3339 in UTC with the digits
// that it needs, or @ and seconds where its year does not have four digits.
func AppendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return appendEpoch(dst, t)
	}
	hour, minute, sec := t.Clock()
	dst = append2(dst, year/100)
	dst = append2(dst, year%100)
	dst = append2(append(dst, '-'), int(month))
	dst = append2(append(dst, '-'), day)
	dst = append2(append(dst, 'T'), hour)
	dst = append2(append(dst, ':'), minute)
	dst = append2(append(dst, ':'), sec)
	return append(appendFraction(dst, t.Nanosecond()), 'Z')
}

func append2(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}

// appendFraction writes a point and the nanoseconds without trailing zeros, or
// nothing.
func appendFraction(dst []byte, ns int) []byte {
	if ns == 0 {
		return dst
	}
	var d [10]byte
	d[0] = '.'
	for i := 9; i > 0; i-- {
		d[i] = byte('0' + ns%10)
		ns /= 10
	}
	n := len(d)
	for d[n-1] == '0' {
		n--
	}
	return append(dst, d[:n]...)
}

func appendEpoch(dst []byte, t time.Time) []byte {
	sec, ns := t.Unix(), t.Nanosecond()
	dst = append(dst, '@')
	if sec < 0 {
		dst = append(dst, '-')
		sec = -sec
		if ns > 0 { // Unix rounds down: -1.5 is -2 and half a second
			sec, ns = sec-1, 1e9-ns
		}
	}
	return appendFraction(strconv.AppendInt(dst, sec, 10), ns)
}

// ParseTime reads what AppendTime writes, and RFC 3339 with any offset.
func ParseTime(s string) (time.Time, error) {
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		return parseEpoch(s, rest)
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || !plainFraction(s) {
		return time.Time{}, fmt.Errorf("%q is not a time: write 2026-01-02T03:04:05.678Z", s)
	}
	return t.UTC(), nil
}

// plainFraction refuses what time.Parse tolerates and would lose: a comma for
// the point, and digits below the nanosecond.
func plainFraction(s string) bool {
	if strings.IndexByte(s, ',') >= 0 {
		return false
	}
	_, fraction, _ := strings.Cut(s, ".")
	return strings.IndexFunc(fraction, func(r rune) bool { return r < '0' || r > '9' }) <= 9
}

func parseEpoch(all, s string) (time.Time, error) {
	bad := fmt.Errorf("%q is not a time: write @ and the seconds since 1970, such as @1700000000.5", all)
	s, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(s, ".")
	sec, err := strconv.ParseUint(whole, 10, 62)
	if err != nil || point && fraction == "" || len(fraction) > 9 {
		return time.Time{}, bad
	}
	ns := uint64(0)
	if point {
		if ns, err = strconv.ParseUint(fraction+"000000000"[len(fraction):], 10, 32); err != nil {
			return time.Time{}, bad
		}
	}
	if negative {
		return time.Unix(-int64(sec), -int64(ns)).UTC(), nil
	}
	return time.Unix(int64(sec), int64(ns)).UTC(), nil
}
