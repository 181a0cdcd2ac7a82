package seastreamer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

// A Streamer is one open backend, from which consumers and producers are made.
// Any number of goroutines may use it.
type Streamer struct {
	d   driver.Driver
	mon monitor

	mu     sync.Mutex
	closed bool
	parts  []closer      // consumers, producers and transactors, to be closed with it
	left   chan struct{} // capacity 1: one of parts has gone
}

type closer interface{ Close(context.Context) error }

// Options are what every backend's Open takes besides its own.
type Options struct {
	Observer Observer
	Logger   *slog.Logger // nil is silent
}

// New makes a Streamer of an open driver, which it owns from then on. Every
// backend's Open ends in it.
func New(d driver.Driver, o Options) *Streamer {
	return &Streamer{d: d, mon: newMonitor(o), left: make(chan struct{}, 1)}
}

// As is the client underneath, such as a *kgo.Client, where the backend has
// one of type T, or the driver itself where T is an interface that it
// implements, such as driver.StreamAdmin. It belongs to the Streamer: do not
// close it.
func As[T any](s *Streamer) (T, bool) {
	if t, ok := s.d.(T); ok {
		return t, true
	}
	var t T
	a, ok := s.d.(interface{ As(any) bool })
	return t, ok && a.As(&t)
}

// Features says what the backend can do, as it is configured and as its
// server's version allows.
func (s *Streamer) Features() Features { return s.d.Features() }

// Bounds is the first message and the stable end of every shard of the
// streams. A stream that does not exist is ErrNotFound.
func (s *Streamer) Bounds(ctx context.Context, streams ...string) (map[Shard]Bound, error) {
	b, err := s.d.Bounds(ctx, streams)
	return b, wrap("read the bounds", Shard{}, err)
}

// End is the stable end of every shard of the streams now: give it to
// ConsumerConfig.Until to read what is there and stop.
func (s *Streamer) End(ctx context.Context, streams ...string) (Checkpoint, error) {
	b, err := s.Bounds(ctx, streams...)
	if err != nil {
		return nil, err
	}
	c := make(Checkpoint, len(b))
	for sh, b := range b {
		c[sh] = b.Next
	}
	return c, nil
}

// Producer opens a producer. It belongs to the Streamer, whose Close closes it.
func (s *Streamer) Producer(ctx context.Context, c ProducerConfig) (*Producer, error) {
	if err := c.check(s.d.Features()); err != nil {
		return nil, err
	}
	p := &Producer{stream: c.Stream, owner: s}
	var err error
	if c.Name != "" {
		p.named, err = openNamed(ctx, s, c)
		p.d = p.named
	} else {
		p.d, err = s.d.Producer(ctx, driver.ProducerConfig{Durability: c.Durability, Linger: c.Linger, MaxBytes: c.MaxBytes})
	}
	if err != nil {
		return nil, wrap("open producer", Shard{}, err)
	}
	p.noted = p.note
	if err := s.own(p); err != nil {
		return nil, errors.Join(err, p.d.Close(ctx))
	}
	return p, nil
}

// Consumer opens a consumer, which begins to fetch at once. It belongs to the
// Streamer, whose Close closes it. A stream that does not exist is
// ErrNotFound: readers never create one.
func (s *Streamer) Consumer(ctx context.Context, c ConsumerConfig) (*Consumer, error) {
	if err := c.check(s.d.Features()); err != nil {
		return nil, err
	}
	n, err := openConsumer(ctx, s, c, nil, s.d.Consumer)
	if err != nil {
		return nil, wrap("open consumer", Shard{}, err)
	}
	if err := s.own(n); err != nil {
		return nil, errors.Join(err, n.Close(ctx))
	}
	return n, nil
}

func (s *Streamer) own(c closer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &Error{Op: "use the streamer", Kind: ErrClosed}
	}
	s.parts = append(s.parts, c)
	return nil
}

// disown is called when c has been closed.
func (s *Streamer) disown(c closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.parts, c); i >= 0 {
		s.parts = slices.Delete(s.parts, i, i+1)
		signal(s.left)
	}
}

// awaitParts waits within ctx for those that somebody else is closing.
func (s *Streamer) awaitParts(ctx context.Context) {
	for {
		s.mu.Lock()
		n := len(s.parts)
		s.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-s.left:
		case <-ctx.Done():
			return
		}
	}
}

// Close closes the consumers, producers and transactors that are still open, each as its
// own Close does, and then the backend. Those that are being closed already it waits
// for, within ctx. It is idempotent.
func (s *Streamer) Close(ctx context.Context) error {
	s.mu.Lock()
	parts, closed := slices.Clone(s.parts), s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	var errs []error
	for _, p := range parts {
		errs = append(errs, p.Close(ctx))
	}
	s.awaitParts(ctx)
	return errors.Join(append(errs, s.d.Close(ctx))...)
}
