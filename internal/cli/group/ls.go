package group

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/lag"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

func newLs(f *factory.Factory) *cobra.Command {
	t := &target{f: f}
	var o listing.Options
	var long bool
	cmd := &cobra.Command{
		Use:   "ls [GLOB]",
		Short: "List the consumer groups",
		Long: `List the consumer groups by name, with their state, members and the streams that
they know. -l adds how far they are behind, which takes longer.`,
		Example: `  sea streamer group ls --broker localhost:9092
  sea streamer group ls 'work*' --stream redis://localhost:6379/news -l`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 0, 1, "at most one glob", "quote it: group ls 'work*'"); err != nil {
				return err
			}
			glob := ""
			if len(args) == 1 {
				glob = args[0]
			}
			if err := factory.CheckGlob(glob); err != nil {
				return err
			}
			u, c, end, err := t.open(cmd.Context())
			if err != nil {
				return err
			}
			all := []row{}
			for g, err := range c.GroupsMatching(cmd.Context(), glob, u.Streams...) {
				if err != nil {
					return end(err)
				}
				all = append(all, row{GroupInfo: g})
			}
			if long {
				if err := addLags(cmd, c, all); err != nil {
					return end(err)
				}
			}
			slices.SortFunc(all, func(a, b row) int { return cmp.Compare(a.Name, b.Name) })
			err = listing.Write(f.IO, o, lsColumns(long), listing.Each(all), func(r row) any { return r.document(long) })
			return end(cmp.Or(err, failed(all)))
		},
	}
	fs := cmd.Flags()
	t.flags(fs, "only groups that know this stream")
	listing.AddFlags(fs, &o)
	fs.BoolVarP(&long, "long", "l", false, "also how far they are behind")
	return cmd
}

// row is a group, perhaps with its lag.
type row struct {
	admin.GroupInfo
	lag admin.Lag
}

// addLags looks up how far all are behind, a thousand at a time.
func addLags(cmd *cobra.Command, c *admin.Client, all []row) error {
	for some := range slices.Chunk(all, 1000) {
		infos := make([]admin.GroupInfo, len(some))
		for i, r := range some {
			infos[i] = r.GroupInfo
		}
		lags, err := c.LagOf(cmd.Context(), infos)
		if len(lags) < len(some) {
			return err
		}
		for i, l := range lags {
			some[i].lag = l
		}
		if e := notPartial(err); e != nil {
			return e
		}
	}
	return nil
}

// known are the names of the streams that a group knows.
func known(g admin.GroupInfo) []string {
	names := []string{}
	for _, p := range g.Positions {
		if len(names) == 0 || names[len(names)-1] != p.Stream {
			names = append(names, p.Stream)
		}
	}
	return names
}

type groupDoc struct {
	Group   string   `json:"group"`
	State   string   `json:"state,omitempty"`
	Kind    string   `json:"kind,omitempty"`
	Members int      `json:"members"`
	Streams []string `json:"streams"`
	Shards  int      `json:"shards"`
	*lagDoc
	Each  []lag.Shard `json:"each,omitempty"`
	Who   []memberDoc `json:"who,omitempty"`
	Error string      `json:"error,omitempty"`
}

func (r row) document(long bool) groupDoc {
	d := groupDoc{Group: r.Name, State: r.State, Kind: r.Kind, Members: len(r.Members), Streams: known(r.GroupInfo), Shards: len(r.Positions)}
	if err := cmp.Or(r.Err, r.lag.Err); err != nil {
		d.Error = err.Error()
	}
	if long {
		d.lagDoc = new(lagOf(r.lag))
	}
	return d
}

func lsColumns(long bool) []listing.Column[row] {
	cols := []listing.Column[row]{
		{Name: "group", Raw: func(r row) string { return r.Name }},
		{Name: "state", Raw: func(r row) string { return r.State }},
		{Name: "kind", Raw: func(r row) string { return r.Kind }},
		{Name: "members", Raw: func(r row) string { return strconv.Itoa(len(r.Members)) }, Right: true},
		{Name: "shards", Raw: func(r row) string { return strconv.Itoa(len(r.Positions)) }, Right: true},
		{Name: "streams", Raw: func(r row) string { return strings.Join(known(r.GroupInfo), ",") }},
	}
	if long {
		for _, c := range lagColumns {
			cols = append(cols, listing.Column[row]{Name: c.Name, Raw: func(r row) string { return c.Raw(r.lag) }, Human: func(r row) string { return c.Human(r.lag) }, Right: c.Right})
		}
	}
	return cols
}

func newMembers(f *factory.Factory) *cobra.Command {
	t := &target{f: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "members GROUP",
		Short: "List a group's members and the shards that they read",
		Long: `List a group's members: the shards that each reads, where the backend hands out
shards; how many messages it holds without a verdict and how long ago it was heard
of, where the backend knows.`,
		Example: `  sea streamer group members workers --broker localhost:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Groups(args, 1, 1, "one group", "group members workers"); err != nil {
				return err
			}
			_, c, end, err := t.open(cmd.Context())
			if err != nil {
				return err
			}
			infos, err := c.DescribeGroups(cmd.Context(), args[0])
			if err != nil {
				return end(factory.Missing(err))
			}
			return end(listing.Write(f.IO, o, memberColumns, listing.Each(infos[0].Members), func(m admin.MemberInfo) any { return member(m) }))
		},
	}
	t.flags(cmd.Flags(), "")
	listing.AddFlags(cmd.Flags(), &o)
	return cmd
}

type memberDoc struct {
	Member  string             `json:"member"`
	Client  string             `json:"client,omitempty"`
	Host    string             `json:"host,omitempty"`
	Shards  map[string][]int32 `json:"shards,omitempty"` // by stream
	Pending *int64             `json:"pending,omitempty"`
	Idle    *float64           `json:"idle_s,omitempty"`
}

func member(m admin.MemberInfo) memberDoc {
	d := memberDoc{Member: m.ID, Client: m.Client, Host: m.Host}
	for _, sh := range m.Shards {
		if d.Shards == nil {
			d.Shards = make(map[string][]int32)
		}
		d.Shards[sh.Stream] = append(d.Shards[sh.Stream], sh.Index)
	}
	d.Pending = listing.Known(m.Pending)
	d.Idle = listing.Known(m.Idle.Seconds())
	return d
}

var memberColumns = []listing.Column[admin.MemberInfo]{
	{Name: "member", Raw: func(m admin.MemberInfo) string { return m.ID }},
	{Name: "client", Raw: func(m admin.MemberInfo) string { return m.Client }},
	{Name: "host", Raw: func(m admin.MemberInfo) string { return m.Host }},
	{Name: "shards", Raw: func(m admin.MemberInfo) string { return shardList(sortedShards(m.Shards)) }},
	{Name: "pending", Raw: func(m admin.MemberInfo) string { return listing.Number(m.Pending) }, Right: true},
	{Name: "idle", Raw: func(m admin.MemberInfo) string { return listing.Seconds(m.Idle) }, Human: func(m admin.MemberInfo) string {
		if m.Idle < 0 {
			return "-"
		}
		return listing.Duration(m.Idle)
	}, Right: true},
}

func sortedShards(s []ss.Shard) []ss.Shard {
	return slices.SortedFunc(slices.Values(s), ss.Shard.Compare)
}
