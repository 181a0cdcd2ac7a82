package factory

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// elsewhere are the words that Kafka's tools, rpk and others have for what is
// called otherwise here.
var elsewhere = map[string]string{
	"describe": "info", "show": "info", "list": "ls", "delete": "rm", "remove": "rm", "alter": "set",
	"reset-offsets": "seek", "reset": "seek", "add-partitions": "shards", "mirror-maker": "mirror", "copy": "cp",
}

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
	near := cmd.SuggestionsFor(args[0])
	for _, c := range cmd.Commands() {
		if len(near) == 0 && c.Name() == elsewhere[args[0]] {
			near = append(near, c.Name())
		}
	}
	if len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return exit.Usagef(hint, "unknown command %q for %q", args[0], cmd.CommandPath())
}
