package stream

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/change"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/position"
)

const settingsHelp = `Settings are those that backends have in common: max-age=7d, max-bytes=10GiB,
max-messages=1000000 (each unlimited at will), max-message=1MiB, compact=true,
min-in-sync=2; or the backend's own, such as retention.ms=1000.`

func newCreate(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	var shards, replicas int
	var set []string
	cmd := &cobra.Command{
		Use:   "create STREAM",
		Short: "Create a stream",
		Long:  "Create a stream. One that exists is an error (6).\n\n" + settingsHelp,
		Example: `  sea streamer stream create news --shards 4 --replicas 3 --set max-age=7d --broker localhost:9092
  sea streamer stream create redis://localhost:6379/news --shards 4`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, 1, "one stream", "stream create news"); err != nil {
				return err
			}
			spec := admin.StreamSpec{Shards: shards}
			if cmd.Flags().Changed("shards") && shards < 1 {
				return exit.Usagef("", "--shards %d: at least one is needed", shards)
			}
			if cmd.Flags().Changed("replicas") {
				if spec.Replicas = &replicas; replicas < 1 {
					return exit.Usagef("", "--replicas %d: at least one is needed", replicas)
				}
			}
			if err := settings(&spec.Settings, set); err != nil {
				return err
			}
			return ch.run(cmd.Context(), args, func(streams []string) (admin.Change, error) {
				spec.Name = streams[0]
				return admin.CreateStream{StreamSpec: spec}, nil
			})
		},
	}
	fs := cmd.Flags()
	ch.flags(fs)
	fs.IntVar(&shards, "shards", 0, "how many shards (partitions) it has; the default is the backend's")
	fs.IntVar(&replicas, "replicas", 0, "how many nodes hold each shard; the default is the backend's")
	fs.StringArrayVar(&set, "set", nil, "a setting, `NAME=VALUE`; may be repeated")
	return cmd
}

func settings(s *admin.Settings, texts []string) error {
	if err := factory.OnceEach("setting", texts); err != nil {
		return err
	}
	for _, t := range texts {
		if err := admin.ParseSetting(s, t); err != nil {
			return exit.Usagef("", "%v", err)
		}
	}
	return nil
}

func newSet(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	cmd := &cobra.Command{
		Use:   "set STREAM NAME=VALUE...",
		Short: "Change a stream's settings",
		Long:  "Change a stream's settings. NAME=default takes one back to the default.\n\n" + settingsHelp,
		Example: `  sea streamer stream set news max-age=7d max-bytes=10GiB --broker localhost:9092
  sea streamer stream set news segment.bytes=default --broker localhost:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 2, -1, "a stream and a setting", "stream set news max-age=7d"); err != nil {
				return err
			}
			var s admin.Settings
			if err := settings(&s, args[1:]); err != nil {
				return err
			}
			return ch.run(cmd.Context(), args[:1], func(streams []string) (admin.Change, error) {
				return admin.SetStream{Stream: streams[0], Settings: s}, nil
			})
		},
	}
	ch.flags(cmd.Flags())
	return cmd
}

func newUndo(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	cmd := &cobra.Command{
		Use:   "undo STREAM",
		Short: "Take back the last change of a stream's settings",
		Long: `Take back the last set of a stream that this user has done on this broker: the
settings are what they were before. Messages that were removed stay removed. The next
undo goes one further back; nothing to undo is exit code 5.`,
		Example: `  sea streamer stream undo news --dry-run --broker localhost:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, 1, "one stream", "stream undo news"); err != nil {
				return err
			}
			u, c, end, err := ch.open(cmd.Context(), args...)
			if err != nil {
				return err
			}
			return end(factory.Reader(change.Undo(cmd.Context(), f, c, u, u.Streams[0], []string{admin.SetStream{}.Kind()}, ch.o), u.Streams))
		},
	}
	ch.flags(cmd.Flags())
	return cmd
}

func newRm(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	cmd := &cobra.Command{
		Use:   "rm STREAM... | --match GLOB",
		Short: "Remove streams with all their messages",
		Long: `Remove streams with all their messages. The plan is shown, and on a terminal asked
for; scripts need --yes, or get 7. Names are names: a glob works with --match only.`,
		Example: `  sea streamer stream rm news --dry-run
  sea streamer stream rm --match 'tmp-*' --yes --broker redis://localhost:6379`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (ch.o.Match == "") == (len(args) == 0) {
				return exit.Usagef("stream rm news, or stream rm --match 'tmp-*'", "name the streams to remove, or a --match")
			}
			if ch.o.Match == "" {
				err := ch.run(cmd.Context(), args, func(streams []string) (admin.Change, error) { return admin.DeleteStream{Streams: streams}, nil })
				return notAGlob(err, args)
			}
			return ch.removeMatching(cmd.Context())
		},
	}
	fs := cmd.Flags()
	ch.flags(fs)
	change.AddMatchFlags(fs, &ch.o, "streams")
	return cmd
}

// notAGlob says how a glob is written where a name that looks like one was not
// found.
func notAGlob(err error, names []string) error {
	e := exit.From(err)
	if e == nil || e.Code != exit.NotFound {
		return err
	}
	for _, n := range names {
		if strings.ContainsAny(n, "*?[") {
			c := *e
			c.Hint = "a name is a name: a glob is --match '" + n + "'"
			return &c
		}
	}
	return err
}

