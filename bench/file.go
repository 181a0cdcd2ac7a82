package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/file"
)

// filePairs compares the file log with cp of the same bytes in the page cache,
// which is the limit: writing with cp's reading and writing, reading too.
func filePairs(e *environment) ([]pair, error) {
	copied := func(ctx context.Context) (figure, error) {
		path, err := e.lines()
		if err != nil {
			return figure{}, err
		}
		to := filepath.Join(e.dir, "copy")
		defer os.Remove(to)
		f, err := command(exec.CommandContext(ctx, "cp", "--reflink=never", path, to))
		f.n = e.n
		return f, err
	}
	values := make([][]byte, 1024)
	for i := range values {
		values[i] = payload(i, e.size)
	}
	dir := filepath.Join(e.dir, "log")
	write := func(ctx context.Context) (*seastreamer.Streamer, figure, error) {
		if err := os.RemoveAll(dir); err != nil {
			return nil, figure{}, err
		}
		s, err := file.Open(ctx, "file://"+dir, file.Options{})
		if err != nil {
			return nil, figure{}, err
		}
		f, err := timed(e.n, func() error { return produceOurs(ctx, s, "s", values, e.n) })
		return s, f, err
	}
	return []pair{
		{name: fmt.Sprintf("file write, %d bytes", e.size), goal: "≥ 0.77 (1 / 1.3)", peer: side{"cp", copied}, ours: side{"file log", func(ctx context.Context) (figure, error) {
			s, f, err := write(ctx)
			if s != nil {
				err = firstError(err, s.Close(ctx))
			}
			return f, err
		}}},
		{name: fmt.Sprintf("file read, %d bytes", e.size), goal: "≥ 1.25 (1 / 0.8)", peer: side{"cp", copied}, ours: side{"file log", func(ctx context.Context) (figure, error) {
			s, _, err := write(ctx)
			if err != nil {
				return figure{}, err
			}
			f, err := timed(e.n, func() error { return readBatches(ctx, s, "s", e.n) })
			return f, firstError(err, s.Close(ctx))
		}}},
	}, nil
}

// readBatches reads a stream to its end and releases what it has read.
func readBatches(ctx context.Context, s *seastreamer.Streamer, stream string, n int) error {
	end, err := s.End(ctx, stream)
	if err != nil {
		return err
	}
	c, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{stream}, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		return err
	}
	got, size := 0, 0
	for b, err := range c.Batches(ctx) {
		if err != nil {
			return err
		}
		for i := range b.Len() {
			size += len(b.At(i).Value())
		}
		got += b.Len()
		b.Release()
	}
	if got != n {
		return fmt.Errorf("read %d of %d messages", got, n)
	}
	return c.Close(ctx)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// command runs a process to its end and returns what it cost.
func command(cmd *exec.Cmd) (figure, error) {
	settle()
	t := time.Now()
	if err := cmd.Start(); err != nil {
		return figure{}, err
	}
	return finish(cmd, watchMemory(cmd.Process.Pid), t)
}

// finish waits for a process that was started and returns what it cost since
// t.
func finish(cmd *exec.Cmd, memory *peak, t time.Time) (figure, error) {
	err := cmd.Wait()
	f := figure{wall: time.Since(t), rss: memory.stop()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		f.cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	if err != nil {
		return f, fmt.Errorf("%v: %w", cmd.Args, err)
	}
	return f, nil
}
