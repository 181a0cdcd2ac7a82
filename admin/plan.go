package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// A Plan is what a change would do, and after Apply what it did. It is for one
// goroutine.
type Plan struct {
	Change      string `json:"change"`      // the change's kind
	Target      string `json:"target"`      // what it is done to
	Destructive bool   `json:"destructive"` // it removes what cannot be had back, or moves what others rely on
	Steps       []Step `json:"steps"`       // empty: there is nothing to do
	Applied     bool   `json:"applied"`     // Apply was called

	undo  []Undo
	apply func(ctx context.Context, p *Plan) error
}

// A Step is one part of a plan.
type Step struct {
	Item   string `json:"item"`             // the stream, shard, group, node, user or rule
	Action string `json:"action"`           // "create", "delete", "set", "move", "trim", …
	What   string `json:"what,omitempty"`   // the setting, or whatever else it is of the item
	From   string `json:"from,omitempty"`   // how it is
	To     string `json:"to,omitempty"`     // how it will be
	Detail string `json:"detail,omitempty"` // what else is to be known, in words
	// Messages is how many messages it removes or passes over; Estimated where
	// that is not exact.
	Messages  int64 `json:"messages,omitempty"`
	Estimated bool  `json:"estimated,omitempty"`
	Bytes     int64 `json:"bytes,omitempty"` // that it frees
	Done      bool  `json:"done"`
	// NotTried: Apply left it as it was, because of what failed before it.
	NotTried bool   `json:"not_tried,omitempty"`
	Error    string `json:"error,omitempty"` // why it was not done, or not known to be

	err error
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

// Apply does what the plan says, once. The error says what was not done; each
// step says so for itself: it is Done, or has an Error, or was NotTried. A step
// that fails does not keep the others from being done where they do not depend on
// it. Where some were done and some were not the error is a [PartialError].
func (p *Plan) Apply(ctx context.Context) error {
	if p.Applied {
		return errors.New("the plan was applied already")
	}
	p.Applied = true
	if p.Empty() {
		return nil
	}
	return p.apply(ctx, p)
}

// An Undo is the change that takes back what a plan does to one thing.
type Undo struct {
	Target string // the stream or group
	Change Change
}

// Undo is the change that takes the plan back, as things were when it was made,
// and whether there is one. A plan about several things has one for each, see
// Undos.
func (p *Plan) Undo() (Change, bool) {
	if len(p.undo) != 1 {
		return nil, false
	}
	return p.undo[0].Change, true
}

// Undos are the changes that take the plan back, one for each thing that it is
// about and that can be had back.
func (p *Plan) Undos() []Undo { return p.undo }

func (s *Step) end(err error) {
	s.NotTried = errors.Is(err, driver.ErrNotTried)
	if s.Done = err == nil; s.Done || s.NotTried {
		return
	}
	s.err, s.Error = err, err.Error()
}

// end says that steps ended with the error of the one call that was about them:
// each with its own where the backend knows, or else all with the same.
func end(steps []Step, err error) {
	var some *driver.PartialError
	known := errors.As(err, &some) && len(some.Errs) == len(steps)
	for i := range steps {
		if known {
			steps[i].end(some.Errs[i])
		} else {
			steps[i].end(err)
		}
	}
}

// result is what has become of the steps, as one error. Where nothing was done
// and all failed in the same way it is that error.
func (p *Plan) result() error {
	e := &PartialError{Total: len(p.Steps)}
	same := true
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.NotTried {
			e.NotTried++
		}
		if s.err != nil {
			e.Failures = append(e.Failures, Failure{s.Item, s.err})
			same = same && s.Error == e.Failures[0].Err.Error()
		}
	}
	switch {
	case len(e.Failures)+e.NotTried == 0:
		return nil
	case same && len(e.Failures) == e.Total:
		return e.Failures[0].Err
	}
	return e
}

// each does the steps one by one, all of them whatever becomes of one, while there
// is time.
func (p *Plan) each(ctx context.Context, do func(i int) error) error {
	e := &PartialError{Total: len(p.Steps)}
	for i := range p.Steps {
		s := &p.Steps[i]
		err := driver.ErrNotTried
		if len(e.Failures) == 0 || ctx.Err() == nil {
			err = do(i)
		}
		if s.end(err); s.NotTried {
			e.NotTried++
		} else if err != nil {
			e.Failures = append(e.Failures, Failure{s.Item, err})
		}
	}
	if len(e.Failures)+e.NotTried == 0 {
		return nil
	}
	return e
}

// once is an apply that does everything by one call, about each of the steps in
// their order, or about all at once.
func once(do func(ctx context.Context) error) func(context.Context, *Plan) error {
	return func(ctx context.Context, p *Plan) error {
		end(p.Steps, do(ctx))
		return p.result()
	}
}

// String is the plan for people: a line for each step.
func (p *Plan) String() string {
	var b strings.Builder
	if p.Empty() {
		fmt.Fprintf(&b, "%s %s: nothing to do\n", p.Change, p.Target)
	}
	for _, s := range p.Steps {
		b.WriteString(s.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// plural is a number of things in words.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// String is the step in one line.
func (s Step) String() string {
	var b strings.Builder
	b.WriteString(s.Action + " " + s.Item)
	if s.What != "" {
		b.WriteString(" " + s.What)
	}
	switch {
	case s.From != "" && s.To != "":
		b.WriteString(": " + s.From + " → " + s.To)
	case s.To != "":
		b.WriteString(": " + s.To)
	case s.From != "":
		b.WriteString(": " + s.From)
	}
	var notes []string
	if s.Messages != 0 {
		about := ""
		if s.Estimated {
			about = "about "
		}
		notes = append(notes, about+plural(int(s.Messages), "message"))
	}
	if s.Bytes > 0 {
		notes = append(notes, FormatBytes(s.Bytes))
	}
	if s.Detail != "" {
		notes = append(notes, s.Detail)
	}
	if s.Error != "" {
		notes = append(notes, "failed: "+s.Error)
	}
	if s.NotTried {
		notes = append(notes, "not tried")
	}
	if len(notes) > 0 {
		b.WriteString(" (" + strings.Join(notes, ", ") + ")")
	}
	return b.String()
}
