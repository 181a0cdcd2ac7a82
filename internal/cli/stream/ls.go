package stream

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// sortUpTo is how many streams are held to be sorted by name; more are printed
// as they come.
const sortUpTo = 10_000

func newLs(f *factory.Factory) *cobra.Command {
	t := &target{f: f}
	var o listing.Options
	var all, long bool
	cmd := &cobra.Command{
		Use:   "ls [GLOB]",
		Short: "List the streams",
		Long: `List the streams, with their shards and messages, by name; more than 10,000 as they
come. -l adds sizes and the time of the newest message, which takes longer.`,
		Example: `  sea streamer stream ls
  sea streamer stream ls 'news*' -l --broker localhost:9092
  sea streamer stream ls -o json --broker redis://localhost:6379 | jq -r .name`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := factory.Operands(args, 0, 1, "at most one glob", "quote it: stream ls 'news*'"); err != nil {
				return err
			}
			filter := admin.StreamFilter{Internal: all, Detail: driver.DetailBounds}
			if len(args) == 1 {
				filter.Match = args[0]
			}
			if err := factory.CheckGlob(filter.Match); err != nil {
				return err
			}
			if long {
				filter.Detail |= driver.DetailBytes | driver.DetailTimes
			}
			return list(cmd.Context(), t, o, filter, nil)
		},
	}
	fs := cmd.Flags()
	t.flags(fs)
	listing.AddFlags(fs, &o)
	fs.BoolVarP(&all, "all", "a", false, "also streams that the backend keeps for itself")
	fs.BoolVarP(&long, "long", "l", false, "also sizes and times")
	return cmd
}

func newFind(f *factory.Factory) *cobra.Command {
	t := &target{f: f}
	var o listing.Options
	var idle, match string
	var empty bool
	cmd := &cobra.Command{
		Use:   "find",
		Short: "Find streams that are empty or idle",
		Example: `  sea streamer stream find --idle 30d
  sea streamer stream find --empty --match 'tmp-*' --no-header | cut -f1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.Usagef("find --match "+args[0], "%q is no operand of find", args[0])
			}
			var since time.Duration
			if idle != "" {
				var err error
				if since, err = driver.ParseDuration(idle); err != nil {
					return exit.Usagef("", "--idle: %v", err)
				}
			}
			if err := factory.CheckGlob(match); err != nil {
				return err
			}
			if idle == "" && !empty {
				return exit.Usagef("for instance stream find --idle 7d", "say what to find: --idle DURATION or --empty")
			}
			keep := func(in admin.StreamInfo) bool {
				n, last := admin.Messages(in).N, newest(in)
				return in.Err == nil && (!empty || n == 0) && (idle == "" || n == 0 || n > 0 && !last.IsZero() && time.Since(last) >= since)
			}
			filter := admin.StreamFilter{Match: match, Detail: driver.DetailBounds | driver.DetailBytes | driver.DetailTimes}
			return list(cmd.Context(), t, o, filter, keep)
		},
	}
	fs := cmd.Flags()
	t.flags(fs)
	listing.AddFlags(fs, &o)
	fs.StringVar(&idle, "idle", "", "streams whose newest message is older than `DURATION`, such as 7d, and empty ones")
	fs.BoolVar(&empty, "empty", false, "streams without messages")
	fs.StringVar(&match, "match", "", "only streams whose name matches `GLOB`")
	return cmd
}

// list prints the streams that keep takes; nil takes all.
func list(ctx context.Context, t *target, o listing.Options, filter admin.StreamFilter, keep func(admin.StreamInfo) bool) error {
	_, c, end, err := t.open(ctx)
	if err != nil {
		return err
	}
	var tally admin.PartialError
	rows := func(yield func(admin.StreamInfo, error) bool) {
		for in, err := range c.Streams(ctx, filter) {
			tally.Add(in.Name, in.Err)
			if err == nil && keep != nil && !keep(in) {
				continue
			}
			if !yield(in, err) {
				return
			}
		}
	}
	err = listing.Write(t.f.IO, o, columns(filter.Detail), byName(rows), func(in admin.StreamInfo) any { return document(in, filter.Detail) })
	return end(cmp.Or(err, tally.Failed()))
}

// byName sorts as many as can be held.
func byName(rows iter.Seq2[admin.StreamInfo, error]) iter.Seq2[admin.StreamInfo, error] {
	return func(yield func(admin.StreamInfo, error) bool) {
		var held []admin.StreamInfo
		flush := func() bool {
			slices.SortFunc(held, func(a, b admin.StreamInfo) int { return strings.Compare(a.Name, b.Name) })
			for _, in := range held {
				if !yield(in, nil) {
					return false
				}
			}
			held = held[:0]
			return true
		}
		for in, err := range rows {
			if err != nil {
				if flush() {
					yield(in, err)
				}
				return
			}
			if held = append(held, in); len(held) == sortUpTo && !flush() {
				return
			}
		}
		flush()
	}
}

// newest is the time of a stream's last message; zero where it is not known.
func newest(in admin.StreamInfo) time.Time {
	var last time.Time
	for _, sh := range in.Shards {
		if sh.LastTime.After(last) {
			last = sh.LastTime
		}
	}
	return last
}

func columns(d admin.Detail) []listing.Column[admin.StreamInfo] {
	cols := []listing.Column[admin.StreamInfo]{
		{Name: "name", Raw: func(in admin.StreamInfo) string { return in.Name }},
		{Name: "shards", Raw: func(in admin.StreamInfo) string { return strconv.Itoa(len(in.Shards)) }, Right: true},
		{Name: "messages", Raw: func(in admin.StreamInfo) string { return listing.Count(admin.Messages(in)) },
			Human: func(in admin.StreamInfo) string { return listing.HumanCount(admin.Messages(in)) }, Right: true},
	}
	if d.Has(driver.DetailBytes) {
		cols = append(cols, listing.Column[admin.StreamInfo]{Name: "bytes", Right: true,
			Raw:   func(in admin.StreamInfo) string { return listing.Number(admin.Bytes(in)) },
			Human: func(in admin.StreamInfo) string { return listing.Bytes(admin.Bytes(in)) }})
	}
	if d.Has(driver.DetailTimes) {
		cols = append(cols, listing.Column[admin.StreamInfo]{Name: "newest",
			Raw:   func(in admin.StreamInfo) string { return listing.Time(newest(in)) },
			Human: func(in admin.StreamInfo) string { return listing.Ago(newest(in)) }})
	}
	return cols
}
