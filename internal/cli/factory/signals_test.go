package factory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// timeout(1) tells the process and then its group, and so does the end of a
// terminal with its shell: that is one signal, and a second one comes later.
func TestSignalsThatComeTogetherAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, said := newTest(nil)
		ctx, stop := context.WithCancelCause(t.Context())
		code := 0
		s := &Signals{f: f, stop: stop, exit: func(c int) { code = c }}
		s.Status(func() string { return "3 sent" })
		s.handle(syscall.SIGTERM)
		s.handle(syscall.SIGTERM)
		if !errors.Is(context.Cause(ctx), errStopped) || code != 0 || said.Len() > 0 {
			t.Errorf("two at once: %v, exit code %d, said %q", context.Cause(ctx), code, said)
		}
		time.Sleep(time.Second)
		if s.handle(syscall.SIGINT); code != 130 || !strings.Contains(said.String(), "given up: 3 sent") {
			t.Errorf("another one: exit code %d, said %q", code, said)
		}
	})
}

// A backend that has found out that a signal has ended what it did says so in one of
// two ways; what fails else is no signal's.
func TestSignalIn(t *testing.T) {
	f, _ := newTest(nil)
	ctx, stop := context.WithCancelCause(t.Context())
	s := &Signals{f: f, stop: stop}
	if n := f.SignalIn(context.Canceled); n != 0 {
		t.Errorf("signal %d before there is one", n)
	}
	s.handle(syscall.SIGTERM)
	for err, want := range map[error]syscall.Signal{ctx.Err(): syscall.SIGTERM, context.Cause(ctx): syscall.SIGTERM, errors.New("full"): 0} {
		if n := f.SignalIn(fmt.Errorf("describe: %w", err)); n != int(want) {
			t.Errorf("%v: signal %d, want %d", err, n, want)
		}
	}
}

// stuck is a terminal that is held (^S), or a pipe whose reader has stopped.
type stuck struct{ until chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.until
	return len(b), nil
}

// The second signal ends the process also where nothing can be said.
func TestSecondSignalWithoutStandardError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newTest(nil)
		err := stuck{make(chan struct{})}
		f.IO = &iostreams.Streams{Out: new(bytes.Buffer), Err: err}
		code := make(chan int, 1)
		s := &Signals{f: f, stop: func(error) {}, exit: func(c int) { code <- c }}
		s.Status(func() string { return "3 sent" })
		go func() {
			s.handle(syscall.SIGTERM)
			time.Sleep(time.Second)
			s.handle(syscall.SIGTERM)
		}()
		select {
		case c := <-code:
			if c != 143 {
				t.Errorf("exit code %d", c)
			}
		case <-time.After(time.Minute):
			t.Error("it goes on")
		}
		close(err.until)
	})
}
