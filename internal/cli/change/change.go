// Package change runs a change to a broker as every command does: it shows the
// plan, asks or refuses, keeps how to undo it, does it, and reports.
package change

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/journal"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// Options are the flags of every command that changes something.
type Options struct {
	Yes    bool
	DryRun bool
	Output string // text, json

	// Match and Count are of commands that find what they change by a glob.
	Match string
	Count int // how many things it is to be; below zero is not given
}

// AddFlags adds them.
func AddFlags(fs *pflag.FlagSet, o *Options) {
	o.Output, o.Count = "text", -1
	fs.BoolVarP(&o.Yes, "yes", "y", false, "do not ask; scripts need it for what cannot be had back")
	fs.BoolVar(&o.DryRun, "dry-run", false, "print the plan and do nothing")
	fs.VarP(factory.OneOf(&o.Output, "text", "json"), "output", "o", "`text|json`: the plan and the result in words, or as one object of JSON")
}

// AddMatchFlags adds those of a command that removes the things whose name
// matches a glob.
func AddMatchFlags(fs *pflag.FlagSet, o *Options, things string) {
	fs.StringVar(&o.Match, "match", "", "remove all "+things+" whose name matches `GLOB`, such as 'tmp-*'")
	fs.IntVar(&o.Count, "count", -1, "with --match: how many there are, `N`; if it is another number nothing is done, and --match '*' needs it beside --yes")
}

// Run plans the change and does it. Something destructive is shown and asked
// for first: on a terminal, which is not standard input; elsewhere it is refused
// with exit code 7 unless --yes was given. How to undo it is kept in the journal
// before it is done, so that a process that dies leaves nothing that cannot be
// undone.
func Run(ctx context.Context, f *factory.Factory, c *admin.Client, broker ss.URL, ch admin.Change, o Options) error {
	p, err := c.Plan(ctx, ch)
	if err != nil {
		return whole(err)
	}
	if o.DryRun {
		return write(f, p, o)
	}
	if err := confirm(f, p, o); err != nil {
		return err
	}
	var kept []journal.Entry
	j, e := journal.Open(f)
	if e == nil {
		kept, e = j.Add(brokerKey(broker), p)
	}
	if e != nil && len(p.Undos()) > 0 {
		f.IO.Warn("this cannot be undone: %v", e)
	}
	err = apply(ctx, f, p)
	if err != nil && len(kept) > 0 {
		drop(ctx, c, j, kept)
	}
	return report(f, p, o, err)
}

// apply does what a plan says. A signal ends it in the middle of many things, and
// what was done is still reported; the second one ends the process.
func apply(parent context.Context, f *factory.Factory, p *admin.Plan) error {
	ctx, sig, end := f.HandleSignals(parent)
	defer end()
	err := p.Apply(ctx)
	if err != nil && ctx.Err() != nil && parent.Err() == nil {
		return &exit.Error{Code: sig.Code(), Msg: "interrupted", Err: err}
	}
	return err
}

// whole is the error of a plan: where it is about some of several things, nothing
// was done to the others either, and the code is that of the first.
func whole(err error) error {
	var some *admin.PartialError
	if !errors.As(err, &some) || some.Total < 2 {
		return err
	}
	e := *exit.From(some.Failures[0].Err)
	e.Msg, e.Err = "nothing was done: "+err.Error(), nil
	return &e
}

// report prints what became of a plan. In words, where all of it failed, the error
// alone says so.
func report(f *factory.Factory, p *admin.Plan, o Options, err error) error {
	some := func(s admin.Step) bool { return s.Done }
	if err == nil || o.Output == "json" || slices.ContainsFunc(p.Steps, some) {
		if e := write(f, p, o); e != nil {
			return e
		}
	}
	return busy(err)
}

// busy leaves out the hint for a member that lost its place: this one has none,
// and what to do about the members at work is in the error.
func busy(err error) error {
	if !errors.Is(err, ss.ErrFenced) {
		return err
	}
	e := *exit.From(err)
	e.Hint = ""
	return &e
}

// drop takes those entries back of which nothing was done. What an error leaves
// unknown is looked up: whose undo finds something to do, or cannot be planned,
// keeps its entry.
func drop(ctx context.Context, c *admin.Client, j *journal.Journal, kept []journal.Entry) {
	kept = slices.DeleteFunc(kept, func(e journal.Entry) bool {
		ch, err := e.Change()
		if err != nil {
			return true
		}
		p, err := c.Plan(ctx, ch)
		return err != nil || !p.Empty()
	})
	_ = j.Remove(kept...) // an entry too many has nothing to undo
}

// brokerKey is what the journal calls a broker: its URL without secrets, with
// nodes in order.
func brokerKey(u ss.URL) string {
	u = u.Broker()
	u.Nodes = slices.Sorted(slices.Values(u.Nodes))
	return u.String()
}

// write puts the plan, or what became of it, on standard output. Names may
// hold what a terminal obeys.
func write(f *factory.Factory, p *admin.Plan, o Options) error {
	out := iostreams.EscapeText(nil, []byte(p.String()))
	if o.Output == "json" {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(p); err != nil {
			return err
		}
		out = iostreams.EscapeJSON(nil, b.Bytes())
	}
	_, err := f.IO.Out.Write(out)
	return exit.Output(err)
}
