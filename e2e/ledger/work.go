//go:build unix

package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/all"
	"github.com/seastreamer/seastreamer/driver"
)

// A Task is what a worker process is told to do, as JSON in its environment.
type Task struct {
	Do       string // relay, at-least, process, write or read
	From, To string // brokers, as URLs without streams
	In, Out  string // streams
	State    string // process: the stream that keeps the totals
	Name     string // of the Transactor; at-least: the file of the checkpoint
	Group    string // of the input: several workers share its shards
	Page     string // the file of the Page
	Every    time.Duration
	Max      int           // messages of a unit
	Slow     time.Duration // how long each unit takes at least, so that faults find it open
	Hold     int64         // units after which a worker stays inside one, until Place.Release: no fault comes too late
	Until    bool          // the end of the input as it is now

	// Of a writer.
	Plan   Plan
	Writer int
	Rate   int // messages a second
	Books  string
}

// TaskVariable is the environment variable that makes a program a worker.
const TaskVariable = "LEDGER_TASK"

// The exit codes of a worker, as the command's.
const (
	ExitFailed      = 1
	ExitUnsupported = 4
	ExitLost        = 5
	ExitFenced      = 6
)

// Main does the task of the environment and ends the program, if there is one.
func Main() {
	text := os.Getenv(TaskVariable)
	if text == "" {
		return
	}
	var t Task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(2)
	}
	go outlived(os.Getppid())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := t.Run(ctx)
	told := ctx.Err() != nil
	stop()
	if err != nil && !told {
		fmt.Fprintf(os.Stderr, "%s %s: %v\n", t.Do, t.Name, err)
		os.Exit(exitCode(err))
	}
	os.Exit(0)
}

// outlived ends a worker whose parent has died without ending it.
func outlived(parent int) {
	for os.Getppid() == parent {
		time.Sleep(200 * time.Millisecond)
	}
	os.Exit(ExitFailed)
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, seastreamer.ErrFenced):
		return ExitFenced
	case errors.Is(err, seastreamer.ErrLost):
		return ExitLost
	case errors.Is(err, errors.ErrUnsupported):
		return ExitUnsupported
	}
	return ExitFailed
}

// Run does the task within ctx.
func (t *Task) Run(ctx context.Context) error {
	w := &worker{Task: t, page: &Page{make([]byte, pageSize)}}
	if t.Page != "" {
		var err error
		if w.page, err = OpenPage(t.Page); err != nil {
			return err
		}
		w.page.put(wordOpen, 0) // of the process that had the page before
		w.before = w.page.Units()
	}
	var err error
	if t.From != "" {
		if w.from, err = open(ctx, t.From, seastreamer.Options{Observer: w.moves()}); err != nil {
			return err
		}
		defer closeSoon(w.from)
	}
	if t.To != "" {
		if w.to, err = open(ctx, t.To, seastreamer.Options{Observer: w.observer()}); err != nil {
			return err
		}
		defer closeSoon(w.to)
	}
	switch t.Do {
	case "relay":
		return w.transact(ctx, w.relay)
	case "process":
		return w.transact(ctx, w.process)
	case "at-least":
		return w.atLeast(ctx)
	case "write":
		return w.write(ctx)
	case "read":
		return w.read(ctx)
	}
	return fmt.Errorf("there is no task %q", t.Do)
}

func open(ctx context.Context, url string, o seastreamer.Options) (*seastreamer.Streamer, error) {
	u, err := driver.ParseBroker(url)
	if err != nil {
		return nil, err
	}
	return all.Registry().OpenURL(ctx, u, o)
}

func closeSoon(s *seastreamer.Streamer) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = s.Close(ctx)
}

type worker struct {
	*Task
	page     *Page
	before   int64 // units of those who had the page before
	from, to *seastreamer.Streamer
	taken    atomic.Int64 // messages of the unit that is open
	totals   totals
}

// observer writes into the page what becomes of units.
func (w *worker) observer() seastreamer.Observer {
	return seastreamer.Observer{
		Commit: func(at []seastreamer.Position, err error) {
			n := w.taken.Swap(0)
			if err == nil {
				w.page.moved(at)
				w.page.more(wordUnits, 1)
				w.page.more(wordMessages, uint64(n))
			}
			w.page.put(wordOpen, 0)
		},
		Retry: func(op string, err error, wait time.Duration) {
			w.page.more(wordAborts, 1)
			w.page.put(wordOpen, 0)
			w.say("%s: %v (again in %v)", op, err, wait)
		},
	}
}

// moves writes into the log which shards come and go.
func (w *worker) moves() seastreamer.Observer {
	if w.Group == "" {
		return seastreamer.Observer{}
	}
	return seastreamer.Observer{
		Assigned: func(at []seastreamer.Position) { w.say("has %v", at) },
		Revoked:  func(shards []seastreamer.Shard, lost bool) { w.say("gives up %v (lost %v)", shards, lost) },
	}
}

func (w *worker) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s worker %d: %s\n", time.Now().Format("15:04:05.000"), os.Getpid(), fmt.Sprintf(format, args...))
}

