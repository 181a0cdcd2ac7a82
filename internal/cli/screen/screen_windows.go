package screen

import (
	"os"

	"golang.org/x/sys/windows"
)

// prepare has the console obey escape sequences, and reports whether it does.
func prepare(out *os.File) bool {
	var mode uint32
	h := windows.Handle(out.Fd())
	return windows.GetConsoleMode(h, &mode) == nil && windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}

// watch does nothing: Draw asks for the size.
func (s *Screen) watch() {}

func (s *Screen) unwatch() {}

// Suspend does nothing where there is no such thing.
func (s *Screen) Suspend() {}
