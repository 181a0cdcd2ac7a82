package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGoldenIsTheAPI(t *testing.T) {
	got, err := exported("../..")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../api/v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the exported API is not what api/v1.txt says. If that is meant, run `make api` and commit the file.\n(- api/v1.txt, + the code)\n%s", diff)
	}
}

func TestExported(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module " + module + "\n",
		"a.go": `// Package a says something.
package a

import "io"

// Answer is documented.
const (
	Answer = 42
	hidden = 43
)

// Thing has both.
type Thing struct {
	// Field is documented.
	Field int

	secret int
}

// Do does.
func (t *Thing) Do(r io.Reader) error { return nil }

func (t *Thing) undone() {}

type unseen struct{}

// New makes one.
func New() *Thing { return nil }

var Err = io.EOF
`,
		"a_windows.go":     "package a\n\nfunc OnlyOnWindows() {}\n",
		"a_test.go":        "package a\n\nfunc ForTests() {}\n",
		"b/b.go":           "package b\n\ntype Doer interface {\n\tDo()\n}\n",
		"internal/c/c.go":  "package c\n\nfunc C() {}\n",
		"cmd/d/main.go":    "package main\n\nfunc D() {}\n",
		"nested/go.mod":    "module " + module + "/nested\n",
		"nested/nested.go": "package nested\n\nfunc E() {}\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const want = `package a // import "github.com/seastreamer/seastreamer"
const (
	Answer = 42
)
var Err = io.EOF
type Thing struct {
	Field int
	// contains filtered or unexported fields
}
func New() *Thing
func (t *Thing) Do(r io.Reader) error

package b // import "github.com/seastreamer/seastreamer/b"
type Doer interface {
	Do()
}

`
	got, err := exported(root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
}
