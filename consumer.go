package seastreamer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A Consumer reads streams. It owns two goroutines, one that fetches and one
// that commits, plus the backend's; the loop runs on the caller's. Its methods
// may be called from any goroutine, but only one loop runs at a time.
type Consumer struct {
	owner      *Streamer
	cfg        ConsumerConfig
	d          driver.Consumer
	settler    driver.Settler // d, with a group that wants a verdict per message
	ackTimeout time.Duration  // of the backend, with a settler
	mon        monitor
	queue      *prefetch

	life      context.Context // ends when the consumer is closed
	end       context.CancelFunc
	running   sync.WaitGroup
	interrupt atomic.Pointer[context.CancelFunc] // of the Fetch under way
	seek      atomic.Pointer[seekCommand]        // at most one at a time, under seeking
	seeking   chan struct{}                      // capacity 1: who is in it seeks

	// cut tells the loop to leave the batch in hand and look around: its
	// context has ended, the consumer is closed, or a shard left or was
	// sought. One atomic load per message buys a prompt answer to all four.
	cut atomic.Bool

	mu         sync.Mutex
	windows    map[Shard]*window
	gens       uint64
	closed     bool
	looping    bool
	idle       bool          // no loop ran at the last tick of extend
	inBody     *window       // whose message or batch the loop body has
	bodyLeft   chan struct{} // closed when the body is done with it; nil unless somebody waits
	unfinished int           // shards of Until that have not reached it
	finished   map[Shard]bool

	given      atomic.Int32  // verdicts that are not stored yet
	hurry      chan struct{} // capacity 1: they are many, or one is urgent
	moved      chan struct{} // capacity 1: there may be progress to store
	committing chan struct{} // capacity 1: who is in it commits; never waited for under a window's lock

	cur *Batch // the view that the loop has in hand; the loop's own

	unit *session // of the Transactor that reads; nil is the application
}

// An opening is how a consumer's driver is opened: as Streamer.Consumer does
// it, or as a Transactor needs it.
type opening func(context.Context, driver.ConsumerConfig) (driver.Consumer, error)

func openConsumer(ctx context.Context, s *Streamer, cfg ConsumerConfig, unit *session, open opening) (*Consumer, error) {
	if cfg.CommitEvery == 0 {
		cfg.CommitEvery = time.Second
	}
	if cfg.RevokeTimeout == 0 {
		cfg.RevokeTimeout = 5 * time.Second
	}
	c := &Consumer{owner: s, cfg: cfg, mon: s.mon, queue: newPrefetch(cfg.MaxBytes), windows: map[Shard]*window{},
		moved: make(chan struct{}, 1), hurry: make(chan struct{}, 1), committing: make(chan struct{}, 1), seeking: make(chan struct{}, 1), unfinished: len(cfg.Until), finished: map[Shard]bool{}, unit: unit}
	c.life, c.end = context.WithCancel(context.Background())
	d, err := open(ctx, driver.ConsumerConfig{
		Streams: cfg.Streams, Group: cfg.Group, Start: cfg.Start, Isolation: cfg.Isolation, MaxBytes: cfg.MaxBytes,
		Events: driver.Events{Assigned: c.assigned, Revoked: c.revoked},
	})
	if err != nil {
		c.end()
		return nil, err
	}
	c.mu.Lock()
	c.d = d
	c.mu.Unlock()
	if err := c.setAck(s.Features()); err != nil {
		c.end()
		return nil, errors.Join(err, d.Close(ctx))
	}
	c.running.Add(1)
	go c.fetchLoop()
	switch {
	case c.settler != nil:
		c.running.Add(1)
		go c.settleLoop()
	case c.committer() && cfg.CommitEvery > 0 && cfg.Ack != AckOnDelivery:
		c.running.Add(1)
		go c.commitLoop()
	}
	return c, nil
}

// setAck finds out how the driver's consumer keeps the group's progress.
func (c *Consumer) setAck(f Features) error {
	if !c.committer() {
		return nil
	}
	_, ok := c.d.(driver.Committer)
	if f.Ack == driver.AckMessage {
		c.settler, ok = c.d.(driver.Settler)
		c.ackTimeout = f.AckTimeout
	}
	if !ok {
		return fmt.Errorf("the driver of %s claims acknowledgement by %v and its consumer has no such method", f.Backend, f.Ack)
	}
	return nil
}

