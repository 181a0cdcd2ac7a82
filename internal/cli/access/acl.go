// Package access is the commands about who may do what: acl and user.
package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/change"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// NewACL is the command acl with those below it.
func NewACL(f *factory.Factory) *cobra.Command {
	return factory.Group("acl", "List, grant and revoke what users may do", `  sea streamer acl ls --broker localhost:9092
  sea streamer acl grant alice read,describe --stream 'news*' --broker localhost:9092
  sea streamer acl revoke alice read --stream 'news*' --yes --broker localhost:9092
  sea streamer acl explain alice read news --broker localhost:9092`,
		newACLLs(f), newGrant(f, false), newGrant(f, true), newExplain(f))
}

// ruleDoc is a rule as JSON.
type ruleDoc struct {
	User      string `json:"user"`
	Operation string `json:"operation"`
	Kind      string `json:"kind,omitempty"`
	Name      string `json:"name,omitempty"`
	Prefix    bool   `json:"prefix,omitempty"`
	Host      string `json:"host,omitempty"`
	Deny      bool   `json:"deny,omitempty"`
	Native    string `json:"native,omitempty"`
}

func document(r admin.AccessRule) any {
	return ruleDoc{r.User, r.Operation, r.Kind, r.Name, r.Prefix, r.Host, r.Deny, r.Native}
}

var columns = []listing.Column[admin.AccessRule]{
	{Name: "user", Raw: func(r admin.AccessRule) string { return r.User }},
	{Name: "rule", Raw: func(r admin.AccessRule) string {
		if r.Deny {
			return "deny"
		}
		return "allow"
	}},
	{Name: "operation", Raw: func(r admin.AccessRule) string { return r.Operation }},
	{Name: "kind", Raw: func(r admin.AccessRule) string { return r.Kind }},
	{Name: "name", Raw: func(r admin.AccessRule) string { return pattern(r) }},
	{Name: "host", Raw: func(r admin.AccessRule) string { return r.Host }},
	{Name: "native", Raw: func(r admin.AccessRule) string { return r.Native }, Wide: true},
}

// pattern is how the thing is written: a prefix ends in a star.
func pattern(r admin.AccessRule) string {
	if r.Prefix {
		return r.Name + "*"
	}
	return r.Name
}

func newACLLs(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "ls [USER...]",
		Short: "List what users may do",
		RunE: func(cmd *cobra.Command, args []string) error {
			return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
				rules, some := c.Rules(cmd.Context())
				if some != nil && len(rules) == 0 {
					return some
				}
				rules = slices.DeleteFunc(rules, func(r admin.AccessRule) bool { return len(args) > 0 && !slices.Contains(args, r.User) })
				if err := listing.Write(f.IO, o, columns, listing.Each(rules), document); err != nil {
					return err
				}
				return incomplete(some)
			})
		},
	}
	b.AddFlags(cmd.Flags())
	listing.AddFlags(cmd.Flags(), &o)
	return cmd
}

// incomplete is the error beside what the nodes said that could be asked.
func incomplete(err error) error {
	if err == nil {
		return nil
	}
	return &exit.Error{Code: exit.Partial, Err: err}
}

// things are the flags that say what a rule is about.
type things struct {
	streams, groups, transactions []string
	cluster                       bool
	host                          string
}

func (t *things) flags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&t.streams, "stream", nil, "a stream, `NAME`, or PREFIX* or *; may be repeated")
	fs.StringArrayVarP(&t.groups, "group", "g", nil, "a consumer group, `NAME`, or PREFIX* or *; may be repeated")
	fs.StringArrayVar(&t.transactions, "owner", nil, "the name of an exactly-once copy or Transactor, `NAME`, or PREFIX* or *; may be repeated")
	fs.BoolVar(&t.cluster, "on-cluster", false, "the cluster itself")
	fs.StringVar(&t.host, "host", "", "only from `ADDRESS`")
}

