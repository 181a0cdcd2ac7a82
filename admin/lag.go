package admin

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// A Lag says how far a group is behind the streams that it reads.
type Lag struct {
	Group  string
	State  string
	Shards []ShardLag
	Err    error // why it is not known, or on some shards, which are not there then
}

// A ShardLag says how far a group is behind on one shard.
type ShardLag struct {
	ss.Shard
	Next     ss.Seq // where the group stands
	End      ss.Seq // the stable end
	Member   string
	Messages Count // from Next up to the end, as far as they are still there; N below zero is not known
	// Age is how long ago the first message at or behind Next was sent, by its
	// timestamp; zero where there is none. What is Pending has no part in it.
	Age     time.Duration
	Pending int64 // messages below Next that members hold without a verdict, where groups keep those
	Added   int64 // as in [ShardInfo]
}

// Messages adds up all shards. N is below zero where one is not known.
func (l Lag) Messages() Count {
	var sum Count
	if l.Err != nil {
		return Count{N: -1}
	}
	for _, s := range l.Shards {
		if s.Messages.N < 0 {
			return Count{N: -1}
		}
		sum = add(sum, s.Messages)
	}
	return sum
}

// Age is that of the shard which is furthest behind.
func (l Lag) Age() time.Duration {
	var age time.Duration
	for _, s := range l.Shards {
		age = max(age, s.Age)
	}
	return age
}

// Worst is the shard that is furthest behind: whose next message is the oldest,
// or of several with the same age, or without, the one with the most messages. It
// is false where the group is behind on none.
func (l Lag) Worst() (ShardLag, bool) {
	return l.worst(func(a, b ShardLag) int {
		return cmp.Or(cmp.Compare(a.Age, b.Age), cmp.Compare(a.Messages.N, b.Messages.N))
	})
}

// Most is the shard with the most messages that are not done.
func (l Lag) Most() (ShardLag, bool) {
	return l.worst(func(a, b ShardLag) int { return cmp.Compare(a.Messages.N, b.Messages.N) })
}

func (l Lag) worst(compare func(a, b ShardLag) int) (ShardLag, bool) {
	if len(l.Shards) == 0 {
		return ShardLag{}, false
	}
	s := slices.MaxFunc(l.Shards, compare)
	return s, s.Age > 0 || s.Messages.N > 0
}

// Pending adds up all shards.
func (l Lag) Pending() int64 {
	var sum int64
	for _, s := range l.Shards {
		sum += s.Pending
	}
	return sum
}

// Lag is how far the groups are behind, in order. It compares positions with
// stable ends, and ages are those of the messages, not computed from rates. A
// group whose lag cannot be known has its Err set and is in the error.
func (c *Client) Lag(ctx context.Context, groups ...string) ([]Lag, error) {
	infos, err := c.DescribeGroups(ctx, groups...)
	if infos == nil {
		return nil, err
	}
	lags, lagErr := c.LagOf(ctx, infos)
	if err == nil {
		err = lagErr
	}
	return lags, err
}

// LagOf is Lag of groups that were just described.
func (c *Client) LagOf(ctx context.Context, groups []GroupInfo) ([]Lag, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	bounds, missing, err := c.bounds(ctx, d, groups)
	if err != nil {
		return nil, err
	}
	lags := make([]Lag, len(groups))
	var open []*ShardLag // those that are not at the end
	for i, g := range groups {
		lags[i] = Lag{Group: g.Name, State: g.State, Err: g.Err}
		lags[i].Shards = make([]ShardLag, 0, len(g.Positions))
		for _, p := range g.Positions {
			b, ok := bounds[p.Shard]
			if !ok {
				if err := missing[p.Stream]; err != nil && lags[i].Err == nil {
					lags[i].Err = err
				}
				continue // the group remembers a stream or shard that is gone
			}
			lags[i].Shards = append(lags[i].Shards, ShardLag{
				Shard: p.Shard, Next: p.Next, End: b.Bound.Next, Member: p.Member, Messages: p.Behind, Pending: p.Pending, Added: b.Added})
		}
		for j := range lags[i].Shards {
			s := &lags[i].Shards[j]
			if !s.Next.Less(s.End) {
				s.Messages = Count{}
				continue
			}
			open = append(open, s)
		}
	}
	if err := fill(ctx, d, open, bounds); err != nil {
		return lags, err
	}
	var tally PartialError
	for _, l := range lags {
		tally.Add(l.Group, l.Err)
	}
	return lags, tally.Failed()
}

// bounds are all shards of all streams of the groups, with their bounds. Streams that are
// not there, or cannot be described in whole, are in missing, with nil for the former.
func (c *Client) bounds(ctx context.Context, d driver.StreamAdmin, groups []GroupInfo) (_ map[ss.Shard]ShardInfo, missing map[string]error, _ error) {
	names := make(map[string]struct{})
	for _, g := range groups {
		for _, p := range g.Positions {
			names[p.Stream] = struct{}{}
		}
	}
	bounds, missing := make(map[ss.Shard]ShardInfo), make(map[string]error)
	for some := range slices.Chunk(slices.Sorted(maps.Keys(names)), page) {
		infos, err := d.DescribeStreams(ctx, some, DetailBounds)
		if err != nil {
			return nil, nil, err
		}
		for _, in := range infos {
			if in.Err != nil {
				missing[in.Name] = notFoundIsNil(in.Err)
			}
			for _, sh := range in.Shards {
				if in.Err != nil && sh.Messages.N < 0 {
					continue // the one that it is about
				}
				bounds[ss.Shard{Stream: in.Name, Index: sh.Index}] = sh
			}
		}
	}
	return bounds, missing, nil
}

// fill looks up ages, and counts where the backend did not say how many there are.
func fill(ctx context.Context, d driver.StreamAdmin, open []*ShardLag, bounds map[ss.Shard]ShardInfo) error {
	at := make([]ss.Position, len(open))
	var counts []*ShardLag
	var ranges []Range
	for i, s := range open {
		at[i] = ss.Position{Shard: s.Shard, Next: s.Next}
		if s.Messages.N >= 0 {
			continue
		}
		r := Range{Shard: s.Shard, From: s.Next, To: s.End}
		if first := bounds[s.Shard].Bound.First; r.From.Less(first) { // what was removed can not be done any more
			r.From = first
		}
		counts, ranges = append(counts, s), append(ranges, r)
	}
	times, err := d.Times(ctx, at)
	if err != nil {
		return err
	}
	now := time.Now()
	for i, s := range open {
		if !times[i].IsZero() {
			s.Age = max(0, now.Sub(times[i]))
		}
	}
	n, err := d.Count(ctx, ranges)
	if err != nil {
		return err
	}
	for i, s := range counts {
		s.Messages = n[i]
	}
	return nil
}
