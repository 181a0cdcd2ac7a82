package factory

import (
	"math"
	"os"
	"runtime/debug"
)

// readerMemory is what a command that reads for ever aims to stay within, the
// memory that Go counts: resident, with the program's own pages, that is some
// ten MiB more.
const readerMemory = 44 << 20

// LimitMemory has the garbage collector run often enough to stay within
// readerMemory, unless GOMEMLIMIT says something else. It is a soft limit:
// larger messages are read nevertheless, at the price of more collecting.
func LimitMemory() { LimitMemoryTo(readerMemory) }

// LimitMemoryTo is LimitMemory for a command that needs more or less.
func LimitMemoryTo(bytes int64) {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(bytes)
	}
}

// CollectSeldom has the garbage collector run when the heap has grown by so many
// percent and not when it has doubled, unless GOGC says something else: for a
// command whose heap is small and is filled fast. The limit of LimitMemory goes
// before.
func CollectSeldom(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}
