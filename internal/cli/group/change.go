package group

import (
	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/change"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

func newUndo(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	cmd := &cobra.Command{
		Use:   "undo GROUP",
		Short: "Take back the last move or removal of a group",
		Long: `Take back the last seek, clone, rm or rm-offsets of a group that this user has done
on this broker: it stands where it stood before. The next undo goes one further
back; an undo is not itself undone. Nothing to undo is exit code 5.

What was done since by the group's members, or by others, is not taken into account:
the plan says from where to where it goes.`,
		Example: `  sea streamer group undo workers --dry-run --broker localhost:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Groups(args, 1, 1, "one group", "group undo workers"); err != nil {
				return err
			}
			u, c, end, err := ch.open(cmd.Context())
			if err != nil {
				return err
			}
			return end(change.Undo(cmd.Context(), f, c, u, args[0], kinds, ch.o))
		},
	}
	ch.flags(cmd.Flags(), "")
	return cmd
}

// kinds are the changes of groups that can be undone.
var kinds = []string{admin.SeekGroup{}.Kind(), admin.CloneGroup{}.Kind(), admin.DeleteGroup{}.Kind(), admin.ForgetGroup{}.Kind()}

func newClone(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	cmd := &cobra.Command{
		Use:     "clone GROUP NEW",
		Short:   "Create a group that stands where another one stands",
		Long:    "Create a group that stands where another one stands. One that exists is an error (6).",
		Example: `  sea streamer group clone workers workers-test --broker localhost:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Groups(args, 2, 2, "a group and a new name", "group clone workers workers-test"); err != nil {
				return err
			}
			return ch.run(cmd.Context(), func(*admin.Client, []string) (admin.Change, error) {
				return admin.CloneGroup{From: args[0], To: args[1]}, nil
			})
		},
	}
	ch.flags(cmd.Flags(), "")
	return cmd
}

func newRm(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	cmd := &cobra.Command{
		Use:   "rm GROUP... | --match GLOB",
		Short: "Remove groups",
		Long: `Remove groups, which forgets where they stand; undo has that back. The plan is
shown, and on a terminal asked for; scripts need --yes, or get 7. Names are names: a
glob works with --match only. A group with members is an error (6).`,
		Example: `  sea streamer group rm workers --dry-run --broker localhost:9092
  sea streamer group rm --match 'console-consumer-*' --yes --broker localhost:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (ch.o.Match == "") == (len(args) == 0) {
				return exit.Usagef("group rm workers, or group rm --match 'tmp-*'", "name the groups to remove, or a --match")
			}
			if err := factory.Groups(args, 0, -1, "a group", "group rm workers"); err != nil {
				return err
			}
			if err := factory.CheckGlob(ch.o.Match); err != nil {
				return err
			}
			return ch.run(cmd.Context(), func(c *admin.Client, _ []string) (admin.Change, error) {
				if ch.o.Match == "" {
					return admin.DeleteGroup{Groups: args}, nil
				}
				var groups []string
				for g, err := range c.GroupsMatching(cmd.Context(), ch.o.Match) {
					if err != nil {
						return nil, err
					}
					groups = append(groups, g.Name)
				}
				if len(groups) == 0 {
					return nil, &exit.Error{Code: exit.NotFound, Item: ch.o.Match, Msg: "no group matches " + ch.o.Match}
				}
				return admin.DeleteGroup{Groups: groups}, nil
			})
		},
	}
	ch.flags(cmd.Flags(), "")
	change.AddMatchFlags(cmd.Flags(), &ch.o, "groups")
	return cmd
}

func newRmOffsets(f *factory.Factory) *cobra.Command {
	ch := &changer{target: target{f: f}}
	cmd := &cobra.Command{
		Use:   "rm-offsets GROUP --stream STREAM",
		Short: "Have a group forget where it stands on streams",
		Long: `Have a group forget where it stands on streams: its members begin there as if they
were the first. undo has the positions back.`,
		Example: `  sea streamer group rm-offsets workers --stream news --broker localhost:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Groups(args, 1, 1, "one group", "group rm-offsets workers --stream news"); err != nil {
				return err
			}
			if len(ch.streams) == 0 {
				return exit.Usagef("group rm-offsets "+args[0]+" --stream news", "say which streams: --stream NAME")
			}
			return ch.run(cmd.Context(), func(_ *admin.Client, streams []string) (admin.Change, error) {
				return admin.ForgetGroup{Group: args[0], Streams: streams}, nil
			})
		},
	}
	ch.flags(cmd.Flags(), "forget this stream")
	return cmd
}
