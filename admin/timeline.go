package admin

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// A Bucket is the messages of a stream within a span of time.
type Bucket struct {
	From, To time.Time // To is excluded
	Messages Count
}

// Timeline is how many messages a stream holds in each of the spans between two
// edges, which ascend; there are at least two. It looks up where each span begins,
// by timestamp, and reads no messages; counts are as good as the backend's
// [Count]. Timestamps that do not ascend make spans inexact.
func (c *Client) Timeline(ctx context.Context, stream string, edges []time.Time) ([]Bucket, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	if len(edges) < 2 {
		return nil, driver.Errorf(ss.ErrInvalid, "timeline of "+stream, "it needs a beginning and an end")
	}
	buckets := make([]Bucket, len(edges)-1)
	for i := range buckets {
		buckets[i].From, buckets[i].To = edges[i], edges[i+1]
		if !edges[i].Before(edges[i+1]) {
			return nil, driver.Errorf(ss.ErrInvalid, "timeline of "+stream, "each edge has to be after the one before it")
		}
	}
	at, err := lookUp(ctx, d, stream, edges)
	if err != nil {
		return nil, err
	}
	var ranges []Range
	var of []int // the bucket of each
	for i := range buckets {
		for j, from := range at[i] {
			if j < len(at[i+1]) && from.Next.Less(at[i+1][j].Next) {
				ranges = append(ranges, Range{Shard: from.Shard, From: from.Next, To: at[i+1][j].Next})
				of = append(of, i)
			}
		}
	}
	counts, err := d.Count(ctx, ranges)
	if err != nil {
		return nil, err
	}
	for i, n := range counts {
		b := &buckets[of[i]].Messages
		if n.N < 0 || b.N < 0 {
			b.N = -1
			continue
		}
		*b = add(*b, n)
	}
	return buckets, nil
}

// lookUps is how many look-ups are under way at once: each is an exchange with a
// broker or two, and most of its time is waiting.
const lookUps = 8

// lookUp is where the stream stood at each of the times, which ascend. The
// positions ascend as well: two edges behind the last message are both the end,
// and the later one may have been looked up first and a message have come between
// the look-ups; then, as where timestamps do not ascend, what lies between them
// would count as less than nothing.
func lookUp(ctx context.Context, d driver.StreamAdmin, stream string, at []time.Time) ([][]ss.Position, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	edges := make([][]ss.Position, len(at))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(lookUps, len(at)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(at) || ctx.Err() != nil {
					return
				}
				var err error
				if edges[i], err = d.Resolve(ctx, stream, ss.Since(at[i])); err != nil {
					cancel(err) // the first one stays the cause
					return
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i := 1; i < len(edges); i++ {
		for j := range min(len(edges[i]), len(edges[i-1])) {
			if e := &edges[i][j]; e.Next.Less(edges[i-1][j].Next) {
				e.Next = edges[i-1][j].Next
			}
		}
	}
	return edges, nil
}

// Times is the timestamp of the first message at or after each position, in the
// same order; the zero time where there is none.
func (c *Client) Times(ctx context.Context, at []ss.Position) ([]time.Time, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	return d.Times(ctx, at)
}
