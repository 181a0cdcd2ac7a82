package group

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/position"
)

// seek is what the flags of seek say.
type seek struct {
	*changer
	group  string
	to     position.Spec
	from   string
	shift  int64
	shards []int32
}

func newSeek(f *factory.Factory) *cobra.Command {
	s := &seek{changer: &changer{target: target{f: f}}}
	var to, shards string
	cmd := &cobra.Command{
		Use:   "seek GROUP --to POS | --shift N | --from GROUP2",
		Short: "Move a group to another place",
		Long: `Move a group to a position, by a number of messages (back where it is negative), or
to where another group stands; on the streams and shards named, or on all that it
knows. A group that does not exist is made by --to with --stream, and by --from.

The plan is shown, and on a terminal asked for; scripts need --yes, or get 7. A
group with members at work is refused (6) where they would overwrite the move. undo
takes the move back.`,
		Example: `  sea streamer group seek workers --to -1h --dry-run --broker localhost:9092
  sea streamer group seek workers --to start --stream news --shard 0,3-5 --yes
  sea streamer group seek workers --to 0=100,1=end --stream news
  sea streamer group seek workers --shift -10
  sea streamer group seek workers-test --from workers --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Groups(args, 1, 1, "one group", "group seek workers --to -1h"); err != nil {
				return err
			}
			ways := 0
			for _, flag := range []string{"to", "shift", "from"} {
				if cmd.Flags().Changed(flag) {
					ways++
				}
			}
			if ways != 1 {
				return exit.Usagef("for instance group seek "+args[0]+" --to -1h", "say where to, in one way: --to POS, --shift N or --from GROUP2")
			}
			if cmd.Flags().Changed("shift") && s.shift == 0 {
				return exit.Usagef("for instance --shift -10", "--shift 0 moves nothing")
			}
			if cmd.Flags().Changed("from") {
				if err := factory.Groups([]string{s.from}, 1, 1, "a group", "--from workers"); err != nil {
					return err
				}
				if s.from == args[0] {
					return exit.Usagef("name another group", "--from %s: it stands there already", s.from)
				}
			}
			var err error
			if cmd.Flags().Changed("to") {
				if s.to, err = position.Parse(to, time.Now()); err != nil {
					return exit.Usagef("", "--to: %v", err)
				}
			}
			if shards != "" {
				if s.shards, err = position.ParseShards(shards); err != nil {
					return exit.Usagef("", "--shard: %v", err)
				}
				if s.to.Shards() != nil {
					return exit.Usagef("leave out --shard", "--to %s names shards already", to)
				}
			}
			s.group = args[0]
			return s.run(cmd.Context(), func(c *admin.Client, streams []string) (admin.Change, error) {
				return s.change(cmd.Context(), c, streams)
			})
		},
	}
	fs := cmd.Flags()
	s.flags(fs, "move it on this stream only")
	fs.StringVar(&to, "to", "", "where to: `POS` is "+position.Help)
	fs.Int64Var(&s.shift, "shift", 0, "on, or back, by `N` messages (sequence numbers; on Redis up to 100000, which are read)")
	fs.StringVar(&s.from, "from", "", "to where the group `GROUP2` stands")
	fs.StringVarP(&shards, "shard", "s", "", "only these shards: `LIST`, such as 0,3-5")
	return cmd
}

// change is the change that the flags mean. Positions that a backend resolves by
// itself stay with it; numbers are looked at here, within the bounds of the shards.
func (s *seek) change(ctx context.Context, c *admin.Client, streams []string) (admin.Change, error) {
	ch := admin.SeekGroup{Group: s.group, Streams: streams, Shards: s.shards, Shift: s.shift, From: s.from}
	if !s.to.Given() {
		return ch, nil
	}
	if start, ok := s.to.Start(); ok && !s.to.Numeric() {
		ch.To = &start
		return ch, nil
	}
	if len(streams) == 0 {
		infos, err := c.DescribeGroups(ctx, s.group)
		if err != nil {
			return nil, err
		}
		if streams = known(infos[0]); len(streams) == 0 {
			return nil, &exit.Error{Code: exit.NotFound, Item: s.group, Msg: "group " + s.group + " knows no stream", Hint: "name one with --stream"}
		}
	}
	if s.to.Shards() != nil && len(streams) > 1 {
		return nil, exit.Usagef("name one with --stream", "--to names shards, and group %s knows %d streams", s.group, len(streams))
	}
	infos, err := c.Describe(ctx, admin.DetailBounds, streams...)
	if err != nil {
		return nil, err
	}
	for _, in := range infos {
		of := bounds(in)
		at, err := s.to.Within(of, func(at ss.Position, n int64) (ss.Seq, error) { return c.Step(ctx, at, of[at.Shard], n) })
		if err != nil {
			return nil, exit.OfFlag("--to on "+in.Name, err)
		}
		for _, i := range s.shards {
			if int(i) >= len(in.Shards) {
				return nil, &exit.Error{Code: exit.NotFound, Item: in.Name, Msg: "there is no shard " + ss.Shard{Stream: in.Name, Index: i}.String()}
			}
		}
		for _, p := range at {
			if s.shards == nil || slices.Contains(s.shards, p.Index) {
				ch.At = append(ch.At, p)
			}
		}
	}
	return ch, nil
}

func bounds(in admin.StreamInfo) map[ss.Shard]ss.Bound {
	b := make(map[ss.Shard]ss.Bound, len(in.Shards))
	for _, sh := range in.Shards {
		b[ss.Shard{Stream: in.Name, Index: sh.Index}] = sh.Bound
	}
	return b
}
