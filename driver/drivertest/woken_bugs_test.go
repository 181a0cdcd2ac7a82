package drivertest

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// Consumers whose Close overtakes the Fetch that is under way, planted in the
// reference.
func TestTheCasesFindPlantedBugsInClosing(t *testing.T) {
	for name, bug := range map[string]struct {
		options memory.Options
		found   string
	}{
		"gives back before a Fetch has ended":       {memory.Options{AckTimeout: 300 * time.Millisecond}, "settle/close while it is woken"},
		"commits what a Fetch has not returned yet": {memory.Options{}, "group/close while it is woken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := memory.NewStore()
				h := MemoryHarness(store)
				h.Patience = 2 * time.Second
				h.Open = func(testing.TB) driver.Driver { return &hasty{Driver: store.Driver(bug.options)} }
				wantFound(t, h, bug.found)
			})
		})
	}
}

// hasty is a driver whose consumers of groups do not wait for their Fetch when they
// close.
type hasty struct {
	driver.Driver
	ends []func()
}

func (d *hasty) Consumer(ctx context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	c := &hastyConsumer{read: make(map[driver.Shard]driver.Seq)}
	revoked := cfg.Revoked
	cfg.Revoked = func(ctx context.Context, shards []driver.Shard, lost bool) {
		revoked(ctx, shards, lost)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, sh := range shards {
			if next, ok := c.read[sh]; ok {
				_ = c.Consumer.(driver.Committer).Commit(ctx, []driver.Position{{Shard: sh, Next: next}})
			}
		}
	}
	var err error
	if c.Consumer, err = d.Driver.Consumer(ctx, cfg); err != nil || cfg.Group == "" {
		return c.Consumer, err
	}
	if s, ok := c.Consumer.(driver.Settler); ok {
		m := &hastySettler{Settler: s, hastyConsumer: c}
		m.life, m.end = context.WithCancel(context.Background())
		d.ends = append(d.ends, func() { _ = c.Consumer.Close(context.Background()) })
		return m, nil
	}
	return c, nil
}

func (d *hasty) Close(ctx context.Context) error {
	for _, end := range d.ends {
		end()
	}
	return d.Driver.Close(ctx)
}

// hastyConsumer commits at the end what its Fetch has read, and not what that has
// returned.
type hastyConsumer struct {
	driver.Consumer
	mu   sync.Mutex
	read map[driver.Shard]driver.Seq
}

func (c *hastyConsumer) Commit(ctx context.Context, at []driver.Position) error {
	return c.Consumer.(driver.Committer).Commit(ctx, at)
}

func (c *hastyConsumer) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	had := len(into)
	into, err := c.Consumer.Fetch(ctx, into)
	c.mu.Lock()
	for _, b := range into[had:] {
		c.read[b.Shard()] = b.Next()
	}
	c.mu.Unlock()
	time.Sleep(time.Millisecond) // the answer is on its way
	return into, err
}

// hastySettler gives back what its Fetch has returned, and not what that brings
// yet.
type hastySettler struct {
	driver.Settler
	*hastyConsumer
	life context.Context
	end  context.CancelFunc
	held []driver.Settlement
}

func (m *hastySettler) Fetch(_ context.Context, into []driver.Batch) ([]driver.Batch, error) {
	had := len(into)
	into, err := m.hastyConsumer.Fetch(m.life, into)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range into[had:] {
		m.held = append(m.held, driver.Settlement{Batch: b, To: b.Len(), Verdict: driver.VerdictReturn})
	}
	return into, err
}

func (m *hastySettler) Close(ctx context.Context) error {
	m.end()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Settle(ctx, m.held)
}
