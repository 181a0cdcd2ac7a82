//go:build unix

package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seastreamer/seastreamer"
)

// A Crew is worker processes, each in a place of its own: who is killed is
// replaced. It kills only what it started. Its methods may be called by several
// goroutines; a place belongs to one of them.
type Crew struct {
	dir     string
	program string // that calls Main first of all
	places  []*Place

	// Healthy: nothing is broken on purpose, so that there must be progress.
	Healthy atomic.Bool

	mu     sync.Mutex
	peak   int64    // the largest VmHWM seen, in KiB
	exits  []string // of workers that ended by themselves
	ending bool
}

// A Place is one worker, whoever it is at the moment.
type Place struct {
	c    *Crew
	n    int
	Task Task
	page *Page

	mu     sync.Mutex
	cmd    *exec.Cmd
	ended  chan struct{}
	killed bool
	since  int64 // units when the present worker began

	Kills, Effective, Pauses int // written by who kills
}

// NewCrew makes a crew whose pages, logs and checkpoints are in dir.
func NewCrew(dir, program string) *Crew { return &Crew{dir: dir, program: program} }

// Add makes a place for a task and starts its worker.
func (c *Crew) Add(t Task) (*Place, error) {
	p := &Place{c: c, n: len(c.places), Task: t}
	p.Task.Page = filepath.Join(c.dir, fmt.Sprintf("page-%d", p.n))
	var err error
	if p.page, err = OpenPage(p.Task.Page); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.places = append(c.places, p)
	c.mu.Unlock()
	return p, p.Start()
}

// Log is the file with what the workers of a place say.
func (p *Place) Log() string { return filepath.Join(p.c.dir, fmt.Sprintf("log-%d", p.n)) }

// Start starts a worker in a place that is free.
func (p *Place) Start() error {
	log, err := os.OpenFile(p.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, err := command(p.c.program, p.Task)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.ended, p.killed, p.since = cmd, make(chan struct{}), false, p.page.Units()
	go p.await(cmd, p.ended)
	return nil
}

// command is a worker that is not started.
func command(program string, t Task) (*exec.Cmd, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), TaskVariable+"="+string(text))
	return cmd, nil
}

// await waits for the end of a worker. One that ends by itself before it is
// told to has failed, or it has done a task that has an end.
func (p *Place) await(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	told := p.killed
	p.mu.Unlock()
	p.c.mu.Lock()
	if err != nil && !told && !p.c.ending {
		p.c.exits = append(p.c.exits, fmt.Sprintf("%s %d: %v: %s", p.Task.Do, p.n, err, p.LastWords()))
	}
	p.c.mu.Unlock()
	close(ended)
}

// LastWords is the last line that the workers of the place have written.
func (p *Place) LastWords() string {
	log, _ := os.ReadFile(p.Log())
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return string(lines[len(lines)-1])
}

// Kill ends the worker with SIGKILL and reports whether that hit a unit, or a
// writer with messages under way.
func (p *Place) Kill() (effective bool) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.killed = true
	p.mu.Unlock()
	p.measure()
	_ = cmd.Process.Kill()
	<-ended
	p.Kills++
	if p.page.Open() {
		p.Effective++
		return true
	}
	return false
}

// Pause stops the worker where it is.
func (p *Place) Pause() error { p.Pauses++; return p.signal(syscall.SIGSTOP) }

// Continue lets it go on.
func (p *Place) Continue() error { return p.signal(syscall.SIGCONT) }

func (p *Place) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Signal(s)
}

// Ended is closed when the present worker has ended.
func (p *Place) Ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// Exit is the exit code of a worker that has ended.
func (p *Place) Exit() int { return p.cmd.ProcessState.ExitCode() }

// Expect says that the worker is meant to end by itself, with whatever code.
func (p *Place) Expect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
}

// Progressed reports whether the present worker has committed anything.
func (p *Place) Progressed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.page.Units() > p.since
}

// Release has a worker that its task holds inside a unit go on, and those that
// follow it in the place too.
func (p *Place) Release() { p.page.put(wordReleased, 1) }

