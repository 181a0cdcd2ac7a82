//go:build !unix

package redistest

import (
	"errors"
	"syscall"
)

// Redis does not run here; this is so that tests which need it compile.

func dieWithParent() *syscall.SysProcAttr { return nil }
func ownGroup() *syscall.SysProcAttr      { return nil }

func (n *node) pause() error  { return errors.ErrUnsupported }
func (n *node) resume() error { return errors.ErrUnsupported }
