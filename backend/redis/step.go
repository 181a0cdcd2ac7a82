package redis

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// stepPage is how many entries are fetched at once to count them.
const stepPage = 500

// Step finds the id of the entry n behind the one at a position, or before it.
// Where there are not so many it is the shard's end, or the first entry. Ids do not
// count, so the entries on the way are fetched.
func (c *client) Step(ctx context.Context, from driver.Position, n int64) (driver.Seq, error) {
	s := from.Shard
	if err := c.check(); err != nil {
		return driver.Seq{}, err
	}
	l, err := c.find(ctx, s.Stream)
	if err != nil {
		return driver.Seq{}, err
	}
	b := map[driver.Shard]driver.Bound{}
	if err := c.bounds(ctx, []layout{l}, b); err != nil {
		return driver.Seq{}, err
	}
	bound, ok := b[s]
	if !ok {
		return driver.Seq{}, c.missing(s.String())
	}
	rc, err := c.connect(ctx)
	if err != nil {
		return driver.Seq{}, err
	}
	key, back, left := c.key(&l, s.Index), n < 0, n+1
	if back {
		left = -n
	}
	at := from.Next
	switch {
	case back && !bound.First.Less(at):
		return bound.First, nil
	case bound.Next.Less(at): // nothing new is counted that lies behind the end
		at = bound.Next
	}
	for {
		var cmd rueidis.Completed
		page := min(left, stepPage)
		if back {
			cmd = rc.B().Xrevrange().Key(key).End("(" + idText(at)).Start("-").Count(page).Build()
		} else {
			cmd = rc.B().Xrange().Key(key).Start(idText(at)).End("+").Count(page).Build()
		}
		answers, err := c.ask(ctx, rc, cmd)
		if err != nil {
			return driver.Seq{}, err
		}
		entries, err := answers[0].ToArray()
		if err != nil {
			return driver.Seq{}, c.keyFailure("", s, key, err)
		}
		if int64(len(entries)) < page {
			if back {
				return bound.First, nil
			}
			return bound.Next, nil
		}
		id, err := listedID(entries[page-1])
		if err != nil {
			return driver.Seq{}, c.keyFailure("", s, key, err)
		}
		if left -= page; left == 0 {
			return id, nil
		}
		if at = id; !back {
			at = id.Succ()
		}
	}
}

// listedID is the id of an entry as XRANGE lists it.
func listedID(m rueidis.RedisMessage) (driver.Seq, error) {
	pair, err := m.ToArray()
	if err != nil || len(pair) == 0 {
		return driver.Seq{}, fmt.Errorf("%w: an entry is no pair", errReply)
	}
	text, err := pair[0].ToString()
	id, ok := parseID(text)
	if err != nil || !ok {
		return driver.Seq{}, fmt.Errorf("%w: %.50q is no entry id", errReply, text)
	}
	return id, nil
}
