//go:build !unix && !windows

package screen

import "os"

// prepare reports that nothing can be painted here.
func prepare(*os.File) bool { return false }

func (s *Screen) watch() {}

func (s *Screen) unwatch() {}

// Suspend does nothing where there is no such thing.
func (s *Screen) Suspend() {}
