// Package cp is the commands that copy a stream to another one, on any two
// backends: cp, up to where the stream ends now, and mirror, which follows it.
package cp

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/receive"
)

// reportEvery is how often a mirror reports with -v or -o json.
const reportEvery = 10 * time.Second

// Options are what the command was called with.
type Options struct {
	f         *factory.Factory
	Target    factory.Target
	Src, Dst  string
	Delivery  string // at-most, at-least, exactly
	Name      string // of the progress; "" is a hash of what is copied
	Restart   bool
	KeepShard bool
	Count     int64 // below 0 is no limit
	Output    string
	Report    string
	Receive   receive.Options

	follow bool // mirror
	report time.Duration
}

const promise = `
Keys, headers and timestamps are kept, the last as exactly as DST can; the shard
is chosen by DST, by the key, unless --keep-shard says to keep it. DST is created
as produce creates it.

With --delivery exactly, the default, each message is copied once whatever dies:
records and progress change in one step, in DST's broker, and whoever starts the
same copy ends the one that runs (which exits with 6). A pair of backends that
cannot do it is refused. With at-least and at-most the progress is a file in
$XDG_STATE_HOME/sea-streamer, else ~/.local/state/sea-streamer, and messages may
be there twice, or not at all, after a fault.

What has been copied is not copied again: the progress has the name that --name
gives, or one made of SRC, DST, --from, --shard and --isolation. --restart forgets
it and copies again. Progress of another --delivery is another progress.`

// New is the command cp; runF, if it is not nil, runs in place of it.
func New(f *factory.Factory, runF func(*Options) error) *cobra.Command {
	o := &Options{f: f}
	cmd := o.command(runF)
	cmd.Use, cmd.Short = "cp SRC DST", "Copy a stream to another one, on any two backends"
	cmd.Long = `Copy a stream to another one, on any two backends, up to where it ends now. Run
again it copies what has come since.
` + promise
	cmd.Example = `  sea streamer cp redis://localhost:6379/news kafka://localhost:9092/news
  sea streamer cp kafka://localhost:9092/news file:///var/backup/news --keep-shard
  sea streamer cp news copy --from -1d --until -1h
  sea streamer cp news copy --delivery at-least --name nightly`
	return cmd
}

// NewMirror is the command mirror; runF, if it is not nil, runs in place of it.
func NewMirror(f *factory.Factory, runF func(*Options) error) *cobra.Command {
	o := &Options{f: f, follow: true}
	cmd := o.command(runF)
	cmd.Use, cmd.Short = "mirror SRC DST", "Copy a stream to another one, and follow it"
	cmd.Aliases = []string{"relay"}
	cmd.Long = `Copy a stream to another one, on any two backends, and go on with what comes,
until it is told to stop (INT or TERM; then it ends with 0). It goes on where an
earlier mirror or cp of the same streams stopped.
` + promise
	cmd.Example = `  sea streamer mirror redis://localhost:6379/news kafka://localhost:9092/news
  sea streamer mirror kafka://localhost:9092/news redis://localhost/news --report 30s
  sea streamer mirror news kafka://localhost:9092/news --from now -o json`
	cmd.Flags().StringVar(&o.Report, "report", "", "say every `DURATION` how much was copied and what is left, such as 30s; with -v or -o json the default is 10s")
	return cmd
}

func (o *Options) command(runF func(*Options) error) *cobra.Command {
	cmd := &cobra.Command{
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.operands(args); err != nil {
				return err
			}
			if err := o.check(cmd.Flags().Changed); err != nil {
				return err
			}
			if runF != nil {
				return runF(o)
			}
			return run(cmd.Context(), o)
		},
	}
	fs := cmd.Flags()
	factory.AddBrokerFlags(fs, &o.Target)
	receive.AddSourceFlags(fs, &o.Receive, "start", "fail")
	receive.AddUntilFlag(fs, &o.Receive)
	o.Delivery, o.Output = "exactly", "text"
	fs.Var(factory.OneOf(&o.Delivery, "at-most", "at-least", "exactly"), "delivery", "`at-most|at-least|exactly`: at-most (progress first), at-least (records first) or exactly (both in one step, where DST can)")
	fs.StringVar(&o.Name, "name", "", "`NAME` of the progress; the default is made of what is copied")
	fs.BoolVar(&o.Restart, "restart", false, "forget the progress and copy again")
	fs.BoolVar(&o.KeepShard, "keep-shard", false, "keep each message's shard; DST needs as many as SRC")
	fs.Int64VarP(&o.Count, "count", "n", -1, "end after `N` messages")
	fs.Lookup("count").DefValue = "0" // none, and so not shown
	fs.VarP(factory.OneOf(&o.Output, "text", "json"), "output", "o", "`text|json`: reports in words on standard error, or as lines of JSON on standard output")
	return cmd
}

// operands takes SRC and DST.
func (o *Options) operands(args []string) error {
	name := "cp"
	if o.follow {
		name = "mirror"
	}
	hint := "write " + o.f.Program + " " + name + " redis://localhost/news kafka://localhost:9092/news"
	switch len(args) {
	case 0:
		return exit.Usagef(hint, "no stream is named: SRC and DST are wanted")
	case 1:
		return exit.Usagef(hint, "only %s is named: SRC and DST are wanted", args[0])
	case 2:
	default:
		return exit.Usagef("run one command for each stream", "%d streams are named: SRC and DST are wanted", len(args))
	}
	for _, a := range args {
		if a == "-" || strings.HasPrefix(a, "stdio:") {
			return exit.Usagef("use produce to send standard input, and consume to write to standard output", "%q is no stream that can be copied: it cannot be read again from where a copy stopped", a)
		}
	}
	o.Src, o.Dst = args[0], args[1]
	return nil
}

func (o *Options) check(set func(flag string) bool) (err error) {
	if set("count") && o.Count < 0 {
		return exit.Usagef("", "--count %d is negative", o.Count)
	}
	if set("name") {
		if err := driver.CheckOwnerName(o.Name); err != nil {
			return exit.Usagef("use for instance --name nightly", "--name: %v", err)
		}
	}
	if o.follow && (set("report") || o.Output == "json" || o.f.IO.Verbose > 0) {
		o.report = reportEvery
	}
	if set("report") {
		if o.report, err = driver.ParseDuration(o.Report); err != nil || o.report < 100*time.Millisecond {
			return exit.Usagef("use for instance 30s", "--report %s is not a duration from 100ms on", o.Report)
		}
	}
	if !o.follow && !set("until") {
		o.Receive.Until = "end"
	}
	return o.Receive.Check(set, time.Now())
}

func run(parent context.Context, o *Options) error {
	p, err := o.pair()
	if err != nil {
		return err
	}
	factory.LimitMemoryTo(memoryGoal)
	factory.CollectSeldom(growth)
	ctx, sig, end := o.f.HandleSignals(parent)
	defer end()
	c := newCopier(o, p)
	sig.Status(c.summary)
	err = c.run(ctx)
	switch stopped := ctx.Err() != nil; {
	case errors.Is(err, errStopped), err != nil && stopped && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, context.Canceled)):
		if !o.follow {
			o.f.IO.Notice("stopped before the end: %s; the same command goes on there", c.summary())
			return exit.Silent(sig.Code())
		}
	case err != nil:
		return describe(err, o)
	}
	return c.gaps.Err()
}
