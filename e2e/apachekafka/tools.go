//go:build unix

package apachekafka

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seastreamer/seastreamer/internal/testserver"
)

//go:embed Tools.java
var toolsSource []byte

// Tools runs Kafka's own command-line tools, as independent witnesses, in one
// process of Java: the JVM's start is most of what a tool costs. It may be used
// by several goroutines, which then wait for each other.
type Tools struct {
	mu  sync.Mutex
	in  io.WriteCloser
	out io.Reader
	log *bytes.Buffer
	dir string // of the source
	p   testserver.Process
}

// ToolsForTest returns those that all tests of a binary share; the first call
// starts them, and [Main] ends them.
func ToolsForTest(t testing.TB) *Tools {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.main {
		t.Fatal("apachekafka.ToolsForTest: this test binary's TestMain must be: os.Exit(apachekafka.Main(m))")
	}
	if shared.tools == nil {
		k, err := startTools()
		if err != nil {
			t.Fatalf("apachekafka: start Kafka's tools: %v", err)
		}
		shared.tools = k
	}
	return shared.tools
}

func startTools() (*Tools, error) {
	jars, err := Jars(context.Background())
	if err != nil {
		return nil, err
	}
	k := &Tools{log: &bytes.Buffer{}}
	if k.dir, err = os.MkdirTemp("", "sea-kafka-tools-"); err != nil {
		return nil, err
	}
	source := filepath.Join(k.dir, "Tools.java")
	err = os.WriteFile(source, toolsSource, 0o600)
	cmd := exec.Command(java(), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.apache.logging.log4j.level=ERROR", "-cp", jars+"/*", source)
	cmd.Stderr = k.log
	if err == nil {
		k.in, err = cmd.StdinPipe()
	}
	if err == nil {
		k.out, err = cmd.StdoutPipe()
	}
	if err == nil {
		err = k.p.Start(cmd)
	}
	if err != nil {
		_ = os.RemoveAll(k.dir)
		return nil, err
	}
	return k, nil
}

func (k *Tools) stop() {
	_ = k.in.Close() // ends it
	k.p.Kill()
	_ = os.RemoveAll(k.dir)
}

// Run runs the main method of a class, such as
// org.apache.kafka.tools.TopicCommand, and returns what it printed.
func (k *Tools) Run(t testing.TB, class string, args ...string) string {
	t.Helper()
	out, code := k.try(t, class, args...)
	if code != 0 {
		t.Fatalf("%s %q: exit %d\n%s", class, args, code, out)
	}
	return out
}

func (k *Tools) try(t testing.TB, class string, args ...string) (string, int) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	words := append([]string{class}, args...)
	b := binary.BigEndian.AppendUint32(nil, uint32(len(words)))
	for _, w := range words {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(w))), w...)
	}
	var head [8]byte
	_, err := k.in.Write(b)
	if err == nil {
		_, err = io.ReadFull(k.out, head[:])
	}
	var said []byte
	if err == nil {
		said = make([]byte, binary.BigEndian.Uint32(head[4:]))
		_, err = io.ReadFull(k.out, said)
	}
	if err != nil {
		k.p.Kill()
		t.Fatal(fmt.Errorf("%s: %w\n%s", class, err, tail(k.log.Bytes())))
	}
	return string(said), int(int32(binary.BigEndian.Uint32(head[:4])))
}
