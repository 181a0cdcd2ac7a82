// Package timeline is the command that shows how many messages a stream holds of
// which time, without reading them.
package timeline

import (
	"cmp"
	"context"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/cli/position"
)

type options struct {
	listing.Options
	from, until position.Spec
	bucket      time.Duration // zero is a round one that fits
	width       int           // of the picture; zero is the terminal's
}

// most is how many buckets there may be: each is a look-up of every shard.
const most = 10_000

// New is the command.
func New(f *factory.Factory) *cobra.Command {
	var t factory.Target
	var o options
	var from, until, bucket string
	cmd := &cobra.Command{
		Use:   "timeline STREAM",
		Short: "Show how many messages a stream holds of which time",
		Long: `Show how many messages a stream holds of which time, as bars. It looks up where each
span of time begins and reads no messages, so that it is as quick on a stream of
terabytes. Where the backend cannot count what lies between, as on Redis, counts are
estimates, marked with ~. Without --bucket spans are as short as fits on the screen,
of a round length: 1s, 5s, 10s, 30s, 1m, 5m, 15m, 1h, 6h, 1d, 7d. Times are
local; in TSV and JSON they are UTC. A span that --from or --until fall into is shown
whole.`,
		Example: `  sea streamer timeline news --broker localhost:9092
  sea streamer timeline redis://localhost:6379/news --from -1h --bucket 1m
  sea streamer timeline news --from yesterday --until today -o json | jq .messages`,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := factory.Operands(args, 0, 1, "one stream", "timeline news")
			if err != nil {
				return err
			}
			now := time.Now()
			for _, p := range []struct {
				flag, text string
				to         *position.Spec
			}{{"--from", from, &o.from}, {"--until", until, &o.until}} {
				if *p.to, err = position.Parse(p.text, now); err != nil {
					return exit.Usagef("", "%s: %v", p.flag, err)
				}
				if _, ok := p.to.Start(); !ok {
					return exit.Usagef("use @TIME, -1h, yesterday, a sequence number, start or end", "%s %s: a position counted in messages, or for one shard, cannot be used here", p.flag, p.text)
				}
			}
			if cmd.Flags().Changed("bucket") {
				if o.bucket, err = driver.ParseDuration(bucket); err != nil || o.bucket < time.Millisecond {
					return exit.Usagef("use 1s, 5m or 1d", "--bucket %s is no length of time", bucket)
				}
			}
			if cmd.Flags().Changed("width") && (o.width < 20 || o.width > 1000) {
				return exit.Usagef("use 20 to 1000", "--width %d", o.width)
			}
			u, err := f.Resolve(t, args...)
			if err != nil {
				return err
			}
			return run(cmd.Context(), f, u, o)
		},
	}
	fs := cmd.Flags()
	factory.AddTargetFlags(fs, &t)
	listing.AddFlags(fs, &o.Options)
	fs.StringVar(&from, "from", "start", "begin at `POS`: @TIME, -1h, yesterday, a sequence number, start")
	fs.StringVar(&until, "until", "end", "end before `POS`")
	fs.StringVar(&bucket, "bucket", "", "`DURATION` that each bar is of, such as 1m")
	fs.IntVar(&o.width, "width", 0, "`N` columns that the picture may take; the default is the terminal's")
	return cmd
}

func run(ctx context.Context, f *factory.Factory, u ss.URL, o options) error {
	c, end, err := f.Admin(ctx, u)
	if err != nil {
		return err
	}
	stream := u.Streams[0]
	infos, err := c.Describe(ctx, driver.DetailBounds|driver.DetailTimes, stream)
	if err != nil {
		return end(factory.Reader(err, u.Streams))
	}
	from, until, err := span(ctx, c, infos[0], o)
	if err != nil {
		return end(err)
	}
	if !from.Before(until) {
		return end(write(f, o, stream, nil))
	}
	// What begins the line, and the two lines above the bars, leave so many.
	width, height := size(f, o.width)
	if o.bucket == 0 {
		o.bucket = length(until.Sub(from), max(height-4, 10))
	}
	if n := int64(until.Sub(from) / o.bucket); n >= most {
		return end(exit.Usagef("use a longer --bucket, or a later --from", "%v in spans of %s are %d bars, and %d are too many", listing.Duration(until.Sub(from)), admin.FormatDuration(o.bucket), n+1, most))
	}
	buckets, err := c.Timeline(ctx, stream, edges(from, until, o.bucket))
	if err != nil {
		return end(factory.Reader(err, u.Streams))
	}
	o.width = width
	return end(write(f, o, stream, buckets))
}

