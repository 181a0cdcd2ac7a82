package drivers

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/seastreamer/seastreamer/backend/all"
)

var update = flag.Bool("update", false, "write the table into the README")

// The README's table of backends is what `sea streamer drivers -o markdown`
// prints, so that neither claims what the other does not.
func TestReadmeHasTheTable(t *testing.T) {
	const path = "../../../README.md"
	begin, end := []byte("<!-- features -->\n"), []byte("<!-- /features -->\n")
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	features, err := Features(t.Context(), all.Registry())
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(readme, begin)
	have, after, ok2 := bytes.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the README has no %s … %s", begin, end)
	}
	want := markdown(features)
	if bytes.Equal(have, want) {
		return
	}
	if !*update {
		t.Fatalf("the README's table differs from what sea streamer drivers prints: go test ./internal/cli/drivers -update\n%s", want)
	}
	out := bytes.Join([][]byte{before, begin, want, end, after}, nil)
	if err := os.WriteFile(path, out, 0o644); err != nil {
		t.Fatal(err)
	}
}
