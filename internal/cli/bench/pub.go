package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// sampled is of how many messages one has its latency measured.
const sampled = 16

func newPub(f *factory.Factory) *cobra.Command {
	o := &options{f: f, producers: 1}
	cmd := &cobra.Command{
		Use:   "pub [STREAM]",
		Short: "Measure how fast messages are written",
		Long: `Measure how fast messages are written, and how long it takes until one is
acknowledged (of every 16th). A message that cannot be written ends it, with 9.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return err
			}
			return o.with(cmd.Context(), o.pub)
		},
	}
	o.flags(cmd.Flags(), 1_000_000)
	cmd.Flags().IntVar(&o.producers, "producers", 1, "how many producers write at once")
	return cmd
}

func (o *options) pub(ctx context.Context, s *ss.Streamer, stream string) (result, error) {
	if o.time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.time)
		defer cancel()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var h histogram
	var written, failed atomic.Int64
	var cause error
	var first sync.Once
	errs := make(chan error, o.producers)
	var all sync.WaitGroup
	began := time.Now()
	for i := range o.producers {
		n := o.n / int64(o.producers)
		if i == 0 {
			n += o.n % int64(o.producers)
		}
		all.Go(func() {
			errs <- o.load(ctx, s, stream, n, func(start time.Time, err error) {
				if err != nil {
					failed.Add(1)
					first.Do(func() { cause = err })
					stop() // what follows would measure failures
					return
				}
				written.Add(1)
				if !start.IsZero() && o.delivery != "at-most" {
					h.add(time.Since(start))
				}
			})
		})
	}
	all.Wait()
	took := time.Since(began)
	close(errs)
	for err := range errs {
		if err != nil {
			return result{}, err
		}
	}
	r := newResult(s, "pub", written.Load(), int64(o.size), took, &h)
	r.Failed, r.cause = failed.Load(), cause
	return r, nil
}

// load sends n messages, or fewer where ctx ends, and waits for all receipts. It
// tells done of each, with the time at which it was sent for some.
func (o *options) load(ctx context.Context, s *ss.Streamer, stream string, n int64, done func(start time.Time, err error)) error {
	p, err := s.Producer(context.WithoutCancel(ctx), ss.ProducerConfig{Stream: stream, Durability: o.durability()})
	if err != nil {
		return err
	}
	value := filler(o.size)
	plain := func(_ ss.Receipt, err error) { done(time.Time{}, err) }
	began := time.Now()
	for i := range n {
		if o.rate > 0 {
			err = pace(ctx, began, i, o.rate/float64(o.producers))
		} else {
			err = ctx.Err()
		}
		if err != nil {
			break
		}
		f := plain
		if i%sampled == 0 {
			start := time.Now()
			f = func(_ ss.Receipt, err error) { done(start, err) }
		}
		if err = p.Enqueue(ctx, ss.Record{Value: value}, f); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		err = nil // the time is up, somebody stopped it, or a message was not written
	}
	return errors.Join(err, p.Close(context.WithoutCancel(ctx)))
}

// filler is a value that does not compress to nothing.
func filler(size int) []byte {
	b := make([]byte, size)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = "abcdefghijklmnopqrstuvwxyz012345"[x>>27]
	}
	return b
}
