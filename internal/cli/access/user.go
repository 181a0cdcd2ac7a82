package access

import (
	"io"
	"os"
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

// NewUser is the command user with those below it.
func NewUser(f *factory.Factory) *cobra.Command {
	return factory.Group("user", "List, create, change and remove users of a server", `  sea streamer user ls --broker localhost:9092
  sea streamer user create alice --password-file alice.secret --broker localhost:9092
  sea streamer user set alice --disable --broker redis://localhost:6379
  sea streamer user rm alice --yes --broker localhost:9092`,
		newUserLs(f), newUserSet(f, true), newUserSet(f, false), newUserRm(f))
}

var userColumns = []listing.Column[admin.UserInfo]{
	{Name: "user", Raw: func(u admin.UserInfo) string { return u.Name }},
	{Name: "enabled", Raw: func(u admin.UserInfo) string { return strconv.FormatBool(u.Enabled) }},
	{Name: "logins", Raw: func(u admin.UserInfo) string { return strings.Join(u.Logins, ", ") }},
	{Name: "native", Raw: func(u admin.UserInfo) string { return u.Native }, Wide: true},
}

func newUserLs(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o listing.Options
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the users that the server itself knows",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 0, 0, "no operand", ""); err != nil {
				return err
			}
			return b.With(cmd.Context(), func(_ ss.URL, c *admin.Client) error {
				users, some := c.Users(cmd.Context())
				if some != nil && len(users) == 0 {
					return some
				}
				err := listing.Write(f.IO, o, userColumns, listing.Each(users), func(u admin.UserInfo) any {
					return struct {
						Name    string   `json:"name"`
						Enabled bool     `json:"enabled"`
						Logins  []string `json:"logins"`
						Native  string   `json:"native,omitempty"`
					}(u)
				})
				if err != nil {
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

func newUserSet(f *factory.Factory, create bool) *cobra.Command {
	b := &factory.Broker{F: f}
	var o change.Options
	var file, mechanism string
	var none, disable, enable bool
	use, short := "set", "Change a user"
	if create {
		use, short = "create", "Create a user"
	}
	cmd := &cobra.Command{
		Use:   use + " USER [RULE...]",
		Short: short,
		Long:  short + ". RULEs are in the backend's own words, where it has some: on Redis those of\nACL SETUSER. A password comes from a file or, with -, from standard input, never\nfrom the command line, which others can see.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, -1, "a user", "user "+use+" alice --password-file FILE"); err != nil {
				return err
			}
			for _, w := range args[1:] {
				if strings.HasPrefix(w, ">") || strings.HasPrefix(w, "<") {
					return exit.Usagef("use --password-file FILE", "a password among the rules can be seen by every user of this machine")
				}
			}
			spec := admin.UserSpec{Name: args[0], Mechanism: mechanism, NoPassword: none, Disable: disable, Native: args[1:]}
			if enable {
				spec.Native = append([]string{"on"}, spec.Native...)
			}
			var err error
			if spec.Password, err = password(f, file); err != nil {
				return err
			}
			if create && file == "" && !none && len(args) == 1 {
				return exit.Usagef("user create "+args[0]+" --password-file FILE, or --no-password where the backend has that", "a new user needs a password")
			}
			if !create && file == "" && !none && !disable && !enable && len(args) == 1 {
				return exit.Usagef("for instance --password-file FILE", "say what to change")
			}
			return b.With(cmd.Context(), func(u ss.URL, c *admin.Client) error {
				if err := exists(cmd, c, spec.Name, create); err != nil {
					return err
				}
				return change.Run(cmd.Context(), f, c, u, admin.SetUser{UserSpec: spec}, o)
			})
		},
	}
	fs := cmd.Flags()
	b.AddFlags(fs)
	change.AddFlags(fs, &o)
	fs.StringVar(&file, "password-file", "", "read the password from `FILE`; - is standard input")
	fs.BoolVar(&none, "no-password", false, "let in whoever names the user, where the backend can (Redis: nopass)")
	fs.StringVar(&mechanism, "mechanism", "", "how the password is kept, `NAME`: on Kafka SCRAM-SHA-512 (the default) or SCRAM-SHA-256")
	fs.BoolVar(&disable, "disable", false, "let the user not log in, where the backend can")
	fs.BoolVar(&enable, "enable", false, "let the user log in again, where the backend can")
	cmd.MarkFlagsMutuallyExclusive("disable", "enable")
	cmd.MarkFlagsMutuallyExclusive("password-file", "no-password")
	return cmd
}

// exists refuses to create a user that is there and to change one that is not.
func exists(cmd *cobra.Command, c *admin.Client, name string, create bool) error {
	users, err := c.Users(cmd.Context())
	if err != nil && len(users) == 0 {
		return err
	}
	there := false
	for _, u := range users {
		there = there || u.Name == name
	}
	switch {
	case there && create:
		return &exit.Error{Code: exit.Conflict, Item: name, Msg: "there is a user " + name, Hint: "user set changes it"}
	case !there && !create:
		return &exit.Error{Code: exit.NotFound, Item: name, Msg: "there is no user " + name, Hint: "user create makes it"}
	}
	return nil
}

// password reads the first line of a file.
func password(f *factory.Factory, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(io.LimitReader(f.IO.In, 64<<10))
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return "", &exit.Error{Code: exit.From(err).Code, Item: file, Msg: "read the password", Err: err}
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", exit.Usagef("write it on the first line", "%s holds no password", file)
	}
	return line, nil
}

func newUserRm(f *factory.Factory) *cobra.Command {
	b := &factory.Broker{F: f}
	var o change.Options
	cmd := &cobra.Command{
		Use:   "rm USER",
		Short: "Remove a user",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 1, 1, "one user", "user rm alice"); err != nil {
				return err
			}
			return b.With(cmd.Context(), func(u ss.URL, c *admin.Client) error {
				if err := exists(cmd, c, args[0], false); err != nil {
					return err
				}
				return change.Run(cmd.Context(), f, c, u, admin.DeleteUser{Name: args[0]}, o)
			})
		},
	}
	b.AddFlags(cmd.Flags())
	change.AddFlags(cmd.Flags(), &o)
	return cmd
}
