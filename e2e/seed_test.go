//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

// The five lines with which SeaStreamer introduces itself, as one script. They
// are as in the README but for what a script needs: it waits until a pipe
// exists, after a kill it waits for the end, and it keeps what it sent.
const seed = `set -eu
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # when a line fails
sea streamer flux ./producer --broker localhost:9092 --topic news &
until [ -p producer ]; do kill -0 %1; sleep 0.01; done
cat news.ndjson > producer
kill %1
wait %1
[ ! -e producer ]

mv news.ndjson sent.ndjson

sea streamer tap ./consumer --broker localhost:9092 --topic news &
until [ -p consumer ]; do kill -0 %1; sleep 0.01; done
cat consumer > news.ndjson
kill %1
wait %1
[ ! -e consumer ]

cmp sent.ndjson news.ndjson
`

// lines is how many lines go through; SEED_LINES=1000000 is the full measure.
func lines(t *testing.T) int {
	s := os.Getenv("SEED_LINES")
	if s == "" {
		return 100_000
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("SEED_LINES: %v", err)
	}
	return n
}

func TestSeedOnApacheKafka(t *testing.T) {
	sea := buildSea(t)
	// The lines say localhost:9092, so that is where the broker must be.
	c, err := apachekafka.Start(t.Context(), apachekafka.Options{Port: 9092})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	dir := runSeed(t, sea, seed, lines(t))

	// An independent client finds the same in the topic.
	begun := time.Now()
	out := filepath.Join(dir, "kcat.ndjson")
	run(t, dir, "kcat -C -e -q -b localhost:9092 -t news > kcat.ndjson")
	t.Logf("kcat read the topic in %v", time.Since(begun))
	sameFile(t, out, filepath.Join(dir, "sent.ndjson"))
}

func TestSeedOnTheEmbeddedDefault(t *testing.T) {
	runSeed(t, buildSea(t), strings.ReplaceAll(seed, " --broker localhost:9092", ""), lines(t))
}

// runSeed runs the script with this sea on n lines of real NDJSON, in a folder
// that it returns.
func runSeed(t *testing.T, sea, script string, n int) string {
	t.Helper()
	dir := t.TempDir()
	repo, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, fmt.Sprintf("'%s/scripts/make-data' repeat %d '%s/examples/data/packages.ndjson' > news.ndjson", repo, n, repo))
	t.Setenv("PATH", filepath.Dir(sea)+":"+os.Getenv("PATH"))
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	begun := time.Now()
	run(t, dir, script)
	t.Logf("%d lines there and back in %v", n, time.Since(begun))
	if got := countLines(t, filepath.Join(dir, "news.ndjson")); got != n {
		t.Fatalf("%d lines came back, want %d", got, n)
	}
	return dir
}

// run runs a bash script and fails the test with what it said.
func run(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = dir
	// A pipe that the script leaves behind must not keep the test waiting.
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	} else if len(out) > 0 {
		t.Logf("%s", out)
	}
}

// buildSea builds the command once, as a user would, and returns its path.
func buildSea(t *testing.T) string {
	t.Helper()
	sea, err := seaProgram()
	if err != nil {
		t.Fatal(err)
	}
	return sea
}

var seaProgram = program("sea", "..", "./cmd/sea")

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	if out, err := exec.Command("cmp", got, want).CombinedOutput(); err != nil {
		t.Errorf("%s", out)
	}
}

func countLines(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte{'\n'})
}
