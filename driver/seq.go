package driver

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// A Seq is a sequence number: the place of a message within its shard. It is
// 128 bits wide and ordered, so that it holds a Kafka offset or a file's
// sequence (in Lo) as well as a whole Redis entry id (milliseconds in Hi, the
// counter in Lo). The zero value is the lowest.
type Seq struct{ Hi, Lo uint64 }

// MaxSeq is the highest sequence number there is.
var MaxSeq = Seq{math.MaxUint64, math.MaxUint64}

// SeqOf is the sequence number n, for backends that count in 64 bits.
func SeqOf(n uint64) Seq { return Seq{Lo: n} }

// IsZero reports whether s is the lowest sequence number.
func (s Seq) IsZero() bool { return s == Seq{} }

// Compare is negative where s is below o, zero where they are equal and
// positive where s is above o.
func (s Seq) Compare(o Seq) int {
	if c := cmp.Compare(s.Hi, o.Hi); c != 0 {
		return c
	}
	return cmp.Compare(s.Lo, o.Lo)
}

// Less reports whether s is below o.
func (s Seq) Less(o Seq) bool { return s.Hi < o.Hi || s.Hi == o.Hi && s.Lo < o.Lo }

// Succ is the sequence number after s; the highest is its own successor.
func (s Seq) Succ() Seq { return s.Add(1) }

// Prev is the sequence number before s; the lowest is its own predecessor.
func (s Seq) Prev() Seq {
	if s.IsZero() {
		return s
	}
	lo, borrow := bits.Sub64(s.Lo, 1, 0)
	return Seq{s.Hi - borrow, lo}
}

// Add is s + n, or [MaxSeq] where that does not fit.
func (s Seq) Add(n uint64) Seq {
	lo, carry := bits.Add64(s.Lo, n, 0)
	if carry == 1 && s.Hi == math.MaxUint64 {
		return MaxSeq
	}
	return Seq{s.Hi + carry, lo}
}

// String is the decimal number where it fits into 64 bits, else Hi-Lo as Redis
// writes an entry id.
func (s Seq) String() string { return string(s.Append(nil)) }

// Append appends what String returns to b.
func (s Seq) Append(b []byte) []byte {
	if s.Hi != 0 {
		b = strconv.AppendUint(b, s.Hi, 10)
		b = append(b, '-')
	}
	return strconv.AppendUint(b, s.Lo, 10)
}

// ParseSeq reads what String writes.
func ParseSeq(t string) (Seq, error) {
	hi, lo, two := strings.Cut(t, "-")
	if !two {
		hi, lo = "0", hi
	}
	var s Seq
	var err error
	if s.Hi, err = parseUint(hi); err == nil {
		s.Lo, err = parseUint(lo)
	}
	if err != nil {
		return Seq{}, fmt.Errorf("%q is not a sequence number: use 42 or, on Redis, 1700000000000-0", t)
	}
	return s, nil
}

// parseUint refuses the signs and underscores that no writer of a Seq writes.
func parseUint(t string) (uint64, error) {
	if t == "" || strings.ContainsAny(t, "+-_") {
		return 0, errors.New("not a number")
	}
	return strconv.ParseUint(t, 10, 64)
}

// MarshalText is String as bytes.
func (s Seq) MarshalText() ([]byte, error) { return s.Append(nil), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Seq) UnmarshalText(t []byte) error {
	v, err := ParseSeq(string(t))
	if err == nil {
		*s = v
	}
	return err
}

// A Shard names one shard of one stream: a partition of a Kafka topic, a
// folder of a file stream. Indexes start at 0.
type Shard struct {
	Stream string
	Index  int32
}

// String is stream[index].
func (s Shard) String() string { return s.Stream + "[" + strconv.Itoa(int(s.Index)) + "]" }

// Compare orders shards by stream, then by index.
func (s Shard) Compare(o Shard) int {
	if c := cmp.Compare(s.Stream, o.Stream); c != 0 {
		return c
	}
	return cmp.Compare(s.Index, o.Index)
}

// A Position says how far a shard was processed: everything below Next is
// done. The zero Next says that nothing is. It may lie past the last message.
type Position struct {
	Shard
	Next Seq
}

// A Bound is what a shard holds: First is the sequence number of its first
// message (or its Next when it has none), Next its stable end, which is the
// first sequence number that a reader of committed messages has to wait for.
type Bound struct{ First, Next Seq }

// StartAt is the kind of a [Start].
type StartAt uint8

// The kinds of a Start.
const (
	AtLatest StartAt = iota
	AtEarliest
	AtSeq
	AtTime
)

// A Start says where reading begins. The zero value is [Latest].
type Start struct {
	At   StartAt
	Seq  Seq       // for AtSeq
	Time time.Time // for AtTime
}

// The two starts that need no argument.
var (
	Latest   = Start{At: AtLatest}   // after the last message there is when the consumer begins
	Earliest = Start{At: AtEarliest} // the first message there is
)

// From starts at the first message whose sequence number is at or above s.
func From(s Seq) Start { return Start{At: AtSeq, Seq: s} }

// Since starts at the first message whose timestamp is at or after t.
func Since(t time.Time) Start { return Start{At: AtTime, Time: t} }

// String says the start in words, for logs.
func (s Start) String() string {
	switch s.At {
	case AtEarliest:
		return "earliest"
	case AtSeq:
		return "sequence " + s.Seq.String()
	case AtTime:
		return "time " + s.Time.Format(time.RFC3339Nano)
	case AtLatest:
	}
	return "latest"
}
