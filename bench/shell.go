package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// shellPairs compares the commands with kcat on the same topic layout: a file
// to Kafka and back, by standard input and output and through named pipes.
// "Equal" means acks=all and no compression on both sides; "defaults" takes
// each program as it comes.
func shellPairs(e *environment) ([]pair, error) {
	var pairs []pair
	for _, equal := range []bool{true, false} {
		name, goal := "defaults", "> 1"
		var seaFlags, kcatFlags []string
		if equal {
			name, goal = "equal settings", "≥ 0.95"
			seaFlags, kcatFlags = []string{"-z", "none"}, []string{"-X", "acks=all"}
		}
		pairs = append(pairs, pair{name: "shell produce, " + name, goal: goal,
			ours: side{"sea produce", e.produce(seaFlags)}, peer: side{"kcat", e.kcatProduce(kcatFlags)}})
		if equal {
			pairs = append(pairs, pair{name: "shell consume", goal: "≥ 0.95",
				ours: side{"sea consume", e.consume(false)}, peer: side{"kcat", e.consume(true)}})
		}
		pairs = append(pairs, pair{name: "shell flux, " + name, goal: "> 1",
			ours: side{"sea flux", e.flux(seaFlags)}, peer: side{"kcat reading the pipe", e.kcatPipe(kcatFlags)}})
	}
	return append(pairs, pair{name: "shell tap", goal: "≥ 0.95",
		ours: side{"sea tap", e.tap()}, peer: side{"kcat writing the pipe", e.kcatTap()}}), nil
}

// work is what every row of the shell needs.
type work struct {
	sea, broker, topic, lines string
	drop                      func()
}

func (e *environment) work(ctx context.Context) (work, error) {
	var w work
	var err error
	if w.sea, err = e.sea(); err != nil {
		return w, err
	}
	if w.lines, err = e.lines(); err != nil {
		return w, err
	}
	if w.broker, err = e.broker(ctx); err != nil {
		return w, err
	}
	w.topic, w.drop, err = e.topic(ctx)
	return w, err
}

func (e *environment) produce(flags []string) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		w, err := e.work(ctx)
		if err != nil {
			return figure{}, err
		}
		defer w.drop()
		cmd := exec.CommandContext(ctx, w.sea, append([]string{"streamer", "produce", "--broker", w.broker, "-t", w.topic, w.lines}, flags...)...)
		cmd.Stderr = os.Stderr
		f, err := command(cmd)
		f.n = e.n
		return f, err
	}
}

func (e *environment) kcatProduce(flags []string) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		w, err := e.work(ctx)
		if err != nil {
			return figure{}, err
		}
		defer w.drop()
		f, err := command(exec.CommandContext(ctx, "kcat", append([]string{"-P", "-b", w.broker, "-t", w.topic, "-l", w.lines}, flags...)...))
		f.n = e.n
		return f, err
	}
}

// fill puts the lines into the topic.
func (e *environment) fill(ctx context.Context, w work) error {
	_, err := command(exec.CommandContext(ctx, "kcat", "-P", "-b", w.broker, "-t", w.topic, "-l", w.lines))
	return err
}

func (e *environment) consume(kcat bool) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		w, err := e.work(ctx)
		if err != nil {
			return figure{}, err
		}
		defer w.drop()
		if err := e.fill(ctx, w); err != nil {
			return figure{}, err
		}
		cmd := exec.CommandContext(ctx, w.sea, "streamer", "consume", "--broker", w.broker, "-t", w.topic, "--from", "start", "--until", "end")
		if kcat {
			cmd = exec.CommandContext(ctx, "kcat", "-C", "-q", "-e", "-b", w.broker, "-t", w.topic, "-o", "beginning", "-X", "check.crcs=true")
		}
		out, err := os.Create(filepath.Join(e.dir, "out"))
		if err != nil {
			return figure{}, err
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		f, err := command(cmd)
		f.n = e.n
		return f, firstError(err, same(w.lines, out.Name()))
	}
}

