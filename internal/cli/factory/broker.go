package factory

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// A Broker is which broker a command about brokers means.
type Broker struct {
	F *Factory
	T Target
}

// AddFlags adds the flags that say it.
func (b *Broker) AddFlags(fs *pflag.FlagSet) { AddBrokerFlags(fs, &b.T) }

// With opens the broker, has do work with it, and closes it.
func (b *Broker) With(ctx context.Context, do func(u ss.URL, c *admin.Client) error) error {
	u, err := b.F.ResolveBroker(b.T)
	if err != nil {
		return err
	}
	c, end, err := b.F.Admin(ctx, u)
	if err != nil {
		return err
	}
	return end(do(u, c))
}

// Group is a command that only has others below it.
func Group(use, short, example string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example, Args: NoCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(below...)
	return cmd
}

// Once is an error where one of the names of things comes twice.
func Once(thing string, names []string) error {
	seen := make(map[string]bool, len(names))
	for _, n := range names {
		if seen[n] {
			return exit.Usagef("name it once", "%s %q is named twice", thing, n)
		}
		seen[n] = true
	}
	return nil
}

// OnceEach is Once for the names of NAME=VALUE.
func OnceEach(thing string, settings []string) error {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i], _, _ = strings.Cut(s, "=")
	}
	return Once(thing, names)
}

// Operands is an error where there are too few operands or too many; most below
// zero is any number. Want says what is wanted, and example how to write it.
func Operands(args []string, least, most int, want, example string) error {
	switch {
	case len(args) < least:
		return exit.Usagef(example, "%s is wanted", want)
	case most >= 0 && len(args) > most:
		return exit.Usagef(example, "%q is too much: %s is wanted", args[most], want)
	}
	return nil
}
