// Package position reads the positions that --from and --until take:
//
//	start  end  now      the first message, behind the last one, and so as well
//	42                   a sequence number (an offset; on Redis an entry id,
//	                     1700000000000-3, or its milliseconds alone)
//	+10  -10             the 10th behind the start, the last 10
//	@TIME                RFC 3339, a date, or seconds, ms, µs or ns since 1970
//	-1h  yesterday       an hour ago, the beginning of yesterday
//	0=100,1=end          one for each shard
package position

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// Help is the list of forms for flags.
const Help = "start, end, now, a sequence number, +N, -N, @TIME, -1h, yesterday, or SHARD=POS,SHARD=POS"

type kind uint8

const (
	unset kind = iota
	start
	end
	seq
	behindStart // n behind the first message
	beforeEnd   // n before the end
	at          // the first message at or after a time
)

type pos struct {
	kind kind
	n    uint64
	seq  ss.Seq
	time time.Time
}

// A Spec is a position for all shards or for each of some. The zero Spec is
// none.
type Spec struct {
	all    pos
	shards map[int32]pos
}

// Given reports whether there is a position at all.
func (s Spec) Given() bool { return s.all.kind != unset || s.shards != nil }

// Parse reads a position; now is what -1h and yesterday are counted from, in
// the zone of days.
func Parse(s string, now time.Time) (Spec, error) {
	if !strings.Contains(s, "=") {
		p, err := parse(s, now)
		return Spec{all: p}, err
	}
	spec := Spec{shards: map[int32]pos{}}
	for item := range strings.SplitSeq(s, ",") {
		shard, text, ok := strings.Cut(item, "=")
		n, err := strconv.ParseUint(shard, 10, 31)
		if !ok || err != nil {
			return Spec{}, fmt.Errorf("%q is not SHARD=POSITION: write for instance 0=100,1=end", item)
		}
		p, err := parse(text, now)
		if err != nil {
			return Spec{}, err
		}
		if p.kind == at {
			return Spec{}, fmt.Errorf("%q: a time is for all shards at once: write --from %s", item, text)
		}
		if _, twice := spec.shards[int32(n)]; twice {
			return Spec{}, fmt.Errorf("%q names shard %d twice", s, n)
		}
		spec.shards[int32(n)] = p
	}
	return spec, nil
}

func parse(s string, now time.Time) (pos, error) {
	switch s {
	case "start":
		return pos{kind: start}, nil
	case "end", "now":
		return pos{kind: end}, nil
	case "yesterday", "today":
		y, m, d := now.Date()
		if s == "yesterday" {
			d--
		}
		return pos{kind: at, time: time.Date(y, m, d, 0, 0, 0, 0, now.Location())}, nil
	}
	if t, ok := strings.CutPrefix(s, "@"); ok {
		when, err := ParseTime(t, now.Location())
		return pos{kind: at, time: when}, err
	}
	rest, minus := strings.CutPrefix(s, "-")
	rest, plus := strings.CutPrefix(rest, "+")
	if minus != plus {
		if n, err := strconv.ParseUint(rest, 10, 63); err == nil {
			if plus {
				return pos{kind: behindStart, n: n}, nil
			}
			return pos{kind: beforeEnd, n: n}, nil
		}
		if d, err := driver.ParseDuration(rest); err == nil && minus {
			return pos{kind: at, time: now.Add(-d)}, nil
		}
	} else if !minus {
		if q, err := driver.ParseSeq(s); err == nil {
			return pos{kind: seq, seq: q}, nil
		}
	}
	return pos{}, fmt.Errorf("%q is not a position: use %s", s, Help)
}