// Messages yields messages one at a time, and lastly at most one error. The
// loop ends silently when the consumer is closed, Until is reached or a
// bounded source has ended; when ctx ends, with its cause. The consumer is
// intact after an error or a break and may be ranged over again.
//
// With AckOnAdvance, asking for the next message acknowledges the one before;
// a break, return or panic does not, and the next range begins with it.
func (c *Consumer) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		leave, err := c.enter(ctx)
		if err != nil {
			yield(Message{}, err)
			return
		}
		defer leave()
		onAdvance, explicit := c.cfg.Ack == AckOnAdvance, c.cfg.Ack == AckExplicit
		for {
			b, err := c.next(ctx)
			if b == nil {
				if err != nil {
					yield(Message{}, err)
				}
				return
			}
			for i := b.pos; i < b.to; i++ {
				if !onAdvance {
					b.pos = i + 1 // a later range begins behind it, however this body ends
				}
				if explicit {
					b.seen.Store(i + 1)
				}
				if !yield(Message{b, i}, nil) {
					return
				}
				if onAdvance {
					b.pos = i + 1
					b.passed.Store(i + 1)
				}
				if c.cut.Load() {
					break
				}
			}
		}
	}
}

// Batches yields runs of messages, at most a thousand or 1 MiB each. It is
// Messages in every other respect: asking for the next batch acknowledges the
// one before as a whole.
func (c *Consumer) Batches(ctx context.Context) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		leave, err := c.enter(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		for {
			b, err := c.next(ctx)
			if b == nil {
				if err != nil {
					yield(nil, err)
				}
				return
			}
			b.start = b.pos // what a loop over Messages has passed is not seen again
			if c.cfg.Ack != AckOnAdvance {
				b.pos = b.to
			}
			b.seen.Store(b.to)
			if !yield(b, nil) {
				return
			}
			if c.cfg.Ack == AckOnAdvance {
				b.pos = b.to
				b.passed.Store(b.to)
			}
		}
	}
}

// enter begins a loop and returns what ends it.
func (c *Consumer) enter(ctx context.Context) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looping {
		return nil, invalid("consume", "a loop over this consumer is running already")
	}
	c.looping = true
	c.queue.resume()
	stop := context.AfterFunc(ctx, func() { c.cut.Store(true) })
	return func() {
		stop()
		c.mu.Lock()
		c.looping = false
		c.leaveBody()
		c.mu.Unlock()
	}, nil
}

// leaveBody says that the loop body has nothing in hand. Under mu.
func (c *Consumer) leaveBody() {
	c.inBody = nil
	if c.bodyLeft != nil {
		close(c.bodyLeft)
		c.bodyLeft = nil
	}
}

// next waits for the next view with something in it. Both results are nil at
// the silent end of the loop.
func (c *Consumer) next(ctx context.Context) (*Batch, error) {
	if b := c.cur; b != nil && b.pos == b.to {
		b.w.advance(b)
		c.cur = nil
	}
	c.mu.Lock()
	c.leaveBody()
	c.mu.Unlock()
	for {
		c.cut.Store(false) // before looking: what happens from here on cuts again
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if c.isClosed() {
			return nil, nil
		}
		if c.cur != nil {
			ok, err := c.begin(ctx, c.cur)
			if err != nil {
				return nil, err
			}
			if ok {
				return c.cur, nil
			}
			c.cur = nil
		}
		it, ok := c.queue.pop()
		if !ok {
			if (c.reachedUntil() || c.queue.isAtEnd()) && !c.queue.pending() {
				return nil, nil
			}
			select {
			case <-c.queue.ready:
			case <-ctx.Done():
			case <-c.life.Done():
			}
			continue
		}
		if it.b != nil {
			c.take(it.b)
		} else if !c.ignores(it.err) {
			return nil, it.err
		}
	}
}

