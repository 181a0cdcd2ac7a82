// Package cluster is the commands about a cluster as a whole: info, health,
// elect and reassign.
package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/change"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// New is the command with those below it.
func New(f *factory.Factory) *cobra.Command {
	return factory.Group("cluster", "Describe a cluster, say what is not well, move shards", `  sea streamer cluster health --broker localhost:9092 || echo not well
  sea streamer cluster elect --broker localhost:9092
  sea streamer cluster reassign news/0=2,3 news/1=3,1 --dry-run --broker localhost:9092
  sea streamer cluster reassign --status --broker localhost:9092`,
		newInfo(f), newHealth(f), newElect(f), newReassign(f))
}

// doc is a cluster as JSON.
type doc struct {
	ID         string            `json:"id"`
	Kind       string            `json:"kind"`
	Version    string            `json:"version,omitempty"`
	Controller string            `json:"controller,omitempty"`
	Nodes      int               `json:"nodes"`
	Features   map[string]string `json:"features,omitempty"`
	Problems   []problem         `json:"problems"`
}

type problem struct {
	What   string `json:"what"`
	Item   string `json:"item"`
	Detail string `json:"detail,omitempty"`
}

func document(in admin.ClusterInfo) any {
	d := doc{in.ID, in.Kind, in.Version, in.Controller, in.Nodes, in.Features, []problem{}}
	for _, p := range in.Problems {
		d.Problems = append(d.Problems, problem(p))
	}
	return d
}

func newInfo(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Describe the cluster",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 0, 0, "no operand", ""); err != nil {
				return err
			}
			return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
				in, err := c.Cluster(cmd.Context())
				if err != nil {
					return err
				}
				facts := [][2]string{{"id", in.ID}, {"kind", in.Kind}, {"version", in.Version}, {"controller", in.Controller}, {"nodes", fmt.Sprint(in.Nodes)}}
				for _, name := range slices.Sorted(keys(in.Features)) {
					facts = append(facts, [2]string{name, in.Features[name]})
				}
				facts = append(facts, [2]string{"problems", fmt.Sprint(len(in.Problems))})
				if o.Output == "json" {
					return listing.Write(f.IO, o, nil, listing.Each([]admin.ClusterInfo{in}), document)
				}
				o.NoHeader = true
				return listing.Write(f.IO, o, factColumns, listing.Each(facts), nil)
			})
		},
	}
	b.AddFlags(cmd.Flags())
	listing.AddFlags(cmd.Flags(), &o)
	return cmd
}

var factColumns = []listing.Column[[2]string]{
	{Name: "name", Raw: func(f [2]string) string { return f[0] }},
	{Name: "value", Raw: func(f [2]string) string { return f[1] }},
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func newHealth(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say what is not well; exit 1 where something is not",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 0, 0, "no operand", ""); err != nil {
				return err
			}
			return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
				in, err := c.Cluster(cmd.Context())
				if err != nil {
					return err
				}
				if err := listing.Write(f.IO, o, problemColumns, listing.Each(in.Problems), func(p admin.Problem) any { return problem(p) }); err != nil {
					return err
				}
				if n := len(in.Problems); n > 0 {
					return &exit.Error{Code: exit.Partial, Item: in.ID, Msg: fmt.Sprintf("%s, first: %s %s", listing.Things(n, "problem"), in.Problems[0].What, in.Problems[0].Item)}
				}
				f.IO.Detail("all is well: %s", listing.Things(in.Nodes, "node"))
				return nil
			})
		},
	}
	b.AddFlags(cmd.Flags())
	listing.AddFlags(cmd.Flags(), &o)
	return cmd
}

var problemColumns = []listing.Column[admin.Problem]{
	{Name: "problem", Raw: func(p admin.Problem) string { return p.What }},
	{Name: "item", Raw: func(p admin.Problem) string { return p.Item }},
	{Name: "detail", Raw: func(p admin.Problem) string { return p.Detail }},
}

