package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// SettlePending is the change that gives pending messages a verdict: they are
// done, or with Again are to be delivered again at once.
type SettlePending struct {
	Group string
	IDs   []MessageID
	Again bool
}

// Kind is "settle-pending".
func (SettlePending) Kind() string { return "settle-pending" }

func (ch SettlePending) plan(_ context.Context, c *Client) (*Plan, error) {
	d, err := c.pending()
	if err != nil {
		return nil, err
	}
	verdict, action := driver.VerdictAck, "ack"
	if ch.Again {
		verdict, action = driver.VerdictNack, "nack"
	}
	p := &Plan{Target: ch.Group, Destructive: !ch.Again, Steps: steps(ch.IDs, action, "")}
	p.apply = func(ctx context.Context, p *Plan) error {
		n, err := d.SettlePending(ctx, ch.Group, ch.IDs, verdict)
		return p.some(n, err)
	}
	return p, nil
}

// ClaimPending is the change that hands pending messages to another member.
type ClaimPending struct {
	Group, Member string
	MinIdle       time.Duration // leave those that were delivered more recently
	IDs           []MessageID
}

// Kind is "claim-pending".
func (ClaimPending) Kind() string { return "claim-pending" }

func (ch ClaimPending) plan(_ context.Context, c *Client) (*Plan, error) {
	d, err := c.pending()
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: ch.Group, Steps: steps(ch.IDs, "claim", ch.Member)}
	p.apply = func(ctx context.Context, p *Plan) error {
		n, err := d.ClaimPending(ctx, ch.Group, ch.Member, ch.MinIdle, ch.IDs)
		return p.some(n, err)
	}
	return p, nil
}

func steps(ids []MessageID, action, to string) []Step {
	s := make([]Step, len(ids))
	for i, id := range ids {
		s[i] = Step{Item: id.Shard.String() + " " + id.Seq.String(), Action: action, To: to, Messages: 1}
	}
	return s
}

// some says that n of the steps were done, which ones the backend does not say.
func (p *Plan) some(n int, err error) error {
	if err == nil && n < len(p.Steps) {
		for i := range p.Steps {
			p.Steps[i].Detail = fmt.Sprintf("%d of %d were pending", n, len(p.Steps))
		}
	}
	return p.all(err)
}
