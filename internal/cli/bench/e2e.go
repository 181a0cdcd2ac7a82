package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

func newE2E(f *factory.Factory) *cobra.Command {
	o := &options{f: f, producers: 1, rate: 1000}
	cmd := &cobra.Command{
		Use:   "e2e [STREAM]",
		Short: "Measure how long a message takes from a producer to a consumer",
		Long: `Measure how long a message takes from the call of a producer until a consumer has
it, both in this process, at 1,000 messages a second unless --rate says otherwise.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return err
			}
			return o.with(cmd.Context(), o.e2e)
		},
	}
	o.flags(cmd.Flags(), 10_000)
	return cmd
}

// errAllRead ends the consumer.
var errAllRead = errors.New("all is read")

func (o *options) e2e(parent context.Context, s *ss.Streamer, stream string) (result, error) {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	end, err := s.End(ctx, stream)
	if errors.Is(err, ss.ErrNotFound) { // the producer makes it
		var p *ss.Producer
		if p, err = s.Producer(ctx, ss.ProducerConfig{Stream: stream}); err == nil {
			_, err = p.Send(ctx, ss.Record{Value: marker(o.size)})
		}
	}
	if err != nil {
		return result{}, err
	}
	// Latest would be wherever the end is when the consumer gets to it, which may
	// be behind the first messages.
	c, err := s.Consumer(ctx, ss.ConsumerConfig{Streams: []string{stream}, Start: ss.Earliest, OnGap: ss.GapContinue,
		Assigned: func(context.Context, []ss.Shard) (ss.Checkpoint, error) { return end, nil }})
	if err != nil {
		return result{}, factory.Reader(err, []string{stream})
	}
	began := time.Now()
	var all atomic.Int64 // how many will have been sent
	all.Store(o.n)
	failed := make(chan error, 1)
	var sending sync.WaitGroup
	sending.Go(func() {
		err := o.stamp(ctx, s, stream, began, &all, stop)
		if failed <- err; err != nil {
			stop(err)
		}
	})
	var h histogram
	var n int64
	for b, err := range c.Batches(ctx) {
		if err != nil {
			if parent.Err() != nil { // stopped by somebody: what was measured counts
				break
			}
			err = cmp.Or(context.Cause(ctx), err)
			stop(err)
			sending.Wait() // the producer is closed: what it still writes would make the stream again
			return result{}, err
		}
		now := time.Since(began)
		for m := range b.Messages() {
			// Others may write to the same stream.
			if v := m.Value(); len(v) == o.size {
				if at := time.Duration(binary.LittleEndian.Uint64(v)); at >= 0 && at <= now {
					h.add(now - at)
					n++
				}
			}
		}
		b.Release()
		if n >= all.Load() {
			break
		}
	}
	took := time.Since(began)
	stop(errAllRead)
	if err := <-failed; err != nil {
		return result{}, err
	}
	return newResult(s, "e2e", n, int64(o.size), took, &h), c.Close(context.WithoutCancel(parent))
}

// marker is a message that is not measured: its time is before all.
func marker(size int) []byte { return bytes.Repeat([]byte{0xff}, size) }

// stamp sends messages that begin with when they were sent, since began. Where
// that ends before their time it corrects all, and sends one more message, which
// has the consumer look at it. It tells stop why one could not be sent: nobody
// would wait for it in vain.
func (o *options) stamp(ctx context.Context, s *ss.Streamer, stream string, began time.Time, all *atomic.Int64, stop context.CancelCauseFunc) error {
	until := ctx
	if o.time > 0 {
		var cancel context.CancelFunc
		until, cancel = context.WithTimeout(ctx, o.time)
		defer cancel()
	}
	p, err := s.Producer(ctx, ss.ProducerConfig{Stream: stream, Durability: o.durability()})
	if err != nil {
		return err
	}
	fill := filler(o.size)
	done := func(_ ss.Receipt, err error) {
		if err != nil {
			stop(err)
		}
	}
	var n int64
	for n < o.n {
		if err = pace(until, began, n, o.rate); err != nil {
			break
		}
		value := append([]byte(nil), fill...) // a record's bytes are the producer's until it has a receipt
		binary.LittleEndian.PutUint64(value, uint64(time.Since(began)))
		if err = p.Enqueue(until, ss.Record{Value: value}, done); err != nil {
			break
		}
		n++
	}
	if until.Err() != nil {
		err = nil
	}
	if err == nil && n < o.n && ctx.Err() == nil {
		all.Store(n)
		_, err = p.Send(ctx, ss.Record{Value: marker(o.size)})
	}
	closing := context.WithoutCancel(ctx)
	if ctx.Err() != nil { // nobody reads any more
		var cancel context.CancelFunc
		closing, cancel = context.WithTimeout(closing, factory.ConnectTimeout)
		defer cancel()
	}
	e := p.Close(closing)
	if errors.Is(context.Cause(ctx), errAllRead) { // perhaps before the last receipt was here
		return nil
	}
	return cmp.Or(err, e)
}