// span is the time that is asked for; what is not asked for is what the stream has.
func span(ctx context.Context, c *admin.Client, in admin.StreamInfo, o options) (from, until time.Time, _ error) {
	for _, sh := range in.Shards {
		if !sh.FirstTime.IsZero() && (from.IsZero() || sh.FirstTime.Before(from)) {
			from = sh.FirstTime
		}
		if !sh.LastTime.IsZero() && !sh.LastTime.Before(until) {
			until = sh.LastTime.Add(1) // it is in the span
		}
	}
	if until.IsZero() && !from.IsZero() { // a broker that does not say when its last message came
		until = time.Now()
	}
	// A time that is asked for wins, so that one sees that there was nothing.
	t, given, err := timeOf(ctx, c, in.Name, o.from)
	if err != nil {
		return from, until, err
	}
	if given {
		from = t
	}
	if t, given, err = timeOf(ctx, c, in.Name, o.until); err != nil {
		return from, until, err
	}
	if given {
		until = t
	}
	return from, until, nil
}

// timeOf is when a position is: that of the first message at or after it in any
// shard. Given is false for the start and the end, which are not times.
func timeOf(ctx context.Context, c *admin.Client, stream string, p position.Spec) (_ time.Time, given bool, _ error) {
	if t, ok := p.Time(); ok {
		return t, true, nil
	}
	start, _ := p.Start()
	if start.At == driver.AtEarliest || start.At == driver.AtLatest {
		return time.Time{}, false, nil
	}
	at, err := c.Resolve(ctx, stream, start)
	if err != nil {
		return time.Time{}, false, err
	}
	times, err := c.Times(ctx, at)
	if err != nil {
		return time.Time{}, false, err
	}
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first, !first.IsZero(), nil
}

// size is what the picture may take.
func size(f *factory.Factory, width int) (w, h int) {
	w, h = 80, 64
	if f.IO.OutTTY && f.IO.OutFile != nil {
		if tw, th, err := term.GetSize(int(f.IO.OutFile.Fd())); err == nil && tw > 0 && th > 0 {
			w, h = tw, th
		}
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n >= 20 {
		w = n
	}
	return max(20, cmp.Or(width, w)), h
}

const day = 24 * time.Hour

var lengths = []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, day, 7 * day}

// length is the shortest round length of which n, less the one that aligning may
// add, span so much; or so many weeks.
func length(span time.Duration, n int) time.Duration {
	least := time.Duration(math.Ceil(float64(span) / float64(max(1, n-1))))
	for _, l := range lengths {
		if l >= least {
			return l
		}
	}
	const week = 7 * day
	return (least + week - 1).Truncate(week)
}

// edges are where spans begin and end, the first one at or before from and the last
// one at or after until: full minutes, hours, days or Mondays where it lives. A day
// is one of the calendar, which has 23 or 25 hours where the clock is changed.
func edges(from, until time.Time, bucket time.Duration) []time.Time {
	from, until = from.Local(), until.Local()
	edge := func(k int) time.Time { return from.Add(time.Duration(k) * bucket) }
	if days := int(bucket / day); bucket%day == 0 {
		year, month, d := from.Date()
		year, month, d = time.Date(year, month, d, 0, 0, 0, 0, time.UTC).Truncate(bucket).Date()
		edge = func(k int) time.Time { return midnight(year, month, d+k*days) }
	} else {
		_, offset := from.Zone()
		east := time.Duration(offset) * time.Second
		from = from.Add(east).Truncate(bucket).Add(-east)
	}
	at := []time.Time{edge(0)}
	for k := 1; at[k-1].Before(until) || k == 1; k++ {
		at = append(at, edge(k))
	}
	return at
}

// midnight is where a day begins, which is later where the clock is put on then.
func midnight(year int, month time.Month, d int) time.Time {
	t := time.Date(year, month, d, 0, 0, 0, 0, time.Local)
	if t.Hour() == 23 {
		t = t.Add(time.Hour)
	}
	return t
}
