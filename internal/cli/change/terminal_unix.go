//go:build !windows

package change

// The terminal that the process belongs to.
const terminalIn, terminalOut = "/dev/tty", "/dev/tty"
