//go:build !linux && !darwin

package file

import (
	"errors"
	"strings"
	"testing"
)

// Where the backend does not work, Open says so in one line.
func TestRefuses(t *testing.T) {
	_, err := Open(t.Context(), "file:///tmp/logs", Options{})
	if !errors.Is(err, errors.ErrUnsupported) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v", err)
	}
}
