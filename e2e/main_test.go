//go:build unix

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/e2e/ledger"
)

func TestMain(m *testing.M) {
	ledger.Main() // where this process is a worker
	code := apachekafka.Main(m)
	if dir, err := programs(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// programs is the folder of what program builds.
var programs = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "sea-e2e-") })

// program builds a command once for the process, when it is first asked for,
// from a folder, and returns its path.
func program(name, dir, pkg string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		to, err := programs()
		if err != nil {
			return "", err
		}
		to = filepath.Join(to, name)
		cmd := exec.Command("go", "build", "-o", to, pkg)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
		return to, nil
	})
}
