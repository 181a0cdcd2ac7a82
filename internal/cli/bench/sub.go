package bench

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

func newSub(f *factory.Factory) *cobra.Command {
	o := &options{f: f, producers: 1, size: 8, shards: 1}
	follow := false
	cmd := &cobra.Command{
		Use:   "sub STREAM",
		Short: "Measure how fast messages are read",
		Long: `Measure how fast a stream's messages are read, from its start to its end as of now.
With --follow it waits for more, until --count or --time. Nothing is committed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, 1, "a stream", "bench sub news"); err != nil {
				return err
			}
			if !cmd.Flags().Changed("count") {
				o.n = 1 << 62
			}
			if err := o.check(args); err != nil {
				return err
			}
			if follow && o.time == 0 && !cmd.Flags().Changed("count") {
				return exit.Usagef("for instance --time 10s", "--follow needs an end: --count or --time")
			}
			return o.with(cmd.Context(), func(ctx context.Context, s *ss.Streamer, stream string) (result, error) {
				return o.sub(ctx, s, stream, follow)
			})
		},
	}
	fs := cmd.Flags()
	factory.AddBrokerFlags(fs, &o.target)
	fs.Int64VarP(&o.n, "count", "n", 0, "end after `N` messages")
	fs.Var(factory.Duration(&o.time), "time", "end after `DURATION`")
	fs.BoolVar(&follow, "follow", false, "go on at the end")
	o.delivery, o.output = "at-least", "text"
	fs.VarP(factory.OneOf(&o.output, "text", "json"), "output", "o", "`text|json`: the result in words, or as one object of JSON")
	return cmd
}

func (o *options) sub(ctx context.Context, s *ss.Streamer, stream string, follow bool) (result, error) {
	cfg := ss.ConsumerConfig{Streams: []string{stream}, Start: ss.Earliest, OnGap: ss.GapContinue}
	if !follow {
		end, err := s.End(ctx, stream)
		if err != nil {
			return result{}, factory.Reader(err, []string{stream})
		}
		cfg.Until = end
	}
	if o.time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.time)
		defer cancel()
	}
	began := time.Now()
	c, err := s.Consumer(ctx, cfg)
	if err != nil {
		return result{}, factory.Reader(err, []string{stream})
	}
	var n, size int64
	for b, err := range c.Batches(ctx) {
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
				break
			}
			return result{}, err
		}
		for m := range b.Messages() {
			size += int64(len(m.Value()))
		}
		n += int64(b.Len())
		b.Release()
		if n >= o.n {
			break
		}
	}
	took := time.Since(began)
	r := newResult(s, "sub", n, 0, took, nil)
	r.Bytes, r.BytesPer = size, float64(size)/max(took.Seconds(), 1e-9)
	return r, c.Close(context.WithoutCancel(ctx))
}
