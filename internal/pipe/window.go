package pipe

import (
	"slices"
	"sort"
)

// A window holds the frames that have come from the source and have not been
// taken yet, in order: first those that are in the pipe, then those that are
// still to be written. It is one run of bytes, moved down now and then: that
// copy costs a tenth of what the kernel's does.
type window struct {
	buf    []byte
	ends   []int // where each frame ends in buf
	head   int   // the first frame that is not taken
	sent   int   // where in buf the writing goes on
	origin int   // where in buf the session began; negative once that is gone
	limit  int   // the frame before which this session ends, or -1
}

const (
	moveAt   = 256 << 10 // taken bytes that are worth moving the rest down
	keepSize = 8 << 20   // a larger buffer, grown by a huge record, is let go when empty
)

// start is where frame i begins.
func (w *window) start(i int) int {
	if i == 0 {
		return 0
	}
	return w.ends[i-1]
}

// begin starts a session of at most perOpen frames (0: any number) with the first
// frame that is not taken.
func (w *window) begin(perOpen int) {
	w.sent = w.start(w.head)
	w.origin = w.sent
	w.limit = -1
	if perOpen > 0 {
		w.limit = w.head + perOpen
	}
}

// written is the number of bytes written in this session.
func (w *window) written() int { return w.sent - w.origin }

// waiting is the number of bytes that are still to be written, whatever the limit.
func (w *window) waiting() int { return len(w.buf) - w.sent }

// spent says that the session's number of frames has been written.
func (w *window) spent() bool {
	return w.limit >= 0 && w.limit <= len(w.ends) && w.sent >= w.start(w.limit)
}

// next is what to write next: whole frames of at most room bytes together, or
// (the rest of) one that is larger; nil if there is nothing for this session.
func (w *window) next(room int) []byte {
	end := len(w.buf)
	if w.limit >= 0 && w.limit < len(w.ends) {
		end = w.start(w.limit)
	}
	if end-w.sent > room {
		i := sort.SearchInts(w.ends, w.sent+room+1)
		if whole := w.start(i); whole > w.sent {
			end = whole
		} else {
			end = w.ends[i]
		}
	}
	if end <= w.sent {
		return nil
	}
	return w.buf[w.sent:end]
}

// cut is the rest of a frame of which a part has been written; nil if there is
// none.
func (w *window) cut() []byte {
	i := sort.SearchInts(w.ends, w.sent)
	if i == len(w.ends) || w.ends[i] == w.sent || w.start(i) == w.sent {
		return nil
	}
	return w.buf[w.sent:w.ends[i]]
}

// took is told that the first n bytes of the session have left the pipe. It
// forgets the frames that have left it whole, and counts them.
func (w *window) took(n int) (frames, bytes int) {
	from, pos := w.head, w.start(w.head)
	for w.head < len(w.ends) && w.ends[w.head] <= w.origin+n {
		w.head++
	}
	frames, bytes = w.head-from, w.start(w.head)-pos
	switch gone := w.start(w.head); {
	case gone == len(w.buf) && cap(w.buf) > keepSize:
		w.drop(gone)
		w.buf = nil
	case gone == len(w.buf) || gone >= moveAt && gone >= len(w.buf)/2:
		w.drop(gone)
	}
	return frames, bytes
}

// drop moves what follows the gone bytes, all of taken frames, down.
func (w *window) drop(gone int) {
	w.buf = slices.Delete(w.buf, 0, gone)
	w.ends = slices.Delete(w.ends, 0, w.head)
	for i := range w.ends {
		w.ends[i] -= gone
	}
	w.sent -= gone
	w.origin -= gone
	if w.limit >= 0 {
		w.limit -= w.head
	}
	w.head = 0
}

// add copies the frames of b.
func (w *window) add(b *Batch) {
	off := len(w.buf)
	w.buf = append(w.buf, b.Bytes...)
	for _, end := range b.ends {
		w.ends = append(w.ends, off+end)
	}
}

// clear forgets all frames; begin must follow.
func (w *window) clear() { *w = window{buf: w.buf[:0], ends: w.ends[:0]} }
