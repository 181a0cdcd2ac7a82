package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"github.com/seastreamer/seastreamer/internal/testserver"
)

// node is one server's process and its files.
type node struct {
	id       int
	host     string
	port     int
	sentinel bool
	dir      string

	testserver.Process
	paused atomic.Bool
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
	if err := n.Start(cmd); err != nil {
		return fmt.Errorf("redistest: start node %d: %w", n.id, err)
	}
	n.paused.Store(false)
	return nil
}

func (n *node) running() bool { return n.Running() != nil }

// awake: it runs and is not paused.
func (n *node) awake() bool { return n.running() && !n.paused.Load() }

// signal pauses a process or lets it go on.
func (n *node) signal(s os.Signal, paused bool) error {
	if !n.running() {
		return fmt.Errorf("redistest: node %d does not run", n.id)
	}
	n.paused.Store(paused)
	return n.Signal(s)
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
