package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
)

// A row measures one figure that has no peer.
type row struct {
	name string
	run  func(ctx context.Context) (single, error)
}

func singleRows(e *environment) []row {
	return []row{
		{"read path over memory, Messages", e.readPath(false, 20)},
		{"read path over memory, Batches", e.readPath(true, 8)},
		{"start of sea --version", e.start},
		{"memory of an endless consume into a slow reader", e.slowReader("consume")},
		{"memory of an endless tap into a slow reader", e.slowReader("tap")},
		{"idle flux", e.idle("flux")},
		{"idle tap", e.idle("tap")},
		{"idle consume", e.idle("consume")},
	}
}

// readPath reads 10,000 messages over and over: what the core costs, not the
// memory that a backend's messages lie in.
func (e *environment) readPath(batches bool, goal int) func(context.Context) (single, error) {
	return func(ctx context.Context) (single, error) {
		const n = 10_000
		name := "read path over memory, Messages"
		if batches {
			name = "read path over memory, Batches"
		}
		s, err := memory.Open(ctx, "memory://", memory.Options{})
		if err != nil {
			return single{}, err
		}
		defer func() { _ = s.Close(ctx) }() // nothing of it is kept
		if err := produceOurs(ctx, s, "s", [][]byte{payload(0, e.size)}, n); err != nil {
			return single{}, err
		}
		c, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{"s"}, Start: seastreamer.Earliest})
		if err != nil {
			return single{}, err
		}
		var ns []float64
		for range e.pairs {
			r := testing.Benchmark(func(b *testing.B) {
				for range b.N {
					if err = readAgain(ctx, c, n, batches); err != nil {
						b.Fatal(err)
					}
				}
			})
			if err != nil {
				return single{}, err
			}
			ns = append(ns, float64(r.T.Nanoseconds())/float64(r.N)/n)
		}
		return single{name, fmt.Sprintf("%.1f ns a message (median of %d)", median(ns), len(ns)), fmt.Sprintf("≤ %d ns", goal)}, nil
	}
}

func readAgain(ctx context.Context, c *seastreamer.Consumer, n int, batches bool) error {
	if err := c.Seek(ctx, seastreamer.Earliest); err != nil {
		return err
	}
	got, size := 0, 0
	if !batches {
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return err
			}
			size += len(m.Value())
			if got++; got == n {
				break
			}
		}
		return nil
	}
	for b, err := range c.Batches(ctx) {
		if err != nil {
			return err
		}
		for i := range b.Len() {
			size += len(b.At(i).Value())
		}
		if got += b.Len(); got == n {
			break
		}
	}
	return nil
}

func (e *environment) start(ctx context.Context) (single, error) {
	sea, err := e.sea()
	if err != nil {
		return single{}, err
	}
	var ms []float64
	for range 20 {
		f, err := command(exec.CommandContext(ctx, sea, "--version"))
		if err != nil {
			return single{}, err
		}
		ms = append(ms, float64(f.wall.Microseconds())/1000)
	}
	info, err := os.Stat(sea)
	if err != nil {
		return single{}, err
	}
	return single{"start of sea --version", fmt.Sprintf("%.1f ms (median of 20); the binary has %s", median(ms), mib(info.Size())), "< 20 ms; ≤ 30 MiB"}, nil
}

