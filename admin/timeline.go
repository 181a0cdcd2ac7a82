package admin

import (
	"context"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// A Bucket is the messages of a stream within a span of time.
type Bucket struct {
	From, To time.Time // To is excluded
	Messages Count
}

// Timeline is how many messages a stream holds in each of n spans of equal
// length between from and to. It looks up where each span begins, by timestamp,
// and reads no messages; counts are as good as the backend's [Count]. Timestamps
// that do not ascend make spans inexact.
func (c *Client) Timeline(ctx context.Context, stream string, from, to time.Time, n int) ([]Bucket, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	if n < 1 || !from.Before(to) {
		return nil, driver.Errorf(ss.ErrInvalid, "timeline of "+stream, "it needs a beginning before its end, and one span or more")
	}
	buckets := make([]Bucket, n)
	edges := make([][]ss.Position, n+1)
	step := to.Sub(from) / time.Duration(n)
	for i := range edges {
		t := from.Add(time.Duration(i) * step)
		if i < n {
			buckets[i].From = t
		} else {
			t = to
		}
		if i > 0 {
			buckets[i-1].To = t
		}
		if edges[i], err = d.Resolve(ctx, stream, ss.Since(t)); err != nil {
			return nil, err
		}
	}
	var ranges []Range
	var of []int // the bucket of each
	for i := range buckets {
		for j, at := range edges[i] {
			if j < len(edges[i+1]) && at.Next.Less(edges[i+1][j].Next) {
				ranges = append(ranges, Range{Shard: at.Shard, From: at.Next, To: edges[i+1][j].Next})
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
