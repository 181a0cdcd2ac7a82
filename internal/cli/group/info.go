package group

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/chart"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/lag"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

func newInfo(f *factory.Factory) *cobra.Command {
	t := &target{f: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "info GROUP...",
		Short: "Describe groups: where they stand on each shard",
		Long: `Describe groups: their state and, of each shard that they know, where they stand,
where the shard ends, how far that is in messages and seconds, and who reads it.`,
		Example: `  sea streamer group info workers --broker localhost:9092
  sea streamer group info workers -o json --broker redis://localhost:6379 | jq .each`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Groups(args, 1, -1, "a group", "group info workers"); err != nil {
				return err
			}
			_, c, end, err := t.open(cmd.Context())
			if err != nil {
				return err
			}
			infos, err := c.DescribeGroups(cmd.Context(), args...)
			if notPartial(err) != nil {
				return end(err)
			}
			all := make([]row, len(infos))
			for i, g := range infos {
				all[i].GroupInfo = g
			}
			if err := addLags(cmd, c, all); err != nil {
				return end(err)
			}
			found := slices.DeleteFunc(slices.Clone(all), func(r row) bool { return r.Err != nil && len(r.Positions)+len(r.Members) == 0 })
			if err := show(f, o, found); err != nil {
				return end(err)
			}
			return end(factory.Missing(failed(all)))
		},
	}
	t.flags(cmd.Flags(), "")
	listing.AddFlags(cmd.Flags(), &o)
	return cmd
}

func show(f *factory.Factory, o listing.Options, groups []row) error {
	if o.Output == "json" {
		return listing.Write(f.IO, o, nil, listing.Each(groups), func(r row) any {
			d := r.document(true)
			for _, s := range r.lag.Shards {
				d.Each = append(d.Each, lag.ShardOf(s))
			}
			for _, m := range r.Members {
				d.Who = append(d.Who, member(m))
			}
			return d
		})
	}
	people := o.Table(f.IO.OutTTY)
	for _, r := range groups {
		if people {
			if _, err := f.IO.Out.Write(listing.Safe(r.head())); err != nil {
				return exit.Output(err)
			}
		}
		if people && len(r.lag.Shards) == 0 {
			continue
		}
		rows := make([]shardRow, len(r.lag.Shards))
		for i, s := range r.lag.Shards {
			rows[i] = shardRow{r.Name, s}
		}
		if err := listing.Write(f.IO, o, shardColumns, listing.Each(rows), nil); err != nil {
			return err
		}
		o.NoHeader = o.NoHeader || !people // one for all
	}
	return nil
}

// head is what there is to say about the group as a whole.
func (r row) head() string {
	parts := []string{r.State}
	if r.Kind != "" {
		parts[0] += " (" + r.Kind + ")"
	}
	parts = append(parts, listing.Things(len(r.Members), "member"), listing.Of(r.lag.Messages(), "message")+" behind")
	if age := r.lag.Age(); age > 0 {
		parts = append(parts, listing.Duration(age))
	}
	if n := r.lag.Pending(); n > 0 {
		parts = append(parts, listing.HumanCount(admin.Count{N: n})+" pending")
	}
	return r.Name + ": " + strings.Join(parts, ", ") + "\n"
}

type shardRow struct {
	group string
	admin.ShardLag
}

var shardColumns = []listing.Column[shardRow]{
	{Name: "group", Raw: func(s shardRow) string { return s.group }, Wide: true},
	{Name: "stream", Raw: func(s shardRow) string { return s.Stream }},
	{Name: "shard", Raw: func(s shardRow) string { return strconv.Itoa(int(s.Index)) }, Right: true},
	{Name: "next", Raw: func(s shardRow) string { return s.Next.String() }, Right: true},
	{Name: "end", Raw: func(s shardRow) string { return s.End.String() }, Right: true},
	{Name: "behind", Raw: func(s shardRow) string { return listing.Count(s.Messages) }, Human: func(s shardRow) string { return listing.HumanCount(s.Messages) }, Right: true},
	{Name: "age", Raw: func(s shardRow) string { return listing.Seconds(s.Age) }, Human: func(s shardRow) string { return chart.Time(s.Age) }, Right: true},
	{Name: "pending", Raw: func(s shardRow) string { return listing.Number(s.Pending) }, Right: true},
	{Name: "member", Raw: func(s shardRow) string { return s.Member }},
}