// rules are those for a user and operations on all the things.
func (t *things) rules(user string, operations []string, deny bool) ([]admin.AccessRule, error) {
	var rules []admin.AccessRule
	add := func(kind, text string) {
		r := admin.AccessRule{User: user, Host: t.host, Kind: kind, Name: text, Deny: deny}
		if n, ok := strings.CutSuffix(text, "*"); ok && n != "" {
			r.Name, r.Prefix = n, true
		}
		for _, o := range operations {
			r.Operation = o
			rules = append(rules, r)
		}
	}
	for _, s := range t.streams {
		add("stream", s)
	}
	for _, g := range t.groups {
		add("group", g)
	}
	for _, o := range t.transactions {
		add("transaction", o)
	}
	if t.cluster {
		add("cluster", "")
	}
	if len(rules) == 0 {
		return nil, exit.Usagef("for instance --stream 'news*'", "say what the rule is about: --stream, --group, --owner or --on-cluster")
	}
	return rules, nil
}

func newGrant(f *factory.Factory, revoke bool) *cobra.Command {
	b := &factory.Broker{F: f}
	var o change.Options
	var t things
	var deny bool
	use, short := "grant", "Let a user do something"
	if revoke {
		use, short = "revoke", "Take away what a user was granted, or denied"
	}
	cmd := &cobra.Command{
		Use:   use + " USER OPERATION[,OPERATION...] --stream NAME...",
		Short: short,
		Long:  short + ".\n\nOperations are read, write, create, delete, alter, describe and all, or the\nbackend's own.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 2, 2, "a user and operations", "acl "+use+" alice read --stream news"); err != nil {
				return err
			}
			operations := strings.Split(args[1], ",")
			if slices.Contains(operations, "") {
				return exit.Usagef("for instance acl "+use+" "+args[0]+" read,describe", "%q: an operation is empty", args[1])
			}
			if err := factory.Once("operation", operations); err != nil {
				return err
			}
			rules, err := t.rules(args[0], operations, deny)
			if err != nil {
				return err
			}
			var ch admin.Change = admin.Grant{Rules: rules}
			if revoke {
				ch = admin.Revoke{Rules: rules}
			}
			return b.With(cmd.Context(), func(u ss.URL, c *admin.Client) error { return change.Run(cmd.Context(), f, c, u, ch, o) })
		},
	}
	fs := cmd.Flags()
	b.AddFlags(fs)
	change.AddFlags(fs, &o)
	t.flags(fs)
	fs.BoolVar(&deny, "deny", false, "a rule that forbids it, where the backend has those")
	return cmd
}

func newExplain(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o listing.Options
	kind := "stream"
	cmd := &cobra.Command{
		Use:   "explain USER OPERATION NAME",
		Short: "Say whether a user may do something, and by which rules",
		Long: `Say whether a user may do something, and by which rules: exit 0 where it may, 1 where
not. A rule that denies goes before one that allows.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 3, 3, "a user, an operation and a name", "acl explain alice read news"); err != nil {
				return err
			}
			return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
				all, some := c.Rules(cmd.Context())
				if some != nil && len(all) == 0 {
					return some
				}
				may, why := admin.Explain(all, args[0], args[1], kind, args[2])
				if err := listing.Write(f.IO, o, columns, listing.Each(why), document); err != nil {
					return err
				}
				if may {
					return incomplete(some)
				}
				what := "no rule allows it"
				if len(why) > 0 && why[0].Deny {
					what = "a rule denies it"
				}
				no := &exit.Error{Code: exit.Partial, Item: args[0], Msg: fmt.Sprintf("%s may not %s %s %s: %s", args[0], args[1], kind, args[2], what)}
				return exit.Join(no, incomplete(some))
			})
		},
	}
	fs := cmd.Flags()
	b.AddFlags(fs)
	listing.AddFlags(fs, &o)
	fs.Var(factory.OneOf(&kind, "stream", "group", "transaction", "cluster"), "kind", "what NAME is: `stream|group|transaction|cluster`")
	return cmd
}
