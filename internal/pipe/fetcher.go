package pipe

import (
	"context"
	"errors"
)

// A fetcher calls Source.Next in a goroutine of its own, one call at a time, so
// that a session can watch its reader meanwhile and write one batch while the
// next is being fetched. Its methods are for one goroutine.
type fetcher struct {
	ctx    context.Context
	src    Source
	wake   func() // called when a result is there
	batch  Batch  // what the last call gave; the caller's while not busy
	busy   bool   // a call runs, or its result has not been taken
	cancel context.CancelFunc
	calls  chan fetchCall
	done   chan fetched
	early  *fetched // taken from done by failed
}

type fetchCall struct {
	ctx context.Context
	v   fetchFor
}

// fetchFor is for whom a call is made: its result's done is meant for nobody else.
type fetchFor interface{ until() Mark }

type fetched struct {
	v    fetchFor
	done bool
	err  error
}

func newFetcher(ctx context.Context, src Source, wake func()) *fetcher {
	f := &fetcher{ctx: ctx, src: src, wake: wake, calls: make(chan fetchCall), done: make(chan fetched, 1)}
	go f.run()
	return f
}

func (f *fetcher) run() {
	defer close(f.done)
	for c := range f.calls {
		done, err := f.src.Next(c.ctx, c.v.until(), &f.batch)
		if c.ctx.Err() != nil {
			err = nil // cancelled, by us
		}
		if err == nil && len(f.batch.Bytes) != f.batch.start(f.batch.Len()) {
			err = errors.New("the source gave an unfinished frame")
		}
		f.done <- fetched{c.v, done, err}
		f.wake()
	}
}

// start begins a call for v. The fetcher must not be busy.
func (f *fetcher) start(v fetchFor) {
	f.batch.reset()
	if cap(f.batch.Bytes) > keepSize {
		f.batch = Batch{}
	}
	ctx, cancel := context.WithCancel(f.ctx)
	f.busy, f.cancel = true, cancel
	f.calls <- fetchCall{ctx, v}
}

// result takes the result of the last call, if it is there; batch then holds its
// frames until the next start.
func (f *fetcher) result() (r fetched, ok bool) {
	if !f.busy {
		return r, false
	}
	if f.early != nil {
		r, f.early = *f.early, nil
	} else {
		select {
		case r = <-f.done:
		default:
			return r, false
		}
	}
	f.busy = false
	f.cancel()
	return r, true
}

// failed returns the error of a call whose result nobody has taken yet.
func (f *fetcher) failed() error {
	if f.early == nil && f.busy {
		select {
		case r := <-f.done:
			f.early = &r
		default:
		}
	}
	if f.early == nil {
		return nil
	}
	return f.early.err
}

// stop cancels the call that runs, waits for it and forgets its result.
func (f *fetcher) stop() {
	if !f.busy {
		return
	}
	f.cancel()
	if f.early == nil {
		<-f.done
	}
	f.busy, f.early = false, nil
}

// close ends the goroutine.
func (f *fetcher) close() {
	f.stop()
	close(f.calls)
	<-f.done
}
