package change

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// shown is how many steps of a plan are shown before it is asked for.
const shown = 100

// confirm returns nil where the plan may be done: it is harmless, or flags say
// so, or somebody at the terminal does. A glob that takes everything wants the
// number of things, so that nobody removes a cluster's streams in the belief that
// it was the other cluster.
func confirm(f *factory.Factory, p *admin.Plan, o Options) error {
	n := len(p.Steps)
	if o.Count >= 0 && o.Count != n {
		return refuse(p, fmt.Sprintf("--count %d", n), "--count is %d and there are %d", o.Count, n)
	}
	if !p.Destructive || p.Empty() {
		return nil
	}
	everything := o.Match != "" && strings.Trim(o.Match, "*?") == ""
	if o.Yes && (!everything || o.Count >= 0) {
		return nil
	}
	for i, s := range p.Steps {
		if i == shown {
			f.IO.Error(fmt.Sprintf("… and %d more", n-shown))
			break
		}
		f.IO.Error(s.String())
	}
	if everything {
		answer, asked := ask(f, fmt.Sprintf("--match '%s' is everything there is. To do it, type how many that is: ", o.Match))
		if asked && answer == strconv.Itoa(n) {
			return nil
		}
		return refuse(p, fmt.Sprintf("--yes --count %d does it without asking, --dry-run only shows it", n), "--match '%s' is everything there is, and its number was not given", o.Match)
	}
	switch answer, _ := ask(f, "Do it? [y/N] "); strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return refuse(p, "--yes does it without asking, --dry-run only shows it", "")
}

func refuse(p *admin.Plan, hint, format string, args ...any) error {
	e := &exit.Error{Code: exit.Refused, Item: p.Target, Msg: p.Change + " " + p.Target + " was not done", Hint: hint}
	if format != "" {
		e.Msg += ": " + fmt.Sprintf(format, args...)
	}
	return e
}

// ask asks the terminal, if there is one and standard error is on it: never
// standard input, which may be somebody's data.
func ask(f *factory.Factory, question string) (answer string, asked bool) {
	if !f.IO.ErrTTY {
		return "", false
	}
	in, err := os.OpenFile(terminalIn, os.O_RDWR, 0)
	if err != nil {
		return "", false
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(terminalOut, os.O_RDWR, 0)
	if err != nil {
		return "", false
	}
	defer func() { _ = out.Close() }()
	_, _ = fmt.Fprint(out, question)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil { // the end of the input, which leaves the cursor behind the question
		_, _ = fmt.Fprintln(out)
	}
	return strings.TrimSpace(line), true
}
