// Package group is the commands about consumer groups: ls, info, lag, seek, undo,
// clone, rm, rm-offsets and members.
package group

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/change"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/lag"
)

// New is the command with those below it.
func New(f *factory.Factory) *cobra.Command {
	return factory.Group("group", "List, describe, move and remove consumer groups, and see how far they are behind", `  sea streamer group ls --broker localhost:9092
  sea streamer group lag --max-age 5m --broker localhost:9092
  sea streamer group seek workers --to -1h --dry-run
  sea streamer group undo workers`,
		newLs(f), newInfo(f), lag.New(f), newMembers(f), newSeek(f), newUndo(f), newClone(f), newRm(f), newRmOffsets(f))
}

// target is which broker a command means, and the streams that --stream names.
type target struct {
	f       *factory.Factory
	t       factory.Target
	streams []string
}

func (t *target) flags(fs *pflag.FlagSet, streams string) {
	factory.AddBrokerFlags(fs, &t.t)
	if streams != "" {
		fs.StringArrayVar(&t.streams, "stream", nil, streams+": a `NAME`, or a URL, which also names the broker; may be repeated")
	}
}

// open opens the broker of the streams or flags; u.Streams are the streams.
func (t *target) open(ctx context.Context) (u ss.URL, c *admin.Client, end func(error) error, err error) {
	return t.f.AdminOf(ctx, t.t, t.streams...)
}

// changer is a command that changes something of groups.
type changer struct {
	target
	o change.Options
}

func (ch *changer) flags(fs *pflag.FlagSet, streams string) {
	ch.target.flags(fs, streams)
	change.AddFlags(fs, &ch.o)
}

// run does what build makes.
func (ch *changer) run(ctx context.Context, build func(c *admin.Client, streams []string) (admin.Change, error)) error {
	u, c, end, err := ch.open(ctx)
	if err != nil {
		return err
	}
	what, err := build(c, u.Streams)
	if err == nil {
		err = change.Run(ctx, ch.f, c, u, what, ch.o)
	}
	return end(factory.Missing(err))
}

// shardList is shards in words: news[0-3,7] sport[0]. They are in order.
func shardList(shards []ss.Shard) string {
	var b strings.Builder
	for i := 0; i < len(shards); {
		first, j := shards[i], i
		for j+1 < len(shards) && shards[j+1].Stream == first.Stream && shards[j+1].Index == shards[j].Index+1 {
			j++
		}
		switch {
		case i == 0:
			b.WriteString(first.Stream + "[")
		case shards[i-1].Stream == first.Stream:
			b.WriteString(",")
		default:
			b.WriteString("] " + first.Stream + "[")
		}
		if fmt.Fprint(&b, first.Index); j > i {
			fmt.Fprintf(&b, "-%d", shards[j].Index)
		}
		i = j + 1
	}
	if len(shards) > 0 {
		b.WriteString("]")
	}
	return b.String()
}
