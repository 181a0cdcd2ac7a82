// Package tap is the command that gives a stream through a named pipe.
package tap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/flux"
	"github.com/seastreamer/seastreamer/internal/cli/ready"
	"github.com/seastreamer/seastreamer/internal/cli/receive"
	"github.com/seastreamer/seastreamer/internal/iostreams"
	"github.com/seastreamer/seastreamer/internal/pipe"
)

const (
	// closeTime is how long the last commit and leaving the group may take.
	closeTime = 10 * time.Second
	// commitEvery is how often a group's progress is stored during a session.
	commitEvery = 5 * time.Second
	// prefetch is how much is fetched for a reader that may never come.
	prefetch = 1 << 20
	// assignTime is how long a group may take to give us shards before the tap
	// is ready without.
	assignTime = 10 * time.Second
)

// Options are what the command was called with.
type Options struct {
	f         *factory.Factory
	Target    factory.Target
	Path      string
	Streams   []string
	Mode      string
	PipeGroup string
	Follow    bool
	Session   string
	OneInode  bool
	Receive   receive.Options
	Ready     ready.Options

	mode fs.FileMode
}

// New is the command; runF, if it is not nil, runs in place of it.
func New(f *factory.Factory, runF func(*Options) error) *cobra.Command {
	o := &Options{f: f, Session: "resume"}
	cmd := &cobra.Command{
		Use:   "tap PATH [STREAM...]",
		Short: "A named pipe that gives a stream to whoever reads it",
		Long: `Create a named pipe at PATH and give a stream, from --from on, to whoever reads
it, as payloads with a newline.

A reader gets what is there when it opens the pipe, and then the end, as with a
file; the next one goes on where it stopped. With --follow a reader gets more as
it comes. A record that a reader did not take whole is given to the next one,
whole. Readers come one at a time, and others wait their turn; a program may read
ahead of what it uses: head -3 takes some thousand bytes. Each reader has a pipe of
its own, so to follow a stream use -f; tail -F needs --one-inode.

When it is told to stop (TERM, INT, or the pipe's removal) it removes the pipe
and ends, with 0. With --group, what readers have taken out of the pipe counts as
done; what they did with it is not known.`,
		Example: `  sea streamer tap ./consumer --broker localhost:9092 --topic news &
  cat consumer > news.ndjson
  kill %1; wait %1

  sea streamer tap -f ./live news --from now &
  tail -f live`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.operands(args); err != nil {
				return err
			}
			var err error
			if o.mode, err = flux.ParseMode(o.Mode); err != nil {
				return err
			}
			if err := o.Ready.Check(o.f); err != nil {
				return err
			}
			if err := o.Receive.Check(cmd.Flags().Changed, time.Now()); err != nil {
				return err
			}
			if o.Receive.Group != "" && o.Session != "resume" {
				return exit.Usagef("leave out one of them", "--session %s and --group do not go together, since the group keeps where to go on", o.Session)
			}
			if runF != nil {
				return runF(o)
			}
			return run(cmd.Context(), o)
		},
	}
	fs := cmd.Flags()
	factory.AddTargetFlags(fs, &o.Target)
	receive.AddFlags(fs, &o.Receive, "start")
	ready.AddFlags(fs, &o.Ready)
	fs.BoolVarP(&o.Follow, "follow", "f", false, "a reader gets more as it comes, in place of the end")
	fs.Var(factory.OneOf(&o.Session, "resume", "restart", "live"), "session", "where a reader begins: `HOW` is resume (where the last one stopped), restart (at --from, so that the pipe reads as a file) or live (at what comes then)")
	fs.BoolVar(&o.OneInode, "one-inode", false, "do not give each reader a pipe of its own: for folders where names cannot be exchanged, with weaker promises")
	fs.StringVar(&o.Mode, "mode", "0600", "permissions `OCTAL` of the pipe, whatever the umask")
	fs.StringVar(&o.PipeGroup, "pipe-group", "", "group `NAME` that the pipe belongs to")
	return cmd
}

func (o *Options) operands(args []string) error {
	switch {
	case len(args) == 0:
		return exit.Usagef("sea streamer tap ./consumer news", "name the pipe")
	case args[0] == "":
		return exit.Usagef("", "the pipe's path is empty")
	case len(args) > 1 && o.Target.Topic != "":
		return exit.Usagef("leave out --topic", "streams are named twice: as operands and with --topic")
	}
	o.Path, o.Streams = args[0], args[1:]
	return nil
}

