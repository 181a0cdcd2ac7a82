package factory

import (
	"os"
	"path/filepath"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// StateHint is what to do where there cannot be state.
const StateHint = "set XDG_STATE_HOME to a folder that can be written"

// StateDir is the folder for what outlives a command, such as
// ~/.local/state/sea-streamer/NAME. It is made where it is missing.
func (f *Factory) StateDir(name string) (string, error) {
	dir := f.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // the specification says to ignore others
		home, err := os.UserHomeDir()
		if err != nil || home == "" {
			return "", exit.Usagef("set HOME or XDG_STATE_HOME", "there is no home folder to keep %s in", name)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	dir = filepath.Join(dir, "sea-streamer", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", &exit.Error{Code: exit.From(err).Code, Item: dir, Err: err, Hint: StateHint}
	}
	return dir, nil
}
