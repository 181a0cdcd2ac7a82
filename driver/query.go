package driver

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Query reads the options of a URL's query into typed values. Each call
// names one key; Err reports the first value that could not be read, or the
// keys that no call named.
//
//	q := u.Options()
//	o.Shards = q.Int("shards", o.Shards)
//	o.Sync = q.OneOf("sync", o.Sync, "never", "interval", "always")
//	if err := q.Err(); err != nil { … }
type Query struct {
	u     URL
	known []string
	err   error
}

// Options begins to read the query of u.
func (u URL) Options() *Query { return &Query{u: u} }

func (q *Query) get(key string) (string, bool) {
	q.known = append(q.known, key)
	v, ok := q.u.Query[key]
	if !ok {
		return "", false
	}
	if len(v) > 1 && q.err == nil {
		q.err = Errorf(ErrInvalid, "", "option %s is given %d times: give it once", key, len(v))
	}
	return v[0], true
}

func (q *Query) bad(key, want string) {
	if q.err == nil {
		q.err = Errorf(ErrInvalid, "", "option %s: %s is wanted", key, want)
	}
}

// String is the value of key, or def.
func (q *Query) String(key, def string) string {
	if v, ok := q.get(key); ok {
		return v
	}
	return def
}

// OneOf is the value of key, which must be one of those listed, or def.
func (q *Query) OneOf(key, def string, values ...string) string {
	v, ok := q.get(key)
	if !ok {
		return def
	}
	if !slices.Contains(values, v) {
		q.bad(key, "one of "+strings.Join(values, ", "))
	}
	return v
}

// Bool is the value of key, true where only the key is given, or def.
func (q *Query) Bool(key string, def bool) bool {
	v, ok := q.get(key)
	if !ok {
		return def
	}
	if v == "" {
		return true
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		q.bad(key, "true or false")
	}
	return b
}

// Int is the value of key, or def. It must not be negative.
func (q *Query) Int(key string, def int) int {
	v, ok := q.get(key)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		q.bad(key, "a whole number from 0")
	}
	return n
}

// Duration is the value of key in ParseDuration's words, or def.
func (q *Query) Duration(key string, def time.Duration) time.Duration {
	v, ok := q.get(key)
	if !ok {
		return def
	}
	d, err := ParseDuration(v)
	if err != nil {
		q.bad(key, "a duration such as 500ms, 90s or 7d")
	}
	return d
}

// Size is the value of key in ParseSize's words, or def.
func (q *Query) Size(key string, def int64) int64 {
	v, ok := q.get(key)
	if !ok {
		return def
	}
	n, err := ParseSize(v)
	if err != nil {
		q.bad(key, "a size such as 64KiB or 1GB")
	}
	return n
}

// Err is nil when every value could be read and every key was asked for.
func (q *Query) Err() error {
	if q.err != nil {
		return q.err
	}
	var unknown []string
	for k := range q.u.Query {
		if !slices.Contains(q.known, k) {
			unknown = append(unknown, k)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	known := slices.Clone(q.known)
	slices.Sort(known)
	if len(known) == 0 {
		return Errorf(ErrInvalid, "", "unknown option %s: %s takes none", strings.Join(unknown, ", "), q.u.Scheme)
	}
	return Errorf(ErrInvalid, "", "unknown option %s: known are %s", strings.Join(unknown, ", "), strings.Join(known, ", "))
}

// ParseDuration reads what time.ParseDuration reads, and whole or broken
// numbers of days (d) and weeks (w) before it: 1w, 7d, 1d12h.
func ParseDuration(s string) (time.Duration, error) {
	var total time.Duration
	rest := s
	for _, u := range []struct {
		unit string
		d    time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		n, after, ok := strings.Cut(rest, u.unit)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(n, 64)
		if err != nil || !(f >= 0 && f*float64(u.d) < float64(math.MaxInt64-total)) { // 292 years
			return 0, fmt.Errorf("%q is not a duration: use 500ms, 90s, 2h, 7d or 1w", s)
		}
		total += time.Duration(f * float64(u.d))
		rest = after
	}
	if rest == "" && s != "" {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > math.MaxInt64-total {
		return 0, fmt.Errorf("%q is not a duration: use 500ms, 90s, 2h, 7d or 1w", s)
	}
	return total + d, nil
}

// ParseSize reads a number of bytes: plain, or with a decimal unit (kB, MB,
// GB, TB) or a binary one (KiB, MiB, GiB, TiB), in any case.
func ParseSize(s string) (int64, error) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(s)
	}
	units := map[string]int64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
		"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
	mul, ok := units[strings.ToLower(strings.TrimSpace(s[i:]))]
	f, err := strconv.ParseFloat(s[:i], 64)
	if !ok || err != nil || f*float64(mul) >= 1<<62 {
		return 0, fmt.Errorf("%q is not a size: use 4096, 64KiB, 1MB or 10GiB", s)
	}
	return int64(f * float64(mul)), nil
}
