package redistest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/seastreamer/seastreamer/internal/testserver"
)

// Servers are running Redis servers. Its methods may be called by several
// goroutines, but Kill, Restart and Stop of one node by one at a time.
type Servers struct {
	o       Options
	kind    kind
	dir     string
	secret  string // of the user admin
	nodes   []*node
	secrets *testserver.Secrets // nil without TLS
	reaper  *testserver.Reaper
	ports   testserver.Ports
	stop    sync.Once
}

// Start starts one server, node 1, and returns when it answers. ctx bounds the
// start and not the server's life.
func Start(ctx context.Context, o Options) (*Servers, error) { return start(ctx, single, o) }

// StartSentinel starts a master (node 1), its replicas (2 and 3) and the
// sentinels (4, 5 and 6), who take a master for dead after NodeTimeout. It
// returns when the replicas are linked and the sentinels know all others.
func StartSentinel(ctx context.Context, o Options) (*Servers, error) {
	return start(ctx, sentinel, o)
}

// StartCluster starts three masters (nodes 1, 2 and 3) with a third of the
// slots each, and a replica for each (4 of 1, 5 of 2, 6 of 3). It returns when
// every node says that the cluster is well and the replicas are linked.
func StartCluster(ctx context.Context, o Options) (*Servers, error) { return start(ctx, cluster, o) }

func start(ctx context.Context, k kind, o Options) (*Servers, error) {
	programs := []string{"redis-server"}
	if k == sentinel {
		programs = append(programs, "redis-sentinel")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return nil, fmt.Errorf("redistest: %s is not installed: run scripts/setup", p)
		}
	}
	// Between choosing a free port and Redis's taking it a process that is none of
	// these tests may take it: then everything begins again with others.
	for try := 1; ; try++ {
		s, err := startOnce(ctx, k, o)
		if err == nil || !errors.Is(err, errPortTaken) || try == 5 {
			return s, err
		}
	}
}

var errPortTaken = errors.New("another process took the port first")

func startOnce(ctx context.Context, k kind, o Options) (*Servers, error) {
	dir, err := os.MkdirTemp("", "sea-redis-")
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	s := &Servers{o: o, kind: k, dir: dir, secret: hex.EncodeToString(b)}
	if err := s.start(ctx); err != nil {
		s.kill()
		return nil, err
	}
	return s, nil
}

func (s *Servers) start(ctx context.Context) (err error) {
	if s.reaper, err = testserver.StartReaper(s.dir); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	if s.o.TLS || s.o.ClientCerts {
		var own []net.IP
		for i := range 6 { // see Options.OwnAddresses
			own = append(own, net.IPv4(127, 0, 1, byte(i+1)))
		}
		if s.secrets, err = testserver.MakeSecrets(s.dir, own...); err != nil {
			return fmt.Errorf("redistest: %w", err)
		}
	}
	count := 6
	if s.kind == single {
		count = 1
	}
	s.nodes = make([]*node, count)
	for i := range s.nodes {
		n := &node{id: i + 1, host: "127.0.0.1", sentinel: s.kind == sentinel && i >= 3}
		if s.o.OwnAddresses {
			n.host = fmt.Sprintf("127.0.1.%d", n.id)
		}
		if s.kind == cluster { // its nodes talk to each other on the port 10,000 above
			n.port = s.ports.Free(n.host, 10_000)
		} else {
			n.port = s.ports.Free(n.host)
		}
		n.dir = filepath.Join(s.dir, fmt.Sprintf("node-%d", n.id))
		s.nodes[i] = n
	}
	for _, n := range s.nodes {
		config := s.config
		if n.sentinel {
			config = s.sentinelConfig
		}
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			return fmt.Errorf("redistest: %w", err)
		}
		if err := os.WriteFile(n.config(), []byte(config(n)), 0o600); err != nil {
			return fmt.Errorf("redistest: %w", err)
		}
		if err := n.start(); err != nil {
			return err
		}
	}
	for _, n := range s.nodes {
		if err := s.answers(ctx, n); err != nil {
			return err
		}
		if err := s.hasten(n); err != nil {
			return err
		}
	}
	if s.kind == cluster {
		if err := s.join(ctx); err != nil {
			return err
		}
	}
	return s.Ready(ctx)
}

