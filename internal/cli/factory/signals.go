package factory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// Signals are what a long-running command does about signals: the first INT,
// TERM or HUP stops it in order, the second ends it at once with 128 and the
// signal's number. USR1 (and INFO where there is one) says on standard error
// how far it has come. A signal that was ignored when the process began, such
// as INT in the background of a script or HUP under nohup, stays ignored.
type Signals struct {
	f    *Factory
	stop context.CancelCauseFunc
	exit func(int)

	mu     sync.Mutex
	first  syscall.Signal
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
			if status != "" {
				s.f.IO.Error(status)
			}
			return
		}
	}
	n, _ := sig.(syscall.Signal)
	again := s.first != 0
	s.first = n
	s.mu.Unlock()
	if !again {
		s.stop(fmt.Errorf("%w: %v", errStopped, sig))
		return
	}
	if status != "" {
		s.f.IO.Error("given up: " + status)
	}
	s.exit(exit.Signal + int(n))
}

// Code is the exit code of a process that ends before its work is finished:
// 128 and the number of the first signal.
func (s *Signals) Code() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return exit.Signal + int(s.first)
}
