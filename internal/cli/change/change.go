// Package change runs a change to a broker as every command does: it shows the
// plan, asks or refuses, does it, keeps how to undo it, and reports.
package change

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

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
}

// AddFlags adds them.
func AddFlags(fs *pflag.FlagSet, o *Options) {
	o.Output = "text"
	fs.BoolVarP(&o.Yes, "yes", "y", false, "do not ask; scripts need it for what cannot be had back")
	fs.BoolVar(&o.DryRun, "dry-run", false, "print the plan and do nothing")
	fs.VarP(factory.OneOf(&o.Output, "text", "json"), "output", "o", "`text|json`: the plan and the result in words, or as one object of JSON")
}

// Run plans the change and does it. Something destructive is shown and asked
// for first: on a terminal, which is not standard input; elsewhere it is refused
// with exit code 7 unless --yes was given. What can be undone is kept in the
// journal.
func Run(ctx context.Context, f *factory.Factory, c *admin.Client, broker ss.URL, ch admin.Change, o Options) error {
	p, err := c.Plan(ctx, ch)
	if err != nil {
		return err
	}
	if o.DryRun {
		return print(f, p, o)
	}
	if p.Destructive && !p.Empty() && !o.Yes {
		for _, s := range p.Steps {
			f.IO.Error(s.String())
		}
		if err := ask(f, p); err != nil {
			return err
		}
	}
	err = p.Apply(ctx)
	if err == nil && !p.Empty() {
		j, e := journal.Open(f)
		if e == nil {
			e = j.Add(broker.Broker().String(), p)
		}
		if e != nil {
			f.IO.Warn("this cannot be undone: %v", e)
		}
	}
	if e := print(f, p, o); e != nil {
		return e
	}
	return err
}

// print writes the plan, or what became of it, to standard output.
func print(f *factory.Factory, p *admin.Plan, o Options) error {
	if o.Output == "json" {
		b, err := json.Marshal(p)
		if err != nil {
			return err
		}
		_, err = f.IO.Out.Write(append(b, '\n'))
		return exit.Output(err)
	}
	_, err := f.IO.Out.Write(iostreams.EscapeText(nil, []byte(p.String()))) // names may hold what a terminal obeys
	return exit.Output(err)
}

// ask asks on the terminal whether to go on.
func ask(f *factory.Factory, p *admin.Plan) error {
	refused := &exit.Error{Code: exit.Refused, Item: p.Target, Msg: p.Change + " " + p.Target + " was not done", Hint: "--yes does it without asking, --dry-run only shows it"}
	if !f.IO.ErrTTY {
		return refused
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return refused
	}
	defer func() { _ = tty.Close() }()
	_, _ = fmt.Fprint(tty, "Do it? [y/N] ")
	line, _ := bufio.NewReader(tty).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return refused
}
