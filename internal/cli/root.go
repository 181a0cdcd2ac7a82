// Package cli is the command line: the commands under one root, and how a run
// of them ends.
package cli

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/backend/all"
	"github.com/seastreamer/seastreamer/internal/cli/access"
	"github.com/seastreamer/seastreamer/internal/cli/bench"
	"github.com/seastreamer/seastreamer/internal/cli/cluster"
	"github.com/seastreamer/seastreamer/internal/cli/completion"
	"github.com/seastreamer/seastreamer/internal/cli/consume"
	"github.com/seastreamer/seastreamer/internal/cli/cp"
	"github.com/seastreamer/seastreamer/internal/cli/drivers"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/flux"
	"github.com/seastreamer/seastreamer/internal/cli/group"
	"github.com/seastreamer/seastreamer/internal/cli/lag"
	"github.com/seastreamer/seastreamer/internal/cli/metrics"
	"github.com/seastreamer/seastreamer/internal/cli/node"
	"github.com/seastreamer/seastreamer/internal/cli/pending"
	"github.com/seastreamer/seastreamer/internal/cli/produce"
	"github.com/seastreamer/seastreamer/internal/cli/stream"
	"github.com/seastreamer/seastreamer/internal/cli/tap"
	"github.com/seastreamer/seastreamer/internal/cli/timeline"
	"github.com/seastreamer/seastreamer/internal/cli/top"
	"github.com/seastreamer/seastreamer/internal/cli/version"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// Main runs the command line of this process, args being all of it, and
// returns the exit code. Where the program is called sea-streamer the commands
// stand at the top; else they stand under streamer.
func Main(args []string) int {
	factory.IgnoreSIGPIPE()
	io := iostreams.System()
	slog.SetDefault(factory.Logger(io)) // backends that are opened by URL warn there
	return Run(context.Background(), io, args)
}

// Run is Main with other streams.
func Run(ctx context.Context, io *iostreams.Streams, args []string) int {
	f := factory.New(io, all.Registry())
	name := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	root := Root(f, name)
	root.SetArgs(args[1:])
	root.SetOut(io.Out)
	root.SetErr(io.Err)
	err := root.ExecuteContext(ctx)
	e := exit.From(asUsage(err))
	if e == nil {
		return exit.OK
	}
	if n := f.SignalIn(err); n != 0 && e.Code == exit.Partial {
		e = exit.Silent(exit.Signal + n)
	}
	text := e.Text(f.Program)
	if f.Errors == "json" || wantsJSON(args) {
		text = e.JSON()
	}
	if text != "" {
		io.Error(text)
	}
	return e.Code
}

// help is the command that shows another one's help.
func help() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Parent().Find(args)
			if err != nil || len(rest) > 0 {
				return factory.NoCommand(cmd.Parent(), args)
			}
			return about.Help()
		},
	}
}

// wantsJSON looks for --errors json where the flags could not be read to their
// end.
func wantsJSON(args []string) bool {
	for i, a := range args {
		if a == "--errors=json" || a == "--errors" && i+1 < len(args) && args[i+1] == "json" {
			return true
		}
	}
	return false
}

// Root is the tree of commands of a program with the name given.
func Root(f *factory.Factory, name string) *cobra.Command {
	streamer := &cobra.Command{
		Use:   "streamer",
		Short: "Produce and consume streams, in the shell",
		Long:  overview,
		Args:  factory.NoCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	streamer.AddCommand(
		flux.New(f, nil), tap.New(f, nil), produce.New(f, nil), consume.New(f, nil),
		cp.New(f, nil), cp.NewMirror(f, nil),
		stream.New(f), group.New(f), pending.New(f), node.New(f), cluster.New(f), access.NewACL(f), access.NewUser(f),
		top.New(f), lag.New(f), timeline.New(f), metrics.New(f), bench.New(f), drivers.New(f), completion.New(f), version.New(f),
	)
	root := streamer
	if f.Program = "sea-streamer"; name == "sea-streamer" {
		streamer.Use = "sea-streamer"
		streamer.Long = strings.ReplaceAll(streamer.Long, "sea streamer", "sea-streamer")
	} else {
		f.Program = "sea streamer"
		root = &cobra.Command{Use: "sea", Short: streamer.Short, Long: streamer.Long, Args: factory.NoCommand,
			RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
		root.AddCommand(streamer)
		streamer.AddCommand(help()) // as the root has one
	}
	f.AddFlags(root.PersistentFlags())
	root.Version = version.Text()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 { // it is the flag of a command that there is not
			return factory.NoCommand(cmd, cmd.Flags().Args())
		}
		return exit.Usagef(cmd.CommandPath()+" --help lists the flags", "%v", err)
	})
	return root
}

const overview = `Produce and consume streams on Kafka and Redis, or on plain files where no broker
is named.

  sea streamer flux ./producer --broker localhost:9092 --topic news &
  cat news.ndjson > producer                  a named pipe whose lines are sent
  sea streamer tap ./consumer --broker localhost:9092 --topic news &
  cat consumer > news.ndjson                  a named pipe that gives the stream

  cat news.ndjson | sea streamer produce news
  sea streamer consume news --from start -o json | jq .
  sea streamer consume redis://localhost:6379/news --from -1h
  sea streamer cp redis://localhost:6379/news kafka://localhost:9092/news`

// asUsage gives what cobra itself refuses the code of a usage error.
func asUsage(err error) error {
	var e *exit.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	for _, start := range []string{"unknown command", "required flag", "accepts ", "requires ", "invalid argument", "if any flags"} {
		if strings.HasPrefix(err.Error(), start) {
			return &exit.Error{Code: exit.Usage, Err: err}
		}
	}
	return err
}
