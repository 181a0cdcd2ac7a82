package admin

import (
	"math"
	"time"

	ss "github.com/seastreamer/seastreamer"
)

// A LagSample is how far a group was behind at one moment.
type LagSample struct {
	Time time.Time
	Lag
}

// A Direction is which way a lag goes.
type Direction int8

// The directions.
const (
	Unknown   Direction = iota // there is nothing to compare
	Steady                     // within a hundredth of what is produced
	Growing                    // more is produced than consumed
	Shrinking                  // more is consumed than produced
)

// String is one word.
func (d Direction) String() string {
	return [...]string{"unknown", "steady", "growing", "shrinking"}[d]
}

// A Trend is how a group's lag changes. Rates are messages per second, and below
// zero where they are not known.
type Trend struct {
	Direction          Direction
	Produced, Consumed float64
	// CatchUp is how long it takes until the group has done all, if all goes on
	// as it does; zero where it has, below zero where it never will or that is not
	// known.
	CatchUp time.Duration
}

// never is the CatchUp of a group that does not catch up.
const never = time.Duration(-1)

// TrendOf is what samples of one group, the oldest first, say of its trend. It
// compares the first and the last one, on the shards that both have: a shard that
// is new to the group says nothing yet.
func TrendOf(samples ...LagSample) Trend {
	t := Trend{Produced: -1, Consumed: -1, CatchUp: never}
	if len(samples) == 0 {
		return t
	}
	first, last := samples[0], samples[len(samples)-1]
	left := last.Messages().N
	if last.Err != nil || left < 0 {
		return t
	}
	if left == 0 {
		t.CatchUp = 0
	}
	seconds := last.Time.Sub(first.Time).Seconds()
	if first.Err != nil || seconds <= 0 {
		return t
	}
	produced, more, known := compare(first.Lag, last.Lag)
	if !known {
		return t
	}
	t.Direction = Steady
	if produced >= 0 {
		t.Produced = float64(produced) / seconds
		// What the backend has removed before the group came to it was not
		// consumed, and a group that was moved back did not consume less than
		// nothing; both are rare, and what matters is how much is left.
		t.Consumed = math.Max(0, float64(produced-more)/seconds)
	}
	switch noise := max(produced/100, 0); {
	case more > noise:
		t.Direction = Growing
	case more < -noise:
		t.Direction = Shrinking
		// In floats: a few messages a week behind overflow a duration.
		if d := float64(left) * seconds / float64(-more) * float64(time.Second); d < math.MaxInt64 {
			t.CatchUp = time.Duration(d)
		}
	}
	return t
}

// compare is how many messages were produced from a to b, below zero where that
// is not known, and how many more the group is behind. Known is false where the
// two have nothing to compare.
func compare(a, b Lag) (produced, more int64, known bool) {
	was := make(map[ss.Shard]ShardLag, len(a.Shards))
	for _, s := range a.Shards {
		was[s.Shard] = s
	}
	for _, now := range b.Shards {
		w, ok := was[now.Shard]
		if !ok {
			continue
		}
		if w.Messages.N < 0 || now.Messages.N < 0 {
			return 0, 0, false
		}
		known = true
		more += now.Messages.N - w.Messages.N
		if n := grown(w.end(), now.end()); n < 0 {
			produced = -1
		} else if produced >= 0 {
			produced += n
		}
	}
	return produced, more, known
}

// end is the shard as far as it is known.
func (s ShardLag) end() ShardInfo {
	return ShardInfo{Bound: ss.Bound{Next: s.End}, Added: s.Added}
}

// grown is how many messages a shard got from a to b, below zero where that is not
// known. A stream that was deleted and made again has got none.
func grown(a, b ShardInfo) int64 {
	from, known := Added(a)
	to, still := Added(b)
	if !known || !still {
		return -1
	}
	return max(0, to-from)
}
