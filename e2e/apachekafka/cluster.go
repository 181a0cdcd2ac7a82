//go:build unix

package apachekafka

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seastreamer/seastreamer/internal/testserver"
)

// Options say what to start. The zero value is one node on a free port.
type Options struct {
	Nodes int // zero is 1; each is broker and controller
	Port  int // of the first node's plain listener; zero chooses a free one

	// Properties are added to every node's server.properties, and win over
	// what this package writes there.
	Properties map[string]string

	// Secure adds two listeners to every node: SASL_SSL, which takes PLAIN,
	// SCRAM-SHA-256 and SCRAM-SHA-512, and SSL, which asks for a client's
	// certificate. The certificates are made for this cluster alone.
	Secure bool
	Users  map[string]string // user → password, for each of the three mechanisms
}

// Cluster is a running Apache Kafka. Its methods may be called by several
// goroutines, but Kill, Restart and Stop of one node by one at a time.
type Cluster struct {
	o       Options
	dir     string
	nodes   []*node
	secrets *testserver.Secrets // nil without Options.Secure
	reaper  *testserver.Reaper
	ports   testserver.Ports
	stop    sync.Once
}

// Start starts the nodes and returns when each names all of them in its
// metadata. It fetches Kafka's jars when the cache has none. ctx bounds the
// start and not the cluster's life.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	for user, password := range o.Users {
		if strings.ContainsAny(user+password, "\"\\\n,]") {
			return nil, fmt.Errorf("apachekafka: user %q: quotes, backslashes, commas, ] and line ends cannot be written for Kafka's StorageTool", user)
		}
	}
	if _, err := exec.LookPath(java()); err != nil {
		return nil, fmt.Errorf("apachekafka: java is not installed: run scripts/setup")
	}
	jars, err := Jars(ctx)
	if err != nil {
		return nil, err
	}
	// Between choosing a free port and Kafka's taking it another process may
	// take it: then everything begins again with others.
	for try := 1; ; try++ {
		c, err := startOnce(ctx, o, jars)
		if err == nil || !errors.Is(err, errPortTaken) || o.Port != 0 || try == 5 {
			return c, err
		}
	}
}

var errPortTaken = errors.New("another process took the port first")

