package seastreamer

import (
	"context"
	"errors"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// wrap says what was tried, unless err says so already.
func wrap(op string, shard Shard, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) && e.Op == "" && e == err {
		c := *e
		c.Op = op
		if c.Shard == (Shard{}) {
			c.Shard = shard
		}
		return &c
	}
	if e != nil || errors.As(err, new(*GapError)) {
		return err
	}
	return &Error{Op: op, Shard: shard, Err: err}
}

// stopped is what a method returns when its context ended first: the context's
// cause under the kind given, which is nil where nothing was begun.
func stopped(ctx context.Context, op string, kind error) error {
	return &Error{Op: op, Kind: kind, Err: context.Cause(ctx)}
}

func invalid(op, format string, args ...any) error {
	return driver.Errorf(ErrInvalid, op, format, args...)
}

// backoff doubles from 50 ms to 2 s: often enough to go on soon after a
// restart, seldom enough to leave a struggling broker alone.
func backoff(attempt int) time.Duration {
	return min(50*time.Millisecond<<min(attempt, 10), 2*time.Second)
}
