package drivertest

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// Bugs in how verdicts are kept, planted in the reference.
func TestTheCasesFindPlantedBugsInVerdicts(t *testing.T) {
	become := func(from, to driver.Verdict) func([]driver.Settlement) []driver.Settlement {
		return func(all []driver.Settlement) []driver.Settlement {
			for i := range all {
				if all[i].Verdict == from {
					all[i].Verdict = to
				}
			}
			return all
		}
	}
	forget := func(v driver.Verdict) func([]driver.Settlement) []driver.Settlement {
		return func(all []driver.Settlement) []driver.Settlement {
			return slices.DeleteFunc(all, func(s driver.Settlement) bool { return s.Verdict == v })
		}
	}
	for _, bug := range []struct {
		name   string
		settle func([]driver.Settlement) []driver.Settlement
		draw   func([]driver.Batch) []driver.Batch
		found  []string
	}{
		{"forgets acknowledgements", forget(driver.VerdictAck), nil, []string{"settle/acknowledged is done", "settle/runs of verdicts", "ack/on delivery, with verdicts"}},
		{"acknowledges what was nacked", become(driver.VerdictNack, driver.VerdictAck), nil, []string{"settle/nack", "ack/nacked messages go to the broker", "ack/on advance, and handed back"}},
		{"acknowledges what is returned", become(driver.VerdictReturn, driver.VerdictAck), nil, []string{"settle/return"}},
		{"counts what is returned", become(driver.VerdictReturn, driver.VerdictNack), nil, []string{"settle/return"}},
		{"does not extend", forget(driver.VerdictExtend), nil, []string{"settle/extend", "ack/extended while it is worked on"}},
		{"does not wait after a nack", func(all []driver.Settlement) []driver.Settlement {
			for i := range all {
				all[i].After = 0
			}
			return all
		}, nil, []string{"settle/nack"}},
		{"settles the first message of a run only", func(all []driver.Settlement) []driver.Settlement {
			for i := range all {
				all[i].To = all[i].From + 1
			}
			return all
		}, nil, []string{"settle/runs of verdicts"}},
		{"does not count attempts", nil, func(all []driver.Batch) []driver.Batch {
			for i := range all {
				all[i] = first1{all[i]}
			}
			return all
		}, []string{"settle/nack", "settle/without a verdict comes again"}},
		{"loses what comes late", nil, func([]driver.Batch) []driver.Batch { return nil }, []string{"settle/a Fetch whose context ends"}},
	} {
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for _, name := range bug.found {
					store := memory.NewStore()
					h := MemoryHarness(store)
					h.Patience = 2 * time.Second
					h.Open = func(testing.TB) driver.Driver {
						return &unsettled{store.Driver(memory.Options{AckTimeout: 300 * time.Millisecond}), bug.settle, bug.draw}
					}
					wantFound(t, h, name)
				}
			})
		})
	}
}

// unsettled is a driver whose verdicts go wrong.
type unsettled struct {
	driver.Driver
	settle func([]driver.Settlement) []driver.Settlement
	draw   func([]driver.Batch) []driver.Batch
}

func (d *unsettled) Consumer(ctx context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	c, err := d.Driver.Consumer(ctx, cfg)
	if err != nil || cfg.Group == "" {
		return c, err
	}
	return &unsettledConsumer{c, d}, nil
}

type unsettledConsumer struct {
	driver.Consumer
	d *unsettled
}

func (c *unsettledConsumer) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	into, err := c.Consumer.Fetch(ctx, into)
	if c.d.draw != nil {
		into = c.d.draw(into)
	}
	return into, err
}

func (c *unsettledConsumer) Settle(ctx context.Context, all []driver.Settlement) error {
	if c.d.settle != nil {
		all = c.d.settle(slices.Clone(all))
	}
	return c.Consumer.(driver.Settler).Settle(ctx, all)
}

type first1 struct{ driver.Batch }

func (first1) Attempt(int) int { return 1 }
