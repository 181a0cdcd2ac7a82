package redis

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// clockSlack is how much earlier than a time its entries are looked for: the
// clock of who wrote the timestamp and the server's, which makes the ids, may
// differ. A timestamp that is later than its entry's arrival by more than that
// is not found by time.
const clockSlack = time.Minute

// A start is a place, and the position that it stands for.
type start struct {
	*place
	at  driver.Seq
	gap *finding // what is missing where somebody's progress is to be continued
}

// resolve finds where a start is in shards. The keys are those of the shards.
func (c *client) resolve(ctx context.Context, how driver.Start, shards []driver.Shard, keys []string) ([]start, error) {
	sights, err := c.sights(ctx, shards, keys)
	if err != nil {
		return nil, err
	}
	found := make([]start, len(keys))
	for i := range keys {
		s := &sights[i]
		switch at := how.Seq; {
		case how.At == driver.AtEarliest, how.At == driver.AtSeq && at.Less(s.front()):
			found[i] = atFront(s)
		case how.At == driver.AtLatest, how.At == driver.AtSeq && !at.Less(s.end()):
			found[i] = atEnd(s)
			if how.At == driver.AtSeq {
				found[i].at, found[i].floor = at, at
			}
		case how.At == driver.AtSeq:
			found[i], err = c.middle(ctx, shards[i], keys[i], at, s)
		case how.At == driver.AtTime:
			found[i], err = c.since(ctx, shards[i], keys[i], how.Time, s)
		default:
			err = driver.Errorf(driver.ErrInvalid, "", "start %v is not known", how)
		}
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// resume finds where somebody's progress is. What is missing there is a gap.
func (c *client) resume(ctx context.Context, shard driver.Shard, key string, at driver.Seq) (start, error) {
	sights, err := c.sights(ctx, []driver.Shard{shard}, []string{key})
	if err != nil {
		return start{}, err
	}
	s := &sights[0]
	switch front := s.front(); {
	case s.end().Less(at): // it has never come to here, or not since it was made anew
		st := atEnd(s)
		st.at, st.gap = at, &finding{cause: driver.GapTruncated, to: s.end()}
		return st, nil
	case at == s.end():
		return atEnd(s), nil
	case at.Less(front) && s.counts && s.removed() == 0:
		st := atFront(s)
		st.at = at
		return st, nil
	case at.Less(front):
		st := atFront(s)
		st.at, st.gap = at, &finding{cause: driver.GapTrimmed, to: front}
		return st, nil
	}
	return c.middle(ctx, shard, key, at, s)
}

func atFront(s *sight) start {
	p := &place{next: s.front(), witness: s.first}
	p.saw(s)
	p.count(s, s.removed())
	return start{place: p, at: p.next}
}

func atEnd(s *sight) start {
	p := &place{next: s.end()}
	if s.last == s.top {
		p.witness = s.last
	}
	p.saw(s)
	p.count(s, s.added)
	return start{place: p, at: p.next}
}

// middle is the place at a sequence between the front and the end.
func (c *client) middle(ctx context.Context, shard driver.Shard, key string, at driver.Seq, s *sight) (start, error) {
	if at == s.front() {
		return atFront(s), nil
	}
	p := &place{next: at}
	p.saw(s)
	entries, err := c.entries(ctx, shard, key, at, 1)
	if err != nil {
		return start{}, err
	}
	if entries.Len() > 0 {
		p.witness = entries.Seq(0)
	}
	return start{place: p, at: at}, nil
}

// since is the place of the first entry whose timestamp is at or after t.
// Timestamps come in no order, so that it looks at all that may be.
func (c *client) since(ctx context.Context, shard driver.Shard, key string, t time.Time, s *sight) (start, error) {
	var from driver.Seq
	if ms := t.Add(-clockSlack).UnixMilli(); ms > 0 {
		from.Hi = uint64(ms) //nolint:gosec // positive
	}
	for from.Less(s.end()) {
		entries, err := c.entries(ctx, shard, key, from, 1000)
		if err != nil {
			return start{}, err
		}
		if entries.Len() == 0 {
			break
		}
		for i := range entries.Len() {
			if !entries.Time(i).Before(t) {
				if at := entries.Seq(i); at != s.front() {
					p := &place{next: at, witness: at}
					p.saw(s)
					return start{place: p, at: at}, nil
				}
				return atFront(s), nil
			}
		}
		from = entries.Next()
	}
	return atEnd(s), nil
}

// entries reads up to n entries from an id on.
func (c *client) entries(ctx context.Context, shard driver.Shard, key string, from driver.Seq, n int64) (*batch, error) {
	rc, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	answers, err := c.ask(ctx, rc, rc.B().Xrange().Key(key).Start(idText(from)).End("+").Count(n).Build())
	if err != nil {
		return nil, err
	}
	list, err := answers[0].ToMessage()
	if err != nil {
		return nil, c.keyFailure("", shard, key, err)
	}
	b, _, err := newBatch(&c.o, shard, valueOf(list))
	if err != nil {
		return nil, &driver.Error{Shard: shard, Kind: driver.ErrInvalid, Err: err}
	}
	return b, nil
}

// sights looks at keys that should exist.
func (c *client) sights(ctx context.Context, shards []driver.Shard, keys []string) ([]sight, error) {
	sights, err := c.lookAt(ctx, shards, keys)
	for i := range sights {
		if !sights[i].exists {
			return nil, c.missing(shards[i].Stream)
		}
	}
	return sights, err
}

// lookAt looks at keys.
func (c *client) lookAt(ctx context.Context, shards []driver.Shard, keys []string) ([]sight, error) {
	rc, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	sights := make([]sight, 0, len(keys))
	for from := 0; from < len(keys); from += askAtOnce {
		some := keys[from:min(from+askAtOnce, len(keys))]
		cmds := make([]rueidis.Completed, len(some))
		for i, k := range some {
			cmds[i] = rc.B().XinfoStream().Key(k).Build()
		}
		answers, err := c.ask(ctx, rc, cmds...)
		if err != nil {
			return nil, err
		}
		for i := range answers {
			m, err := answers[i].ToMessage()
			var s sight
			if err == nil {
				s, err = sightOf(valueOf(m))
			} else if noSuchKey(err) {
				err = nil
			}
			if err != nil {
				return nil, c.keyFailure("", shards[from+i], some[i], err)
			}
			sights = append(sights, s)
		}
	}
	return sights, nil
}
