// Package stream is the commands about streams: ls, info, find, create, set,
// undo, rm, shards, clone and trim.
package stream

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/change"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// New is the command with those below it.
func New(f *factory.Factory) *cobra.Command {
	return factory.Group("stream", "List, describe, create, change and remove streams", `  sea streamer stream ls --broker localhost:9092
  sea streamer stream info redis://localhost:6379/news
  sea streamer stream create news --shards 4 --set max-age=7d --broker localhost:9092
  sea streamer stream rm news --dry-run`,
		newLs(f), newInfo(f), newFind(f), newCreate(f), newSet(f), newUndo(f), newRm(f), newShards(f), newClone(f), newTrim(f))
}

// target is which broker a command means, and the streams that it names.
type target struct {
	f *factory.Factory
	t factory.Target
}

func (t *target) flags(fs *pflag.FlagSet) { factory.AddBrokerFlags(fs, &t.t) }

// open opens the broker of the operands, which are names or URLs of streams.
func (t *target) open(ctx context.Context, operands ...string) (u ss.URL, c *admin.Client, end func(error) error, err error) {
	return t.f.AdminOf(ctx, t.t, operands...)
}

// changer is a command that changes something of streams.
type changer struct {
	target
	o change.Options
}

func (ch *changer) flags(fs *pflag.FlagSet) {
	ch.target.flags(fs)
	change.AddFlags(fs, &ch.o)
}

// run does what build makes of the streams that the operands name.
func (ch *changer) run(ctx context.Context, operands []string, build func(streams []string) (admin.Change, error)) error {
	u, c, end, err := ch.open(ctx, operands...)
	if err != nil {
		return err
	}
	what, err := build(u.Streams)
	if err == nil {
		err = change.Run(ctx, ch.f, c, u, what, ch.o)
	}
	return end(factory.Reader(err, u.Streams))
}
