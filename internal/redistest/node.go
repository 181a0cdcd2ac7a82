package redistest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// node is one server's process and its files.
type node struct {
	id       int
	host     string
	port     int
	sentinel bool
	dir      string

	mu     sync.Mutex
	proc   *os.Process   // nil before the first start
	dead   chan struct{} // closed when proc has ended
	paused bool
}

func (n *node) addr() string    { return net.JoinHostPort(n.host, strconv.Itoa(n.port)) }
func (n *node) config() string  { return filepath.Join(n.dir, "redis.conf") }
func (n *node) logFile() string { return filepath.Join(n.dir, "log") }

// start starts the process; it does not wait until the server answers.
func (n *node) start() error {
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	defer log.Close()
	program := "redis-server"
	if n.sentinel {
		program = "redis-sentinel"
	}
	cmd := exec.Command(program, n.config())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = n.dir
	cmd.SysProcAttr = dieWithParent()

	started := make(chan error)
	dead := make(chan struct{})
	go n.wait(cmd, started, dead)
	if err := <-started; err != nil {
		return fmt.Errorf("redistest: start node %d: %w", n.id, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proc, n.dead, n.paused = cmd.Process, dead, false
	return nil
}

// wait starts cmd and waits for its end. The kernel ties the child's life to
// the thread that started it, not to the process, so this goroutine keeps its
// thread to itself until the child has ended.
func (n *node) wait(cmd *exec.Cmd, started chan<- error, dead chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = cmd.Wait() // how a server ended is in its log
	close(dead)
}

// process is the running process, or nil.
func (n *node) process() *os.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return nil
	}
	select {
	case <-n.dead:
		return nil
	default:
		return n.proc
	}
}

func (n *node) running() bool { return n.process() != nil }

// awake: it runs and is not paused.
func (n *node) awake() bool {
	if !n.running() {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.paused
}

// kill does nothing to a node that has ended. It returns when it has.
func (n *node) kill() {
	if p := n.process(); p != nil {
		_ = p.Kill()
		n.mu.Lock()
		dead := n.dead
		n.mu.Unlock()
		<-dead // no process outlives SIGKILL for long
	}
}

// signal pauses a process or lets it go on.
func (n *node) signal(s syscall.Signal, paused bool) error {
	p := n.process()
	if p == nil {
		return fmt.Errorf("redistest: node %d does not run", n.id)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = paused
	return p.Signal(s)
}

// ended says why a node that does not run does not.
func (n *node) ended() error {
	b, err := os.ReadFile(n.logFile())
	if err != nil {
		return err
	}
	if bytes.Contains(b, []byte("Address already in use")) {
		return errPortTaken
	}
	return errors.New("it ended")
}

// lastWords is the end of the server's log.
func (n *node) lastWords() []byte {
	b, err := os.ReadFile(n.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-2000):]
}

// freePort finds a free port that is not taken yet; a cluster's nodes also
// take the port 10,000 above. Both lie below the ports that systems give to
// outgoing connections (from 32768 on Linux, 49152 elsewhere): a client that
// dials a killed node's port from that range can connect to itself, and then
// the node cannot have its port back.
func freePort(host string, cluster bool, taken map[int]bool) int {
	lowest, highest := 15000, 32768
	if cluster {
		highest = 32768 - 10000
	}
	for {
		r, err := rand.Int(rand.Reader, big.NewInt(int64(highest-lowest)))
		if err != nil {
			panic(err) // never, see crypto/rand
		}
		p := lowest + int(r.Int64())
		if taken[p] || !canListen(host, p) || cluster && !canListen(host, p+10000) {
			continue
		}
		taken[p] = true
		return p
	}
}

func canListen(host string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// reaper is a shell that outlives this process if it is killed, and then
// removes the servers' folder. It learns of the end by its standard input,
// whose other end only this process holds.
type reaper struct {
	cmd *exec.Cmd
	in  io.Closer
}

func startReaper(dir string) (*reaper, error) {
	// The second of sleep lets the kernel end the servers first.
	cmd := exec.Command("/bin/sh", "-c", `read -r _; sleep 1; rm -rf -- "$1"`, "sh", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = ownGroup()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	return &reaper{cmd: cmd, in: in}, nil
}

func (r *reaper) stop() {
	_ = r.cmd.Process.Kill()
	_ = r.in.Close()
	_ = r.cmd.Wait()
}
