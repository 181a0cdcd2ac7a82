package file

import (
	"context"
	"os"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A fileLock is the exclusive lock of an open file, between processes and
// between the goroutines of this one. The kernel frees it when the process
// dies.
type fileLock struct {
	f *os.File
	// held is the process's part of the lock: file locks belong to open file
	// descriptions, so goroutines need one of their own. It holds one token.
	held chan struct{}
}

func newFileLock(f *os.File) fileLock { return fileLock{f, make(chan struct{}, 1)} }

// lock waits for the lock, at most for patience and until ctx ends: a holder
// that is stopped blocks everybody, and no wait for a file lock can be broken
// off. So the wait is left to a goroutine, which gives the lock back if it
// comes when nobody wants it any more.
func (k *fileLock) lock(ctx context.Context, patience time.Duration) error {
	var timer *time.Timer
	unavailable := func() error {
		return driver.Errorf(driver.ErrUnavailable, "", "its lock was not free for %v: is a process that writes to it stopped?", patience)
	}
	select {
	case k.held <- struct{}{}:
	default:
		timer = time.NewTimer(patience)
		defer timer.Stop()
		select {
		case k.held <- struct{}{}:
		case <-timer.C:
			return unavailable()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	ok, err := flock(k.f, false)
	if err != nil {
		<-k.held
		return err
	}
	if ok {
		return nil
	}
	if timer == nil {
		timer = time.NewTimer(patience)
		defer timer.Stop()
	}
	got, gone := make(chan error), make(chan struct{})
	go func() {
		_, err := flock(k.f, true)
		select {
		case got <- err:
		case <-gone:
			if err == nil {
				_ = funlock(k.f)
			}
			<-k.held
		}
	}()
	select {
	case err := <-got:
		if err != nil {
			<-k.held
		}
		return err
	case <-timer.C:
		close(gone)
		return unavailable()
	case <-ctx.Done():
		close(gone)
		return context.Cause(ctx)
	}
}

// discard closes the file of a lock that did not come, as soon as nobody waits
// for it any more: whoever waits must not find another file under its number.
func (k *fileLock) discard() {
	select {
	case k.held <- struct{}{}:
		k.f.Close()
	default:
		go func() {
			k.held <- struct{}{}
			k.f.Close()
		}()
	}
}

// try takes the lock if it is free.
func (k *fileLock) try() (bool, error) {
	select {
	case k.held <- struct{}{}:
	default:
		return false, nil
	}
	ok, err := flock(k.f, false)
	if !ok {
		<-k.held
	}
	return ok, err
}

func (k *fileLock) unlock() {
	_ = funlock(k.f) // it cannot fail on a descriptor that is open
	<-k.held
}
