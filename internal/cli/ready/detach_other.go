//go:build !unix

package ready

import (
	"runtime"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

const childFD = 0

func child(*factory.Factory) bool { return false }

func handedDown(int) bool { return true } // it shows when it is written to

// Background is not possible here.
func (o *Options) Background(*factory.Factory) error {
	return exit.Usagef("leave it out", "--detach is not available on %s", runtime.GOOS)
}

func afterReady(*factory.Factory) {}
