package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/seastreamer/seastreamer"

// file is what the rules need to know of a Go file.
type file struct {
	path    string // from the module's root, with slashes
	pkg     string // "." or "./dir"
	test    bool
	imports []imported
	init    bool // declares func init
}

type imported struct {
	path  string // as in rule
	blank bool
}

// check returns a line for each broken rule. It reads every Go file below
// root, whatever its build constraints, but not the nested modules: they are
// peers and may import what they like.
func check(root fs.FS) ([]string, error) {
	files, err := load(root)
	if err != nil {
		return nil, err
	}
	var broken []string
	for _, f := range files {
		for _, i := range f.imports {
			for _, r := range rules {
				if r.breaks(f, i) {
					broken = append(broken, fmt.Sprintf("%s imports %s: %s", f.path, i.path, r.Why))
				}
			}
			if a, b := backend(f.pkg), backend(i.path); a != "" && b != "" && a != b && a != "all" && !f.test {
				broken = append(broken, fmt.Sprintf("%s imports %s: a backend never imports another: who uses one does not link the others", f.path, i.path))
			}
			if i.blank && i.path != "embed" && !f.test {
				broken = append(broken, fmt.Sprintf("%s imports %s for its side effects: what is registered is registered in a map that one can read", f.path, i.path))
			}
		}
		if f.init && !f.test {
			broken = append(broken, f.path+" has an init function: nothing happens before main but by calls that one can follow")
		}
	}
	return broken, nil
}

func (r rule) breaks(f file, i imported) bool {
	if f.test && !r.Tests {
		return false
	}
	if matchAny(r.From, f.pkg) {
		if len(r.Only) > 0 && !matchAny(r.Only, i.path) || matchAny(r.Never, i.path) {
			return true
		}
	}
	return matchAny(r.To, i.path) && !matchAny(r.By, f.pkg)
}

func matchAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == "std" {
			first, _, _ := strings.Cut(p, "/")
			return !strings.Contains(first, ".") && p != "C"
		}
		if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
			return p == tree || strings.HasPrefix(p, tree+"/")
		}
		return p == pattern
	})
}

// backend is the name of the backend that a package belongs to; "" is none.
func backend(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, "./backend/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func load(root fs.FS) ([]file, error) {
	var files []file
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if p != "." && (name[0] == '.' || name[0] == '_' || name == "testdata") {
				return fs.SkipDir
			}
			if _, err := fs.Stat(root, path.Join(p, "go.mod")); err == nil && p != "." {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(p) != ".go" {
			return nil
		}
		f, err := parse(root, p)
		files = append(files, f)
		return err
	})
	return files, err
}

func parse(root fs.FS, p string) (file, error) {
	f := file{path: p, test: strings.HasSuffix(p, "_test.go"), pkg: "."}
	if dir := path.Dir(p); dir != "." {
		f.pkg = "./" + dir
	}
	source, err := fs.ReadFile(root, p)
	if err != nil {
		return f, err
	}
	tree, err := parser.ParseFile(token.NewFileSet(), p, source, parser.SkipObjectResolution)
	if err != nil {
		return f, err
	}
	for _, spec := range tree.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return f, fmt.Errorf("%s: import %s: %w", p, spec.Path.Value, err)
		}
		if name == module {
			name = "."
		} else if rest, ok := strings.CutPrefix(name, module+"/"); ok {
			name = "./" + rest
		}
		f.imports = append(f.imports, imported{path: name, blank: spec.Name != nil && spec.Name.Name == "_"})
	}
	for _, d := range tree.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			f.init = true
		}
	}
	return f, nil
}
