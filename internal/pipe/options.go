package pipe

import (
	"context"
	"fmt"
	"io/fs"
	"time"
)

// DefaultPipeSize is the capacity that is asked of the kernel for each pipe. A
// kernel that refuses it keeps its own (64 KiB on Linux).
const DefaultPipeSize = 1 << 20

// DefaultDrain is how long a Flux that is told to stop waits for its writers.
const DefaultDrain = 10 * time.Second

// FluxOptions says how a [Flux] is created. The zero value is usable.
type FluxOptions struct {
	// Mode is the permission of the pipe, exact whatever the umask; 0 means 0600.
	// It is also given to a pipe that is taken over.
	Mode fs.FileMode
	// Group is the name or number of the pipe's group; empty leaves it.
	Group string
	// Adopt takes over a regular file at the path: the pipe takes its name, its
	// content is read through Flux.Adopted.
	Adopt bool
	// PipeSize is the pipe's capacity in bytes; 0 means DefaultPipeSize.
	PipeSize int
	// Drain is the drain limit of a stop caused by the removal of the path; 0
	// means DefaultDrain.
	Drain time.Duration
	// Notice gets lines for the user, without newline, such as that an abandoned
	// pipe was taken over. It may be nil, and is called from any goroutine.
	Notice func(string)
}

// FluxStats counts what a [Flux] has done since it was created.
type FluxStats struct {
	Bytes    int64 // read
	Sessions int64 // ended by the last writer's close
	Left     int64 // accepted by the kernel and given up at the end: 0 unless writers defied every EPIPE
}

// Session says where a reader's session of a [Tap] begins.
type Session int

const (
	// Resume goes on with the first frame that the reader before did not take
	// whole.
	Resume Session = iota
	// Restart begins anew for every reader, so that the pipe reads as a file.
	Restart
	// Live begins with what arrives after the reader opened.
	Live
)

// String is the flag value of s.
func (s Session) String() string {
	switch s {
	case Resume:
		return "resume"
	case Restart:
		return "restart"
	case Live:
		return "live"
	}
	return fmt.Sprintf("Session(%d)", int(s))
}

// TapOptions says how a [Tap] is created and how it serves. The zero value is
// usable: each reader gets what is there when it opens, from where the reader
// before it stopped.
type TapOptions struct {
	// Mode is the permission of the pipe, exact whatever the umask; 0 means 0600.
	Mode fs.FileMode
	// Group is the name or number of the pipe's group; empty leaves it.
	Group string
	// Follow keeps a session open, live, until its reader leaves. Otherwise a
	// session ends at the end of the stream as it was when the reader opened. It is
	// the way to follow: tail -F opens the name again, but that of coreutils 9.1
	// seeks in the new pipe and dies, unless there is OneInode.
	Follow bool
	// PerOpen ends each session after so many frames; 0 means no limit.
	PerOpen int
	// Session says where each session begins.
	Session Session
	// OneInode uses one inode for all readers, for folders in which names cannot
	// be exchanged (NFS, no write permission); it is also what a tap falls back to
	// there, with a notice, and on systems other than Linux. It is the plain way
	// with weaker promises: two readers at once share the bytes at random, and one
	// that opens in the instant between another's leaving and our noticing may get
	// the rest of a record; one that stays open over its end may get later records.
	OneInode bool
	// PipeSize is the pipe's capacity in bytes; 0 means DefaultPipeSize.
	PipeSize int
	// Notice gets lines for the user, without newline. It may be nil, and is
	// called from any goroutine.
	Notice func(string)
	// SessionEnd is called at the end of each session that had a reader, after the
	// last Taken of it and before the next session begins, which waits for it: the
	// place to commit. It may be nil.
	SessionEnd func(SessionStats)
}

// SessionStats describes a session that has ended.
type SessionStats struct {
	Frames int64 // taken whole by the reader
	Bytes  int64 // of these frames
	Unread int64 // bytes left in the pipe: the reader left or we were stopped; their frames are sent again
	Left   bool  // the reader left before the end
}

// TapStats counts what a [Tap] has done since it was created.
type TapStats struct {
	Sessions int64 // ended
	Frames   int64 // taken
	Bytes    int64 // of the frames taken
}

// A Mark is a place in the source's stream, opaque to the tap: only made by
// Source.End and given back to Source.Next.
type Mark any

// A Source is what a [Tap] reads from. Next, Taken and Seek are never called at
// the same time as each other, except that Taken may be called while Next runs.
// End may be called at any time, also several times at once.
type Source interface {
	// End returns the end of the stream as it is now, that is, a mark such that
	// Next up to it gives everything stored before End was called. It is called
	// when a reader opens, unless the tap follows. An error ends Serve.
	End(ctx context.Context) (Mark, error)

	// Next appends frames to b, in order, each closed by b.End, going on after the
	// frames of the last call, and stops before upTo. It returns done when there
	// is nothing (more) before upTo; frames and done may come together. A nil upTo
	// is no limit: Next then waits for frames and is never done.
	//
	// It returns as soon as it has frames and no more are at hand, and stops
	// adding when b.Full. If it has to wait with nothing to give it blocks, until
	// ctx ends: then it returns ctx's error, and frames that it has not appended
	// must come from the next call. Any other error ends Serve, once the frames
	// appended so far and before have been offered to the present reader.
	//
	// Only whole frames: bytes appended after the last End are an error.
	Next(ctx context.Context, upTo Mark, b *Batch) (done bool, err error)

	// Taken says that n more frames, in the order in which Next gave them, have
	// wholly left the pipe. It must not block.
	Taken(n int)

	// Seek moves to where a session of kind how begins; the next frame from Next
	// is the first of that session. It is called before each session of kind
	// Restart and Live, and never for Resume. Frames given and not taken are
	// forgotten.
	Seek(ctx context.Context, how Session) error
}

// batchFull is when a batch is large enough: a few hundred frames of the usual
// size, little enough to fetch for a reader that may never come.
const batchFull = 128 << 10

// A Batch is a run of encoded frames, back to back, that [Source.Next] fills:
//
//	b.Bytes = append(b.Bytes, payload...)
//	b.Bytes = append(b.Bytes, '\n')
//	b.End()
//
// It belongs to the Source during the call of Next and to the tap otherwise.
type Batch struct {
	Bytes []byte
	ends  []int // ends[i] is where frame i ends in Bytes
}

// End closes a frame: the bytes appended since the last End. An empty frame is
// taken along with the frame before it.
func (b *Batch) End() { b.ends = append(b.ends, len(b.Bytes)) }

// Len is the number of frames.
func (b *Batch) Len() int { return len(b.ends) }

// Full says that Next should stop adding; one more frame does no harm.
func (b *Batch) Full() bool { return len(b.Bytes) >= batchFull }

// start is where frame i begins.
func (b *Batch) start(i int) int {
	if i == 0 {
		return 0
	}
	return b.ends[i-1]
}

func (b *Batch) reset() { b.Bytes, b.ends = b.Bytes[:0], b.ends[:0] }
