package pipe

import (
	"errors"
	"fmt"
	"strings"
)

// ErrSessionEnd is returned by [Flux.Read] where the last writer has closed the
// pipe: what follows comes from later writers. It is no failure.
var ErrSessionEnd = errors.New("the last writer closed the pipe")

// Kind says why a path cannot be served, so that a program can choose its exit
// code.
type Kind int

const (
	// Exists is something at the path that is not ours to take: a regular file,
	// a directory, a link, somebody else's pipe.
	Exists Kind = iota + 1
	// NotFound is a folder that should hold the pipe and does not exist.
	NotFound
	// Denied is the system refusing for want of permission.
	Denied
	// Locked is another process serving the path; PID names it, if known.
	Locked
	// Unsupported is a system or file system without named pipes.
	Unsupported
	// Failed is any other failure of the system; see Err.
	Failed
)

// A PathError says that a path cannot be served as a named pipe.
type PathError struct {
	Path   string // as the caller gave it
	Kind   Kind
	PID    int    // the process that serves the path, for Locked; 0 if unknown
	Reason string // "is a directory"
	Hint   string // what to do about it; may be empty
	Err    error  // the system's error; may be nil
}

// Error is one line: the path, what is wrong and what to do.
func (e *PathError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Path, e.Reason)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// Unwrap returns the system's error.
func (e *PathError) Unwrap() error { return e.Err }