// flux times cat into the pipe and the graceful end, from the moment that the
// pipe is ready.
func (e *environment) flux(flags []string) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		w, err := e.work(ctx)
		if err != nil {
			return figure{}, err
		}
		defer w.drop()
		pipe := filepath.Join(e.dir, "producer")
		cmd := exec.CommandContext(ctx, w.sea, append([]string{"streamer", "flux", pipe, "--broker", w.broker, "-t", w.topic}, flags...)...)
		if err := startReady(cmd); err != nil {
			return figure{}, err
		}
		memory := watchMemory(cmd.Process.Pid)
		t := time.Now()
		if err := exec.CommandContext(ctx, "sh", "-c", `cat "$1" > "$2"`, "sh", w.lines, pipe).Run(); err != nil {
			return figure{}, err
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return figure{}, err
		}
		f, err := finish(cmd, memory, t)
		f.n = e.n
		return f, err
	}
}

func (e *environment) kcatPipe(flags []string) func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		w, err := e.work(ctx)
		if err != nil {
			return figure{}, err
		}
		defer w.drop()
		pipe := filepath.Join(e.dir, "kcat-producer")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			return figure{}, err
		}
		defer os.Remove(pipe)
		args := append([]string{"-c", `exec kcat "$@" < "$0"`, pipe, "-P", "-b", w.broker, "-t", w.topic}, flags...)
		cmd := exec.CommandContext(ctx, "sh", args...)
		t := time.Now()
		if err := cmd.Start(); err != nil {
			return figure{}, err
		}
		memory := watchMemory(cmd.Process.Pid)
		if err := exec.CommandContext(ctx, "sh", "-c", `cat "$1" > "$2"`, "sh", w.lines, pipe).Run(); err != nil {
			return figure{}, err
		}
		f, err := finish(cmd, memory, t)
		f.n = e.n
		return f, err
	}
}

func (e *environment) tap() func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		w, err := e.work(ctx)
		if err != nil {
			return figure{}, err
		}
		defer w.drop()
		if err := e.fill(ctx, w); err != nil {
			return figure{}, err
		}
		pipe := filepath.Join(e.dir, "consumer")
		cmd := exec.CommandContext(ctx, w.sea, "streamer", "tap", pipe, "--broker", w.broker, "-t", w.topic)
		if err := startReady(cmd); err != nil {
			return figure{}, err
		}
		out := filepath.Join(e.dir, "out")
		memory := watchMemory(cmd.Process.Pid)
		t := time.Now()
		err = exec.CommandContext(ctx, "sh", "-c", `cat "$1" > "$2"`, "sh", pipe, out).Run()
		wall := time.Since(t)
		err = firstError(err, cmd.Process.Signal(syscall.SIGTERM))
		f, ended := finish(cmd, memory, t)
		f.wall, f.n = wall, e.n
		return f, firstError(err, ended, same(w.lines, out))
	}
}

func (e *environment) kcatTap() func(context.Context) (figure, error) {
	return func(ctx context.Context) (figure, error) {
		w, err := e.work(ctx)
		if err != nil {
			return figure{}, err
		}
		defer w.drop()
		if err := e.fill(ctx, w); err != nil {
			return figure{}, err
		}
		pipe, out := filepath.Join(e.dir, "kcat-consumer"), filepath.Join(e.dir, "out")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			return figure{}, err
		}
		defer os.Remove(pipe)
		cat := exec.CommandContext(ctx, "sh", "-c", `cat "$1" > "$2"`, "sh", pipe, out)
		if err := cat.Start(); err != nil {
			return figure{}, err
		}
		t := time.Now()
		cmd := exec.CommandContext(ctx, "sh", "-c", `exec kcat -C -q -e -b "$1" -t "$2" -o beginning > "$0"`, pipe, w.broker, w.topic)
		f, err := command(cmd)
		err = firstError(err, cat.Wait())
		f.wall, f.n = time.Since(t), e.n
		return f, firstError(err, same(w.lines, out))
	}
}

// startReady starts flux or tap and waits for its ready line.
func startReady(cmd *exec.Cmd) error {
	r, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(r)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.HasPrefix(lines.Text(), "ready ") {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%v was not ready: %s", cmd.Args, strings.Join(said, "; ")), cmd.Wait())
}

// same compares two files: a figure of something that lost data is none.
func same(a, b string) error {
	if out, err := exec.Command("cmp", a, b).CombinedOutput(); err != nil {
		return fmt.Errorf("the output differs from the input: %s", out)
	}
	return nil
}