func newElect(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o change.Options
	var unclean bool
	cmd := &cobra.Command{
		Use:   "elect [STREAM/SHARD...]",
		Short: "Make preferred replicas leaders again",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Once("shard", args); err != nil {
				return err
			}
			ch := admin.ElectLeaders{Unclean: unclean}
			for _, a := range args {
				sh, err := parseShard(a)
				if err != nil {
					return err
				}
				ch.Shards = append(ch.Shards, sh)
			}
			if unclean && len(args) == 0 {
				return exit.Usagef("cluster elect news/0 --unclean", "--unclean may lose messages: name the shards")
			}
			return b.With(cmd.Context(), func(u ss.URL, c *admin.Client) error { return change.Run(cmd.Context(), f, c, u, ch, o) })
		},
	}
	b.AddFlags(cmd.Flags())
	change.AddFlags(cmd.Flags(), &o)
	cmd.Flags().BoolVar(&unclean, "unclean", false, "take a replica that is not in sync where there is no other: messages may be lost")
	return cmd
}

func newReassign(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o change.Options
	var lo listing.Options
	var status, cancel bool
	cmd := &cobra.Command{
		Use:   "reassign STREAM/SHARD=NODE,NODE... | --status | --cancel STREAM/SHARD...",
		Short: "Have shards held by other nodes",
		Long: `Have shards held by other nodes, the first named being the preferred leader. The
command ends when that has begun; --status lists what is under way.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if status {
				if err := factory.Operands(args, 0, 0, "no operand with --status", ""); err != nil {
					return err
				}
				return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
					all, err := c.Reassignments(cmd.Context())
					if err != nil {
						return err
					}
					lo.Output = "auto"
					if o.Output == "json" {
						lo.Output = "json"
					}
					return listing.Write(f.IO, lo, reassignColumns, listing.Each(all), reassignDoc)
				})
			}
			if err := factory.Operands(args, 1, -1, "what to move", "cluster reassign news/0=2,3"); err != nil {
				return err
			}
			ch, err := parseReassign(args, cancel)
			if err != nil {
				return err
			}
			return b.With(cmd.Context(), func(u ss.URL, c *admin.Client) error { return change.Run(cmd.Context(), f, c, u, ch, o) })
		},
	}
	b.AddFlags(cmd.Flags())
	change.AddFlags(cmd.Flags(), &o)
	cmd.Flags().BoolVar(&status, "status", false, "list what is under way")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "stop what is under way of the shards named")
	return cmd
}

func parseReassign(args []string, cancel bool) (ch admin.Reassign, err error) {
	if err := factory.OnceEach("shard", args); err != nil {
		return ch, err
	}
	for _, a := range args {
		text, nodes, has := strings.Cut(a, "=")
		r := admin.Reassignment{}
		if r.Shard, err = parseShard(text); err != nil {
			return ch, err
		}
		if has == cancel || has && nodes == "" {
			return ch, exit.Usagef("cluster reassign news/0=2,3, or cluster reassign --cancel news/0", "%q is not STREAM/SHARD=NODE,NODE", a)
		}
		if has {
			r.Replicas = strings.Split(nodes, ",")
		}
		ch.To = append(ch.To, r)
	}
	return ch, nil
}

// parseShard reads STREAM/SHARD.
func parseShard(text string) (ss.Shard, error) {
	i := strings.LastIndexByte(text, '/')
	if i > 0 {
		if n, err := listing.ParseIndex(text[i+1:]); err == nil {
			return ss.Shard{Stream: text[:i], Index: n}, nil
		}
	}
	return ss.Shard{}, exit.Usagef("write news/0", "%q is not STREAM/SHARD", text)
}

var reassignColumns = []listing.Column[admin.Reassignment]{
	{Name: "shard", Raw: func(r admin.Reassignment) string { return fmt.Sprintf("%s/%d", r.Stream, r.Index) }},
	{Name: "replicas", Raw: func(r admin.Reassignment) string { return strings.Join(r.Replicas, ",") }},
	{Name: "adding", Raw: func(r admin.Reassignment) string { return strings.Join(r.Adding, ",") }},
	{Name: "removing", Raw: func(r admin.Reassignment) string { return strings.Join(r.Removing, ",") }},
}

func reassignDoc(r admin.Reassignment) any {
	return struct {
		Stream   string   `json:"stream"`
		Shard    int32    `json:"shard"`
		Replicas []string `json:"replicas"`
		Adding   []string `json:"adding"`
		Removing []string `json:"removing"`
	}{r.Stream, r.Index, r.Replicas, r.Adding, r.Removing}
}
