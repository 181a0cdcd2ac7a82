// Package produce is the command that sends standard input or files to a
// stream.
package produce

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/send"
)

// drainTime is how long receipts are waited for after a signal.
const drainTime = 30 * time.Second

// budget is what may be under way, in bytes; a larger message goes alone.
const budget = 16 << 20

// Options are what the command was called with.
type Options struct {
	f      *factory.Factory
	Target factory.Target
	Stream string // operand; "" is --topic
	Files  []string
	Send   send.Options
}

// New is the command; runF, if it is not nil, runs in place of it.
func New(f *factory.Factory, runF func(*Options) error) *cobra.Command {
	o := &Options{f: f}
	cmd := &cobra.Command{
		Use:     "produce STREAM [FILE...]",
		Aliases: []string{"pub"},
		Short:   "Send standard input or files to a stream",
		Long: `Send standard input or files to a stream, one record for each line.

A line is the payload as it is, without its newline. FILE may be - for standard
input. With --topic every operand is a file. With --in json the lines are what
consume -o json wrote: payload, key, headers and timestamp come from them, and
the stream too where the command names none.

Exit code 0 says that every record was acknowledged.`,
		Example: `  cat news.ndjson | sea streamer produce news
  sea streamer produce --broker localhost:9092 news news.ndjson
  sea streamer consume news --from start --until end -o json | sea streamer produce copy --in json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Target.Topic == "" && len(args) > 0 {
				o.Stream, args = args[0], args[1:]
			}
			if o.Files = args; len(args) == 0 {
				o.Files = []string{"-"}
			}
			if err := o.Send.Check(cmd.Flags().Changed); err != nil {
				return err
			}
			if runF != nil {
				return runF(o)
			}
			return run(cmd.Context(), o)
		},
	}
	factory.AddTargetFlags(cmd.Flags(), &o.Target)
	send.AddFlags(cmd.Flags(), &o.Send)
	return cmd
}

func run(parent context.Context, o *Options) error {
	u, err := resolve(o)
	if err != nil {
		return err
	}
	in, err := openFiles(o.f.IO.In, o.Files)
	if err != nil {
		return err
	}
	ctx, sig, end := o.f.HandleSignals(parent)
	defer end()
	s, err := o.f.Open(ctx, u, ss.Observer{})
	if err != nil {
		return err
	}
	defer s.Close(context.WithoutCancel(parent)) //nolint:errcheck // the producer is closed by then, with its error
	stream := ""
	if len(u.Streams) > 0 {
		stream = u.Streams[0]
		if err := send.Check(ctx, o.f, s, stream); err != nil {
			return err
		}
	}
	p, err := s.Producer(ctx, o.Send.Producer(stream, budget))
	if err != nil {
		return err
	}
	sender := send.New(o.f.IO, p, s.Features(), &o.Send)
	sig.Status(sender.Summary)
	progress := o.f.IO.StartProgress(o.f.Progress, "sent", false, sender.Count)
	err = pump(ctx, sender, in)
	progress.Stop()
	o.f.IO.Detail("%s: %s", u, sender.Summary())
	return err
}

// pump sends everything that in has. After a signal it sends what was read,
// and gives the broker a limited time for it.
func pump(ctx context.Context, sender *send.Sender, in *files) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		in.Stop()
		time.AfterFunc(drainTime, cancel)
	})()
	defer context.AfterFunc(sender.Over(), in.Stop)()
	err := sender.Run(work, in)
	return exit.Join(err, sender.Finish(work))
}

func resolve(o *Options) (ss.URL, error) {
	var operands []string
	if o.Stream != "" {
		operands = []string{o.Stream}
	}
	u, err := send.Resolve(o.f, o.Target, &o.Send, operands...)
	if err == nil && len(u.Streams) > 1 {
		err = exit.Usagef("run one command for each", "produce writes to one stream, and %d are named", len(u.Streams))
	}
	return u, err
}
