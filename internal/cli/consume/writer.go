package consume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/receive"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

const (
	// flushSize is how much is written at once: what a pipe holds.
	flushSize = 64 << 10
	// flushAfter is how long a message may wait in the buffer while more come.
	flushAfter = 50 * time.Millisecond
	// stalledTime is how long, after a signal, a write may wait for its reader.
	stalledTime = time.Second
)

// A writer renders batches into a buffer and writes it. One goroutine ranges
// over the consumer and hands over batches, one writes: so the second knows
// when the first has nothing, which is when it flushes. Batches are
// acknowledged when they have been written.
type writer struct {
	out    io.Writer
	render *receive.Renderer
	left   int64 // messages that may still be written; below 0 is no limit
	before time.Time
	until  ss.Checkpoint     // nil is no end; there is no group then
	shards int               // that have not come to before
	over   map[ss.Shard]bool // those that have

	buf     []byte
	written []*ss.Batch // in buf as a whole, to be acknowledged with it
	part    []ss.Message
	flushed time.Time
	enough  bool // all that was asked for is written

	records, bytes atomic.Int64
}

func newWriter(o *Options, plan *receive.Plan, r *receive.Renderer) *writer {
	w := &writer{out: o.f.IO.Out, render: r, left: o.Count, before: plan.Before, until: plan.Config.Until, shards: plan.Shards, over: map[ss.Shard]bool{},
		buf: make([]byte, 0, 2*flushSize), flushed: time.Now()}
	if o.f.IO.OutTTY {
		w.out = &iostreams.Escaper{W: w.out, JSON: r.JSON()}
	}
	return w
}

func (w *writer) progress() iostreams.Count {
	return iostreams.Count{Records: w.records.Load(), Bytes: w.bytes.Load()}
}

func (w *writer) summary() string {
	return fmt.Sprintf("%s records written, %s", iostreams.Thousands(w.records.Load()), iostreams.Bytes(w.bytes.Load()))
}

// run writes until the consumer ends, ctx does, or there is enough.
func (w *writer) run(ctx context.Context, stop context.CancelCauseFunc, sig *factory.Signals, c *ss.Consumer) error {
	if w.left == 0 {
		return nil
	}
	batches := make(chan *ss.Batch, 1)
	type end struct {
		all bool
		err error
	}
	ended := make(chan end, 1)
	go func() {
		all, err := fetch(ctx, c, batches)
		ended <- end{all, err}
		close(batches)
	}()
	done := make(chan error, 1)
	go func() { done <- w.write(ctx, batches) }()
	inTime, err := wait(ctx, done, &w.bytes)
	if !inTime {
		// The reader of standard output has stopped reading, but is still
		// there. What it has not got is not acknowledged.
		return exit.Silent(sig.Code())
	}
	stop(nil) // the fetching goroutine, if there was enough
	unwritten := false
	for range batches { // nobody takes what it still has
		unwritten = true
	}
	fetched := <-ended
	switch {
	case err != nil:
		return exit.Output(err)
	case w.enough:
		return nil
	case fetched.all && !unwritten, w.reached(c): // who reads may have gone since
	case errors.Is(context.Cause(ctx), errReaderGone):
		return exit.Silent(exit.BrokenPipe)
	}
	return fetched.err
}

// reached reports whether all before --until is written, which who fetches may not
// have found out yet when the reader went.
func (w *writer) reached(c *ss.Consumer) bool {
	if w.until == nil {
		return false
	}
	at, err := c.Commit(context.Background()) // without a group: it stores nothing
	if err != nil {
		return false
	}
	for sh, end := range w.until {
		if at[sh].Less(end) {
			return false
		}
	}
	return true
}

// wait waits for done; once ctx has ended only as long as bytes move.
func wait(ctx context.Context, done <-chan error, bytes *atomic.Int64) (inTime bool, err error) {
	select {
	case err = <-done:
		return true, err
	case <-ctx.Done():
	}
	for {
		was := bytes.Load()
		select {
		case err = <-done:
			return true, err
		case <-time.After(stalledTime):
			if bytes.Load() == was {
				return false, nil
			}
		}
	}
}

// fetch hands over what the consumer has until it or ctx ends; all says that it
// was not ctx.
func fetch(ctx context.Context, c *ss.Consumer, to chan<- *ss.Batch) (all bool, err error) {
	for b, err := range c.Batches(ctx) {
		if err != nil {
			if ctx.Err() != nil {
				return false, nil
			}
			return true, err
		}
		select {
		case to <- b:
		case <-ctx.Done():
			return false, nil
		}
	}
	return ctx.Err() == nil, nil
}

// write writes what comes until there is no more, there is enough, or ctx
// ends.
func (w *writer) write(ctx context.Context, from <-chan *ss.Batch) error {
	for {
		var b *ss.Batch
		select {
		case b = <-from:
		default:
			if err := w.flush(); err != nil {
				return err
			}
			select {
			case b = <-from:
			case <-ctx.Done():
				return nil
			}
		}
		if b == nil {
			return w.flush()
		}
		enough, err := w.add(b)
		if err != nil || enough {
			err = errors.Join(err, w.flush())
			w.enough = enough && err == nil
			return err
		}
		if time.Since(w.flushed) >= flushAfter {
			if err := w.flush(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return w.flush()
		}
	}
}

// add renders a batch. It reports that there is enough, and then takes only a
// part of it.
func (w *writer) add(b *ss.Batch) (enough bool, err error) {
	sh := b.Shard()
	if w.over[sh] {
		return false, nil // past its end; not acknowledged, since not written
	}
	n := b.Len()
	for i := range n {
		m := b.At(i)
		if !w.before.IsZero() && !m.Time().Before(w.before) {
			w.over[sh] = true
			w.shards--
			return w.shards == 0, nil
		}
		had := len(w.buf)
		var ok bool
		if w.buf, ok = w.render.Append(w.buf, m); ok {
			w.records.Add(1)
			w.left--
		}
		if w.left == 0 {
			for j := range i + 1 {
				w.part = append(w.part, b.At(j))
			}
			return true, nil
		}
		if len(w.buf) >= flushSize && had < len(w.buf) {
			if err := w.flush(); err != nil {
				return false, err
			}
		}
	}
	w.written = append(w.written, b)
	return false, nil
}

// flush writes the buffer and acknowledges what is in it.
func (w *writer) flush() error {
	w.flushed = time.Now()
	if len(w.buf) > 0 {
		n, err := w.out.Write(w.buf)
		w.bytes.Add(int64(n))
		if err != nil {
			return err
		}
		if w.buf = w.buf[:0]; cap(w.buf) > 1<<20 {
			w.buf = make([]byte, 0, 2*flushSize)
		}
	}
	for i, b := range w.written {
		b.Ack()
		b.Release()
		w.written[i] = nil
	}
	w.written = w.written[:0]
	for _, m := range w.part {
		m.Ack()
	}
	w.part = nil
	return nil
}
