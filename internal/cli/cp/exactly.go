package cp

import (
	"context"
	"errors"

	ss "github.com/seastreamer/seastreamer"
)

// exactly copies in units, each of which stores its records and how far SRC
// was read in one step.
func (c *copier) exactly(ctx context.Context) error {
	cfg := c.plan.Config
	cfg.Ack = ss.AckOnAdvance
	opening, cancel := context.WithTimeout(ctx, openTime)
	t, err := c.dst.Transactor(opening, ss.TransactorConfig{Name: c.p.name, From: c.src, Input: cfg})
	cancel()
	if err != nil {
		return err
	}
	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	u := &c.tally.unit
	u.left, u.end = c.o.Count, end
	defer context.AfterFunc(ctx, func() { c.stopping.Store(true); u.stop() })()
	for tx, err := range t.Units(work) {
		switch {
		case err == nil:
			c.copy(tx)
		case errors.Is(err, errEnough):
			return nil
		default:
			return c.about(err)
		}
	}
	return nil
}

// copy is the body of a unit. An error of Send makes the unit fail, and the
// loop over units says it.
func (c *copier) copy(tx *ss.Tx) {
	u := &c.tally.unit
	left := u.begin()
	for m := range tx.Messages() {
		r := c.record(&u.records, m)
		if tx.Send(r) != nil {
			c.refused = m
			return
		}
		u.messages++
		u.bytes += size(&r)
		if u.messages == left || c.stopping.Load() {
			tx.End()
		}
	}
}
