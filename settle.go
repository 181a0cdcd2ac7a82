package seastreamer

import (
	"context"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// Where a backend's groups want a verdict for each message (driver.Settler) in
// place of a position per shard, windows collect runs of verdicts. They are
// given every CommitEvery or as soon as there are settleAt, whichever is first.
const (
	settleAt = 1000
	// maxUnsettled bounds the messages of a group that were fetched and have
	// no verdict stored yet: the broker keeps a note of each.
	maxUnsettled = 10_000
)

// A run is a verdict on messages [from, to) of a view.
type run struct {
	b        *Batch
	from, to int32
	verdict  driver.Verdict
	due      time.Time // of a nack: when it may be delivered again
}

// give notes a verdict that is to be stored. Under mu.
func (w *window) give(b *Batch, from, to int32, v driver.Verdict, due time.Time) {
	if n := len(w.given) - 1; n >= 0 && v == driver.VerdictAck {
		if r := &w.given[n]; r.b == b && r.verdict == v && r.to == from {
			r.to = to
			w.counted(to - from)
			return
		}
	}
	w.given = append(w.given, run{b, from, to, v, due})
	w.counted(to - from)
	if v == driver.VerdictNack {
		signal(w.c.hurry) // its time counts from now
	}
}

func (w *window) counted(n int32) {
	if w.c.given.Add(n) >= settleAt {
		signal(w.c.hurry)
	}
}

// collect turns what the loop has passed of b into verdicts. Under mu.
func (w *window) collect(b *Batch) {
	if w.explicit {
		return // Ack has noted them
	}
	passed := b.passed.Load()
	b.open(b.told, passed, func(from, to int32) { w.give(b, from, to, driver.VerdictAck, time.Time{}) })
	b.told = max(b.told, passed)
}

// open calls f with the runs of [from, to) that neither Ack nor Nack has given
// a verdict. Under w.mu.
func (b *Batch) open(from, to int32, f func(from, to int32)) {
	for i := from; i < to; {
		if b.hasVerdict(i) {
			i++
			continue
		}
		start := i
		if b.acked == nil {
			i = to
		}
		for i < to && !b.hasVerdict(i) {
			i++
		}
		f(start, i)
	}
}

// takeGiven takes the verdicts that are to be stored; forget or putBack follows.
func (w *window) takeGiven() []run {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.queue {
		w.collect(b)
	}
	rs := w.given
	w.given = nil
	w.c.given.Add(-int32(messages(rs))) //nolint:gosec // at most maxUnsettled and a fetch
	return rs
}

func messages(rs []run) (n int) {
	for _, r := range rs {
		n += int(r.to - r.from)
	}
	return n
}

func (w *window) putBack(rs []run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dead {
		w.given = append(rs, w.given...)
		w.c.given.Add(int32(messages(rs))) //nolint:gosec // as above
	}
}

// forget drops what has its verdict stored.
func (w *window) forget(rs []run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range rs {
		r.b.stored += r.to - r.from
	}
	kept := w.queue[:0]
	for _, b := range w.queue {
		if b.stored < b.to-b.from {
			kept = append(kept, b)
			continue
		}
		b.settled = true
		b.unrefIfDone()
	}
	clear(w.queue[len(kept):])
	w.queue = kept
	w.c.queue.settled(messages(rs))
}

// working are the messages without a verdict in views that were fetched, or
// extended, before then; they count as extended from now on.
func (w *window) working(then, now time.Time) (rs []run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.queue {
		if b.since.After(then) {
			continue
		}
		b.since = now
		from := b.from
		if !w.explicit {
			from = max(b.told, b.passed.Load())
		}
		b.open(from, b.to, func(from, to int32) { rs = append(rs, run{b: b, from: from, to: to, verdict: driver.VerdictExtend}) })
	}
	return rs
}

// surrender ends deliveries and hands back what has no verdict: a message that
// the application has seen counts as attempted, the others as never fetched.
func (w *window) surrender() []run {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closing.Store(true)
	for _, b := range w.queue {
		w.collect(b)
	}
	rs := w.given
	w.given = nil
	now := time.Now()
	for _, b := range w.queue {
		seen := b.seen.Load()
		if !w.explicit {
			seen = max(seen, b.passed.Load()+1)
		}
		seen = min(seen, b.to)
		b.open(max(b.told, b.from), seen, func(from, to int32) { rs = append(rs, run{b, from, to, driver.VerdictNack, now}) })
		b.open(max(b.told, seen), b.to, func(from, to int32) { rs = append(rs, run{b, from, to, driver.VerdictReturn, now}) })
	}
	return rs
}

// firstOpen is the first message of b from pos on that the loop has not nacked.
func (w *window) firstOpen(b *Batch, pos int32) int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.explicit && pos < b.to && b.hasVerdict(pos) {
		pos++
	}
	return pos
}

