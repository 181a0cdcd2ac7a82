//go:build race

package cli

// mostMemory is what consume may hold, in KiB: the race detector keeps a shadow
// of all of it.
const mostMemory = 128 << 10
