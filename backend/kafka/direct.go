package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// readAll begins to read all shards of the streams, without a group.
func (m *consumer) readAll(ctx context.Context) error {
	offsets, err := m.assign(ctx, m.starts, nil)
	if err != nil {
		m.end()
		return err
	}
	m.cl, err = kgo.NewClient(m.options(kgo.ConsumePartitions(offsets))...)
	if err != nil {
		m.end()
		return &driver.Error{Kind: driver.ErrInvalid, Err: err}
	}
	m.cl.PauseFetchTopics(m.conf.Streams...) // until there is a Fetch to take what comes
	m.refresh = time.Now().Add(m.c.o.MetadataAge)
	m.quiet.stir()
	return nil
}

// assign tells the core of new shards and where reading them would begin, and
// returns where it will. Where a position is not a start but somebody's
// progress, which committed says, and so is what the core overrides, it has to
// be in the log, else there is a gap.
func (m *consumer) assign(ctx context.Context, at map[driver.Shard]int64, committed map[driver.Shard]bool) (map[string]map[int32]kgo.Offset, error) {
	m.events.Lock()
	defer m.events.Unlock()
	shards := make([]driver.Shard, 0, len(at))
	for s := range at {
		shards = append(shards, s)
	}
	within, cancel := m.c.within(ctx)
	bs, err := bounds(within, m.c, m.c.cl, driver.Uncommitted, shards)
	cancel()
	if err != nil {
		return nil, err
	}
	gaps := map[driver.Shard]*driver.GapError{}
	cursors := make(map[driver.Shard]*cursor, len(at))
	ps := make([]driver.Position, 0, len(at))
	for s, from := range at {
		cur := &cursor{id: s, next: from}
		cursors[s] = cur
		if g := cur.begin(bs[s], committed[s]); g != nil {
			gaps[s] = g
			if g.Cause == driver.GapTruncated {
				from = cur.next
			} // and else the progress stays where it is until the gap is told
		} else {
			from = cur.next
		}
		ps = append(ps, driver.Position{Shard: s, Next: seq(from)})
	}
	m.mu.Lock()
	for s, cur := range cursors {
		m.at[s] = cur
	}
	m.mu.Unlock()
	gen, from, err := m.conf.Assigned(ctx, ps)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		for s := range cursors {
			delete(m.at, s)
		}
		return nil, &assignedError{err}
	}
	for _, cur := range cursors {
		cur.ready, cur.gen = true, gen
	}
	for _, p := range from {
		if cur := cursors[p.Shard]; cur != nil {
			delete(gaps, p.Shard)
			cur.next = offset(p.Next)
			if g := cur.begin(bs[p.Shard], true); g != nil {
				gaps[p.Shard] = g
			}
		}
	}
	offsets := map[string]map[int32]kgo.Offset{}
	for s, cur := range cursors {
		if offsets[s.Stream] == nil {
			offsets[s.Stream] = map[int32]kgo.Offset{}
		}
		offsets[s.Stream][s.Index] = kgo.NewOffset().At(min(cur.next, bs[s].end))
		if was, ok := m.remade[s]; ok {
			delete(m.remade, s)
			gaps[s] = &driver.GapError{Shard: s, From: seq(was), To: seq(cur.next), Cause: driver.GapRecreated}
		}
	}
	for _, g := range gaps {
		m.gaps = append(m.gaps, g)
	}
	return offsets, nil
}

// begin moves a new cursor to where the log lets it begin. Where that leaves
// messages out which the position claims, it returns the gap.
func (c *cursor) begin(b bound, progress bool) *driver.GapError {
	g := &driver.GapError{Shard: c.id, From: seq(c.next), Cause: driver.GapTrimmed}
	switch {
	case c.next < b.first:
		c.next = b.first
	case c.next > b.end && progress:
		c.next, g.Cause = b.end, driver.GapTruncated
	default:
		return nil
	}
	if !progress {
		return nil
	}
	g.To = seq(c.next)
	return g
}

// assignedError is what the core's Assigned returned: it ends the consumer.
type assignedError struct{ err error }

func (e *assignedError) Error() string { return e.err.Error() }
func (e *assignedError) Unwrap() error { return e.err }

// findShards adds the shards that a stream has got since, from their
// beginning, and notices streams that were made anew. It belongs to consumers
// without a group: franz-go does both for groups.
func (m *consumer) findShards(ctx context.Context) error {
	ts, err := topics(ctx, m.c, m.cl, false, m.conf.Streams...)
	if err != nil {
		return nil //nolint:nilerr // it is tried again, and reading says what is wrong
	}
	for name, t := range ts {
		if t.id != m.ids[name] && m.ids[name] != [16]byte{} {
			return m.recreated(ctx, name, t)
		}
	}
	var fresh []driver.Shard
	m.mu.Lock()
	for _, s := range shardsOf(ts) {
		if _, anew := m.remade[s]; anew || m.at[s] == nil {
			fresh = append(fresh, s)
		}
	}
	m.mu.Unlock()
	return m.add(ctx, fresh)
}

// add reads shards from their beginning.
func (m *consumer) add(ctx context.Context, fresh []driver.Shard) error {
	if len(fresh) == 0 {
		return nil
	}
	first, err := listOffsets(ctx, m.c, m.cl, m.conf.Isolation, each(fresh, atStart))
	if err != nil {
		return nil //nolint:nilerr // the leader may be missing yet: next time
	}
	offsets, err := m.assign(ctx, first, nil)
	var fatal *assignedError
	if errors.As(err, &fatal) && ctx.Err() == nil {
		m.fail(fatal.err)
		return fatal.err
	}
	if err != nil {
		return nil //nolint:nilerr // as above, or there was no time for it
	}
	m.cl.AddConsumePartitions(offsets)
	m.quiet.stir()
	return nil
}

// fail ends the consumer.
func (m *consumer) fail(err error) {
	m.mu.Lock()
	if m.err == nil {
		m.err = err
	}
	m.mu.Unlock()
	m.poke()
}

// move makes franz-go go on at other offsets.
func (m *consumer) move(to map[*cursor]int64) {
	set := map[string]map[int32]kgo.EpochOffset{}
	again := map[string]map[int32]kgo.Offset{}
	drop := map[string][]int32{}
	for cur, o := range to {
		t, p := cur.id.Stream, cur.id.Index
		if m.conf.Group == "" && !cur.seen {
			// SetOffsets ignores, without a word, what franz-go has not begun
			// to read.
			if again[t] == nil {
				again[t] = map[int32]kgo.Offset{}
			}
			again[t][p] = kgo.NewOffset().At(o)
			drop[t] = append(drop[t], p)
			continue
		}
		if set[t] == nil {
			set[t] = map[int32]kgo.EpochOffset{}
		}
		set[t][p] = kgo.EpochOffset{Epoch: -1, Offset: o}
	}
	m.cl.RemoveConsumePartitions(drop)
	m.cl.AddConsumePartitions(again)
	m.cl.SetOffsets(set)
}
