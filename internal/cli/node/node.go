// Package node is the commands about servers: ls, info, config and logdirs.
package node

import (
	"fmt"
	"slices"
	"strconv"
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
	return factory.Group("node", "List and describe servers, and change their settings", `  sea streamer node ls --broker localhost:9092
  sea streamer node config 1 --broker localhost:9092 -o json
  sea streamer node set 1 log.cleaner.threads=2 --broker localhost:9092
  sea streamer node logdirs --broker redis://localhost:6379`,
		newLs(f), newInfo(f), newConfig(f), newSet(f), newLogDirs(f))
}

// doc is a node as JSON.
type doc struct {
	ID      string   `json:"id"`
	Addr    string   `json:"addr,omitempty"`
	Rack    string   `json:"rack,omitempty"`
	Roles   []string `json:"roles,omitempty"`
	Of      string   `json:"of,omitempty"`
	Version string   `json:"version,omitempty"`
	Up      bool     `json:"up"`
	Leads   *int64   `json:"leads,omitempty"`
	Holds   *int64   `json:"holds,omitempty"`
	Bytes   *int64   `json:"bytes,omitempty"`
	Error   string   `json:"error,omitempty"`
}

func document(n admin.NodeInfo) any {
	return doc{n.ID, n.Addr, n.Rack, n.Roles, n.Of, n.Version, n.Up, listing.Known(n.Leads), listing.Known(n.Holds), listing.Known(n.Bytes), listing.ErrorText(n.Err)}
}

var columns = []listing.Column[admin.NodeInfo]{
	{Name: "id", Raw: func(n admin.NodeInfo) string { return n.ID }},
	{Name: "addr", Raw: func(n admin.NodeInfo) string { return n.Addr }},
	{Name: "rack", Raw: func(n admin.NodeInfo) string { return n.Rack }, Wide: true},
	{Name: "roles", Raw: func(n admin.NodeInfo) string { return strings.Join(n.Roles, ",") }},
	{Name: "of", Raw: func(n admin.NodeInfo) string { return n.Of }},
	{Name: "up", Raw: func(n admin.NodeInfo) string { return strconv.FormatBool(n.Up) }},
	{Name: "leads", Raw: func(n admin.NodeInfo) string { return listing.Number(n.Leads) }, Right: true},
	{Name: "holds", Raw: func(n admin.NodeInfo) string { return listing.Number(n.Holds) }, Right: true},
	{Name: "bytes", Raw: func(n admin.NodeInfo) string { return listing.Number(n.Bytes) }, Human: func(n admin.NodeInfo) string { return listing.Bytes(n.Bytes) }, Right: true},
	{Name: "version", Raw: func(n admin.NodeInfo) string { return n.Version }},
	{Name: "error", Raw: func(n admin.NodeInfo) string { return listing.ErrorText(n.Err) }, Wide: true},
}

func newLs(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the servers",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 0, 0, "no operand", ""); err != nil {
				return err
			}
			return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
				nodes, err := c.Nodes(cmd.Context())
				if err != nil {
					return err
				}
				if err := listing.Write(f.IO, o, columns, listing.Each(nodes), document); err != nil {
					return err
				}
				return down(nodes)
			})
		},
	}
	b.AddFlags(cmd.Flags())
	listing.AddFlags(cmd.Flags(), &o)
	return cmd
}

// down is an error that names the nodes that could not be asked.
func down(nodes []admin.NodeInfo) error {
	e := &admin.PartialError{Total: len(nodes)}
	for _, n := range nodes {
		if n.Err != nil {
			e.Failures = append(e.Failures, admin.Failure{Item: "node " + n.ID, Err: n.Err})
		}
	}
	if len(e.Failures) == 0 {
		return nil
	}
	return &exit.Error{Code: exit.Partial, Err: e}
}

func newInfo(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "info NODE...",
		Short: "Describe servers",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, -1, "a node's id", "node ls lists them"); err != nil {
				return err
			}
			return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
				all, err := c.Nodes(cmd.Context())
				if err != nil {
					return err
				}
				var some []admin.NodeInfo
				for _, id := range args {
					i := slices.IndexFunc(all, func(n admin.NodeInfo) bool { return n.ID == id || n.Addr == id })
					if i < 0 {
						return noNode(id)
					}
					some = append(some, all[i])
				}
				if o.Output == "auto" && f.IO.OutTTY {
					o.Output = "wide"
				}
				if err := listing.Write(f.IO, o, columns, listing.Each(some), document); err != nil {
					return err
				}
				return down(some)
			})
		},
	}
	b.AddFlags(cmd.Flags())
	listing.AddFlags(cmd.Flags(), &o)
	return cmd
}

func noNode(id string) error {
	return &exit.Error{Code: exit.NotFound, Item: id, Msg: fmt.Sprintf("there is no node %q", id), Hint: "node ls lists them"}
}