// slowReader runs a command over a backlog of a million messages and reads
// what it prints at 1 MiB/s, watching its memory.
func (e *environment) slowReader(verb string) func(context.Context) (single, error) {
	return func(ctx context.Context) (single, error) {
		name := "memory of an endless " + verb + " into a slow reader"
		w, err := e.work(ctx)
		if err != nil {
			return single{}, err
		}
		defer w.drop()
		if err := e.fill(ctx, w); err != nil {
			return single{}, err
		}
		var cmd *exec.Cmd
		var from io.ReadCloser
		if verb == "tap" {
			pipe := filepath.Join(e.dir, "slow")
			cmd = exec.CommandContext(ctx, w.sea, "streamer", "tap", pipe, "-f", "--broker", w.broker, "-t", w.topic)
			if err := startReady(cmd); err != nil {
				return single{}, err
			}
			if from, err = os.Open(pipe); err != nil {
				return single{}, err
			}
		} else {
			cmd = exec.CommandContext(ctx, w.sea, "streamer", "consume", "--broker", w.broker, "-t", w.topic, "--from", "start")
			if from, err = cmd.StdoutPipe(); err != nil {
				return single{}, err
			}
			if err := cmd.Start(); err != nil {
				return single{}, err
			}
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		var seen []int64
		buf := make([]byte, 1<<16)
		for range 15 * 16 { // 15 s at 1 MiB/s
			if _, err := io.ReadFull(from, buf); err != nil {
				return single{}, err
			}
			time.Sleep(time.Second / 16)
			rss, err := resident(cmd.Process.Pid)
			if err != nil {
				return single{}, err
			}
			seen = append(seen, rss)
		}
		_ = from.Close() // read only
		third := len(seen) / 3
		return single{name, fmt.Sprintf("%s after 5 s, %s after 10 s, %s after 15 s", mib(seen[third-1]), mib(seen[2*third-1]), mib(seen[len(seen)-1])), "≤ 64 MiB, flat"}, nil
	}
}

// resident is what a process holds in memory.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	return n * int64(os.Getpagesize()), err
}

// idle watches a command that has nothing to do for half a minute.
func (e *environment) idle(verb string) func(context.Context) (single, error) {
	return func(ctx context.Context) (single, error) {
		const span = 30 * time.Second
		w, err := e.work(ctx)
		if err != nil {
			return single{}, err
		}
		defer w.drop()
		args := []string{"streamer", verb, "--broker", w.broker, "-t", w.topic}
		if verb != "consume" {
			args = append(args, filepath.Join(e.dir, "idle-"+verb))
		}
		cmd := exec.CommandContext(ctx, w.sea, args...)
		if verb == "consume" {
			err = cmd.Start()
		} else {
			err = startReady(cmd)
		}
		if err != nil {
			return single{}, err
		}
		defer func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() }()
		time.Sleep(5 * time.Second) // until what starting up left to do is done
		cpu1, wake1, err := activity(cmd.Process.Pid)
		if err != nil {
			return single{}, err
		}
		time.Sleep(span)
		cpu2, wake2, err := activity(cmd.Process.Pid)
		if err != nil {
			return single{}, err
		}
		return single{"idle " + verb, fmt.Sprintf("%.3f %% of one processor, %.1f wake-ups a second", 100*(cpu2-cpu1).Seconds()/span.Seconds(), float64(wake2-wake1)/span.Seconds()), "< 0.1 %, < 5"}, nil
	}
}

// activity is the CPU time of a Go process so far, and how often one of its
// threads was put onto a processor after it had slept. That leaves out the
// runtime's monitor, the first thread that it makes: after each wake-up of the
// others it sleeps in steps of 20 µs for a moment, which are no further ones.
func activity(pid int) (used time.Duration, wakeups int, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return 0, 0, err
	}
	slices.SortFunc(tasks, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for i, task := range tasks {
		const monitor = 1
		b, err := os.ReadFile(task + "/status")
		if err != nil {
			return 0, 0, err
		}
		for line := range bytes.Lines(b) {
			if n, ok := bytes.CutPrefix(line, []byte("voluntary_ctxt_switches:")); ok && i != monitor {
				v, err := strconv.Atoi(string(bytes.TrimSpace(n)))
				if err != nil {
					return 0, 0, err
				}
				wakeups += v
			}
		}
		if b, err = os.ReadFile(task + "/schedstat"); err != nil {
			return 0, 0, err
		}
		ns, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		used += time.Duration(ns)
	}
	return used, wakeups, nil
}
