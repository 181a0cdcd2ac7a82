// Package listing prints things of one kind: as an aligned table on a terminal,
// as lines with tabs on a pipe, or as a line of JSON each.
package listing

import (
	"bufio"
	"encoding/json"
	"io"
	"iter"
	"strings"

	"github.com/spf13/pflag"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// Options are how a listing is printed.
type Options struct {
	Output   string // auto, table, wide, tsv, json
	NoHeader bool
	Human    bool // sizes, times and counts in words also on a pipe
}

// Table reports whether people are to read it, aligned; tty is whether it goes to
// a terminal.
func (o Options) Table(tty bool) bool {
	return o.Output == "table" || o.Output == "wide" || o.Output == "auto" && tty
}

// AddFlags adds the flags that all listings have.
func AddFlags(fs *pflag.FlagSet, o *Options) {
	o.Output = "auto"
	fs.VarP(factory.OneOf(&o.Output, "auto", "table", "wide", "tsv", "json"), "output", "o", "`auto|table|wide|tsv|json`: auto is a table on a terminal and tsv, with bare numbers, on a pipe; json is one object a line")
	fs.BoolVar(&o.NoHeader, "no-header", false, "print no line with the names of the columns")
	fs.BoolVar(&o.Human, "human", false, "print sizes and times in words also on a pipe")
}

// A Column is one thing about each row.
type Column[T any] struct {
	Name  string
	Raw   func(T) string // for programs
	Human func(T) string // for people; nil is Raw
	Right bool           // it is a number
	Wide  bool           // only with -o wide, and on a pipe
}

// rowsBefore is how many rows are looked at for the widths of a table.
const rowsBefore = 1000

// Write prints rows as they come; doc is a row as an object of JSON, nil the row
// itself. It ends with the first error of rows.
func Write[T any](ios *iostreams.Streams, o Options, cols []Column[T], rows iter.Seq2[T, error], doc func(T) any) error {
	out := bufio.NewWriter(ios.Out)
	err := write(out, ios.OutTTY, o, cols, rows, doc)
	if e := exit.Output(out.Flush()); e != nil {
		return e
	}
	return err
}

func write[T any](out io.Writer, tty bool, o Options, cols []Column[T], rows iter.Seq2[T, error], doc func(T) any) error {
	if o.Output == "json" {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		for row, err := range rows {
			if err != nil {
				return err
			}
			v := any(row)
			if doc != nil {
				v = doc(row)
			}
			if err := enc.Encode(v); err != nil {
				return exit.Output(err)
			}
		}
		return nil
	}
	table := o.Table(tty)
	human := o.Human || table
	var show []Column[T]
	header := make([]string, 0, len(cols))
	for _, c := range cols {
		if c.Wide && table && o.Output != "wide" {
			continue
		}
		show = append(show, c)
		header = append(header, c.Name)
	}
	t := &lines{out: out, table: table}
	for _, c := range show {
		t.right = append(t.right, c.Right)
	}
	head := func() { // only once it is known that there is something to print, even if that is nothing
		if o.NoHeader {
			return
		}
		if table {
			for i := range header {
				header[i] = strings.ToUpper(header[i])
			}
		}
		t.add(header)
		o.NoHeader = true
	}
	for row, err := range rows {
		if err != nil {
			t.flush()
			return err
		}
		head()
		cells := make([]string, len(show))
		for i, c := range show {
			if human && c.Human != nil {
				cells[i] = c.Human(row)
			} else {
				cells[i] = c.Raw(row)
			}
		}
		t.add(cells)
	}
	head()
	t.flush()
	return exit.Output(t.err)
}

// lines are cells on their way out: with tabs at once, or aligned when there are
// enough of them to know the widths.
type lines struct {
	out    io.Writer
	table  bool
	right  []bool
	held   [][]string
	widths []int
	err    error
}

func (t *lines) add(cells []string) {
	for i, c := range cells {
		// A name may hold what a terminal obeys, a tab or a line's end.
		cells[i] = string(iostreams.EscapeLine(nil, []byte(c)))
	}
	if !t.table {
		t.write(strings.Join(cells, "\t"))
		return
	}
	if t.held = append(t.held, cells); len(t.held) == rowsBefore {
		t.flush()
	}
}

// flush prints what is held. Widths only grow.
func (t *lines) flush() {
	if t.widths == nil {
		t.widths = make([]int, len(t.right))
	}
	for _, row := range t.held {
		for i, c := range row {
			t.widths[i] = max(t.widths[i], Cells(c))
		}
	}
	var b strings.Builder
	for _, row := range t.held {
		b.Reset()
		for i, c := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			if t.right[i] {
				b.WriteString(Right(c, t.widths[i]))
			} else {
				b.WriteString(Left(c, t.widths[i]))
			}
		}
		t.write(strings.TrimRight(b.String(), " "))
	}
	t.held = t.held[:0]
}

func (t *lines) write(line string) {
	if t.err == nil {
		_, t.err = io.WriteString(t.out, line+"\n")
	}
}
