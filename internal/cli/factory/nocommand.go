package factory

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// NoCommand refuses a word that is not a command, with what may have been
// meant.
func NoCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := cmd.CommandPath() + " --help lists the commands"
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return exit.Usagef(hint, "unknown command %q for %q", args[0], cmd.CommandPath())
}
