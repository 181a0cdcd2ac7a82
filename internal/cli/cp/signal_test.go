//go:build unix

package cp

import (
	"syscall"
	"testing"
)

// A signal may come just while the output is opened. (That is for the race detector
// to see.)
func TestSignalWhileOpening(t *testing.T) {
	f, _ := testFactory(nil)
	ctx, _, end := f.HandleSignals(t.Context())
	defer end()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = new(claims).open(f)
	<-ctx.Done()
}
