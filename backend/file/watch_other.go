//go:build !linux

package file

import (
	"errors"
	"os"
)

// A watcher that cannot watch: its users poll.
type watcher struct{}

func (*watcher) acquire() error             { return errors.ErrUnsupported }
func (*watcher) release()                   {}
func (*watcher) arm(*watch, *os.File) error { return errors.ErrUnsupported }
func (*watcher) disarm(*watch)              {}
