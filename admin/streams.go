package admin

import (
	"context"
	"iter"
	"path"
	"slices"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// page is how many things are described at a time.
const page = 1000

// A StreamFilter says which streams are wanted, and how much of them. The zero
// value is all but the internal ones, by name and number of shards.
type StreamFilter struct {
	Match    string // a glob as of package path; "" is all
	Internal bool   // also those that the backend keeps for itself
	Detail   Detail
}

// Streams yields the streams that the filter takes, in no order. It describes
// them a page at a time: a caller that stops has not paid for the rest. A stream
// that cannot be described comes with its Err set; a pair with an error is the
// last.
func (c *Client) Streams(ctx context.Context, f StreamFilter) iter.Seq2[StreamInfo, error] {
	return func(yield func(StreamInfo, error) bool) {
		d, err := c.streams()
		if err == nil {
			_, err = path.Match(f.Match, "")
		}
		if err != nil {
			yield(StreamInfo{}, err)
			return
		}
		names := matching(d.StreamNames(ctx), f.Match)
		for in, err := range described(names, func(names []string) ([]StreamInfo, error) { return d.DescribeStreams(ctx, names, f.Detail) }) {
			if err == nil && in.Internal && !f.Internal {
				continue
			}
			if !yield(in, err) || err != nil {
				return
			}
		}
	}
}

// matching yields those names that a glob takes, and errors; "" takes all.
func matching(names iter.Seq2[string, error], glob string) iter.Seq2[string, error] {
	if glob == "" {
		return names
	}
	return func(yield func(string, error) bool) {
		for n, err := range names {
			if ok, _ := path.Match(glob, n); err == nil && !ok {
				continue
			}
			if !yield(n, err) {
				return
			}
		}
	}
}

// described yields what describe says of names, a page at a time.
func described[T any](names iter.Seq2[string, error], describe func([]string) ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		var pending []string
		flush := func() bool {
			infos, err := describe(pending)
			pending = pending[:0]
			for _, in := range infos {
				if !yield(in, nil) {
					return false
				}
			}
			if err != nil {
				yield(none, err)
			}
			return err == nil
		}
		for n, err := range names {
			if err != nil {
				if len(pending) == 0 || flush() {
					yield(none, err)
				}
				return
			}
			if pending = append(pending, n); len(pending) == page && !flush() {
				return
			}
		}
		if len(pending) > 0 {
			flush()
		}
	}
}

// Describe describes the streams named, in order. What cannot be described has
// its Err set and is in the error.
func (c *Client) Describe(ctx context.Context, d Detail, names ...string) ([]StreamInfo, error) {
	a, err := c.streams()
	if err != nil {
		return nil, err
	}
	infos, err := a.DescribeStreams(ctx, names, d)
	if err != nil {
		return infos, err
	}
	var tally PartialError
	for _, in := range infos {
		tally.Add(in.Name, in.Err)
	}
	return infos, tally.Failed()
}

// stream describes one stream.
func (c *Client) stream(ctx context.Context, name string, d Detail) (StreamInfo, error) {
	a, err := c.streams()
	if err != nil {
		return StreamInfo{}, err
	}
	infos, err := a.DescribeStreams(ctx, []string{name}, d)
	if err != nil {
		return StreamInfo{}, err
	}
	return infos[0], infos[0].Err
}

// Resolve is where reading the stream from start would begin: one position for
// each shard.
func (c *Client) Resolve(ctx context.Context, stream string, start ss.Start) ([]ss.Position, error) {
	a, err := c.streams()
	if err != nil {
		return nil, err
	}
	return a.Resolve(ctx, stream, start)
}

// Messages adds up the messages of a stream's shards. N is below zero where one
// is not known.
func Messages(in StreamInfo) Count {
	var sum Count
	for _, sh := range in.Shards {
		if sh.Messages.N < 0 {
			return Count{N: -1}
		}
		sum = add(sum, sh.Messages)
	}
	return sum
}

// Added is how many messages were ever added to a shard, by its sequence numbers
// or as the backend counts them, and whether that is known. It only grows: its
// growth over some time is the shard's rate.
func Added(sh ShardInfo) (int64, bool) {
	if next := sh.Bound.Next; next.Hi == 0 && next.Lo > 0 && next.Lo>>63 == 0 {
		return int64(next.Lo), true
	}
	return sh.Added, sh.Added > 0 || sh.Bound.Next.IsZero() && sh.Messages.N >= 0
}

func add(a, b Count) Count { return Count{N: a.N + b.N, Estimated: a.Estimated || b.Estimated} }

// Bytes adds up what a stream's shards take. It is below zero where one is not
// known.
func Bytes(in StreamInfo) int64 {
	var sum int64
	for _, sh := range in.Shards {
		if sh.Bytes < 0 {
			return -1
		}
		sum += sh.Bytes
	}
	return sum
}

// sorted is positions by shard.
func sorted(at []ss.Position) []ss.Position {
	at = slices.Clone(at)
	slices.SortFunc(at, func(a, b ss.Position) int { return a.Shard.Compare(b.Shard) })
	return at
}

var _ = driver.Earliest