// Len is the number of nodes, sentinels included.
func (s *Servers) Len() int { return len(s.nodes) }

// Addr is a node's host:port.
func (s *Servers) Addr(node int) string { return s.nodes[node-1].addr() }

// Socket is the path of node 1's Unix socket; "" without Options.Socket.
func (s *Servers) Socket() string {
	if !s.o.Socket {
		return ""
	}
	return filepath.Join(s.nodes[0].dir, "redis.sock")
}

// URL is the broker URL of all of it, without credentials and without a
// stream: redis://host:port, rediss:// with TLS, redis://h1,h2,… of a cluster,
// redis+sentinel://s1,s2,s3?master=mymaster.
func (s *Servers) URL() string {
	scheme, query := "redis", ""
	if s.secrets != nil {
		scheme = "rediss"
	}
	var hosts []string
	for _, n := range s.nodes {
		if s.kind != sentinel || n.sentinel {
			hosts = append(hosts, n.addr())
		}
	}
	if s.kind == sentinel {
		scheme += "+sentinel"
		query = "?master=" + MasterName
	}
	return scheme + "://" + strings.Join(hosts, ",") + query
}

// TLS is a client's configuration: it trusts the servers' authority and
// carries a client certificate. It panics without TLS.
func (s *Servers) TLS() *tls.Config { return s.secrets.Config() }

// Files are what TLS holds as PEM files, for programs: the authority, the
// client's certificate and its key. It panics without TLS.
func (s *Servers) Files() (ca, cert, key string) {
	return s.secrets.CA, s.secrets.ClientCert, s.secrets.ClientKey
}

// Dir is the temporary folder that holds everything: node-N/redis.conf,
// node-N/log and what the servers write.
func (s *Servers) Dir() string { return s.dir }

// Log is what a node has logged.
func (s *Servers) Log(node int) string {
	b, err := os.ReadFile(s.nodes[node-1].logFile())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// PID is the process of a node; 0 when it does not run.
func (s *Servers) PID(node int) int {
	if p := s.nodes[node-1].Running(); p != nil {
		return p.Pid
	}
	return 0
}

// Kill ends a node with SIGKILL, as a crash would, and returns when it has
// ended. Its data stay as far as they were written down.
func (s *Servers) Kill(node int) { s.nodes[node-1].Process.Kill() }

// Restart starts a node that was killed, on the same port and data, and
// returns when it answers and has loaded its data. See Ready for more.
func (s *Servers) Restart(ctx context.Context, node int) error {
	n := s.nodes[node-1]
	if n.running() {
		return fmt.Errorf("redistest: restart node %d: it runs", node)
	}
	if err := n.start(); err != nil {
		return err
	}
	if err := s.answers(ctx, n); err != nil {
		return err
	}
	return s.hasten(n)
}

// Pause stops a node's process (SIGSTOP): its connections stay and nothing
// answers. Continue lets it go on.
func (s *Servers) Pause(node int) error { return s.nodes[node-1].pause() }

// Continue undoes Pause.
func (s *Servers) Continue(node int) error { return s.nodes[node-1].resume() }

// Stop ends all nodes and removes the folder. A second Stop does nothing.
func (s *Servers) Stop() { s.stop.Do(s.kill) }

// kill leaves nothing, whatever state the servers are in. Nobody needs what
// they would write down at an orderly end.
func (s *Servers) kill() {
	for _, n := range s.nodes {
		if n != nil {
			n.Kill()
		}
	}
	s.ports.Close()
	_ = os.RemoveAll(s.dir)
	if s.reaper != nil {
		s.reaper.Stop()
	}
}
