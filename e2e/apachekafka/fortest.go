//go:build unix

package apachekafka

import (
	"context"
	"sync"
	"testing"
	"time"
)

var shared struct {
	sync.Mutex
	main    bool
	cluster *Cluster
	err     error
	tools   *Tools
}

// Main runs a test binary's tests and then stops what [ForTest] and
// [ToolsForTest] started, if they did. It returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(apachekafka.Main(m)) }
func Main(m *testing.M) int {
	shared.Lock()
	shared.main = true
	shared.Unlock()
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster != nil {
		shared.cluster.Stop()
	}
	if shared.tools != nil {
		shared.tools.stop()
	}
	return code
}

// ForTest returns the broker that all tests of a binary share: one node, no
// Options. The first call starts it. A test that cannot have it fails; it is
// never skipped. Tests that kill a broker or configure one start their own.
func ForTest(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.main {
		t.Fatal("apachekafka.ForTest: this test binary's TestMain must be: os.Exit(apachekafka.Main(m))")
	}
	if shared.cluster == nil && shared.err == nil {
		// Fetching the jars for the first time is part of it.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		shared.cluster, shared.err = Start(ctx, Options{})
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}