func (ch *changer) removeMatching(ctx context.Context) error {
	match := ch.o.Match
	if err := factory.CheckGlob(match); err != nil {
		return err
	}
	u, c, end, err := ch.open(ctx)
	if err != nil {
		return err
	}
	var streams []string
	for in, err := range c.Streams(ctx, admin.StreamFilter{Match: match}) {
		if err != nil {
			return end(err)
		}
		streams = append(streams, in.Name)
	}
	if len(streams) == 0 {
		return end(&exit.Error{Code: exit.NotFound, Item: match, Msg: "no stream matches " + match})
	}
	return end(change.Run(ctx, ch.f, c, u, admin.DeleteStream{Streams: streams}, ch.o))
}

func newShards(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	var to, more int
	cmd := &cobra.Command{
		Use:   "shards STREAM --to N | --add N",
		Short: "Give a stream more shards",
		Long: `Give a stream more shards. That cannot be undone, and a key may go to another shard
from then on.`,
		Example: `  sea streamer stream shards news --to 8 --broker localhost:9092
  sea streamer stream shards news --add 2 --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, 1, "one stream", "stream shards news --to 8"); err != nil {
				return err
			}
			if (to > 0) == (more > 0) || to < 0 || more < 0 {
				return exit.Usagef("stream shards "+args[0]+" --to 8", "say how many shards: --to N or --add N")
			}
			u, c, end, err := ch.open(cmd.Context(), args...)
			if err != nil {
				return err
			}
			total := to
			if more > 0 {
				infos, err := c.Describe(cmd.Context(), 0, u.Streams...)
				if err != nil {
					return end(factory.Reader(err, u.Streams))
				}
				total = len(infos[0].Shards) + more
			}
			return end(change.Run(cmd.Context(), f, c, u, admin.AddShards{Stream: u.Streams[0], Total: total}, ch.o))
		},
	}
	fs := cmd.Flags()
	ch.flags(fs)
	fs.IntVar(&to, "to", 0, "how many shards it is to have, `N`")
	fs.IntVar(&more, "add", 0, "how many are to be added, `N`")
	return cmd
}

func newClone(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	cmd := &cobra.Command{
		Use:     "clone STREAM NEW",
		Short:   "Create a stream with the shards and settings of another one",
		Long:    "Create a stream with the shards and settings of another one, on the same broker,\nwithout its messages; cp copies those.",
		Example: "  sea streamer stream clone news news-2 --broker localhost:9092",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 2, 2, "a stream and a new name", "stream clone news news-2"); err != nil {
				return err
			}
			return ch.run(cmd.Context(), args, func(streams []string) (admin.Change, error) {
				return admin.CloneStream{From: streams[0], To: streams[1]}, nil
			})
		},
	}
	ch.flags(cmd.Flags())
	return cmd
}

func newTrim(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	var before, shards string
	cmd := &cobra.Command{
		Use:   "trim STREAM --before POS",
		Short: "Remove a stream's oldest messages",
		Long: `Remove the messages of a stream before a position. A backend may keep some of them,
which the result says, and never removes others.`,
		Example: `  sea streamer stream trim news --before -7d --dry-run
  sea streamer stream trim news --before 1000 --shard 0 --yes --broker localhost:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, 1, "one stream", "stream trim news --before -7d"); err != nil {
				return err
			}
			if before == "" {
				return exit.Usagef("for instance --before -7d", "--before is wanted")
			}
			at, err := position.Parse(before, time.Now())
			if err != nil {
				return exit.Usagef("", "--before: %v", err)
			}
			what := admin.Trim{}
			if shards != "" {
				if what.Shards, err = position.ParseShards(shards); err != nil {
					return exit.Usagef("", "--shard: %v", err)
				}
			}
			if at.Shards() != nil && shards != "" {
				return exit.Usagef("leave out --shard", "--before %s names shards already", before)
			}
			u, c, end, err := ch.open(cmd.Context(), args...)
			if err != nil {
				return err
			}
			what.Stream = u.Streams[0]
			if err := where(cmd.Context(), c, &what, at); err != nil {
				return end(factory.Reader(err, u.Streams))
			}
			return end(factory.Reader(change.Run(cmd.Context(), f, c, u, what, ch.o), u.Streams))
		},
	}
	fs := cmd.Flags()
	ch.flags(fs)
	fs.StringVar(&before, "before", "", "remove what is before `POS`: "+position.Help)
	fs.StringVar(&shards, "shard", "", "only these shards: `LIST`, such as 0,3-5")
	return cmd
}

// where says in a Trim where it cuts. A position that a backend resolves by itself
// stays with it; a number is looked at here, within the bounds of the shards.
func where(ctx context.Context, c *admin.Client, what *admin.Trim, at position.Spec) error {
	if start, ok := at.Start(); ok && !at.Numeric() {
		what.Before = start
		return nil
	}
	infos, err := c.Describe(ctx, admin.DetailBounds, what.Stream)
	if err != nil {
		return err
	}
	bounds := make(map[ss.Shard]ss.Bound)
	for _, sh := range infos[0].Shards {
		bounds[ss.Shard{Stream: what.Stream, Index: sh.Index}] = sh.Bound
	}
	count := func(at ss.Position, n int64) (ss.Seq, error) { return c.Step(ctx, at, bounds[at.Shard], n) }
	if what.At, err = at.Within(bounds, count); err != nil {
		return exit.OfFlag("--before", err)
	}
	return nil
}
