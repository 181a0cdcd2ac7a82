// Package iostreams is a command's standard input, output and error: what is a
// terminal, what may be said on it, and how bytes from elsewhere are shown on
// it without giving them power over it.
//
// Standard output is data and nothing else. Everything said to people goes to
// standard error through [Streams.Notice], [Streams.Warn] or [Progress].
package iostreams

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// ErrInterrupted is what reading an [Interruptible] returns after Interrupt where it
// has not come to an end.
var ErrInterrupted = errors.New("interrupted")

// Streams are the three streams of a command.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer

	OutFile *os.File // Out, where it is a file of the system; for waiting for its reader
	OutTTY  bool
	ErrTTY  bool

	Quiet   bool // no notices and warnings, only errors
	Verbose int

	mu       sync.Mutex
	progress *Progress // whose line stands on the terminal
}

// System is the streams of this process.
func System() *Streams {
	return &Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, OutFile: os.Stdout,
		OutTTY: term.IsTerminal(int(os.Stdout.Fd())), ErrTTY: term.IsTerminal(int(os.Stderr.Fd())),
	}
}

// Notice says something on standard error, unless it is told to be quiet. It
// may be called from any goroutine.
func (s *Streams) Notice(format string, args ...any) {
	if !s.Quiet {
		s.line(fmt.Sprintf(format, args...))
	}
}

// Detail is a Notice with -v, or on a terminal.
func (s *Streams) Detail(format string, args ...any) {
	if s.Verbose > 0 || s.ErrTTY {
		s.Notice(format, args...)
	}
}

// Warn is a Notice that begins with "warning:".
func (s *Streams) Warn(format string, args ...any) { s.Notice("warning: "+format, args...) }

// Error writes a line to standard error, also when told to be quiet.
func (s *Streams) Error(line string) { s.line(line) }

func (s *Streams) line(text string) {
	b := []byte(text)
	// What servers and files say may be in it.
	b = EscapeLine(b[:0:0], b)
	b = append(b, '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress.clear()
	_, _ = s.Err.Write(b)
}