// ParseTime reads RFC 3339, a date, a date with a time of day (in loc), or a
// count since 1970 whose digits say its unit: up to 11 seconds, up to 14
// milliseconds, up to 17 microseconds, else nanoseconds.
func ParseTime(s string, loc *time.Location) (time.Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && s[0] != '+' {
		switch {
		case len(s) <= 11:
			return time.Unix(n, 0), nil
		case len(s) <= 14:
			return time.UnixMilli(n), nil
		case len(s) <= 17:
			return time.UnixMicro(n), nil
		}
		return time.Unix(0, n), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: use 2026-01-02T15:04:05Z, 2026-01-02, or seconds since 1970", s)
}

// Start is the position as a Start, if it is one that a backend resolves for
// all shards at once.
func (s Spec) Start() (ss.Start, bool) {
	switch s.all.kind {
	case start:
		return ss.Earliest, true
	case end:
		return ss.Latest, true
	case seq:
		return ss.From(s.all.seq), true
	case at:
		return ss.Since(s.all.time), true
	}
	return ss.Start{}, false
}

// Shards are the shards that the position names, in order; nil where it is for
// all.
func (s Spec) Shards() []int32 { return slices.Sorted(maps.Keys(s.shards)) }

// Numeric reports whether the position is a sequence number, or counted in
// messages, and so means something only within the bounds of a shard.
func (s Spec) Numeric() bool { return s.all.kind >= seq && s.all.kind <= beforeEnd || s.shards != nil }

// Within is the position as one for each shard of bounds, in order; where it names shards, for those only. What is outside of a shard's bounds
// is its beginning or end. Where sequence numbers are entry ids a plain number is
// the milliseconds of one, and count is asked for what is counted in messages.
func (s Spec) Within(bounds map[ss.Shard]ss.Bound, count Count) ([]ss.Position, error) {
	if AreIDs(bounds) {
		s = s.IDs()
	}
	c, err := s.Numbers(bounds, ss.Latest, count)
	if err != nil {
		return nil, err
	}
	var all []ss.Position
	for _, sh := range slices.SortedFunc(maps.Keys(bounds), ss.Shard.Compare) {
		if _, named := s.shards[sh.Index]; s.shards != nil && !named {
			continue
		}
		b, next := bounds[sh], c[sh]
		if next.Less(b.First) {
			next = b.First
		}
		if b.Next.Less(next) {
			next = b.Next
		}
		all = append(all, ss.Position{Shard: sh, Next: next})
	}
	return all, nil
}

// Time is the position's time, if it is one.
func (s Spec) Time() (time.Time, bool) { return s.all.time, s.all.kind == at }

// IDs is the position where sequence numbers are entry ids, as on Redis: a
// plain number is the milliseconds of an id, as it is to the server.
func (s Spec) IDs() Spec {
	id := func(p pos) pos {
		if p.seq.Hi == 0 {
			p.seq = ss.Seq{Hi: p.seq.Lo}
		}
		return p
	}
	s.all = id(s.all)
	if s.shards != nil {
		s.shards = maps.Clone(s.shards)
		for i, p := range s.shards {
			s.shards[i] = id(p)
		}
	}
	return s
}

// AreIDs reports whether the sequence numbers of these shards are entry ids,
// which have two parts and do not count messages.
func AreIDs(bounds map[ss.Shard]ss.Bound) bool {
	for _, b := range bounds {
		if b.Next.Hi != 0 {
			return true
		}
	}
	return false
}

// A Count finds the sequence number n messages on from a position, or back where n
// is below zero. Where there are not so many, it is the shard's end or its first
// message.
type Count func(at ss.Position, n int64) (ss.Seq, error)

// Numbers is the position as a number for each shard of bounds; those that it
// does not name get the default. A time cannot be resolved so, see Time. Count
// is asked where sequence numbers do not count messages; with nil such
// positions are refused there.
func (s Spec) Numbers(bounds map[ss.Shard]ss.Bound, byDefault ss.Start, count Count) (ss.Checkpoint, error) {
	c := ss.Checkpoint{}
	found := map[int32]bool{}
	for sh, b := range bounds {
		p := s.all
		if s.shards != nil {
			var ok bool
			if p, ok = s.shards[sh.Index]; !ok {
				if p.kind = end; byDefault.At == driver.AtEarliest {
					p.kind = start
				}
			}
			found[sh.Index] = true
		}
		n, err := p.number(sh, b, count)
		if err != nil {
			return nil, err
		}
		c[sh] = n
	}
	for i := range s.shards {
		if !found[i] {
			return nil, fmt.Errorf("there is no shard %d", i)
		}
	}
	return c, nil
}

func (p pos) number(sh ss.Shard, b ss.Bound, count Count) (ss.Seq, error) {
	if p.n > 0 && b.Next.Hi != 0 { // an id
		if count == nil {
			return ss.Seq{}, errors.New("sequence numbers of this backend do not count messages: use one of them, a time, start or end")
		}
		n := int64(p.n) //nolint:gosec // Parse reads 63 bits
		if p.kind == beforeEnd {
			return count(ss.Position{Shard: sh, Next: b.Next}, -n)
		}
		return count(ss.Position{Shard: sh, Next: b.First}, n)
	}
	switch p.kind {
	case start:
		return b.First, nil
	case seq:
		return p.seq, nil
	case behindStart:
		return b.First.Add(p.n), nil
	case beforeEnd:
		if p.n > 0 {
			low := b.Next.Lo - min(p.n, b.Next.Lo)
			return ss.Seq{Lo: max(low, b.First.Lo)}, nil
		}
	}
	return b.Next, nil
}

// ParseShards reads a list of shards: 0,2,4-6.
func ParseShards(s string) ([]int32, error) {
	var list []int32
	for item := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(item, "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.ParseUint(from, 10, 31)
		b, err2 := strconv.ParseUint(to, 10, 31)
		if err1 != nil || err2 != nil || a > b || b == math.MaxInt32 || b-a >= 1<<16 {
			return nil, fmt.Errorf("%q is not a list of shards: write for instance 0,2,4-6", s)
		}
		for i := a; i <= b; i++ {
			list = append(list, int32(i))
		}
	}
	return list, nil
}
