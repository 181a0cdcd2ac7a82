// Package lag is the command that shows how far groups are behind, which way
// that goes, and when they will have caught up.
package lag

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

type options struct {
	listing.Options
	each     bool          // per shard
	watch    bool          // until it is ended
	interval time.Duration // between samples; zero takes one, without a trend
	max      int64         // messages; below zero is none
	maxAge   time.Duration // below zero is none
	drawn    bool          // with a small picture of each group's lag
}

// New is the command, which stands at the top and under group.
func New(f *factory.Factory) *cobra.Command {
	var t factory.Target
	var o options
	var interval, maxAge string
	cmd := &cobra.Command{
		Use:   "lag [GROUP...]",
		Short: "Show how far groups are behind, and when they will have caught up",
		Long: `Show how far groups are behind, or all groups: in messages (~ is an estimate), and
in time, which is the age, by its timestamp, of the first message at or behind where
the group stands. Two looks, --interval apart, say which way it goes and when the
group will have caught up if that goes on. With --max or --max-age it ends with 1
when a group is further behind, and names the worst one: for cron. --watch goes on
until it is ended, on a terminal with a picture of each lag over the last looks.

On Kafka and files a group stands where it has committed, and what its members have
read and not committed is behind. On Redis it stands behind the last message that
was delivered: what members hold without a verdict is in the column pending, and
neither --max nor --max-age looks at it. For that there is pending ls --min-idle.`,
		Example: `  sea streamer lag --broker localhost:9092
  sea streamer lag workers -l --watch --broker redis://localhost:6379
  sea streamer lag workers --max-age 30s --interval 0 -q || echo workers are late`,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := factory.Groups(args, 0, -1, "", "lag workers")
			if err != nil {
				return err
			}
			if o.interval, err = driver.ParseDuration(interval); err != nil || o.interval < 0 {
				return exit.Usagef("use 1s or more, or 0 for one look without a trend", "--interval %s is no duration", interval)
			}
			if o.watch && o.interval < minInterval {
				return exit.Usagef("use 1s", "--interval %s is too short to --watch", interval)
			}
			if cmd.Flags().Changed("max") && o.max < 0 {
				return exit.Usagef("for instance --max 1000", "--max %d is below zero", o.max)
			}
			if o.maxAge = -1; cmd.Flags().Changed("max-age") {
				if o.maxAge, err = driver.ParseDuration(maxAge); err != nil || o.maxAge < 0 {
					return exit.Usagef("for instance --max-age 30s", "--max-age %s is no duration", maxAge)
				}
			}
			u, err := f.ResolveBroker(t)
			if err != nil {
				return err
			}
			return run(cmd.Context(), f, u, args, o)
		},
	}
	fs := cmd.Flags()
	factory.AddBrokerFlags(fs, &t)
	listing.AddFlags(fs, &o.Options)
	fs.BoolVarP(&o.each, "long", "l", false, "a line for each shard")
	fs.BoolVarP(&o.watch, "watch", "w", false, "again every --interval, until it is ended")
	fs.StringVar(&interval, "interval", "1s", "`DURATION` between two looks; 0 takes one, which shows no trend")
	fs.Int64Var(&o.max, "max", -1, "end with 1 when a group is more than `N` messages behind")
	fs.StringVar(&maxAge, "max-age", "", "end with 1 when a group is more than a `DURATION` behind, such as 30s")
	return cmd
}

const minInterval = 100 * time.Millisecond

func run(ctx context.Context, f *factory.Factory, u ss.URL, names []string, o options) error {
	ctx, _, stop := f.HandleSignals(ctx)
	defer stop()
	c, end, err := f.Admin(ctx, u)
	if err != nil {
		return err
	}
	w := &watcher{c: c, names: names, each: o.each}
	if o.watch {
		return end(w.watch(ctx, f, o))
	}
	groups, failed := w.look(ctx)
	if groups != nil && o.interval > 0 && pause(ctx, o.interval) {
		// The first look is shown where the second one was told to end.
		if next, err := w.look(ctx); ctx.Err() == nil {
			groups, failed = next, err
		}
	}
	if groups == nil {
		return end(factory.Missing(failed))
	}
	if err := show(f.IO, o, groups); err != nil {
		return end(err)
	}
	return end(exit.Join(over(groups, o), factory.Missing(failed)))
}

// pause reports whether it waited to the end.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// over says which group is further behind than it may be: the worst one, by time
// where that is limited. A lag that is not known is over any limit in messages.
func over(groups []group, o options) error {
	var late []group
	worst := -1
	for _, g := range groups {
		if g.Err != nil { // which fails anyway
			continue
		}
		n := g.Messages().N
		tooMany := o.max >= 0 && (n > o.max || n < 0)
		tooOld := o.maxAge >= 0 && g.Age() > o.maxAge
		if !tooMany && !tooOld {
			continue
		}
		late = append(late, g)
		if worst < 0 || worse(g, late[worst], o) {
			worst = len(late) - 1
		}
	}
	if worst < 0 {
		return nil
	}
	g := late[worst]
	text := fmt.Sprintf("group %s is ", g.Group)
	if n := g.Messages(); n.N < 0 {
		text += "behind by a number of messages that is not known"
	} else {
		text += listing.Of(n, "message") + " behind"
	}
	if age := g.Age(); age > 0 {
		text += ", the first of them sent " + listing.Duration(age) + " ago"
	}
	if s, ok := worstShard(g, o); ok && len(g.Shards) > 1 {
		text += fmt.Sprintf(", on %v the most", s.Shard)
	}
	if more := len(late) - 1; more > 0 {
		text += ", and " + iostreams.Thousands(int64(more)) + " more are over the limit"
	}
	return &exit.Error{Code: exit.Partial, Item: g.Group, Err: errors.New(text)}
}

// worstShard is the shard on which a group is furthest behind, by what is limited.
func worstShard(g group, o options) (admin.ShardLag, bool) {
	if o.maxAge >= 0 {
		return g.Worst()
	}
	return g.Most()
}

func worse(a, b group, o options) bool {
	if o.maxAge >= 0 && a.Age() != b.Age() {
		return a.Age() > b.Age()
	}
	x, y := a.Messages().N, b.Messages().N
	return y >= 0 && (x < 0 || x > y)
}
