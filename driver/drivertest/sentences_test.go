package drivertest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A case that checks what the documentation no longer says checks nothing that
// anybody relies on.
func TestTheDocumentationSaysWhatTheCasesCheck(t *testing.T) {
	docs := ""
	for _, dir := range []string{"..", "../..", "../../backend/memory"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in %s: %v", dir, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range f.Comments {
				docs += oneLine(c) + "\n"
			}
		}
	}
	seen := make(map[string]bool)
	for _, c := range Cases() {
		if !strings.Contains(docs, c.Sentence) {
			t.Errorf("%s/%s checks a sentence that no doc comment has: %s", c.Topic, c.Name, c.Sentence)
		}
		if name := c.Topic + "/" + c.Name; seen[name] {
			t.Errorf("there are two cases %s", name)
		} else {
			seen[name] = true
		}
	}
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
