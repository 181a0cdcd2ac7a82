// Package flux is the command that sends what is written to a named pipe.
package flux

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/ready"
	"github.com/seastreamer/seastreamer/internal/cli/send"
	"github.com/seastreamer/seastreamer/internal/frame"
	"github.com/seastreamer/seastreamer/internal/pipe"
)

// Options are what the command was called with.
type Options struct {
	f         *factory.Factory
	Target    factory.Target
	Path      string
	Stream    string // operand; "" is --topic
	Mode      string
	PipeGroup string
	Adopt     bool
	Drain     string
	Flush     string
	Buffer    string
	Send      send.Options
	Ready     ready.Options

	mode         fs.FileMode
	drain, flush time.Duration
	buffer       int
}

// New is the command; runF, if it is not nil, runs in place of it.
func New(f *factory.Factory, runF func(*Options) error) *cobra.Command {
	o := &Options{f: f}
	cmd := &cobra.Command{
		Use:   "flux PATH [STREAM]",
		Short: "A named pipe whose lines are sent to a stream",
		Long: `Create a named pipe at PATH and send what is written to it to a stream, one
record for each line. Writers come and go; each line is the payload as it is.

When it is told to stop (TERM, INT, or the pipe's removal) it removes the pipe,
reads what writers have written and still write, for at most --drain, waits for
the broker, for at most --flush, and ends: with 0 when every record was
acknowledged, else with 9. A second signal ends it at once.

A writer's success says that the system took its bytes, not yet that the broker
has them: the exit code does. A shell that writes before the pipe is there
creates a regular file: wait for the line "ready", or use --detach; --adopt
sends such a file and takes its place. After the pipe is removed, > creates a
file too.

A message that several writers send at once stays whole up to 4096 bytes; longer
ones may get mixed up. Where the folder is sticky, as /tmp is, other users may
be refused by the system: use a folder of your own.`,
		Example: `  sea streamer flux ./producer --broker localhost:9092 --topic news &
  cat news.ndjson > producer
  kill %1; wait %1

  pid=$(sea streamer flux -d ./producer news)`,
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
	factory.AddTargetFlags(fs, &o.Target)
	send.AddFlags(fs, &o.Send)
	ready.AddFlags(fs, &o.Ready)
	fs.StringVar(&o.Mode, "mode", "0600", "permissions `OCTAL` of the pipe, whatever the umask")
	fs.StringVar(&o.PipeGroup, "pipe-group", "", "group `NAME` that the pipe belongs to")
	fs.BoolVar(&o.Adopt, "adopt", false, "if there is a regular file at PATH, send its content first and take its place")
	fs.StringVar(&o.Drain, "drain", "10s", "how long `DUR` writers may go on when it is told to stop")
	fs.StringVar(&o.Flush, "flush", "30s", "how long `DUR` the broker may take to acknowledge the rest then")
	fs.StringVar(&o.Buffer, "buffer", "8MiB", "how much `SIZE` may be under way to the broker before writers wait")
	return cmd
}

func (o *Options) operands(args []string) error {
	switch {
	case len(args) == 0:
		return exit.Usagef("sea streamer flux ./producer news", "name the pipe")
	case len(args) > 2 || len(args) == 2 && o.Target.Topic != "":
		return exit.Usagef("sea streamer flux ./producer news", "flux takes the pipe's path and one stream")
	case args[0] == "":
		return exit.Usagef("", "the pipe's path is empty")
	}
	if o.Path = args[0]; len(args) == 2 {
		o.Stream = args[1]
	}
	return nil
}

func (o *Options) check(set func(string) bool) (err error) {
	if o.mode, err = ParseMode(o.Mode); err != nil {
		return err
	}
	if o.drain, err = driver.ParseDuration(o.Drain); err != nil {
		return exit.Usagef("", "--drain: %v", err)
	}
	if o.flush, err = driver.ParseDuration(o.Flush); err != nil {
		return exit.Usagef("", "--flush: %v", err)
	}
	n, err := driver.ParseSize(o.Buffer)
	if err != nil || n < 1 || n > 1<<30 {
		return exit.Usagef("use for instance 8MiB", "--buffer %s is not a size from 1 byte to 1 GiB", o.Buffer)
	}
	o.buffer = int(n)
	if err := o.Ready.Check(o.f); err != nil {
		return err
	}
	return o.Send.Check(set)
}

// ParseMode reads the permissions of a pipe.
func ParseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return 0, exit.Usagef("use for instance 0600 or 0622", "--mode %s is not octal permissions", s)
	}
	return fs.FileMode(n), nil
}

