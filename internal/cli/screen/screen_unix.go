//go:build unix

package screen

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// continueAfter is how long a stop that does not happen is waited for: the system
// ignores it where nobody could wake the process again.
const continueAfter = 200 * time.Millisecond

// prepare reports whether the terminal can be painted.
func prepare(*os.File) bool { return true }

// watch follows the signals about the terminal.
func (s *Screen) watch() {
	signal.Notify(s.signals, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT)
	s.reading.Go(func() {
		defer s.Guard()
		for {
			select {
			case <-s.stop:
				return
			case sig := <-s.signals:
				switch sig {
				case syscall.SIGTSTP:
					s.Suspend()
				case syscall.SIGCONT: // after a stop that could not be caught
					s.retake()
				default:
					s.again()
				}
			}
		}
	})
}

func (s *Screen) unwatch() { signal.Stop(s.signals) }

// Suspend stops the process as ^Z does, on a terminal that is as it was, and goes
// on when it is continued.
func (s *Screen) Suspend() {
	s.give()
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	signal.Reset(syscall.SIGTSTP) // so that it does stop
	_ = syscall.Kill(os.Getpid(), syscall.SIGTSTP)
	// The stop may come a moment after the call. While it lasts no time passes
	// here; what ends the wait is the signal to continue or, where the system
	// ignored the stop, the time.
	select {
	case <-continued:
	case <-time.After(continueAfter):
	}
	signal.Stop(continued)
	signal.Notify(s.signals, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT)
	s.retake()
}

// retake takes the terminal again, whatever its state is.
func (s *Screen) retake() {
	select {
	case <-s.stop:
		return
	default:
	}
	s.give()
	if s.take() == nil {
		s.again()
	}
}