func run(parent context.Context, o *Options) (err error) {
	u, err := o.f.Resolve(o.Target, o.Streams...)
	if err != nil {
		return err
	}
	if o.Ready.Detach {
		return o.Ready.Background(o.f)
	}
	factory.LimitMemory()
	ctx, sig, end := o.f.HandleSignals(parent)
	defer end()
	t := &tap{o: o, u: u}
	p, err := pipe.CreateTap(o.Path, t.options())
	if err != nil {
		return err
	}
	defer p.Close() //nolint:errcheck // after Serve it does nothing; before, an error is returned already
	sig.Status(func() string { return summary(p.Stats()) })
	// The removal of the path ends it too, at any time.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-p.Stopping():
			stop()
		case <-ctx.Done():
		}
	}()

	gaps := receive.NewGaps(o.f.IO)
	defer func() {
		if e := t.close(context.WithoutCancel(parent)); err == nil {
			err = e
		}
		if err == nil {
			err = gaps.Err()
		}
	}()
	if err := t.open(ctx, gaps); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it waited
		}
		return err
	}
	if err := o.Ready.Announce(o.f, "ready "+o.Path+" ← "+u.String()); err != nil {
		return err
	}
	reading, ended := context.WithCancel(context.WithoutCancel(parent))
	defer ended()
	go t.src.fetch(reading)
	progress := o.f.IO.StartProgress(o.f.Progress, "taken", false, func() iostreams.Count {
		st := p.Stats()
		return iostreams.Count{Records: st.Frames, Bytes: st.Bytes}
	})
	err = p.Serve(ctx, t.src)
	progress.Stop()
	t.src.render.Shown()
	o.f.IO.Detail("%s: %s", o.Path, summary(p.Stats()))
	return err
}

func summary(st pipe.TapStats) string {
	return fmt.Sprintf("%s records taken, %s, in %s sessions", iostreams.Thousands(st.Frames), iostreams.Bytes(st.Bytes), iostreams.Thousands(st.Sessions))
}

// A tap is the command while it runs.
type tap struct {
	o   *Options
	u   ss.URL
	s   *ss.Streamer
	src *source

	mu       sync.Mutex
	early    []ss.Position // assigned before there was a source
	assigned chan struct{} // closed at the first assignment
	once     sync.Once
}

func (t *tap) options() pipe.TapOptions {
	o := t.o
	return pipe.TapOptions{
		Mode: o.mode, Group: o.PipeGroup, Follow: o.Follow, OneInode: o.OneInode,
		Session:    map[string]pipe.Session{"resume": pipe.Resume, "restart": pipe.Restart, "live": pipe.Live}[o.Session],
		Notice:     func(text string) { o.f.IO.Notice("%s", text) },
		SessionEnd: t.sessionEnd,
	}
}

// open connects and fixes where reading begins.
func (t *tap) open(ctx context.Context, gaps *receive.Gaps) (err error) {
	o := t.o
	t.assigned = make(chan struct{})
	observer := gaps.Observer()
	observer.Assigned = t.noteAssigned
	if t.s, err = o.f.Open(ctx, t.u, observer); err != nil {
		return err
	}
	var plan *receive.Plan
	var c *ss.Consumer
	err = o.Ready.Reach(ctx, o.f, "readers wait", func() (err error) {
		if plan, err = o.Receive.Plan(ctx, t.s, t.u.Streams, ss.Earliest); err != nil {
			return err
		}
		o.Receive.GoesOn(ctx, o.f.IO, t.s, t.u.Streams)
		plan.Config.CommitEvery, plan.Config.MaxBytes = commitEvery, prefetch
		opening, cancel := context.WithTimeout(ctx, factory.ConnectTimeout)
		defer cancel()
		c, err = t.s.Consumer(opening, plan.Config)
		return factory.Reader(err, t.u.Streams)
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.src = newSource(o.f.IO, t.s, c, plan, o.Receive.Renderer(o.f.IO))
	t.src.assigned(t.early)
	t.mu.Unlock()
	if plan.Config.Group != "" && t.s.Features().Ack == driver.AckMessage {
		return nil // such a group hands out messages, and nobody is told of shards
	}
	wait := time.NewTimer(assignTime)
	defer wait.Stop()
	select {
	case <-t.assigned:
	case <-wait.C:
		if plan.Config.Group == "" {
			return &exit.Error{Code: exit.Connect, Msg: "the broker does not say what is in " + strings.Join(t.u.Streams, ", "), Hint: "check that it runs"}
		}
		o.f.IO.Notice("the group %s has given no shard so far: other members have them", plan.Config.Group)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// noteAssigned is Observer.Assigned.
func (t *tap) noteAssigned(at []ss.Position) {
	t.mu.Lock()
	if t.src != nil {
		t.src.assigned(at)
	} else {
		t.early = append(t.early, at...)
	}
	t.mu.Unlock()
	t.once.Do(func() { close(t.assigned) })
}

// sessionEnd stores the group's progress and, on a terminal, says what the
// reader has got.
func (t *tap) sessionEnd(st pipe.SessionStats) {
	if t.o.Receive.Group != "" {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if _, err := t.src.c.Commit(ctx); err != nil {
			t.o.f.IO.Warn("progress was not stored: %v", err)
		}
	}
	if !t.o.Follow {
		t.o.f.IO.Detail("%s: a reader has taken %s records (-f follows)", t.o.Path, iostreams.Thousands(st.Frames))
	} else {
		t.o.f.IO.Detail("%s: a reader has taken %s records", t.o.Path, iostreams.Thousands(st.Frames))
	}
}

func (t *tap) close(ctx context.Context) error {
	if t.s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	if err := t.s.Close(ctx); err != nil && !errors.Is(err, ss.ErrClosed) {
		return &exit.Error{Code: exit.Incomplete, Msg: "end in order", Err: err}
	}
	return nil
}