// ignores reports whether what the driver returned does not end the loop: it
// is the end of a bounded source, which next looks at in its own way, or a gap
// that the policy passes or whose shard has left.
func (c *Consumer) ignores(err error) bool {
	var gap *GapError
	if !errors.As(err, &gap) {
		return errors.Is(err, io.EOF)
	}
	c.mu.Lock()
	w := c.windows[gap.Shard]
	c.mu.Unlock()
	if (w != nil || c.settler != nil) && c.cfg.OnGap == GapContinue {
		c.mon.gap(gap)
	}
	return w == nil && c.settler == nil || c.cfg.OnGap == GapContinue
}

// begin says that the loop body gets b next, unless b's shard has left.
func (c *Consumer) begin(ctx context.Context, b *Batch) (bool, error) {
	if c.cfg.Ack == AckOnDelivery && c.committer() && b.pos == b.from {
		// At most once: progress first. Where it cannot be stored nothing is
		// handed over, and the next range tries again.
		if err := c.commit(ctx, nil); err != nil {
			if c.isClosed() || b.w.isClosed() {
				return false, nil // which is why: the loop ends, or the shard has left
			}
			return false, wrap("commit before delivery", b.Shard(), err)
		}
	}
	if b.w.settles {
		if b.pos = b.w.firstOpen(b, b.pos); b.pos == b.to {
			return false, nil // what was in hand when the last range ended was nacked
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.w.isClosed() {
		return false, nil
	}
	c.inBody = b.w
	return true, nil
}

// take makes a popped view the current one, if there is anything in it.
func (c *Consumer) take(b *Batch) {
	switch {
	case b.of != nil:
		if b.w.delivering(b) {
			c.cur = b
		} else {
			b.src.unref()
		}
	case c.cfg.Until != nil && !c.bound(b), !b.w.deliver(b):
		b.src.unref()
	case b.Len() == 0:
		if c.unit != nil {
			c.unit.passed(b)
		}
		b.Release()
		signal(c.moved)
	default:
		c.cur = b
		signal(c.moved)
	}
}

// committer reports whether the consumer itself stores its group's progress,
// which a Transactor does elsewhere.
func (c *Consumer) committer() bool { return c.cfg.Group != "" && c.unit == nil }

func (c *Consumer) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Assignment lists the shards that the consumer reads now, in no particular
// order; where a group's broker hands out messages and not shards, those that
// it has read from.
func (c *Consumer) Assignment() []Shard {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s []Shard
	for sh := range c.windows {
		s = append(s, sh)
	}
	return s
}

// Close commits what is done, leaves the group, and ends the consumer and its
// goroutines within ctx. It is idempotent, and a loop body may call it: it
// never waits for one.
func (c *Consumer) Close(ctx context.Context) error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	defer c.owner.disown(c)
	c.cut.Store(true)
	var err error
	if c.committer() {
		err = wrap("commit", Shard{}, c.commit(ctx, nil))
		if errors.Is(err, ErrFenced) {
			err = nil // the shards have gone, and with them our say in them
		}
	}
	c.end()
	signal(c.queue.ready)
	inTime := true
	if c.settler != nil {
		// Fetching has to end first: what it still brings is handed back too.
		if inTime = c.awaitEnd(ctx, func() {}); inTime {
			err = errors.Join(err, wrap("hand back", Shard{}, c.handBack(ctx)))
		}
	}
	err = errors.Join(err, wrap("close consumer", Shard{}, c.d.Close(ctx)))
	if !c.awaitEnd(ctx, c.letGo) || !inTime {
		return errors.Join(err, stopped(ctx, "close consumer", nil))
	}
	return err
}

// letGo ends what there is of every shard.
func (c *Consumer) letGo() {
	c.mu.Lock()
	ws := c.windows
	c.windows = map[Shard]*window{}
	c.mu.Unlock()
	for _, w := range ws {
		w.kill()
	}
	c.queue.drop()
}

// awaitEnd waits within ctx for the consumer's goroutines. Then is called once
// they have ended, also where that is later.
func (c *Consumer) awaitEnd(ctx context.Context, then func()) bool {
	ended := make(chan struct{})
	go func() {
		c.running.Wait()
		then()
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-ctx.Done():
		return false
	}
}
