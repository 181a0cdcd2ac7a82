package listing

import (
	"bytes"
	"errors"
	"iter"
	"strconv"
	"testing"
)

type thing struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

var columns = []Column[thing]{
	{Name: "name", Raw: func(t thing) string { return t.Name }},
	{Name: "size", Raw: func(t thing) string { return strconv.FormatInt(t.Size, 10) }, Human: func(t thing) string { return strconv.FormatInt(t.Size>>10, 10) + "KiB" }, Right: true},
	{Name: "more", Raw: func(thing) string { return "x" }, Wide: true},
}

func rows(end error, all ...thing) iter.Seq2[thing, error] {
	return func(yield func(thing, error) bool) {
		for _, t := range all {
			if !yield(t, nil) {
				return
			}
		}
		if end != nil {
			yield(thing{}, end)
		}
	}
}

func TestWrite(t *testing.T) {
	things := []thing{{"a", 1024}, {"long\tname\x1b", 2 << 20}}
	for _, test := range []struct {
		name string
		tty  bool
		o    Options
		want string
	}{
		{"terminal", true, Options{Output: "auto"}, "NAME               SIZE\na                  1KiB\nlong\\tname\\x1b  2048KiB\n"},
		{"pipe", false, Options{Output: "auto"}, "name\tsize\tmore\na\t1024\tx\nlong\\tname\\x1b\t2097152\tx\n"},
		{"pipe for people", false, Options{Output: "auto", Human: true, NoHeader: true}, "a\t1KiB\tx\nlong\\tname\\x1b\t2048KiB\tx\n"},
		{"wide", false, Options{Output: "wide", NoHeader: true}, "a                  1KiB  x\nlong\\tname\\x1b  2048KiB  x\n"},
		{"json", true, Options{Output: "json"}, "{\"name\":\"a\",\"size\":1024}\n{\"name\":\"long\\tname\\u001b\",\"size\":2097152}\n"},
	} {
		var b bytes.Buffer
		if err := write(&b, test.tty, test.o, columns, rows(nil, things...), nil); err != nil {
			t.Error(err)
		}
		if b.String() != test.want {
			t.Errorf("%s:\n%q, want\n%q", test.name, b.String(), test.want)
		}
	}
}

// What came before an error is printed.
func TestWriteEndsWithTheError(t *testing.T) {
	for _, output := range []string{"table", "tsv", "json"} {
		end := errors.New("end")
		var b bytes.Buffer
		err := write(&b, false, Options{Output: output, NoHeader: true}, columns, rows(end, thing{"a", 1}), nil)
		if !errors.Is(err, end) || b.Len() == 0 {
			t.Errorf("%s: %v after %q", output, err, b.String())
		}
	}
}
