package redistest

import (
	"context"
	"testing"
)

// ForTest is Start for a test, which ends the server. A test that cannot have
// it fails; it is never skipped. A start takes some tens of milliseconds, so
// each test has its own.
func ForTest(t testing.TB, o Options) *Servers { return forTest(t, Start, o) }

// SentinelForTest is StartSentinel for a test, see ForTest.
func SentinelForTest(t testing.TB, o Options) *Servers { return forTest(t, StartSentinel, o) }

// ClusterForTest is StartCluster for a test, see ForTest. It takes some two
// seconds, for which a new node of a cluster refuses to work.
func ClusterForTest(t testing.TB, o Options) *Servers { return forTest(t, StartCluster, o) }

func forTest(t testing.TB, start func(context.Context, Options) (*Servers, error), o Options) *Servers {
	t.Helper()
	s, err := start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}
