// Package top is the command that shows which streams grow how fast, as top does
// with processes.
package top

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/cli/screen"
)

type options struct {
	listing.Options
	once     bool
	interval time.Duration
	stale    time.Duration // zero is ten times the usual
	filter   admin.StreamFilter
	broker   string
}

const minInterval = 100 * time.Millisecond

// New is the command.
func New(f *factory.Factory) *cobra.Command {
	var t factory.Target
	var o options
	var interval, stale string
	cmd := &cobra.Command{
		Use:   "top [GLOB]",
		Short: "Show which streams grow how fast, and who reads them",
		Long: `Show which streams grow how fast, and who reads them, the fastest first. ▲ marks a
stream that grows at five times its usual rate or more, ○ one without a message for
ten times as long as usual, or for --stale. Bytes are messages times the size that
recent ones take on disk or in memory. SEQ is where each shard ends.

On a terminal the keys m, b, l, n sort by messages, bytes, last message and name,
the arrows move, / filters by a part of the name, q quits. On a pipe, and where TERM
is dumb, it prints a table every --interval, with -o json an object; -1 prints one,
after two looks, or after one with --interval 0, which has no rates.`,
		Example: `  sea streamer top --broker localhost:9092
  sea streamer top 'news*' --interval 5s --stale 1m --broker redis://localhost:6379
  sea streamer top -1 -o json | jq '.streams[] | select(.bursting) | .name'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := factory.Operands(args, 0, 1, "at most one glob", "quote it: top 'news*'")
			if err != nil {
				return err
			}
			if len(args) == 1 {
				o.filter.Match = args[0]
			}
			if err := factory.CheckGlob(o.filter.Match); err != nil {
				return err
			}
			if o.interval, err = driver.ParseDuration(interval); err != nil || o.interval < 0 {
				return exit.Usagef("use 2s", "--interval %s is no duration", interval)
			}
			if o.interval < minInterval && !(o.once && o.interval == 0) {
				return exit.Usagef("use 2s, or -1 --interval 0 for one look without rates", "--interval %s is too short", interval)
			}
			if cmd.Flags().Changed("stale") {
				if o.stale, err = driver.ParseDuration(stale); err != nil || o.stale <= 0 {
					return exit.Usagef("use 1m", "--stale %s is no duration", stale)
				}
			}
			u, err := f.ResolveBroker(t)
			if err != nil {
				return err
			}
			o.broker = u.String()
			ctx, _, stop := f.HandleSignals(cmd.Context())
			defer stop()
			c, end, err := f.Admin(ctx, u)
			if err != nil {
				return err
			}
			return end(run(ctx, f, c, o))
		},
	}
	fs := cmd.Flags()
	factory.AddBrokerFlags(fs, &t)
	listing.AddFlags(fs, &o.Options)
	fs.BoolVarP(&o.once, "once", "1", false, "print once and end")
	fs.BoolVarP(&o.filter.Internal, "all", "a", false, "also streams that the backend keeps for itself")
	fs.StringVar(&interval, "interval", "2s", "`DURATION` between two looks")
	fs.StringVar(&stale, "stale", "", "mark streams without a message for a `DURATION`; the default is ten times as long as usual")
	return cmd
}

func run(ctx context.Context, f *factory.Factory, c *admin.Client, o options) error {
	if !o.once && o.Output == "auto" && screen.Able(f.IO) {
		return interactive(ctx, f, c, o)
	}
	s := admin.NewSampler(c, o.filter)
	g := newGroups(c)
	if o.once {
		return once(ctx, f, s, g, o)
	}
	tick := time.NewTicker(o.interval) // which skips what it is late for
	defer tick.Stop()
	for {
		r, err := s.Sample(ctx)
		if ctx.Err() != nil { // it was told to end: what was seen since is in part
			return nil
		}
		if err != nil {
			return err
		}
		g.look(ctx, r.Time)
		if err := show(f.IO, o, &look{r, g.seen()}); err != nil {
			return err
		}
		o.NoHeader = o.NoHeader || !o.Table(f.IO.OutTTY) // one for all, but for tables
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// once prints one look, after another one where there are to be rates. The first
// one is printed where the second was told to end.
func once(ctx context.Context, f *factory.Factory, s *admin.Sampler, g *groups, o options) error {
	r, err := s.Sample(ctx)
	if err == nil && o.interval > 0 && pause(ctx, o.interval) {
		if next, e := s.Sample(ctx); ctx.Err() == nil {
			r, err = next, e
		}
	}
	if err != nil {
		return err
	}
	g.look(ctx, r.Time)
	return show(f.IO, o, &look{r, g.seen()})
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
