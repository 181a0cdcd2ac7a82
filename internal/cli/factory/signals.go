package factory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

const (
	// together is how long signals that come are still the first: timeout(1), and a
	// terminal that goes away with its shell, tell the process and then its group.
	together = 250 * time.Millisecond
	// sayTime is how long a line about a signal may take: standard error may be a
	// terminal that is held, or a pipe that nobody empties.
	sayTime = time.Second
)

// Signals are what a long-running command does about signals: the first INT,
// TERM or HUP stops it in order, the second, unless it comes together with the
// first, ends it at once with 128 and the signal's number. USR1 (and INFO where there is one) says on standard error
// how far it has come. A signal that was ignored when the process began, such
// as INT in the background of a script or HUP under nohup, stays ignored.
type Signals struct {
	f    *Factory
	stop context.CancelCauseFunc
	exit func(int)

	mu     sync.Mutex
	first  syscall.Signal
	at     time.Time // when it came
	status func() string
}

// errStopped is the cause of a context that a signal has ended.
var errStopped = errors.New("stopped by a signal")

// HandleSignals begins to handle signals. The context that it returns ends at
// the first one. end stops handling them.
func (f *Factory) HandleSignals(parent context.Context) (ctx context.Context, s *Signals, end func()) {
	ctx, stop := context.WithCancelCause(parent)
	s = &Signals{f: f, stop: stop, exit: os.Exit}
	c := make(chan os.Signal, 8)
	var listen []os.Signal
	for _, sig := range append([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}, statusSignals...) {
		// Notify would un-ignore it.
		if !signal.Ignored(sig) {
			listen = append(listen, sig)
		}
	}
	if len(listen) > 0 {
		signal.Notify(c, listen...)
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-c:
				s.handle(sig)
			case <-done:
				return
			}
		}
	}()
	return ctx, s, func() {
		signal.Stop(c)
		close(done)
		stop(nil)
	}
}

// Status sets what a status line says, also the one that tells what is given
// up at a second signal.
func (s *Signals) Status(status func() string) {
	s.mu.Lock()
	s.status = status
	s.mu.Unlock()
}

// Stop ends the context, as the first signal does.
func (s *Signals) Stop() { s.stop(errStopped) }

func (s *Signals) handle(sig os.Signal) {
	s.mu.Lock()
	status := ""
	if s.status != nil {
		status = s.status()
	}
	for _, st := range statusSignals {
		if sig == st {
			s.mu.Unlock()
			s.say(status)
			return
		}
	}
	n, _ := sig.(syscall.Signal)
	again := s.first != 0
	if !again {
		s.first, s.at = n, time.Now()
	}
	still := again && time.Since(s.at) < together
	s.mu.Unlock()
	switch {
	case !again:
		s.f.signal.Store(int32(n)) //nolint:gosec // a small number
		s.stop(fmt.Errorf("%w: %v", errStopped, sig))
		return
	case still:
		return
	}
	if status != "" {
		s.say("given up: " + status)
	}
	s.exit(exit.Signal + int(n))
}

// SignalIn is the number of the first signal where err says that it has ended what
// was waited for, else 0. Some backends say why a context has ended, some that it has.
func (f *Factory) SignalIn(err error) int {
	if errors.Is(err, errStopped) || errors.Is(err, context.Canceled) {
		return int(f.signal.Load())
	}
	return 0
}

// say writes a line to standard error, if that takes it.
func (s *Signals) say(line string) {
	if line == "" {
		return
	}
	said := make(chan struct{})
	go func() {
		defer close(said)
		s.f.IO.Error(line)
	}()
	select {
	case <-said:
	case <-time.After(sayTime):
	}
}

// Code is the exit code of a process that ends before its work is finished:
// 128 and the number of the first signal.
func (s *Signals) Code() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return exit.Signal + int(s.first)
}
