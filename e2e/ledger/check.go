//go:build unix

package ledger

import (
	"fmt"
	"strings"
)

// A Check holds what somebody reads from a copy of the plan's messages against
// what the writers say of them. Each reading has a Check of its own, and one
// goroutine uses it.
type Check struct {
	b     *Books
	seen  bits
	twice bits
	told  bits    // the reader was told that they are missing
	last  []int64 // by writer and shard
	v     Verdict
}

// A Verdict is a reading in numbers. Messages apart from these are as they must
// be: there once, in order, byte for byte.
type Verdict struct {
	Messages  int64 // read
	Lost      int64 // acknowledged and not there, and nobody was told
	Told      int64 // acknowledged and not there, and the reader was told
	Twice     int64 // numbers that are there more than once
	Reordered int64 // behind a later one of the same writer and shard
	Corrupt   int64 // body, key or shard are not what they were
	Phantom   int64 // never sent
	Denied    int64 // there, although the producer said that they were not written
	Unknown   int64 // of unknown outcome: allowed to be there once, or not
	Arrived   int64 // of those, there
	Torn      int64 // in a job's output: not all outputs of an input
	Wrong     int64 // in a job's output: the total is not the fold of the inputs
	First     string
}

// Same reports whether two readings of one thing say the same. Shards are read in
// any order, so what is wrong first is not part of it.
func (v Verdict) Same(o Verdict) bool {
	v.First, o.First = "", ""
	return v == o
}

// Check begins a reading.
func (b *Books) Check() *Check {
	n := int64(b.Plan.Writers) * b.Plan.Messages
	c := &Check{b: b, seen: newBits(n), twice: newBits(n), told: newBits(n), last: make([]int64, b.Plan.Writers*b.Plan.Shards)}
	for i := range c.last {
		c.last[i] = -1
	}
	return c
}

// Saw takes one message, in the order in which its shard has it.
func (c *Check) Saw(shard int32, key, body []byte) {
	c.v.Messages++
	m, ok := c.b.identify(&c.v, shard, key, body)
	if !ok {
		return
	}
	if m.Index != 0 || m.Total != 0 {
		c.v.Phantom++
		c.v.example("shard %d has %.100q, which is no input", shard, body)
		return
	}
	i := c.b.bit(m.Writer, m.ID)
	if c.seen.has(i) {
		c.twice.set(i)
		c.v.example("shard %d has message %d of writer %d again", shard, m.ID, m.Writer)
	}
	c.seen.set(i)
	last := &c.last[m.Writer*c.b.Plan.Shards+int(shard)]
	if m.ID < *last {
		c.v.Reordered++
		c.v.example("shard %d has message %d of writer %d behind %d", shard, m.ID, m.Writer, *last)
	}
	*last = max(*last, m.ID)
}

// Gap says that the reader was told of n missing messages of a shard, the first
// of which is the from-th that its only writer sent there.
func (c *Check) Gap(shard int32, from, n int64) {
	for i := from; i < from+n; i++ {
		if id := int64(shard) + i*int64(c.b.Plan.Shards); id < c.b.Plan.Messages {
			c.told.set(id)
		}
	}
}

// identify finds out which message of the plan a body is, and notes in v what
// is wrong with it.
func (b *Books) identify(v *Verdict, shard int32, key, body []byte) (m Message, ok bool) {
	m, err := Parse(body)
	switch {
	case err != nil:
		v.Corrupt++
		v.example("shard %d has %.100q: %v", shard, body, err)
	case m.Run != b.Plan.Run || m.Writer < 0 || m.Writer >= b.Plan.Writers || m.ID < 0 || m.ID >= b.Plan.Messages || !b.begun.has(b.bit(m.Writer, m.ID)):
		v.Phantom++
		v.example("shard %d has %.100q, which was never sent", shard, body)
	case string(key) != b.Plan.Key(m.ID) || shard != b.Plan.Shard(m.ID) || string(body) != string(m.Append(nil)):
		v.Corrupt++
		v.example("shard %d has %.100q under key %q: it belongs to shard %d, key %s", shard, body, key, b.Plan.Shard(m.ID), b.Plan.Key(m.ID))
	default:
		return m, true
	}
	return m, false
}

// Verdict is what the reading comes to, if it has ended.
func (c *Check) Verdict() Verdict {
	v := c.v
	v.Twice = c.twice.count()
	for w := range c.b.Plan.Writers {
		for id := range c.b.Plan.Messages {
			i := c.b.bit(w, id)
			seen := c.seen.has(i)
			if !seen && c.told.has(i) && c.b.acked.has(i) {
				v.Told++
				continue
			}
			v.outcome(c.b, i, seen)
			if !seen && c.b.acked.has(i) {
				v.example("message %d of writer %d is missing", id, w)
			}
		}
	}
	return v
}

func (v *Verdict) outcome(b *Books, i int64, seen bool) {
	switch {
	case b.acked.has(i):
		if !seen {
			v.Lost++
		}
	case b.refused.has(i):
		if seen {
			v.Denied++
			v.example("message bit %d was not written, by its producer's word, and is there", i)
		}
	case b.begun.has(i):
		v.Unknown++
		if seen {
			v.Arrived++
		}
	}
}

// Seen is how many different messages were read.
func (c *Check) Seen() int64 { return c.seen.count() }

func (v *Verdict) example(format string, args ...any) {
	if v.First == "" {
		v.First = fmt.Sprintf(format, args...)
	}
}

// Exactly says whether every message is there exactly once and as it was.
func (v Verdict) Exactly() bool { return v.AtLeast() && v.Twice == 0 && v.Reordered == 0 }

// AtLeast is Exactly but for messages that come again.
func (v Verdict) AtLeast() bool {
	return v.Lost == 0 && v.Corrupt == 0 && v.Phantom == 0 && v.Denied == 0 && v.Torn == 0 && v.Wrong == 0
}

// String is one line.
func (v Verdict) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d messages: %d lost, %d doubled, %d reordered, %d corrupt, %d never sent, %d denied", v.Messages, v.Lost, v.Twice, v.Reordered, v.Corrupt, v.Phantom, v.Denied)
	if v.Torn > 0 || v.Wrong > 0 {
		fmt.Fprintf(&s, ", %d inputs with a part of their outputs, %d wrong totals", v.Torn, v.Wrong)
	}
	if v.Told > 0 {
		fmt.Fprintf(&s, ", %d in gaps that the reader was told", v.Told)
	}
	if v.Unknown > 0 {
		fmt.Fprintf(&s, ", %d of %d of unknown outcome there", v.Arrived, v.Unknown)
	}
	if v.First != "" {
		fmt.Fprintf(&s, "; for instance %s", v.First)
	}
	return s.String()
}