func startOnce(ctx context.Context, o Options, jars string) (*Cluster, error) {
	c := &Cluster{o: o}
	all, err := choosePorts(o, &c.ports)
	if err != nil {
		c.kill()
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "sea-kafka-"); err != nil {
		c.kill()
		return nil, fmt.Errorf("apachekafka: %w", err)
	}
	if err := c.start(ctx, all, jars); err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, all []ports, jars string) (err error) {
	if c.reaper, err = testserver.StartReaper(c.dir); err != nil {
		return fmt.Errorf("apachekafka: %w", err)
	}
	if c.o.Secure {
		if c.secrets, err = testserver.MakeSecrets(c.dir); err != nil {
			return fmt.Errorf("apachekafka: %w", err)
		}
	}
	for i := range all {
		n := &node{id: i + 1, ports: all[i], dir: filepath.Join(c.dir, fmt.Sprintf("node-%d", i+1)), jars: jars}
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			return fmt.Errorf("apachekafka: %w", err)
		}
		if err := os.WriteFile(n.config(), render(properties(n.id, all, n.dir, c.o, c.secrets)), 0o600); err != nil {
			return fmt.Errorf("apachekafka: %w", err)
		}
		c.nodes = append(c.nodes, n)
	}
	if err := c.format(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := c.ready(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) format(ctx context.Context) error {
	id := newClusterID()
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { errs[i] = n.format(ctx, id, c.o.Users) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// newClusterID is a random UUID in Kafka's form: 22 characters of unpadded
// base64url, and not a dash first, which would look like a flag.
func newClusterID() string {
	for {
		b := make([]byte, 16)
		_, _ = rand.Read(b) // never fails, see crypto/rand
		if id := base64.RawURLEncoding.EncodeToString(b); id[0] != '-' {
			return id
		}
	}
}

// Brokers are the plain listeners, host:port, of all nodes, killed ones too.
func (c *Cluster) Brokers() []string { return c.addrs(func(p ports) int { return p.plain }) }

// SASLBrokers are the SASL_SSL listeners; nil without Options.Secure.
func (c *Cluster) SASLBrokers() []string { return c.addrs(func(p ports) int { return p.sasl }) }

// MTLSBrokers are the SSL listeners that want a client certificate; nil
// without Options.Secure.
func (c *Cluster) MTLSBrokers() []string { return c.addrs(func(p ports) int { return p.mtls }) }

func (c *Cluster) addrs(port func(ports) int) []string {
	var a []string
	for _, n := range c.nodes {
		if p := port(n.ports); p != 0 {
			a = append(a, addr(p))
		}
	}
	return a
}

// TLS is a client's configuration for the secure listeners: it trusts the
// cluster's authority and carries a client certificate. It panics without
// Options.Secure.
func (c *Cluster) TLS() *tls.Config { return c.secrets.Config() }

// Files are what TLS holds as PEM files, for programs: the authority, the
// client's certificate and its key. It panics without Options.Secure.
func (c *Cluster) Files() (ca, cert, key string) {
	return c.secrets.CA, c.secrets.ClientCert, c.secrets.ClientKey
}

// Dir is the temporary folder that holds everything: node-N/server.properties,
// node-N/broker.log, node-N/data.
func (c *Cluster) Dir() string { return c.dir }

// PID is the process of a node, counted from 1; 0 when it does not run.
func (c *Cluster) PID(node int) int {
	if n := c.nodes[node-1]; n.running() {
		return n.Running().Pid
	}
	return 0
}

// Kill ends a node, counted from 1, with SIGKILL, as a crash would, and
// returns when it has ended. Its data stay.
func (c *Cluster) Kill(node int) {
	n := c.nodes[node-1]
	n.Process.Kill()
}

// Restart starts a node that was killed, on the same ports and data, and
// returns when its metadata name it and the other nodes that run.
func (c *Cluster) Restart(ctx context.Context, node int) error {
	n := c.nodes[node-1]
	if n.running() {
		return fmt.Errorf("apachekafka: restart node %d: it runs", node)
	}
	if err := n.start(); err != nil {
		return err
	}
	return c.ready(ctx, n)
}

// Stop ends all nodes and removes the folder. A second Stop does nothing.
func (c *Cluster) Stop() {
	c.stop.Do(func() {
		for _, n := range c.nodes {
			_ = n.Signal(syscall.SIGTERM)
		}
		// One node ends in a third of a second. The last of several has no
		// quorum left to say goodbye to, and would wait for one.
		patience := 10 * time.Second
		if len(c.nodes) > 1 {
			patience = 3 * time.Second
		}
		deadline := time.Now().Add(patience)
		for _, n := range c.nodes {
			n.Await(time.Until(deadline))
		}
		c.kill()
	})
}

// kill leaves nothing, whatever state the cluster is in.
func (c *Cluster) kill() {
	for _, n := range c.nodes {
		n.Process.Kill()
	}
	c.ports.Close()
	_ = os.RemoveAll(c.dir)
	if c.reaper != nil {
		c.reaper.Stop()
	}
}

// choosePorts finds a free port for every listener.
func choosePorts(o Options, taken *testserver.Ports) ([]ports, error) {
	if o.Port != 0 && !taken.Take("127.0.0.1", o.Port) {
		return nil, fmt.Errorf("apachekafka: port %d is taken: choose another, or end the process that has it", o.Port)
	}
	free := func() int { return taken.Free("127.0.0.1") }
	all := make([]ports, o.Nodes)
	for i := range all {
		all[i] = ports{plain: free(), controller: free()}
		if o.Secure {
			all[i].sasl, all[i].mtls = free(), free()
		}
	}
	if o.Port != 0 {
		all[0].plain = o.Port
	}
	return all, nil
}