// Page is what the workers of the place show.
func (p *Place) Page() *Page { return p.page }

// Stop asks the worker to end by TERM and waits for five seconds, then kills it.
func (p *Place) Stop() { p.End(5 * time.Second) }

// End is Stop with another limit: a writer that is asked to end waits for what
// it has sent.
func (p *Place) End(limit time.Duration) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.killed = true
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	p.measure()
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(limit):
		_ = cmd.Process.Kill()
		<-ended
	}
}

// Stop ends all workers.
func (c *Crew) Stop() {
	c.mu.Lock()
	c.ending = true
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range c.places {
		wg.Go(p.Stop)
	}
	wg.Wait()
}

// measure notes the most memory that the worker has had, by the kernel's word.
func (p *Place) measure() {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	_, rest, ok := bytes.Cut(status, []byte("VmHWM:"))
	if !ok {
		return // it has ended, or this is not Linux
	}
	f := bytes.Fields(rest)
	kib, _ := strconv.ParseInt(string(f[0]), 10, 64)
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.peak = max(p.c.peak, kib)
}

// Peak is the most memory that any worker had, in MiB.
func (c *Crew) Peak() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(c.peak) / 1024
}

// Exits are the workers that ended by themselves although nobody told them to.
func (c *Crew) Exits() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exits
}

// progress changes whenever a worker other than a writer commits anything.
func (c *Crew) progress() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.places {
		if p.Task.Do != "write" {
			n += p.page.Units()
		}
	}
	return n
}

// stallLimit is how long a crew may stand still while nothing is broken.
const stallLimit = time.Minute

// Watch looks after the crew until done is closed. Where nothing moves for a
// minute although all is healthy, it has every worker write its stacks into its
// log, and returns an error. It also returns the longest time without progress,
// faults included.
func (c *Crew) Watch(done <-chan struct{}) (longest time.Duration, err error) {
	longest, stalled := Watch(done, stallLimit, c.Healthy.Load, c.progress)
	if stalled {
		c.Dump()
		return longest, fmt.Errorf("nothing has moved for %v, and all is healthy: the workers' stacks are in %s", stallLimit, c.dir)
	}
	return longest, nil
}

// Watch looks at progress until done is closed, or until that has not changed
// for limit while all was healthy.
func Watch(done <-chan struct{}, limit time.Duration, healthy func() bool, progress func() int64) (longest time.Duration, stalled bool) {
	last, at := progress(), time.Now()
	calm := at
	for {
		select {
		case <-done:
			return longest, false
		case <-time.After(min(20*time.Millisecond, limit/10)):
		}
		now := time.Now()
		if n := progress(); n != last {
			last, at = n, now
		}
		longest = max(longest, now.Sub(at))
		if !healthy() {
			calm = now
		}
		if now.Sub(at) > limit && now.Sub(calm) > limit {
			select {
			case <-done: // it was this process that stood still
				return longest, false
			default:
				return longest, true
			}
		}
	}
}

// Dump has every worker write its stacks into its log and end.
func (c *Crew) Dump() {
	for _, p := range c.places {
		p.Expect()
		_ = p.signal(syscall.SIGQUIT)
		select {
		case <-p.Ended():
		case <-time.After(time.Second):
		}
	}
}

// Reached reports whether progress of places has come to these ends of their
// common input.
func Reached(end seastreamer.Checkpoint, places ...*Place) bool {
	for sh, next := range end {
		there := false
		for _, p := range places {
			there = there || p.page.at(sh.Index).Compare(next) >= 0
		}
		if !there && next != (seastreamer.Seq{}) {
			return false
		}
	}
	return true
}

var errTimeout = errors.New("it did not come about in time")

// Wait waits until something is the case, a worker has ended by itself with an
// error, or the time is up.
func (c *Crew) Wait(limit time.Duration, is func() bool) error {
	for deadline := time.Now().Add(limit); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errTimeout
		}
		if exits := c.Exits(); len(exits) > 0 {
			return fmt.Errorf("workers have ended by themselves: %q", exits)
		}
	}
	return nil
}
