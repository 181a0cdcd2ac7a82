// Package consume is the command that writes streams to standard output.
package consume

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/receive"
)

// closeTime is how long the last commit and leaving the group may take.
const closeTime = 10 * time.Second

// Options are what the command was called with.
type Options struct {
	f       *factory.Factory
	Target  factory.Target
	Streams []string
	Count   int64 // below 0 is no limit
	Receive receive.Options
}

// New is the command; runF, if it is not nil, runs in place of it.
func New(f *factory.Factory, runF func(*Options) error) *cobra.Command {
	o := &Options{f: f}
	cmd := &cobra.Command{
		Use:     "consume STREAM...",
		Aliases: []string{"sub"},
		Short:   "Write streams to standard output, and follow them",
		Long: `Write streams to standard output, and follow them.

A message is written as its payload and a newline; -o json writes a line that
has all of it, and that produce --in json reads back byte for byte. It begins
with what comes from now on, unless --from, or the progress of --group, says
otherwise; and ends at a signal, with -n, or with --until. With --group, what was
written to standard output counts as done.`,
		Example: `  sea streamer consume news --from start --until end
  sea streamer consume --broker localhost:9092 news -o json | jq .
  sea streamer consume news --from -1h -n 10
  sea streamer consume redis://localhost:6379/news --from 1700000000000-0
  sea streamer consume kafka://localhost:9092/news,sport --group archive >> archive.txt`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Streams = args; len(args) > 0 && o.Target.Topic != "" {
				return exit.Usagef("leave out --topic", "streams are named twice: as operands and with --topic")
			}
			if cmd.Flags().Changed("count") && o.Count < 0 {
				return exit.Usagef("", "--count %d is negative", o.Count)
			}
			if err := o.Receive.Check(cmd.Flags().Changed, time.Now()); err != nil {
				return err
			}
			if runF != nil {
				return runF(o)
			}
			return run(cmd.Context(), o)
		},
	}
	factory.AddTargetFlags(cmd.Flags(), &o.Target)
	receive.AddFlags(cmd.Flags(), &o.Receive, "now")
	receive.AddUntilFlag(cmd.Flags(), &o.Receive)
	cmd.Flags().Int64VarP(&o.Count, "count", "n", -1, "end after `N` messages")
	cmd.Flags().Lookup("count").DefValue = "0" // none, and so not shown
	return cmd
}

// errReaderGone is the cause of a context that ends since nobody reads
// standard output any more.
var errReaderGone = errors.New("the reader of standard output has gone")

func run(parent context.Context, o *Options) (err error) {
	u, err := o.f.Resolve(o.Target, o.Streams...)
	if err != nil {
		return err
	}
	factory.LimitMemory()
	ctx, sig, end := o.f.HandleSignals(parent)
	defer end()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	o.f.IO.OutReaderGone(func() { stop(errReaderGone) })

	gaps := receive.NewGaps(o.f.IO)
	s, err := o.f.Open(ctx, u, gaps.Observer())
	if err != nil {
		return err
	}
	closed := context.WithoutCancel(parent)
	defer func() {
		ctx, cancel := context.WithTimeout(closed, closeTime)
		defer cancel()
		if e := s.Close(ctx); err == nil && e != nil {
			err = &exit.Error{Code: exit.Incomplete, Msg: "end in order", Err: e}
		}
	}()
	plan, err := o.Receive.Plan(ctx, s, u.Streams, ss.Latest)
	if err != nil {
		return stopped(ctx, err)
	}
	o.Receive.GoesOn(ctx, o.f.IO, s, u.Streams)
	c, err := open(ctx, s, plan.Config)
	if err != nil {
		return stopped(ctx, factory.Reader(err, u.Streams))
	}
	o.f.IO.Detail("reading %v from %s", u, o.Receive.From)
	w := newWriter(o, plan, o.Receive.Renderer(o.f.IO))
	sig.Status(w.summary)
	progress := o.f.IO.StartProgress(o.f.Progress, "read", true, w.progress)
	err = w.run(ctx, stop, sig, c)
	progress.Stop()
	w.render.Shown()
	o.f.IO.Detail("%s", w.summary())
	if err == nil {
		err = gaps.Err()
	}
	return err
}

// open opens the consumer, which may take as long as a broker may take.
func open(ctx context.Context, s *ss.Streamer, cfg ss.ConsumerConfig) (*ss.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, factory.ConnectTimeout)
	defer cancel()
	return s.Consumer(ctx, cfg)
}

// stopped is err, unless a signal or the reader's end is why it came.
func stopped(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), errReaderGone):
		return exit.Silent(exit.BrokenPipe)
	}
	return nil
}
