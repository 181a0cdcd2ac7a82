package cp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// A state is the file where the progress is of a copy that its sink cannot
// keep. It has the text of a checkpoint in a line, and lines that begin with #,
// which say whose it is. Beside it is a file of the same name with .lock, which
// the process that copies has locked.
type state struct {
	path  string
	about string
	lock  *os.File
}

// openState finds and locks the file, in $XDG_STATE_HOME/sea-streamer/copies.
func openState(f *factory.Factory, p *pair, delivery string) (*state, error) {
	dir, err := f.StateDir("copies")
	if err != nil {
		return nil, err
	}
	s := &state{path: filepath.Join(dir, p.name+"."+delivery), about: fmt.Sprintf("# %v to %v, %s\n", p.src, p.dst, delivery)}
	if s.lock, err = os.OpenFile(s.path+".lock", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, stateError(s.path, err)
	}
	if locked, err := tryLock(s.lock); err != nil || locked {
		_ = s.lock.Close()
		if err != nil {
			return nil, stateError(s.path+".lock", err)
		}
		return nil, &exit.Error{Code: exit.Conflict, Item: s.path, Msg: "this copy is running already, in another process", Hint: "run one of them, or give each a --name"}
	}
	return s, nil
}

func stateError(path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &exit.Error{Code: exit.From(err).Code, Item: path, Msg: "the progress of the copy, " + path, Err: err, Hint: factory.StateHint}
}

// close gives the file up.
func (s *state) close() { _ = s.lock.Close() }

// load reads the progress; it is nil where there is none.
func (s *state) load() (ss.Checkpoint, error) {
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, stateError(s.path, err)
	}
	var at ss.Checkpoint
	var text string
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "#") {
			text += line
		}
	}
	if err := at.UnmarshalText([]byte(text)); err != nil || len(at) == 0 {
		return nil, &exit.Error{Code: exit.BadData, Item: s.path, Msg: "the progress of the copy, " + s.path + ", is damaged", Err: err, Hint: "--restart begins anew"}
	}
	return at, nil
}

// save replaces the progress, for good: a machine that loses power has the old
// or the new one.
func (s *state) save(at ss.Checkpoint) error {
	text, err := at.MarshalText()
	if err != nil {
		return err
	}
	next := s.path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return stateError(s.path, err)
	}
	_, err = f.WriteString(s.about + string(text) + "\n")
	err = errors.Join(err, f.Sync())
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(next, s.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(s.path))
	}
	if err != nil {
		return stateError(s.path, err)
	}
	return nil
}

// forget removes the progress.
func (s *state) forget() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return stateError(s.path, err)
	}
	return nil
}
