// Package pipe serves named pipes (FIFOs) that can be trusted: [Flux] is the
// reading end, which other processes write to, and [Tap] the writing end, which
// other processes read from. It knows nothing of streams, brokers or framing.
//
// The promises, on Linux:
//
//   - A path is created with exact permissions, is served by one process at a
//     time, and is removed at the end if it is still ours; what belongs to
//     somebody else is never opened, replaced or removed. What a killed process
//     left behind is taken over by the next one, and processes that were blocked
//     on it are served.
//   - Flux reads every byte that a writer's write(2) accepted, whatever the
//     instant it is told to stop; writers that go on get EPIPE.
//   - Tap writes whole frames. A frame counts as taken when its last byte has
//     left the pipe; whatever a reader did not take whole is sent again, whole,
//     to the next reader. A reader sees the end of its session and never hangs.
//   - Neither wakes up while nothing happens.
//
// On darwin both work with weaker promises (see [TapOptions.OneInode]); this has
// not been run there yet. Other systems have no named pipes in the file system:
// there CreateFlux and CreateTap return one [PathError] of kind [Unsupported].
//
// # How it works
//
// Flux keeps one inode and one read descriptor for life. A descriptor that is
// closed and opened again between writers loses lines, and so does a plain close
// at the end: bytes accepted between the last read and the close are gone. Its
// end is therefore a procedure, see [Flux.Stop] and exactClose.
//
// Tap gives every reader an inode of its own. A goroutine, the door, sleeps in a
// blocking open for writing, which the kernel holds back until a reader opens,
// and then exchanges the path with a fresh FIFO in one step. So a reader that
// left can leave no half record to the next, and an end of file that a reader
// has not seen yet cannot be taken back from it by the next session.
package pipe
