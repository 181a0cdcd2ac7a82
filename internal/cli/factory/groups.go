package factory

import (
	"strings"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// Groups refuses names of groups that are none, too few or too many, as Operands
// does.
func Groups(args []string, least, most int, want, example string) error {
	if err := Operands(args, least, most, want, example); err != nil {
		return err
	}
	for _, g := range args {
		switch {
		case g == "":
			return exit.Usagef(example, "a group has a name: \"\" is none")
		case strings.Contains(g, "://"):
			return exit.Usagef("name the broker with --broker, or a stream with --stream", "%q is a URL and not the name of a group", g)
		}
	}
	return Once("group", args)
}

// Missing is an error with what to do about a group or stream that is not there.
func Missing(err error) error {
	e := exit.From(err)
	if e == nil || e.Code != exit.NotFound || e.Hint != "" {
		return err
	}
	c := *e
	c.Hint = "check the name and --broker"
	return &c
}
