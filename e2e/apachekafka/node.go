//go:build unix

package apachekafka

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/seastreamer/seastreamer/internal/testserver"
)

// heap is enough for a broker under a test's load; a small one makes several
// nodes fit on a small machine. The first compiler only and the serial
// collector: they start fastest and need the fewest threads.
var heap = []string{"-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}

// node is one broker: its folder, and its process while it runs.
type node struct {
	id    int
	ports ports
	dir   string
	jars  string

	testserver.Process
}

func (n *node) config() string  { return filepath.Join(n.dir, "server.properties") }
func (n *node) logFile() string { return filepath.Join(n.dir, "broker.log") }

// format writes the folder's identity, and the SCRAM users, as a broker wants
// them before its first start.
func (n *node) format(ctx context.Context, clusterID string, users map[string]string) error {
	args := []string{"-XX:TieredStopAtLevel=1", "-cp", n.jars + "/*", "kafka.tools.StorageTool", "format",
		"--cluster-id", clusterID, "--config", n.config()}
	for user, password := range users {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf(`%s=[name="%s",password="%s"]`, mechanism, user, password))
		}
	}
	out, err := exec.CommandContext(ctx, java(), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("apachekafka: format the storage of node %d: %w\n%s", n.id, err, tail(out))
	}
	return nil
}

// start starts the process; it does not wait until the broker answers.
func (n *node) start() error {
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("apachekafka: %w", err)
	}
	defer log.Close()
	args := append(heap[:len(heap):len(heap)], "-Dorg.apache.logging.log4j.level=WARN",
		"-cp", n.jars+"/*", "kafka.Kafka", n.config())
	cmd := exec.Command(java(), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = n.dir
	if err := n.Start(cmd); err != nil {
		return fmt.Errorf("apachekafka: start node %d: %w", n.id, err)
	}
	return nil
}

func (n *node) running() bool { return n.Running() != nil }

// lastWords is the end of the broker's log.
func (n *node) lastWords() []byte {
	b, err := os.ReadFile(n.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	return tail(b)
}

// portTaken reports whether the node ended because another process was faster
// at one of its ports.
func (n *node) portTaken() bool {
	b, err := os.ReadFile(n.logFile())
	return err == nil && (bytes.Contains(b, []byte("Address already in use")) || bytes.Contains(b, []byte("BindException")))
}

func java() string {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return filepath.Join(home, "bin", "java")
	}
	return "java"
}
