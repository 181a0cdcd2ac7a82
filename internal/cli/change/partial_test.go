package change

import (
	"errors"
	"strings"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// A change that fails in part prints what became of each step, in words and as
// JSON, ends with 1, and can be undone as far as it was done.
func TestFailsInPart(t *testing.T) {
	b := newBench(t)
	one := errors.New("one is away")
	b.d.after = func() error { return &driver.PartialError{Errs: []error{nil, one}} }
	err := b.run(seekTo(9), Options{Yes: true})
	if code(err) != exit.Partial || err.Error() != "1 of 2 failed: news[1]: one is away" {
		t.Errorf("exit %d, %v", code(err), err)
	}
	if got, want := b.out.String(), "move news[0]: 4 → 9 (passes over 5 messages)\nmove news[1]: 4 → 9 (passes over 5 messages, failed: one is away)\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	err = b.run(seekTo(8), Options{Yes: true, Output: "json"})
	if code(err) != exit.Partial || !strings.Contains(b.out.String(), `"done":true}`) || !strings.Contains(b.out.String(), `"done":false,"error":"one is away"}`) {
		t.Errorf("exit %d, printed %q", code(err), b.out.String())
	}
	b.d.after = nil
	b.undoes()
	b.at(9)

	// Where nothing was done the code is that of what failed.
	b.d.before = func() error {
		return driver.RefusedAt(2, 1, driver.Errorf(driver.ErrNotFound, "", "there is none"))
	}
	if err := b.run(seekTo(8), Options{Yes: true}); code(err) != exit.NotFound || err.Error() != "1 of 2 failed, 1 not tried: news[1]: not found: there is none" {
		t.Errorf("exit %d, %v", code(err), err)
	}
}