var configColumns = []listing.Column[admin.ConfigEntry]{
	{Name: "name", Raw: func(e admin.ConfigEntry) string { return e.Name }},
	{Name: "value", Raw: func(e admin.ConfigEntry) string { return e.Value }, Human: func(e admin.ConfigEntry) string {
		if e.Secret {
			return "(secret)"
		}
		return e.Value
	}},
	{Name: "source", Raw: func(e admin.ConfigEntry) string { return e.Source }},
	{Name: "read_only", Raw: func(e admin.ConfigEntry) string { return strconv.FormatBool(e.ReadOnly) }, Wide: true},
}

func newConfig(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o listing.Options
	var all bool
	cmd := &cobra.Command{
		Use:   "config NODE",
		Short: "Show a server's settings",
		Long:  "Show a server's settings that are not the default, with where each comes from; -a\nshows all of them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, 1, "one node's id", "node ls lists them"); err != nil {
				return err
			}
			return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
				entries, err := c.NodeConfig(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if !all {
					entries = slices.DeleteFunc(entries, func(e admin.ConfigEntry) bool { return e.Source == "default" })
				}
				return listing.Write(f.IO, o, configColumns, listing.Each(entries), listing.ConfigDoc)
			})
		},
	}
	b.AddFlags(cmd.Flags())
	listing.AddFlags(cmd.Flags(), &o)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also settings that have their default")
	return cmd
}

func newSet(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o change.Options
	cmd := &cobra.Command{
		Use:   "set NODE|all NAME=VALUE...",
		Short: "Change a server's settings while it runs",
		Long:  "Change settings of a server, or of all, while it runs. NAME=default takes one back\nto the default.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 2, -1, "a node's id, or all, and a setting", "node set 1 log.cleaner.threads=2"); err != nil {
				return err
			}
			if err := factory.OnceEach("setting", args[1:]); err != nil {
				return err
			}
			ch := admin.SetNodeConfig{Node: args[0], Set: map[string]*string{}}
			if ch.Node == "all" {
				ch.Node = ""
			}
			for _, a := range args[1:] {
				name, value, ok := strings.Cut(a, "=")
				if !ok || name == "" {
					return exit.Usagef("node set "+args[0]+" NAME=VALUE", "%q is not NAME=VALUE", a)
				}
				if ch.Set[name] = nil; value != "default" {
					ch.Set[name] = &value
				}
			}
			return b.With(cmd.Context(), func(u ss.URL, c *admin.Client) error { return change.Run(cmd.Context(), f, c, u, ch, o) })
		},
	}
	b.AddFlags(cmd.Flags())
	change.AddFlags(cmd.Flags(), &o)
	return cmd
}

var dirColumns = []listing.Column[admin.LogDir]{
	{Name: "node", Raw: func(d admin.LogDir) string { return d.Node }},
	{Name: "path", Raw: func(d admin.LogDir) string { return d.Path }},
	{Name: "shards", Raw: func(d admin.LogDir) string { return listing.Number(int64(d.Shards)) }, Right: true},
	{Name: "bytes", Raw: func(d admin.LogDir) string { return listing.Number(d.Bytes) }, Human: func(d admin.LogDir) string { return listing.Bytes(d.Bytes) }, Right: true},
	{Name: "free", Raw: func(d admin.LogDir) string { return listing.Number(d.Free) }, Human: func(d admin.LogDir) string { return listing.Bytes(d.Free) }, Right: true},
	{Name: "total", Raw: func(d admin.LogDir) string { return listing.Number(d.Total) }, Human: func(d admin.LogDir) string { return listing.Bytes(d.Total) }, Right: true},
	{Name: "error", Raw: func(d admin.LogDir) string { return listing.ErrorText(d.Err) }},
}

// dirDoc is a folder as JSON.
type dirDoc struct {
	Node   string `json:"node"`
	Path   string `json:"path"`
	Shards *int64 `json:"shards,omitempty"`
	Bytes  *int64 `json:"bytes,omitempty"`
	Free   *int64 `json:"free,omitempty"`
	Total  *int64 `json:"total,omitempty"`
	Error  string `json:"error,omitempty"`
}

func newLogDirs(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "logdirs [NODE]",
		Short: "Show where servers keep data, and how full that is",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 0, 1, "at most one node's id", "node ls lists them"); err != nil {
				return err
			}
			return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
				dirs, err := c.LogDirs(cmd.Context(), strings.Join(args, ""))
				if err != nil {
					return err
				}
				return listing.Write(f.IO, o, dirColumns, listing.Each(dirs), func(d admin.LogDir) any {
					return dirDoc{d.Node, d.Path, listing.Known(int64(d.Shards)), listing.Known(d.Bytes), listing.Known(d.Free), listing.Known(d.Total), listing.ErrorText(d.Err)}
				})
			})
		},
	}
	b.AddFlags(cmd.Flags())
	listing.AddFlags(cmd.Flags(), &o)
	return cmd
}
