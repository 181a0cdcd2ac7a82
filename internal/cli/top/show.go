package top

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/chart"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// A row is a stream at one time.
type row struct {
	*admin.StreamRate
	time    time.Time
	members *int // nil is not known
	stale   bool
}

// The marks.
const (
	burstMark = "▲"
	staleMark = "○"
	errorMark = "✗"
)

func (r *row) mark() string {
	switch {
	case r.Err != nil:
		return errorMark
	case r.Bursting():
		return burstMark
	case r.stale:
		return staleMark
	}
	return " "
}

// age is how old the newest message is; below zero where that is not known. One
// from the future is new.
func (r *row) age() time.Duration {
	if r.Newest.IsZero() {
		return -1
	}
	return max(0, r.time.Sub(r.Newest))
}

func (r *row) name() string { return string(iostreams.EscapeLine(nil, []byte(r.Name))) }

// readBy is how many members read it, or none where that is not known.
func (r *row) readBy(none string) string {
	if r.members == nil {
		return none
	}
	return strconv.Itoa(*r.members)
}

// ends is where each shard ends, in few characters.
func (r *row) ends() string {
	var b []byte
	for i, sh := range r.Shards {
		if i > 0 {
			b = append(b, ' ')
		}
		if n := r.end(sh); n != nil {
			b = append(b, n.String()...)
		} else {
			b = append(b, '-')
		}
	}
	return string(b)
}

// end is where a shard ends; nil where it could not be described.
func (r *row) end(sh admin.ShardInfo) *driver.Seq {
	if r.Err != nil && sh.Messages.N < 0 {
		return nil
	}
	return &sh.Bound.Next
}

func rows(l *look, stale time.Duration) []*row {
	rows, all := make([]row, len(l.Streams)), make([]*row, len(l.Streams))
	for i := range l.Streams {
		r := &l.Streams[i]
		rows[i] = row{StreamRate: r, time: l.Time, stale: r.Stale(l.Time, stale)}
		if l.groups >= 0 {
			rows[i].members = new(l.members[r.Name])
		}
		all[i] = &rows[i]
	}
	return all
}

// An order is what rows are sorted by.
type order byte

const (
	byMessages order = 'm'
	byBytes    order = 'b'
	byLast     order = 'l'
	byName     order = 'n'
)

// sort puts first what there is most of; the same by name, so that rows that are
// idle do not move.
func (o order) sort(rows []*row, reverse bool) {
	slices.SortFunc(rows, func(a, b *row) int {
		c := 0
		switch o {
		case byMessages:
			c = more(a.Messages.Now, b.Messages.Now)
		case byBytes:
			c = more(a.Bytes.Now, b.Bytes.Now)
		case byLast:
			c = b.Newest.Compare(a.Newest)
		}
		if c = cmp.Or(c, strings.Compare(a.Name, b.Name)); reverse {
			return -c
		}
		return c
	})
}

// more puts what is not known last.
func more(a, b float64) int {
	if math.IsNaN(a) {
		a = -1
	}
	if math.IsNaN(b) {
		b = -1
	}
	return cmp.Compare(b, a)
}

// doc is a look as JSON. What is not known is left out.
type doc struct {
	Time     time.Time   `json:"time"`
	Interval float64     `json:"interval_s"`
	Cluster  string      `json:"cluster,omitempty"`
	Messages *float64    `json:"messages_per_s,omitempty"`
	Bytes    *float64    `json:"bytes_per_s,omitempty"`
	Groups   *int        `json:"groups,omitempty"`
	Worst    *worstDoc   `json:"worst,omitempty"`
	Streams  []streamDoc `json:"streams"`
}

type worstDoc struct {
	Group     string  `json:"group"`
	Messages  *int64  `json:"messages,omitempty"`
	Estimated bool    `json:"estimated,omitempty"`
	Age       float64 `json:"age_s"`
}

