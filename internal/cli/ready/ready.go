// Package ready is how flux and tap say that their pipe is there and their
// broker answers: by a line on standard error, a descriptor, or by coming back
// from --detach.
package ready

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// Options are the flags.
type Options struct {
	Detach        bool
	FD            int // 0 is none
	RequireBroker bool
}

const fdHint = "open it in the shell: sea streamer flux p --ready-fd 3 3>ready"

// AddFlags adds the flags.
func AddFlags(fs *pflag.FlagSet, o *Options) {
	fs.BoolVarP(&o.Detach, "detach", "d", false, "run in the background: come back when the pipe and the broker are usable, and print the process id")
	fs.IntVar(&o.FD, "ready-fd", 0, "write a line to this descriptor `FD` and close it when the pipe and the broker are usable")
	fs.BoolVar(&o.RequireBroker, "require-broker", false, "end when the broker cannot be reached at the start, in place of trying again")
}

// Check looks at the values, and at the environment: a detached child has the
// descriptor of its parent there.
func (o *Options) Check(f *factory.Factory) error {
	if child(f) {
		o.Detach, o.FD, o.RequireBroker = false, childFD, true
		return nil
	}
	if o.FD < 0 || o.FD == 1 {
		return exit.Usagef("open one, such as 3, in the shell: sea streamer flux p --ready-fd 3 3>ready", "--ready-fd %d is not a descriptor to write to", o.FD)
	}
	if o.Detach && o.FD != 0 {
		return exit.Usagef("leave out one of them", "--detach and --ready-fd do not go together")
	}
	if o.FD != 0 && !handedDown(o.FD) {
		return exit.Usagef(fdHint, "--ready-fd %d is not open", o.FD)
	}
	o.RequireBroker = o.RequireBroker || o.Detach
	return nil
}

// Announce says that everything is usable.
func (o *Options) Announce(f *factory.Factory, line string) error {
	if o.FD == 0 {
		f.IO.Notice("%s", line)
		return nil
	}
	file := os.Stderr // a second file of descriptor 2 would close it when it is collected
	if o.FD != 2 {
		file = os.NewFile(uintptr(o.FD), "ready-fd")
	}
	_, err := file.WriteString("ready\n")
	if o.FD != 2 {
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return exit.Usagef(fdHint, "--ready-fd %d cannot be written to: %v", o.FD, err)
	}
	if child(f) {
		afterReady(f)
	}
	return nil
}

// Reach calls try until it does not fail for want of a broker: once, if a
// broker is required. When ctx ends it returns the last error. After a few
// seconds it says why nothing happens.
func (o *Options) Reach(ctx context.Context, f *factory.Factory, waiting string, try func() error) error {
	began, said := time.Now(), false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := try()
		unreachable := errors.Is(err, ss.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
		if err == nil || !unreachable || o.RequireBroker {
			return err
		}
		if ctx.Err() != nil {
			return err
		}
		if !said && time.Since(began) >= 3*time.Second {
			said = true
			f.IO.Warn("%v: trying again; %s", err, waiting)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}
