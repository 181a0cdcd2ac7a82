package lag

import (
	"slices"
	"strconv"
	"time"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/chart"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// A row is a group, or a shard of one.
type row struct {
	group
	shard *admin.ShardLag
}

func (r row) messages() admin.Count {
	if r.shard != nil {
		return r.shard.Messages
	}
	return r.Messages()
}

func (r row) age() time.Duration {
	if r.shard != nil {
		return r.shard.Age
	}
	return r.Age()
}

func (r row) pending() int64 {
	if r.shard != nil {
		return r.shard.Pending
	}
	return r.Pending()
}

// show prints one look.
func show(ios *iostreams.Streams, o options, groups []group) error {
	if o.Output == "json" {
		return listing.Write(ios, o.Options, nil, listing.Each(groups), func(g group) any { return document(g, o.each) })
	}
	all := rows(groups, o.each)
	if known := slices.ContainsFunc(groups, func(g group) bool { return g.Err == nil }); !known && len(all) == 0 && len(groups) > 0 && !o.watch {
		return nil // nothing but errors
	}
	return listing.Write(ios, o.Options, columns(o), listing.Each(all), nil)
}

func rows(groups []group, shards bool) []row {
	var all []row
	for _, g := range groups {
		if g.Err != nil && len(g.Shards) == 0 {
			continue // there is nothing to say but the error, which is said elsewhere
		}
		if !shards {
			all = append(all, row{group: g})
			continue
		}
		for i := range g.Shards {
			one := g.of(i)
			all = append(all, row{group: one, shard: &g.Shards[i]})
		}
	}
	return all
}

// of is the group as if it read one of its shards only, with the trend of that.
func (g group) of(i int) group {
	shard := g.Shards[i].Shard
	var looks []admin.LagSample
	for _, s := range g.looks {
		if i := slices.IndexFunc(s.Shards, func(sh admin.ShardLag) bool { return sh.Shard == shard }); i >= 0 {
			s.Lag.Shards = s.Shards[i : i+1]
			looks = append(looks, s)
		}
	}
	g.Trend = admin.TrendOf(looks...)
	g.behind = g.shards[shard]
	return g
}

func columns(o options) []listing.Column[row] {
	var cols []listing.Column[row]
	add := func(c listing.Column[row]) { cols = append(cols, c) }
	if o.watch {
		add(listing.Column[row]{Name: "time", Raw: func(r row) string { return listing.Time(r.Time) }, Wide: true})
	}
	add(listing.Column[row]{Name: "group", Raw: func(r row) string { return r.Group }})
	if o.each {
		add(listing.Column[row]{Name: "stream", Raw: func(r row) string { return r.shard.Stream }})
		add(listing.Column[row]{Name: "shard", Raw: func(r row) string { return strconv.Itoa(int(r.shard.Index)) }, Right: true})
		add(listing.Column[row]{Name: "next", Raw: func(r row) string { return r.shard.Next.String() }, Right: true})
		add(listing.Column[row]{Name: "end", Raw: func(r row) string { return r.shard.End.String() }, Right: true})
	} else {
		add(listing.Column[row]{Name: "state", Raw: func(r row) string { return r.State }})
	}
	add(listing.Column[row]{Name: "behind", Right: true,
		Raw: func(r row) string { return listing.Count(r.messages()) }, Human: func(r row) string { return listing.HumanCount(r.messages()) }})
	add(listing.Column[row]{Name: "age", Right: true,
		Raw: func(r row) string { return listing.Seconds(r.age()) }, Human: func(r row) string { return chart.Time(r.age()) }})
	add(listing.Column[row]{Name: "pending", Right: true,
		Raw: func(r row) string { return listing.Number(r.pending()) }, Human: func(r row) string { return iostreams.Thousands(r.pending()) }})
	add(listing.Column[row]{Name: "trend",
		Raw: func(r row) string { return word(r.Direction) }, Human: func(r row) string { return chart.Arrow(r.Direction.String()) + " " + word(r.Direction) }})
	add(listing.Column[row]{Name: "in", Right: true,
		Raw: func(r row) string { return rate(r.Produced) }, Human: func(r row) string { return perSecond(r.Produced) }})
	add(listing.Column[row]{Name: "out", Right: true,
		Raw: func(r row) string { return rate(r.Consumed) }, Human: func(r row) string { return perSecond(r.Consumed) }})
	add(listing.Column[row]{Name: "catch_up", Right: true,
		Raw: func(r row) string { return listing.Seconds(r.CatchUp) }, Human: func(r row) string { return chart.Time(r.CatchUp) }})
	if o.drawn {
		add(listing.Column[row]{Name: "recent", Raw: func(r row) string { return r.behind.Spark(sparkWidth) }})
	}
	if o.each {
		add(listing.Column[row]{Name: "member", Raw: func(r row) string { return r.shard.Member }})
	}
	return cols
}

// sparkWidth is how many looks a small picture shows.
const sparkWidth = 20

func word(d admin.Direction) string {
	if d == admin.Unknown {
		return ""
	}
	return d.String()
}

func rate(v float64) string {
	if v < 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

func perSecond(v float64) string {
	if v < 0 {
		return "-"
	}
	return chart.Rate(v) + "/s"
}
