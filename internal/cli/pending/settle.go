package pending

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/change"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// settler is a command that does something to pending messages.
type settler struct {
	target
	o   change.Options
	all bool
}

// add adds what the three commands share. Build makes the change of the messages;
// loose: those that are not pending any more are no failure.
func (s *settler) add(cmd *cobra.Command, example string, check func() error, build func(group string, ids []admin.MessageID, loose bool) admin.Change) *cobra.Command {
	fs := cmd.Flags()
	s.flags(fs)
	s.memberFlag(fs)
	change.AddFlags(fs, &s.o)
	fs.BoolVar(&s.all, "all", false, "all that are pending, with --member and --min-idle those of them")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if check != nil {
			if err := check(); err != nil {
				return err
			}
		}
		if len(args) >= 2 && s.all == (len(args) > 2) {
			return exit.Usagef(example, "name the messages, or --all")
		}
		if !s.all && s.member != "" {
			return exit.Usagef("leave it out", "--member is for --all")
		}
		if !s.all && s.minIdle != "" && cmd.Name() != "claim" {
			return exit.Usagef("leave it out", "--min-idle is for --all")
		}
		u, c, end, err := s.open(cmd.Context(), args, example)
		if err != nil {
			return err
		}
		ids, err := s.ids(cmd.Context(), c, u.Streams[0], args)
		if err == nil {
			err = change.Run(cmd.Context(), s.f, c, u, build(args[1], ids, s.all), s.o)
		}
		return end(missing(err))
	}
	return cmd
}

// ids are the messages that are named, or with --all those that are pending.
func (s *settler) ids(ctx context.Context, c *admin.Client, stream string, args []string) (ids []admin.MessageID, err error) {
	if s.all {
		for m, err := range c.Pending(ctx, stream, args[1], s.filter) {
			if err != nil {
				return nil, err
			}
			ids = append(ids, m.MessageID)
		}
		return ids, nil
	}
	infos, err := c.Describe(ctx, 0, stream)
	if err != nil {
		return nil, err
	}
	for _, text := range args[2:] {
		id, err := parseID(text, stream, len(infos[0].Shards))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

const allHelp = `

An ID that is not pending is an error; with --all, which looks them up first, what
was settled by others meanwhile is not.`

func newClaim(f *factory.Factory) *cobra.Command {
	s := &settler{target: target{f: f}}
	var to string
	return s.claim(&cobra.Command{
		Use:   "claim STREAM GROUP --to MEMBER ID... | --all",
		Short: "Hand pending messages to another member",
		Long:  `Hand pending messages to another member of the group, which then holds them.` + allHelp,
		Example: `  sea streamer pending claim news workers --to worker-2 --min-idle 10m --all --broker redis://localhost:6379
  sea streamer pending claim news workers --to worker-2 0=1700000000000-3`,
	}, &to)
}

func (s *settler) claim(cmd *cobra.Command, to *string) *cobra.Command {
	const example = "pending claim news workers --to worker-2 --all"
	cmd.Flags().StringVar(to, "to", "", "the member `NAME` that gets them")
	check := func() error {
		if *to == "" {
			return exit.Usagef(example, "say who gets them: --to MEMBER")
		}
		return nil
	}
	return s.add(cmd, example, check, func(group string, ids []admin.MessageID, loose bool) admin.Change {
		return admin.ClaimPending{Group: group, Member: *to, MinIdle: s.filter.MinIdle, IDs: ids, Loose: loose}
	})
}

func newAck(f *factory.Factory) *cobra.Command {
	s := &settler{target: target{f: f}}
	cmd := &cobra.Command{
		Use:   "ack STREAM GROUP ID... | --all",
		Short: "Say that pending messages are done",
		Long: `Say that pending messages are done: the group is not given them again. That cannot
be undone. The plan is shown, and on a terminal asked for; scripts need --yes, or
get 7.` + allHelp,
		Example: `  sea streamer pending ack news workers 0=1700000000000-3 --yes --broker redis://localhost:6379
  sea streamer pending ack news workers --all --member worker-1 --dry-run`,
	}
	return s.add(cmd, "pending ack news workers 0=1700000000000-3", nil, func(group string, ids []admin.MessageID, loose bool) admin.Change {
		return admin.SettlePending{Group: group, IDs: ids, Loose: loose}
	})
}

func newNack(f *factory.Factory) *cobra.Command {
	s := &settler{target: target{f: f}}
	cmd := &cobra.Command{
		Use:     "nack STREAM GROUP ID... | --all",
		Short:   "Have pending messages delivered again at once",
		Long:    `Have pending messages delivered again, to whichever member is next, at once.` + allHelp,
		Example: `  sea streamer pending nack news workers --all --min-idle 10m --broker redis://localhost:6379`,
	}
	return s.add(cmd, "pending nack news workers --all", nil, func(group string, ids []admin.MessageID, loose bool) admin.Change {
		return admin.SettlePending{Group: group, IDs: ids, Again: true, Loose: loose}
	})
}