// transact runs a loop of a Transactor.
func (w *worker) transact(ctx context.Context, unit func(context.Context, *seastreamer.Tx) error) error {
	c := seastreamer.TransactorConfig{
		Name: w.Name, From: w.from, Shared: w.Group != "", CommitEvery: w.Every, MaxMessages: w.Max,
		Input: seastreamer.ConsumerConfig{Streams: []string{w.In}, Group: w.Group, Start: seastreamer.Earliest},
	}
	if w.Until {
		end, err := w.from.End(ctx, w.In)
		if err != nil {
			return err
		}
		c.Input.Until = end
	}
	tr, err := w.openTransactor(ctx, c)
	if err != nil {
		return err
	}
	w.page.more(wordSessions, 1)
	for tx, err := range tr.Units(ctx) {
		if err != nil {
			return err
		}
		w.page.put(wordOpen, 1)
		w.taken.Store(0)
		if err := unit(ctx, tx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// openTransactor tries again while a broker cannot be reached, and until the
// input is there.
func (w *worker) openTransactor(ctx context.Context, c seastreamer.TransactorConfig) (*seastreamer.Transactor, error) {
	for {
		tr, err := w.to.Transactor(ctx, c)
		temporary := errors.Is(err, seastreamer.ErrUnavailable) || errors.Is(err, seastreamer.ErrUnknown) || errors.Is(err, seastreamer.ErrAborted) || errors.Is(err, seastreamer.ErrNotFound)
		if err == nil || !temporary || errors.Is(err, errors.ErrUnsupported) {
			return tr, err
		}
		w.say("%v (again)", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// relay sends what it reads, to the same shard.
func (w *worker) relay(ctx context.Context, tx *seastreamer.Tx) error {
	for m := range tx.Messages() {
		w.taken.Add(1)
		r := seastreamer.Record{Stream: w.Out, Shard: seastreamer.On(m.Shard().Index), Key: m.Key(), Value: m.Value(), Time: m.Time()}
		if tx.Send(r) != nil {
			break // the loop over units says what it was
		}
	}
	w.linger(ctx)
	return nil
}

// linger is what a unit takes longer than it needs.
func (w *worker) linger(ctx context.Context) {
	time.Sleep(w.Slow)
	for w.Hold > 0 && w.page.Units()-w.before >= w.Hold && w.page.get(wordReleased) == 0 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
}

// atLeast is what there is without units: what was read is sent, then what
// was sent is waited for, then the checkpoint is replaced.
func (w *worker) atLeast(ctx context.Context) error {
	done, err := w.checkpoint()
	if err != nil {
		return err
	}
	c := seastreamer.ConsumerConfig{Streams: []string{w.In}, Start: seastreamer.Earliest, Ack: seastreamer.AckOnDelivery,
		Assigned: func(context.Context, []seastreamer.Shard) (seastreamer.Checkpoint, error) { return done, nil }}
	if w.Until {
		if c.Until, err = w.from.End(ctx, w.In); err != nil {
			return err
		}
	}
	k, err := w.from.Consumer(ctx, c)
	if err != nil {
		return err
	}
	p, err := w.to.Producer(ctx, seastreamer.ProducerConfig{Stream: w.Out})
	if err != nil {
		return err
	}
	var failed atomic.Pointer[error]
	read := seastreamer.Checkpoint{}
	n := 0
	step := func() error {
		w.linger(ctx)
		if err := p.Flush(ctx); err != nil {
			return err
		}
		if e := failed.Load(); e != nil {
			return *e // a new process begins again at the checkpoint
		}
		moved := make([]seastreamer.Position, 0, len(read))
		for sh, next := range read {
			done[sh] = next
			moved = append(moved, seastreamer.Position{Shard: sh, Next: next})
		}
		if err := replace(w.Name, done); err != nil {
			return err
		}
		w.page.moved(moved)
		w.page.more(wordUnits, 1)
		w.page.more(wordMessages, uint64(n))
		w.page.put(wordOpen, 0)
		n = 0
		return nil
	}
	for m, err := range k.Messages(ctx) {
		if err != nil {
			return err
		}
		w.page.put(wordOpen, 1)
		r := seastreamer.Record{Shard: seastreamer.On(m.Shard().Index), Key: m.Key(), Value: m.Value(), Time: m.Time()}
		err := p.Enqueue(ctx, r, func(_ seastreamer.Receipt, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
		if err != nil {
			return err
		}
		read[m.Shard()] = m.Seq().Succ()
		if n++; n >= max(w.Max, 1) {
			if err := step(); err != nil {
				return err
			}
		}
	}
	return errors.Join(step(), ctx.Err())
}

// checkpoint is what is done, by the word of a file.
func (w *worker) checkpoint() (seastreamer.Checkpoint, error) {
	text, err := os.ReadFile(w.Name)
	if errors.Is(err, os.ErrNotExist) {
		return seastreamer.Checkpoint{}, nil
	}
	var c seastreamer.Checkpoint
	if err == nil {
		err = c.UnmarshalText(text)
	}
	return c, err
}

func replace(path string, c seastreamer.Checkpoint) error {
	text, err := c.MarshalText()
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Clean(path))
}

// read prints the input as it is now, a message a line: shard, key and body.
func (w *worker) read(ctx context.Context) error {
	end, err := w.from.End(ctx, w.In)
	if err != nil {
		return err
	}
	c, err := w.from.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{w.In}, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		_, _ = fmt.Fprintf(out, "%d\t%s\t%s\n", m.Shard().Index, m.Key(), m.Value())
	}
	return out.Flush()
}
