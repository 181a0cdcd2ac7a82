// Package pending is the commands about messages that a group was given and has no
// verdict on yet: ls, claim, ack and nack.
package pending

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// New is the command with those below it.
func New(f *factory.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pending",
		Short: "Messages that a group was given and has no verdict on: list, claim, settle",
		Long: `Messages that a group was given and has no verdict on yet, where groups keep a
verdict for each message, as on Redis. A message is named SHARD=SEQ, as ls prints
it, or by its sequence number alone where the stream has one shard.`,
		Example: `  sea streamer pending ls news workers --min-idle 10m --broker redis://localhost:6379
  sea streamer pending claim redis://localhost:6379/news workers --to worker-2 --min-idle 10m --all
  sea streamer pending ack news workers 0=1700000000000-3 --yes`,
		Args: factory.NoCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLs(f), newClaim(f), newAck(f), newNack(f))
	return cmd
}

// target is the broker, stream and group that a command means, and which of the
// pending messages.
type target struct {
	f       *factory.Factory
	t       factory.Target
	member  string
	minIdle string
	filter  admin.PendingFilter
}

func (t *target) flags(fs *pflag.FlagSet) {
	factory.AddBrokerFlags(fs, &t.t)
	fs.StringVar(&t.minIdle, "min-idle", "", "only messages that were last delivered at least a `DURATION` ago, such as 10m")
}

func (t *target) memberFlag(fs *pflag.FlagSet) {
	fs.StringVar(&t.member, "member", "", "only messages that the member `NAME` holds")
}

// open opens the broker of STREAM, the first operand; GROUP is the second.
func (t *target) open(ctx context.Context, args []string, example string) (u ss.URL, c *admin.Client, end func(error) error, err error) {
	switch {
	case len(args) < 2:
		return u, nil, nil, exit.Usagef(example, "a stream and a group are wanted")
	case args[1] == "" || strings.Contains(args[1], "://"):
		return u, nil, nil, exit.Usagef(example, "%q is not the name of a group", args[1])
	}
	t.filter.Member = t.member
	if t.minIdle != "" {
		d, err := driver.ParseDuration(t.minIdle)
		if err != nil || d < 0 {
			return u, nil, nil, exit.Usagef("for instance --min-idle 10m", "--min-idle %s is no duration", t.minIdle)
		}
		t.filter.MinIdle = d
	}
	u, c, end, err = t.f.AdminOf(ctx, t.t, args[0])
	if err == nil && len(u.Streams) != 1 {
		return u, nil, nil, end(exit.Usagef(example, "%s names %d streams: one is wanted", args[0], len(u.Streams)))
	}
	return u, c, end, err
}

// missing is an error with what to do about a stream or group that is not there.
func missing(err error) error {
	e := exit.From(err)
	if e == nil || e.Code != exit.NotFound || e.Hint != "" {
		return err
	}
	c := *e
	c.Hint = "check the names and --broker; pending ls lists what is pending"
	return &c
}

func newLs(f *factory.Factory) *cobra.Command {
	t := &target{f: f}
	var o listing.Options
	var most int64
	cmd := &cobra.Command{
		Use:   "ls STREAM GROUP",
		Short: "List the messages that a group has no verdict on",
		Long: `List the messages that a group was given and has no verdict on: who holds each, since
when, and how often it was delivered.`,
		Example: `  sea streamer pending ls news workers --min-idle 10m -n 20 --broker redis://localhost:6379
  sea streamer pending ls news workers -o json | jq 'select(.attempts > 5)'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			const example = "pending ls news workers"
			if len(args) > 2 {
				return exit.Usagef(example, "%q is too much: a stream and a group are wanted", args[2])
			}
			if cmd.Flags().Changed("count") && most < 1 {
				return exit.Usagef("for instance -n 20", "--count %d: it is at least 1", most)
			}
			u, c, end, err := t.open(cmd.Context(), args, example)
			if err != nil {
				return err
			}
			rows := func(yield func(admin.PendingMessage, error) bool) {
				n := int64(0)
				for m, err := range c.Pending(cmd.Context(), u.Streams[0], args[1], t.filter) {
					if !yield(m, err) || err != nil {
						return
					}
					if n++; n == most {
						return
					}
				}
			}
			return end(missing(listing.Write(f.IO, o, columns, rows, func(m admin.PendingMessage) any { return document(m) })))
		},
	}
	fs := cmd.Flags()
	t.flags(fs)
	t.memberFlag(fs)
	listing.AddFlags(fs, &o)
	fs.Int64VarP(&most, "count", "n", 0, "end after `N` messages")
	return cmd
}

type doc struct {
	ID       string     `json:"id"`
	Stream   string     `json:"stream"`
	Shard    int32      `json:"shard"`
	Seq      driver.Seq `json:"seq"`
	Member   string     `json:"member"`
	Idle     float64    `json:"idle_s"`
	Attempts int        `json:"attempts"`
}

func document(m admin.PendingMessage) doc {
	return doc{id(m.MessageID), m.Stream, m.Index, m.Seq, m.Member, float64(m.Idle.Milliseconds()) / 1000, m.Attempts}
}

var columns = []listing.Column[admin.PendingMessage]{
	{Name: "id", Raw: func(m admin.PendingMessage) string { return id(m.MessageID) }},
	{Name: "member", Raw: func(m admin.PendingMessage) string { return m.Member }},
	{Name: "idle", Raw: func(m admin.PendingMessage) string { return strconv.FormatFloat(m.Idle.Seconds(), 'f', 3, 64) },
		Human: func(m admin.PendingMessage) string { return listing.Duration(m.Idle.Round(time.Millisecond)) }, Right: true},
	{Name: "attempts", Raw: func(m admin.PendingMessage) string { return strconv.Itoa(m.Attempts) }, Right: true},
}

// id is what the commands call a message.
func id(m admin.MessageID) string { return strconv.Itoa(int(m.Index)) + "=" + m.Seq.String() }

// parseID reads SHARD=SEQ, or SEQ of the only shard.
func parseID(text, stream string, shards int) (admin.MessageID, error) {
	shard, seq, named := strings.Cut(text, "=")
	if !named {
		shard, seq = "0", text
	}
	n, err := strconv.ParseUint(shard, 10, 31)
	q, seqErr := driver.ParseSeq(seq)
	if err != nil || seqErr != nil {
		return admin.MessageID{}, exit.Usagef("write SHARD=SEQ, such as 0=1700000000000-3", "%q is not a message", text)
	}
	if !named && shards > 1 {
		return admin.MessageID{}, exit.Usagef("write SHARD="+text, "%q: stream %s has %d shards", text, stream, shards)
	}
	if int(n) >= shards {
		return admin.MessageID{}, &exit.Error{Code: exit.NotFound, Item: stream, Msg: "there is no shard " + ss.Shard{Stream: stream, Index: int32(n)}.String()}
	}
	return admin.MessageID{Shard: ss.Shard{Stream: stream, Index: int32(n)}, Seq: q}, nil
}
