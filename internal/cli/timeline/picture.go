package timeline

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/chart"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// doc is a bucket as JSON. Messages that are not known are left out.
type doc struct {
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Messages  *int64    `json:"messages,omitempty"`
	Estimated bool      `json:"estimated,omitempty"`
}

var columns = []listing.Column[admin.Bucket]{
	{Name: "from", Raw: func(b admin.Bucket) string { return listing.Time(b.From) }},
	{Name: "to", Raw: func(b admin.Bucket) string { return listing.Time(b.To) }},
	{Name: "messages", Raw: func(b admin.Bucket) string { return listing.Number(b.Messages.N) }, Right: true},
	{Name: "estimated", Raw: func(b admin.Bucket) string { return strconv.FormatBool(b.Messages.Estimated) }},
}

func write(f *factory.Factory, o options, stream string, buckets []admin.Bucket) error {
	if o.Table(f.IO.OutTTY || o.Human) {
		_, err := io.WriteString(f.IO.Out, picture(stream, buckets, o.bucket, o.width))
		return exit.Output(err)
	}
	return listing.Write(f.IO, o.Options, columns, listing.Each(buckets), func(b admin.Bucket) any {
		return doc{From: b.From.UTC(), To: b.To.UTC(), Messages: listing.Known(b.Messages.N), Estimated: b.Messages.Estimated}
	})
}

// picture is a bar for each bucket, and above them what there is in all.
// length is that of each bucket, but for days on which the clock is changed.
func picture(stream string, buckets []admin.Bucket, length time.Duration, width int) string {
	name := strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(string(listing.Safe(stream)))
	if len(buckets) == 0 {
		return name + ": no messages there\n"
	}
	var total, peak admin.Count
	var when time.Time
	for _, b := range buckets {
		if b.Messages.N < 0 || total.N < 0 {
			total.N = -1
		} else {
			total.N += b.Messages.N
		}
		total.Estimated = total.Estimated || b.Messages.Estimated
		if b.Messages.N > peak.N {
			peak, when = b.Messages, b.From
		}
	}
	first, last := buckets[0].From, buckets[len(buckets)-1].To
	layout := axis(first, last, length)
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s messages from %s to %s, bars of %s", name, listing.HumanCount(total), first.Format(long(length)), last.Format(long(length)), admin.FormatDuration(length))
	if peak.N > 0 {
		fmt.Fprintf(&b, ", at most %s at %s", listing.HumanCount(peak), when.Format(layout))
	}
	b.WriteString("\n\n")
	numbers := 0
	for _, k := range buckets {
		numbers = max(numbers, utf8.RuneCountInString(listing.HumanCount(k.Messages)))
	}
	room := max(1, width-len(layout)-numbers-4)
	label := ""
	for _, k := range buckets {
		was := label
		label = k.From.Format(layout)
		shown := label
		if day, _, ok := strings.Cut(label, " "); ok && strings.HasPrefix(was, day+" ") {
			shown = strings.Repeat(" ", len(day)) + label[len(day):] // the same day as the line above
		}
		bar := chart.Bar(float64(k.Messages.N), float64(peak.N), room)
		fmt.Fprintf(&b, "%s  %*s  %s\n", shown, numbers, listing.HumanCount(k.Messages), bar)
	}
	return strings.ReplaceAll(b.String(), "  \n", "\n")
}

// axis is how times are written before bars: as short as tells them apart.
func axis(first, last time.Time, length time.Duration) string {
	layout := "15:04"
	switch {
	case length%day == 0:
		return time.DateOnly
	case length%time.Second != 0:
		layout = "15:04:05.000"
	case length%time.Minute != 0:
		layout = "15:04:05"
	}
	y, m, d := first.Date()
	if ly, lm, ld := last.Add(-1).Date(); ly != y || lm != m || ld != d {
		layout = time.DateOnly + " " + layout
	}
	return layout
}

// long is a time with its day and zone.
func long(length time.Duration) string {
	if length%time.Second != 0 {
		return "2006-01-02 15:04:05.000 -07:00"
	}
	return "2006-01-02 15:04:05 -07:00"
}
