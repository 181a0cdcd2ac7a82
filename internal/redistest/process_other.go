//go:build !unix

package redistest

import "errors"

// Redis does not run here; this is so that tests which need it compile.

func (n *node) pause() error  { return errors.ErrUnsupported }
func (n *node) resume() error { return errors.ErrUnsupported }
