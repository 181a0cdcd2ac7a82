package factory

import (
	"os"
	"path/filepath"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

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
	return dir, os.MkdirAll(dir, 0o700)
}
