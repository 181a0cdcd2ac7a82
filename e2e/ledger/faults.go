//go:build unix

package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/seastreamer/seastreamer"
)

// A Broker can be killed and comes again on the same address with its data.
type Broker struct {
	Name    string
	Kill    func()
	Restart func(context.Context) error
	Down    time.Duration // how long it is away, besides its start

	Kills, Effective int
}

// patience is how long one worker may come no further while others and the
// brokers are broken all the time: a member that always joins as the next
// rebalance begins has nothing to commit.
const patience = 3 * time.Minute

// KillWorkers kills the workers of places so many times, each when it has
// committed something and at a random instant within spread from then on. A
// place whose worker does not come so far while something else is broken is
// waited for.
func (c *Crew) KillWorkers(rnd *rand.Rand, kills int, spread time.Duration, places ...*Place) error {
	idle := rnd.IntN(10)
	for i := range kills {
		p := places[rnd.IntN(len(places))]
		if err := c.Wait(patience, p.Progressed); err != nil {
			c.Dump()
			return fmt.Errorf("worker %d (%s) commits nothing: %w: see %s", p.n, p.Task.Do, err, p.Log())
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(spread))))
		// Nine of ten times while it works: between units, and while it waits for
		// a broker or a rebalance, a kill shows less.
		if i%10 == idle {
			p.Kill()
		} else if err := p.killAtWork(); err != nil {
			return err
		}
		if err := p.Start(); err != nil {
			return err
		}
	}
	return nil
}

// killAtWork kills the worker inside a unit: it is stopped first, since on a busy
// machine a unit is over before whoever saw it open comes to the kill. After half a
// minute without one, which a broker may take to start, it is killed where it is.
func (p *Place) killAtWork() error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if err := p.c.Wait(time.Until(deadline), p.page.Open); err != nil {
			break
		}
		if err := p.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		if p.page.Open() {
			break
		}
		if err := p.signal(syscall.SIGCONT); err != nil {
			return err
		}
	}
	p.Kill()
	return nil //nolint:nilerr // it is killed where it is
}

// KillBroker kills a broker so many times, with a pause of a random part of
// spread before, and when the crew works again after the last time. A kill is
// effective if a worker had a unit open or messages under way.
func (c *Crew) KillBroker(ctx context.Context, rnd *rand.Rand, b *Broker, kills int, spread time.Duration) error {
	for range kills {
		time.Sleep(time.Duration(rnd.Int64N(int64(spread))))
		before := c.progress()
		if err := c.Wait(patience, func() bool { return c.progress() > before }); err != nil {
			return fmt.Errorf("before %s could be killed: %w", b.Name, err)
		}
		open := false
		for _, p := range c.places {
			open = open || p.page.Open()
		}
		if b.Kills++; open {
			b.Effective++
		}
		b.Kill()
		time.Sleep(b.Down)
		if err := b.Restart(ctx); err != nil {
			return fmt.Errorf("starting %s again: %w", b.Name, err)
		}
	}
	return nil
}

// PauseWorker stops a worker inside a unit for so long, and lets it go on.
func (c *Crew) PauseWorker(p *Place, length time.Duration) error {
	if err := c.Wait(patience, func() bool { return p.Progressed() && p.page.Open() }); err != nil {
		c.Dump()
		return fmt.Errorf("worker %d (%s) does not work: %w: see %s", p.n, p.Task.Do, err, p.Log())
	}
	if err := p.Pause(); err != nil {
		return err
	}
	time.Sleep(length)
	return p.Continue()
}

// Moving waits until every shard of an input has moved on by the word of these
// places, and returns how long that took.
func (c *Crew) Moving(shards int, limit time.Duration, places ...*Place) (time.Duration, error) {
	furthest := func(shard int32) (at seastreamer.Seq) {
		for _, p := range places {
			if s := p.page.at(shard); at.Less(s) {
				at = s
			}
		}
		return at
	}
	begun := time.Now()
	was := make([]seastreamer.Seq, shards)
	for i := range was {
		was[i] = furthest(int32(i))
	}
	err := c.Wait(limit, func() bool {
		for i, s := range was {
			if !s.Less(furthest(int32(i))) {
				return false
			}
		}
		return true
	})
	return time.Since(begun), err
}

// Usurp pauses a worker inside a unit with SIGSTOP, starts another one in a
// place of its own with the same task, and waits until that has committed some
// units. It returns the place of the successor. The paused worker is a zombie
// when the caller lets it go on.
func (c *Crew) Usurp(p *Place) (successor *Place, err error) {
	// A pause between units shows less.
	if err := c.Wait(patience, func() bool { return p.Progressed() && p.page.Open() }); err != nil {
		return nil, fmt.Errorf("worker %d does not work: see %s", p.n, p.Log())
	}
	p.Expect()
	if err := p.Pause(); err != nil {
		return nil, err
	}
	if successor, err = c.Add(p.Task); err != nil {
		return nil, err
	}
	if err := c.Wait(patience, func() bool { return successor.page.Units() >= 3 }); err != nil {
		return successor, fmt.Errorf("the successor %d does not get going: see %s", successor.n, successor.Log())
	}
	return successor, nil
}

// Faults sums up what was done to places: kills, how many of them hit work
// under way, and pauses.
func Faults(places ...*Place) (kills, effective, pauses int) {
	for _, p := range places {
		kills += p.Kills
		effective += p.Effective
		pauses += p.Pauses
	}
	return kills, effective, pauses
}
