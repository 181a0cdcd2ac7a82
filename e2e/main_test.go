//go:build unix

package e2e

import (
	"os"
	"testing"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

func TestMain(m *testing.M) { os.Exit(apachekafka.Main(m)) }