func run(parent context.Context, o *Options) error {
	u, err := resolve(o)
	if err != nil {
		return err
	}
	if o.Ready.Detach {
		return o.Ready.Background(o.f)
	}
	// The pipe comes before anything that takes time: a shell's > may be next.
	ctx, sig, end := o.f.HandleSignals(parent)
	defer end()
	fl, err := pipe.CreateFlux(o.Path, pipe.FluxOptions{Mode: o.mode, Group: o.PipeGroup, Adopt: o.Adopt, Drain: o.drain,
		Notice: func(text string) { o.f.IO.Notice("%s", text) }})
	if err != nil {
		return err
	}
	defer fl.Close() //nolint:errcheck // after its end it does nothing; before, an error is returned already
	defer context.AfterFunc(ctx, func() { fl.Stop(o.drain) })()
	sig.Status(func() string { return "waiting for the broker, nothing was sent so far" })

	s, err := o.f.Open(ctx, u, ss.Observer{})
	if err != nil {
		return err
	}
	closed := context.WithoutCancel(parent)
	defer s.Close(closed) //nolint:errcheck // the producer is closed by then, with its error
	stream := ""
	if len(u.Streams) > 0 {
		stream = u.Streams[0]
	}
	// When it is told to stop while it waits, what was written is still sent,
	// as far as the broker comes back in time.
	err = o.Ready.Reach(ctx, o.f, "writers wait", func() error {
		if stream == "" {
			return nil
		}
		return send.Check(ctx, o.f, s, stream)
	})
	if err != nil && ctx.Err() == nil {
		return err
	}
	p, err := s.Producer(closed, o.Send.Producer(stream, o.buffer))
	if err != nil {
		return err
	}
	sender := send.New(o.f.IO, p, s.Features(), &o.Send)
	sig.Status(sender.Summary)
	if ctx.Err() == nil {
		if err := o.Ready.Announce(o.f, "ready "+o.Path+" → "+u.String()); err != nil {
			return err
		}
	}
	progress := o.f.IO.StartProgress(o.f.Progress, "sent", false, sender.Count)
	err = pump(closed, o, fl, sender)
	progress.Stop()
	o.f.IO.Detail("%s: %s", o.Path, sender.Summary())
	return err
}

// pump sends what comes through the pipe until its end.
func pump(ctx context.Context, o *Options, fl *pipe.Flux, sender *send.Sender) error {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		// Room for records is waited for as long as it takes, but for when it
		// is told to stop.
		select {
		case <-fl.Stopping():
		case <-ended:
			return
		}
		t := time.NewTimer(o.drain + o.flush)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-ended:
		}
	}()
	defer context.AfterFunc(sender.Over(), func() { _ = fl.Close() })()
	err := adopted(work, fl, sender)
	if err == nil {
		err = sender.Run(work, sessions{fl})
	}
	// Whatever ended it, no writer may believe in us from here on: what is
	// written after this fails.
	_ = fl.Close()
	flushing, done := context.WithTimeout(work, o.flush)
	defer done()
	err = exit.Join(err, sender.Finish(flushing))
	if left := fl.Stats().Left; err == nil && left > 0 {
		err = &exit.Error{Code: exit.Incomplete, Msg: strconv.FormatInt(left, 10) + " bytes that writers wrote after the end were not read"}
	}
	return err
}

// adopted sends the file that was at the path, if there was one, and removes
// it when all of it is acknowledged.
func adopted(ctx context.Context, fl *pipe.Flux, sender *send.Sender) error {
	a := fl.Adopted()
	if a == nil {
		return nil
	}
	err := sender.Run(ctx, a)
	if err == nil {
		err = sender.Flush(ctx)
	}
	if err == nil {
		err = a.Remove()
	}
	return err
}

// sessions is a Flux that says the end of a session in the framer's words.
type sessions struct{ io.Reader }

func (s sessions) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if errors.Is(err, pipe.ErrSessionEnd) {
		err = frame.ErrSessionEnd
	}
	return n, err
}

func resolve(o *Options) (ss.URL, error) {
	var operands []string
	if o.Stream != "" {
		operands = []string{o.Stream}
	}
	u, err := send.Resolve(o.f, o.Target, &o.Send, operands...)
	if err == nil && len(u.Streams) > 1 {
		err = exit.Usagef("run one flux for each", "flux writes to one stream, and %d are named", len(u.Streams))
	}
	return u, err
}
