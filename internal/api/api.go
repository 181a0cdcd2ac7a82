package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const module = "github.com/seastreamer/seastreamer"

// exported returns the API of all public packages below root, in the order of
// their paths. It reads the files that are built on Linux: a package whose API
// differs between systems would be a mistake of its own.
func exported(root string) ([]byte, error) {
	var out bytes.Buffer
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		if rel != "." && !public(dir, d.Name()) {
			return fs.SkipDir
		}
		return printPackage(&out, dir, path.Join(module, filepath.ToSlash(rel)))
	})
	return out.Bytes(), err
}

// public reports whether others can import what is in dir and below it.
func public(dir, name string) bool {
	if name == "internal" || name == "testdata" || name[0] == '.' || name[0] == '_' {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod")) // a module of its own
	return err != nil
}

func printPackage(out *bytes.Buffer, dir, importPath string) error {
	platform := build.Default
	platform.GOOS, platform.GOARCH, platform.CgoEnabled = "linux", "amd64", false
	found, err := platform.ImportDir(dir, 0)
	if none := (*build.NoGoError)(nil); errors.As(err, &none) || err == nil && found.IsCommand() {
		return nil
	}
	if err != nil {
		return err
	}
	if len(found.GoFiles) == 0 {
		return nil // only tests
	}
	// Read without comments, which would be printed.
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range found.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, importPath)
	if err != nil {
		return err
	}
	w := &declarations{out: out, fset: fset}
	fmt.Fprintf(out, "package %s // import %q\n", p.Name, importPath)
	w.values(p.Consts)
	w.values(p.Vars)
	w.funcs(p.Funcs)
	for _, t := range p.Types {
		w.decl(t.Decl)
		w.values(t.Consts)
		w.values(t.Vars)
		w.funcs(t.Funcs)
		w.funcs(t.Methods)
	}
	out.WriteByte('\n')
	return w.err
}

type declarations struct {
	out  *bytes.Buffer
	fset *token.FileSet
	err  error
}

func (w *declarations) values(values []*doc.Value) {
	for _, v := range values {
		w.decl(v.Decl)
	}
}

func (w *declarations) funcs(funcs []*doc.Func) {
	for _, f := range funcs {
		f.Decl.Body = nil
		w.decl(f.Decl)
	}
}

func (w *declarations) decl(d ast.Decl) {
	var b bytes.Buffer
	if err := printer.Fprint(&b, w.fset, d); err != nil {
		w.err = errors.Join(w.err, err)
		return
	}
	// Where a comment stood there is an empty line or other padding: neither is
	// printed, so that a new comment does not look like a new API.
	for line := range strings.Lines(b.String()) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		indent := len(line) - len(strings.TrimLeft(line, "\t"))
		w.out.WriteString(strings.Repeat("\t", indent) + strings.Join(words, " ") + "\n")
	}
}
