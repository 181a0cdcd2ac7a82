// Package completion is the command that prints completion scripts for shells.
package completion

import (
	"bytes"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// New is the command.
func New(f *factory.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print the completion script for a shell",
		Long: `Print the completion script for a shell, which completes commands and flags.

  bash        source <(sea streamer completion bash)
  zsh         source <(sea streamer completion zsh)
  fish        sea streamer completion fish | source
  powershell  sea streamer completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit.Usagef("use bash, zsh, fish or powershell", "name one shell")
			}
			var b bytes.Buffer
			root := cmd.Root()
			var err error
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(&b, true)
			case "zsh":
				err = root.GenZshCompletion(&b)
			case "fish":
				err = root.GenFishCompletion(&b, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(&b)
			default:
				return exit.Usagef("use bash, zsh, fish or powershell", "%q is not a shell that can be completed", args[0])
			}
			if err != nil {
				return err
			}
			_, err = f.IO.Out.Write(b.Bytes())
			return exit.Output(err)
		},
	}
}