type streamDoc struct {
	Name      string        `json:"name"`
	Shards    int           `json:"shards"`
	Rate      *float64      `json:"messages_per_s,omitempty"`
	Mean      *float64      `json:"mean_per_s,omitempty"`
	Bytes     *float64      `json:"bytes_per_s,omitempty"`
	Messages  *int64        `json:"messages,omitempty"`
	Estimated bool          `json:"estimated,omitempty"`
	Size      *int64        `json:"bytes,omitempty"`
	Newest    *time.Time    `json:"newest,omitempty"`
	Age       *float64      `json:"age_s,omitempty"`
	Next      []*driver.Seq `json:"next"` // of a shard that could not be described null
	Members   *int          `json:"members,omitempty"`
	Bursting  bool          `json:"bursting"`
	Stale     bool          `json:"stale"`
	Error     string        `json:"error,omitempty"`
}

func document(l *look, rows []*row) doc {
	d := doc{Time: l.Time.UTC(), Interval: l.Interval.Seconds(), Cluster: l.cluster, Messages: listing.Known(l.Messages.Now), Bytes: listing.Known(l.Bytes.Now), Streams: make([]streamDoc, len(rows))}
	if l.groups >= 0 {
		d.Groups = &l.groups
	}
	if w := l.worst; w.Group != "" {
		n := w.Messages()
		d.Worst = &worstDoc{Group: w.Group, Messages: listing.Known(n.N), Estimated: n.Estimated, Age: w.Age().Seconds()}
	}
	for i := range rows {
		r := rows[i]
		n := admin.Messages(r.StreamInfo)
		s := streamDoc{Name: r.Name, Shards: len(r.Shards), Rate: listing.Known(r.Messages.Now), Mean: listing.Known(r.Messages.Mean), Bytes: listing.Known(r.Bytes.Now), Messages: listing.Known(n.N), Estimated: n.Estimated,
			Size: listing.Known(admin.Bytes(r.StreamInfo)), Newest: listing.When(r.Newest), Age: listing.Known(r.age().Seconds()), Members: r.members,
			Bursting: r.Bursting(), Stale: r.stale, Next: make([]*driver.Seq, len(r.Shards)), Error: listing.ErrorText(r.Err)}
		for j, sh := range r.Shards {
			s.Next[j] = r.end(sh)
		}
		d.Streams[i] = s
	}
	return d
}

var columns = []listing.Column[*row]{
	{Name: "time", Raw: func(r *row) string { return listing.Time(r.time) }, Wide: true},
	{Name: "mark", Raw: func(r *row) string { return strings.TrimSpace(r.mark()) }},
	{Name: "stream", Raw: func(r *row) string { return r.Name }},
	{Name: "shards", Raw: func(r *row) string { return strconv.Itoa(len(r.Shards)) }, Right: true},
	{Name: "messages_s", Raw: func(r *row) string { return bare(r.Messages.Now) }, Human: func(r *row) string { return chart.Rate(r.Messages.Now) }, Right: true},
	{Name: "bytes_s", Raw: func(r *row) string { return bare(r.Bytes.Now) }, Human: func(r *row) string { return chart.ByteRate(r.Bytes.Now) }, Right: true},
	{Name: "newest", Raw: func(r *row) string { return listing.Time(r.Newest) }, Human: func(r *row) string { return clock(r.Newest, r.time) }},
	{Name: "age", Raw: func(r *row) string { return listing.Seconds(r.age()) }, Human: func(r *row) string { return chart.Time(r.age()) }, Right: true},
	{Name: "members", Raw: func(r *row) string { return r.readBy("") }, Human: func(r *row) string { return r.readBy("-") }, Right: true},
	{Name: "seq", Raw: func(r *row) string { return r.ends() }},
}

// bare is a number for programs; nothing where it is not known.
func bare(v float64) string {
	if math.IsNaN(v) || v < 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// clock is a local time of day, or the day where it is not today's.
func clock(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t, now = t.Local(), now.Local()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format(time.DateOnly)
}

// show prints a look for programs, or as a table.
func show(ios *iostreams.Streams, o options, l *look) error {
	all := rows(l, o.stale)
	byMessages.sort(all, false)
	if o.Output == "json" {
		return listing.Write(ios, o.Options, nil, listing.Each([]*look{l}), func(l *look) any { return document(l, all) })
	}
	return listing.Write(ios, o.Options, columns, listing.Each(all), nil)
}
