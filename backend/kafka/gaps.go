package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// failures handles the errors among what was fetched. What it cannot mend is
// returned.
func (m *consumer) failures(ctx context.Context, fetches kgo.Fetches) error {
	var failed error
	fetches.EachError(func(t string, p int32, err error) {
		if err := m.failure(ctx, driver.Shard{Stream: t, Index: p}, err); err != nil && failed == nil {
			failed = err
		}
	})
	return failed
}

func (m *consumer) failure(ctx context.Context, s driver.Shard, err error) error {
	m.mu.Lock()
	cur := m.at[s]
	if cur != nil && !cur.ready {
		cur = nil // it is being assigned: this is about the last time that it was
	}
	m.mu.Unlock()
	var loss *kgo.ErrDataLoss
	var large *kgo.ErrDecompressTooLarge
	var session *kgo.ErrGroupSession
	var fatal *assignedError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrClientClosed):
		return nil // Fetch sees for itself
	case errors.As(err, &fatal):
		m.fail(fatal.err)
		return nil
	case errors.As(err, &session):
		return m.c.fail("join group "+m.conf.Group, "", session.Err)
	case cur == nil:
		return nil
	case errors.Is(err, kerr.OffsetOutOfRange):
		cur.seen = true
		return m.answerOutOfRange(ctx, cur)
	case errors.As(err, &loss) && loss.ResetTo >= cur.next:
		return nil // nothing delivered is gone: what was read past it were markers and aborted records
	case errors.As(err, &loss):
		return m.back(ctx, cur, driver.GapTruncated, loss.ResetTo)
	case errors.As(err, &large):
		m.gap(cur, driver.GapCorrupt, large.NextOffset)
		m.move(map[*cursor]int64{cur: large.NextOffset})
		return nil
	case errors.Is(err, kerr.UnknownTopicID):
		return m.wasRecreated(ctx, s.Stream)
	}
	kind, text := m.c.describe(err, s.Stream)
	return &driver.Error{Shard: s, Kind: kind, Err: text}
}

// gap queues a GapError from where a cursor stands, and moves the cursor.
func (m *consumer) gap(cur *cursor, cause driver.GapCause, to int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gaps = append(m.gaps, &driver.GapError{Shard: cur.id, From: seq(cur.next), To: seq(to), Cause: cause})
	cur.next = to
}

// answerOutOfRange finds out why the broker does not have the offset that a
// cursor is at: retention has removed it, or the log has lost its end.
func (m *consumer) answerOutOfRange(ctx context.Context, cur *cursor) error {
	ctx, cancel := m.c.within(ctx)
	defer cancel()
	bs, err := bounds(ctx, m.c, m.c.cl, driver.Uncommitted, []driver.Shard{cur.id})
	if err != nil {
		return err
	}
	b := bs[cur.id]
	switch {
	case cur.next < b.first:
		m.gap(cur, driver.GapTrimmed, b.first)
	case cur.next > b.end:
		if err := m.back(ctx, cur, driver.GapTruncated, b.end); err != nil {
			return err
		}
	}
	m.move(map[*cursor]int64{cur: cur.next})
	return nil
}

// back makes a cursor go back, behind what was delivered already: the shard
// is assigned anew, so that acknowledgements of what is gone have no effect.
func (m *consumer) back(ctx context.Context, cur *cursor, cause driver.GapCause, to int64) error {
	m.gap(cur, cause, to)
	m.events.Lock()
	defer m.events.Unlock()
	gen, from, err := m.conf.Assigned(ctx, []driver.Position{{Shard: cur.id, Next: seq(to)}})
	if err != nil {
		m.fail(err)
		return nil
	}
	m.mu.Lock()
	cur.gen = gen
	moved := false
	for _, p := range from {
		if p.Shard == cur.id {
			cur.next, moved = offset(p.Next), true
		}
	}
	m.mu.Unlock()
	if moved {
		m.move(map[*cursor]int64{cur: cur.next})
	}
	return nil
}

// wasRecreated is called when a broker no longer knows a topic by its id.
func (m *consumer) wasRecreated(ctx context.Context, stream string) error {
	within, cancel := m.c.within(ctx)
	defer cancel()
	ts, err := topics(within, m.c, m.cl, false, stream)
	if err != nil {
		return err // perhaps it is deleted and nothing more
	}
	if ts[stream].id == m.ids[stream] {
		return nil // the broker that said so is behind the others
	}
	return m.recreated(within, stream, ts[stream])
}

// recreated goes on at the beginning of a topic that was deleted and made
// anew. The gaps are told when its shards are assigned anew: a group may take
// them before, and the gaps with them.
func (m *consumer) recreated(ctx context.Context, stream string, t topic) error {
	now := shardsOf(map[string]topic{stream: t})
	first, err := listOffsets(ctx, m.c, m.c.cl, m.conf.Isolation, each(now, atStart))
	if err != nil {
		return nil //nolint:nilerr // its leaders may be missing yet: franz-go or the next look says so again
	}
	m.ids[stream] = t.id
	var gone []driver.Shard
	m.mu.Lock()
	for s, cur := range m.at {
		if s.Stream != stream {
			continue
		}
		if _, ok := first[s]; ok {
			m.remade[s] = cur.next
		} else {
			gone = append(gone, s)
		}
	}
	for s := range m.starts {
		if s.Stream == stream {
			delete(m.starts, s) // it was of the old one
		}
	}
	m.mu.Unlock()
	m.cl.PurgeTopicsFromConsuming(stream)
	if m.conf.Group != "" {
		m.cl.AddConsumeTopics(stream) // and the group assigns it anew
		return nil
	}
	m.revoke(ctx, gone, true)
	return m.add(ctx, now)
}
