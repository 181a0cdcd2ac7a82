package redis

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestAdministration has each way of running Redis administered. What it finds
// and does is checked by what the servers and redis-cli say.
func TestAdministration(t *testing.T) {
	for _, top := range topologies {
		t.Run(top.name, func(t *testing.T) {
			s := top.start(t, redistest.Options{AppendOnly: true, Fsync: "no", NodeTimeout: redistest.Patient})
			for _, c := range []struct {
				name string
				test func(t *testing.T, s *redistest.Servers, kind string)
			}{
				{"names", streamNamesAreThoseOfDiscovery},
				{"describe", describeStreams},
				{"create", createAndDelete},
				{"trim", trimAndSeek},
				{"groups", groupsAreMergedOverStreamsAndShards},
				{"members", membersThatWaitAreSeen},
				{"positions", setPositions},
				{"pending", pendingMessages},
				{"nodes", nodes},
				{"config", nodeConfig},
				{"cluster", clusterInfo},
				{"users", users},
				{"rules", rules},
			} {
				t.Run(c.name, func(t *testing.T) { c.test(t, s, top.name) })
				for n := range s.Len() {
					_, _ = s.Do(n+1, "FLUSHALL") // a replica or a sentinel refuses
				}
			}
		})
	}
}

// cli is what redis-cli prints that asks a node, as text for people.
func cli(t *testing.T, s *redistest.Servers, node int, args ...string) string {
	t.Helper()
	host, port, _ := strings.Cut(s.Addr(node), ":")
	out, err := exec.CommandContext(t.Context(), "redis-cli", append([]string{"-h", host, "-p", port, "--no-auth-warning"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// master is the node that has a key.
func master(t *testing.T, s *redistest.Servers, key string) int {
	t.Helper()
	node, err := s.Master(int(slot(key)))
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// fromEnv is the number in an environment variable, for sizes that take long.
func fromEnv(t *testing.T, name string, unset int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return unset
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
