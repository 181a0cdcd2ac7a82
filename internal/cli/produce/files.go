package produce

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/frame"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// files reads files one after the other; "-" is standard input. Each is a
// session of its own. After Stop it ends where it is: with frame.ErrStopped, unless
// all that was there was read.
type files struct {
	stdin io.Reader
	names []string
	open  []*os.File // opened before the first is read; nil is standard input

	mu      sync.Mutex
	cur     io.Reader
	input   *iostreams.Interruptible // of cur, where it is a file
	stopped bool
	at      int
}

// openFiles opens all of them, so that one that is missing is known before a
// record of another is sent.
func openFiles(stdin io.Reader, names []string) (*files, error) {
	f := &files{stdin: stdin, names: names}
	for _, n := range names {
		if n == "-" {
			f.open = append(f.open, nil)
			continue
		}
		file, err := os.Open(n)
		if err == nil {
			var st fs.FileInfo
			if st, err = file.Stat(); err == nil && st.IsDir() {
				err = exit.Usagef("name the files in it", "%s is a directory", n)
			}
		}
		if err != nil {
			f.close()
			return nil, err
		}
		f.open = append(f.open, file)
	}
	return f, nil
}

// Read reads on; between two files it returns frame.ErrSessionEnd.
func (f *files) Read(p []byte) (int, error) {
	f.mu.Lock()
	if f.at == len(f.open) {
		f.mu.Unlock()
		return 0, io.EOF
	}
	if f.stopped && f.input == nil { // else it knows whether it has more
		f.mu.Unlock()
		return 0, frame.ErrStopped
	}
	if f.cur == nil {
		f.begin(f.open[f.at])
	}
	cur := f.cur
	f.mu.Unlock()
	n, err := cur.Read(p)
	if err == nil {
		return n, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(err, iostreams.ErrInterrupted) {
		return n, frame.ErrStopped
	}
	if !errors.Is(err, io.EOF) {
		if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EBADF) {
			err = exit.Usagef("name a file, or feed it through a pipe", "standard input is closed")
		}
		return n, err
	}
	f.end()
	f.at++
	if f.at == len(f.open) {
		return n, io.EOF
	}
	return n, frame.ErrSessionEnd
}

func (f *files) begin(file *os.File) {
	if file == nil {
		if file, _ = f.stdin.(*os.File); file == nil {
			f.cur = f.stdin
			return
		}
	}
	f.input = iostreams.NewInterruptible(file)
	f.cur = f.input
}

// end is called with mu held, when no Read is under way.
func (f *files) end() {
	if f.input != nil {
		f.input.Close()
		f.input = nil
	}
	if file := f.open[f.at]; file != nil {
		_ = file.Close()
	}
	f.cur = nil
}

// Stop ends reading, also a read that waits.
func (f *files) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	if f.input != nil {
		f.input.Interrupt()
	}
}

func (f *files) close() {
	for _, file := range f.open {
		if file != nil {
			_ = file.Close()
		}
	}
}