// settleLoop is commitLoop where verdicts are wanted. It also extends what is
// being worked on, and hands back what nobody asks for.
func (c *Consumer) settleLoop() {
	defer c.running.Done()
	every := c.cfg.CommitEvery
	t := time.NewTimer(time.Hour)
	t.Stop()
	defer t.Stop()
	var third <-chan time.Time
	if c.ackTimeout > 0 {
		tick := time.NewTicker(c.ackTimeout / 3)
		defer tick.Stop()
		third = tick.C
	}
	armed := false
	for {
		select {
		case <-c.moved:
			if !armed && every > 0 {
				armed = true
				t.Reset(every)
			}
			continue
		case <-third:
			c.extend()
			continue
		case <-c.hurry:
			if every < 0 {
				continue
			}
		case <-t.C:
		case <-c.life.Done():
			return
		}
		armed = false
		t.Stop()
		ctx, cancel := context.WithTimeout(c.life, commitTimeout)
		_ = c.commit(ctx, nil)
		cancel()
		if c.unsettled() {
			signal(c.moved)
		}
	}
}

// settle gives the verdicts that there are. Whoever calls it is in committing.
func (c *Consumer) settle(ctx context.Context) error {
	ws := c.allWindows()
	given := make([][]run, len(ws))
	var all []run
	for i, w := range ws {
		given[i] = w.takeGiven()
		all = append(all, given[i]...)
	}
	if len(all) == 0 {
		return nil
	}
	err := c.giveVerdicts(ctx, all)
	for i, w := range ws {
		if err == nil {
			w.forget(given[i])
		} else {
			w.putBack(given[i])
		}
	}
	return err
}

func (c *Consumer) allWindows() []*window {
	c.mu.Lock()
	defer c.mu.Unlock()
	ws := make([]*window, 0, len(c.windows))
	for _, w := range c.windows {
		ws = append(ws, w)
	}
	return ws
}

// giveVerdicts is the call of the driver.
func (c *Consumer) giveVerdicts(ctx context.Context, rs []run) error {
	s := make([]driver.Settlement, len(rs))
	now := time.Now()
	for i, r := range rs {
		s[i] = driver.Settlement{Batch: r.b.d, From: int(r.from), To: int(r.to), Verdict: r.verdict}
		if r.verdict == driver.VerdictNack {
			s[i].After = max(r.due.Sub(now), 0)
		}
	}
	err := c.settler.Settle(ctx, s)
	c.mon.settle(messages(rs), err)
	return err
}

// extend begins the time-out anew for what is being worked on or waits for the
// loop. Where no loop has run for two ticks nobody waits: what was fetched
// ahead goes back, and no more is fetched until a loop begins.
func (c *Consumer) extend() {
	select {
	case c.committing <- struct{}{}:
		defer func() { <-c.committing }()
	case <-c.life.Done():
		return
	}
	now := time.Now()
	then := now.Add(-c.ackTimeout / 4)
	c.mu.Lock()
	idle := !c.looping && c.idle
	c.idle = !c.looping
	if idle {
		c.queue.pause() // under mu, or a loop that begins here would fetch no more
	}
	c.mu.Unlock()
	var rs []run
	for _, w := range c.allWindows() {
		rs = append(rs, w.working(then, now)...)
	}
	if idle {
		if cancel := c.interrupt.Load(); cancel != nil {
			(*cancel)() // a Fetch that waits would draw again what goes back
		}
		rs = append(rs, c.queue.handBack()...)
	} else {
		rs = append(rs, c.queue.waiting(then, now)...)
	}
	if len(rs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.life, commitTimeout)
	defer cancel()
	_ = c.giveVerdicts(ctx, rs) // observed there; what was not extended may come twice
}

// handBack gives everything back that has no verdict, once fetching has ended.
func (c *Consumer) handBack(ctx context.Context) error {
	select {
	case c.committing <- struct{}{}:
		defer func() { <-c.committing }()
	case <-ctx.Done():
		return stopped(ctx, "hand back", nil)
	}
	var rs []run
	for _, w := range c.allWindows() {
		rs = append(rs, w.surrender()...)
	}
	rs = append(rs, c.queue.handBack()...)
	if len(rs) == 0 {
		return nil
	}
	return c.giveVerdicts(ctx, rs)
}
