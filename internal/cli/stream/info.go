package stream

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

const everything = driver.DetailBounds | driver.DetailTimes | driver.DetailBytes | driver.DetailReplicas | driver.DetailSettings

func newInfo(f *factory.Factory) *cobra.Command {
	t := &target{f: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "info STREAM...",
		Short: "Describe streams: shards, sizes, times, settings",
		Long: `Describe streams: their settings, and of each shard what it holds from which
sequence number and time to which, how large it is, and where it is kept. -o wide
and -o json also show every setting by the backend's own name.`,
		Example: `  sea streamer stream info news --broker localhost:9092
  sea streamer stream info redis://localhost:6379/news -o json | jq .each`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, -1, "a stream", "stream info news"); err != nil {
				return err
			}
			u, c, end, err := t.open(cmd.Context(), args...)
			if err != nil {
				return err
			}
			infos, err := c.Describe(cmd.Context(), everything, u.Streams...)
			if e := show(f, o, infos); e != nil {
				return end(e)
			}
			return end(factory.Reader(err, u.Streams))
		},
	}
	t.flags(cmd.Flags())
	listing.AddFlags(cmd.Flags(), &o)
	return cmd
}

func show(f *factory.Factory, o listing.Options, infos []admin.StreamInfo) error {
	infos = slices.DeleteFunc(slices.Clone(infos), func(in admin.StreamInfo) bool { return in.Err != nil && len(in.Shards) == 0 })
	if o.Output == "json" {
		return listing.Write(f.IO, o, nil, listing.Each(infos), func(in admin.StreamInfo) any { return whole(in, everything) })
	}
	people := o.Table(f.IO.OutTTY)
	for _, in := range infos {
		if people {
			if err := head(f, o, in); err != nil {
				return err
			}
		}
		var rows []shardRow
		for _, sh := range in.Shards {
			rows = append(rows, shardRow{in.Name, bounds(in, sh), sh})
		}
		if err := listing.Write(f.IO, o, shardColumns, listing.Each(rows), nil); err != nil {
			return err
		}
		o.NoHeader = o.NoHeader || !people // one for all
	}
	return nil
}

// head is what there is to say about the stream as a whole, for people.
func head(f *factory.Factory, o listing.Options, in admin.StreamInfo) error {
	var b strings.Builder
	n := admin.Messages(in)
	fmt.Fprintf(&b, "%s: %s, %s", in.Name, listing.Things(len(in.Shards), "shard"), listing.Of(n, "message"))
	if size := admin.Bytes(in); size >= 0 {
		fmt.Fprintf(&b, ", %s", listing.Bytes(size))
	}
	if last := newest(in); !last.IsZero() {
		fmt.Fprintf(&b, ", newest %s", listing.Ago(last))
	}
	b.WriteByte('\n')
	for _, s := range admin.List(in.Settings) {
		fmt.Fprintf(&b, "  %s=%s\n", s.Name, s.Value)
	}
	if o.Output == "wide" {
		for _, e := range in.Config {
			fmt.Fprintf(&b, "  %s=%s (%s)\n", e.Name, e.Value, e.Source)
		}
	}
	_, err := f.IO.Out.Write(listing.Safe(b.String()))
	return exit.Output(err)
}

type shardRow struct {
	stream string
	bounds *ss.Bound // nil is not known
	admin.ShardInfo
}

// bounds are those of a shard; nil where it could not be described.
func bounds(in admin.StreamInfo, sh admin.ShardInfo) *ss.Bound {
	if in.Err != nil && sh.Messages.N < 0 {
		return nil
	}
	return &sh.Bound
}

func (s shardRow) first() string {
	if s.bounds == nil {
		return ""
	}
	return s.bounds.First.String()
}

func (s shardRow) next() string {
	if s.bounds == nil {
		return ""
	}
	return s.bounds.Next.String()
}

var shardColumns = []listing.Column[shardRow]{
	{Name: "stream", Raw: func(s shardRow) string { return s.stream }, Wide: true},
	{Name: "shard", Raw: func(s shardRow) string { return strconv.Itoa(int(s.Index)) }, Right: true},
	{Name: "first", Raw: shardRow.first, Right: true},
	{Name: "next", Raw: shardRow.next, Right: true},
	{Name: "messages", Raw: func(s shardRow) string { return listing.Count(s.Messages) }, Human: func(s shardRow) string { return listing.HumanCount(s.Messages) }, Right: true},
	{Name: "bytes", Raw: func(s shardRow) string { return listing.Number(s.Bytes) }, Human: func(s shardRow) string { return listing.Bytes(s.Bytes) }, Right: true},
	{Name: "oldest", Raw: func(s shardRow) string { return listing.Time(s.FirstTime) }, Human: func(s shardRow) string { return listing.Ago(s.FirstTime) }},
	{Name: "newest", Raw: func(s shardRow) string { return listing.Time(s.LastTime) }, Human: func(s shardRow) string { return listing.Ago(s.LastTime) }},
	{Name: "leader", Raw: func(s shardRow) string { return s.Leader }},
	{Name: "replicas", Raw: func(s shardRow) string { return strings.Join(s.Replicas, ",") }},
	{Name: "in_sync", Raw: func(s shardRow) string { return strings.Join(s.InSync, ",") }, Wide: true},
}
