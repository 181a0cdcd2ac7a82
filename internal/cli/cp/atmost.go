package cp

import (
	"context"
	"time"
)

// noteMost is how many batches are noted as copied at once. Each note is a file
// that is synced, which takes as long as sending tens of thousands of messages.
const noteMost = 8

// pumpAtMost reads, notes what was read as copied, and only then sends it.
// While one run of batches is noted and sent the next is read, so that the runs
// are the longer the longer a note takes.
func (r *sess) pumpAtMost(ctx context.Context) (err error) {
	read := make(chan *flight, noteMost)
	sent := make(chan error, 1)
	go func() {
		err := r.noteAndSend(ctx, read)
		if err != nil {
			r.fail(err) // and so ends reading
		}
		sent <- err
	}()
	defer func() {
		close(read)
		if e := <-sent; e != nil {
			err = e
		}
		r.l.ended = err == nil && ctx.Err() == nil
	}()
	for b, e := range r.in.Batches(ctx) {
		switch {
		case e != nil && ctx.Err() != nil:
			return nil // by a signal, or since sending failed, which is told
		case e != nil:
			return e
		}
		select {
		case read <- r.flight(b):
		case <-ctx.Done():
			return nil
		}
		if r.l.left == 0 {
			return nil
		}
	}
	return nil
}

// noteAndSend notes and sends what it is given, until that ends. What is noted
// is sent, also after a signal; the rest comes at the next run.
func (r *sess) noteAndSend(ctx context.Context, read <-chan *flight) error {
	sending, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, giveUp) })()
	run := make([]*flight, 0, noteMost)
	for f := range read {
		if ctx.Err() != nil {
			return nil
		}
		run = append(run[:0], f)
		for len(run) < noteMost && len(read) > 0 {
			run = append(run, <-read)
		}
		for _, f := range run {
			f.ack()
		}
		if err := r.save(ctx); err != nil {
			return err
		}
		for _, f := range run {
			if err := r.send(sending, f); err != nil {
				return err
			}
		}
	}
	return nil
}
