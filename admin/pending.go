package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// SettlePending is the change that gives pending messages a verdict: they are
// done, or with Again are to be delivered again at once. It cannot be undone.
type SettlePending struct {
	Group string
	IDs   []MessageID
	Again bool
	// Loose: messages that are not pending any more are no failure.
	Loose bool
}

// Kind is "ack-pending", or with Again "nack-pending".
func (ch SettlePending) Kind() string {
	if ch.Again {
		return "nack-pending"
	}
	return "ack-pending"
}

func (ch SettlePending) plan(_ context.Context, c *Client) (*Plan, error) {
	d, err := c.pending()
	if err != nil {
		return nil, err
	}
	verdict, action := driver.VerdictAck, "ack"
	if ch.Again {
		verdict, action = driver.VerdictNack, "nack"
	}
	return pendingPlan(ch.Group, ch.IDs, Step{Action: action}, "pending", !ch.Again, ch.Loose, func(ctx context.Context, ids []MessageID) (int, error) {
		return d.SettlePending(ctx, ch.Group, ids, verdict)
	}), nil
}

// ClaimPending is the change that hands pending messages to another member.
type ClaimPending struct {
	Group, Member string
	MinIdle       time.Duration // leave those that were delivered more recently
	IDs           []MessageID
	Loose         bool // messages that are not pending any more, or not for that long, are no failure
}

// Kind is "claim-pending".
func (ClaimPending) Kind() string { return "claim-pending" }

func (ch ClaimPending) plan(_ context.Context, c *Client) (*Plan, error) {
	d, err := c.pending()
	if err != nil {
		return nil, err
	}
	is := "pending"
	if ch.MinIdle > 0 {
		is += ", or not for that long"
	}
	return pendingPlan(ch.Group, ch.IDs, Step{Action: "claim", To: ch.Member}, is, false, ch.Loose, func(ctx context.Context, ids []MessageID) (int, error) {
		return d.ClaimPending(ctx, ch.Group, ch.Member, ch.MinIdle, ids)
	}), nil
}

// listed is up to how many messages of a shard each have a step of their own.
const listed = 20

// pendingPlan does something to messages. A step is one message, or where there
// are many a page of a shard. Is says in words what those are not to which nothing
// was done.
func pendingPlan(group string, ids []MessageID, like Step, is string, destructive, loose bool, do func(context.Context, []MessageID) (int, error)) *Plan {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b MessageID) int {
		if a.Shard != b.Shard {
			return a.Shard.Compare(b.Shard)
		}
		return a.Seq.Compare(b.Seq)
	})
	ids = slices.Compact(ids)
	p := &Plan{Target: group, Destructive: destructive}
	var parts [][]MessageID // of each step
	for len(ids) > 0 {
		n := slices.IndexFunc(ids, func(id MessageID) bool { return id.Shard != ids[0].Shard })
		if n < 0 {
			n = len(ids)
		}
		shard := ids[:n]
		ids = ids[n:]
		if n > listed {
			parts = slices.AppendSeq(parts, slices.Chunk(shard, page))
			continue
		}
		for i := range shard {
			parts = append(parts, shard[i:i+1])
		}
	}
	for _, part := range parts {
		s := like
		s.Item, s.Messages = fmt.Sprintf("%v %v", part[0].Shard, part[0].Seq), int64(len(part))
		if len(part) > 1 {
			s.Item += " to " + part[len(part)-1].Seq.String()
		}
		p.Steps = append(p.Steps, s)
	}
	p.apply = func(ctx context.Context, p *Plan) error {
		away := make(map[ss.Shard]bool) // its pages behind the one that failed are left
		return p.each(ctx, func(i int) error {
			if away[parts[i][0].Shard] {
				return driver.ErrNotTried
			}
			did, err := do(ctx, parts[i])
			if err != nil {
				away[parts[i][0].Shard] = true
				if did > 0 {
					err = fmt.Errorf("%d of %d were done, and then: %w", did, len(parts[i]), err)
				}
				return err
			}
			missing := len(parts[i]) - did
			if missing <= 0 {
				return nil
			}
			if !loose {
				if len(parts[i]) == 1 {
					return driver.Errorf(ss.ErrNotFound, "", "it is not %s", is)
				}
				return driver.Errorf(ss.ErrNotFound, "", "%d of %d messages are not %s", missing, len(parts[i]), is)
			}
			p.Steps[i].Messages = int64(did)
			p.Steps[i].Detail = fmt.Sprintf("%d others are not %s", missing, is)
			return nil
		})
	}
	return p
}
