//go:build unix

package e2e

import (
	"os"
	"testing"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/e2e/ledger"
)

func TestMain(m *testing.M) {
	ledger.Main() // where this process is a worker
	code := apachekafka.Main(m)
	_ = os.RemoveAll(workerDir)
	os.Exit(code)
}
