package top

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seastreamer/seastreamer/internal/cli/chart"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/cli/screen"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// A view is what the terminal shows, and what the keys have made of it.
type view struct {
	o       options
	colour  bool
	l       *look  // nil before the first
	failed  error  // of the last look
	all     []*row // as sorted and filtered
	order   order
	reverse bool
	filter  string
	typing  bool // the filter is being typed
	from    int  // the first row that is shown
	past    map[string]*chart.History
	total   chart.History
	width   int
	height  int
}

// What is above and below the rows.
const (
	above = 4
	below = 1
)

// minute is how many looks a minute has.
func (v *view) minute() int {
	return min(max(int(time.Minute/max(v.o.interval, time.Millisecond)), 10), chart.Looks)
}

// add takes a look, or why there is none.
func (v *view) add(l *look, err error) {
	if v.failed = err; err != nil {
		return
	}
	v.l = l
	v.total.Add(l.Messages.Now)
	past := make(map[string]*chart.History, len(l.Streams))
	for _, r := range l.Streams {
		h := v.past[r.Name]
		if h == nil {
			h = &chart.History{}
		}
		h.Add(r.Messages.Now)
		past[r.Name] = h
	}
	v.past = past
	v.sort()
}

// sort sorts and filters what there is.
func (v *view) sort() {
	if v.l == nil {
		return
	}
	all := rows(v.l, v.o.stale)
	v.all = all[:0]
	for _, r := range all {
		if strings.Contains(r.Name, v.filter) {
			v.all = append(v.all, r)
		}
	}
	v.order.sort(v.all, v.reverse)
	v.scroll(0)
}

func (v *view) room() int { return max(1, v.height-above-below) }

func (v *view) scroll(by int) {
	v.from = max(0, min(v.from+by, len(v.all)-v.room()))
}

// visible are the names of the streams that are on the screen.
func (v *view) visible() []string {
	var names []string
	for i := v.from; i < min(v.from+v.room(), len(v.all)); i++ {
		names = append(names, v.all[i].Name)
	}
	return names
}

// key does what a key says, and reports whether it is not to end.
func (v *view) key(k screen.Key) bool {
	if k == screen.Interrupt {
		return false
	}
	if v.typing {
		v.typed(k)
		return true
	}
	switch k {
	case 'q', 'Q':
		return false
	case 'm', 'b', 'l', 'n':
		v.reverse = v.order == order(k) && !v.reverse
		v.order = order(k)
		v.from = 0
		v.sort()
	case '/':
		v.typing = true
	case screen.Escape:
		v.filter = ""
		v.sort()
	case screen.Up, 'k':
		v.scroll(-1)
	case screen.Down, 'j':
		v.scroll(1)
	case screen.PageUp:
		v.scroll(-v.room())
	case screen.PageDown, ' ':
		v.scroll(v.room())
	case screen.Home, 'g':
		v.scroll(-len(v.all))
	case screen.End, 'G':
		v.scroll(len(v.all))
	}
	return true
}

func (v *view) typed(k screen.Key) {
	switch {
	case k == screen.Enter:
		v.typing = false
	case k == screen.Escape:
		v.typing, v.filter = false, ""
	case k == screen.Backspace:
		_, n := utf8.DecodeLastRuneInString(v.filter)
		v.filter = v.filter[:len(v.filter)-n]
	case k >= ' ':
		v.filter += string(rune(k))
	}
	v.sort()
}

// lines is the screen from the top.
func (v *view) lines() []string {
	lines := make([]string, 0, v.height)
	lines = append(lines, v.paint(bold, v.fit(v.head())), v.fit(v.sum()), v.state())
	t := v.table()
	lines = append(lines, v.paint(reversed, v.fit(t.line(" ", "STREAM", "SHARDS", "MSG/S", "BYTES/S", "RATE", "NEWEST", "AGE", "MEMBERS", "SEQ"))))
	for i := v.from; i < min(v.from+v.room(), len(v.all)); i++ {
		r := v.all[i]
		line := t.line(r.mark(), r.name(), fmt.Sprint(len(r.Shards)), chart.Rate(r.Messages.Now), chart.ByteRate(r.Bytes.Now), v.past[r.Name].Spark(t.spark),
			clock(r.Newest, r.time), chart.Time(r.age()), r.readBy("-"), r.ends())
		style := plain
		switch r.mark() {
		case errorMark:
			style = red
		case burstMark:
			style = yellow
		case staleMark:
			style = dim
		}
		lines = append(lines, v.paint(style, v.fit(line)))
	}
	for len(lines) < v.height-below {
		lines = append(lines, "")
	}
	return append(lines, v.paint(dim, v.fit(v.foot())))
}

func (v *view) head() string {
	text := "sea streamer top  " + v.o.broker
	if v.l == nil {
		return text
	}
	if v.l.cluster != "" {
		text += "  cluster " + v.l.cluster
	}
	return text + "  " + v.l.Time.Local().Format("15:04:05") + "  every " + v.o.interval.String()
}

// sum is what there is in all.
func (v *view) sum() string {
	if v.l == nil {
		return "looking …"
	}
	text := fmt.Sprintf("%s  %s msg/s  %s/s  %s", listing.Things(len(v.l.Streams), "stream"), chart.Rate(v.l.Messages.Now), chart.ByteRate(v.l.Bytes.Now),
		v.total.Spark(min(v.minute(), max(10, v.width/4))))
	if v.l.groups < 0 {
		return text
	}
	text += "  " + listing.Things(v.l.groups, "group")
	if w := v.l.worst; w.Group != "" {
		text += ", worst " + string(iostreams.EscapeLine(nil, []byte(w.Group))) + ": " + listing.HumanCount(w.Messages()) + " behind"
		if age := w.Age(); age > 0 {
			text += ", " + listing.Duration(age)
		}
	}
	return text
}

// state is the line for what is typed, and for what does not work.
func (v *view) state() string {
	switch {
	case v.failed != nil:
		return v.paint(red, v.fit(errorMark+" "+string(iostreams.EscapeLine(nil, []byte(v.failed.Error())))))
	case v.typing:
		return v.fit("/" + string(iostreams.EscapeLine(nil, []byte(v.filter))) + "▏")
	case v.filter != "" && v.l != nil:
		return v.fit(fmt.Sprintf("/%s  %d of %d streams", iostreams.EscapeLine(nil, []byte(v.filter)), len(v.all), len(v.l.Streams)))
	}
	return ""
}

func (v *view) foot() string {
	if v.typing {
		return "a part of the name · enter keeps it · escape shows all"
	}
	by := map[order]string{byMessages: "messages", byBytes: "bytes", byLast: "last message", byName: "name"}[v.order]
	if v.reverse {
		by += ", reversed"
	}
	return "by " + by + " · m b l n sort · / filter · arrows move · q quit"
}

// A table is how wide its columns are.
type table struct{ name, spark, newest, seq int }

// table lays the columns out: what is left of the width goes to the names, the
// pictures and the sequence numbers, and what does not fit is left out.
func (v *view) table() table {
	const fixed = 2 + 7 + 7 + 10 + 7 + 8 // mark, shards, messages, bytes, age, members
	left := v.width - fixed
	t := table{name: 10}
	for i := v.from; i < min(v.from+v.room(), len(v.all)); i++ {
		t.name = max(t.name, listing.Cells(v.all[i].name()))
	}
	t.name = max(6, min(t.name, left, max(10, v.width/4)))
	if left -= t.name; left >= 11 {
		t.spark = min(v.minute(), left-1, max(10, v.width/6))
		left -= t.spark + 1
	}
	if left >= 11 {
		t.newest = 10
		left -= 11
	}
	if left >= 6 {
		t.seq = left - 2
	}
	return t
}

func (t table) line(mark, name, shards, messages, bytes, spark, newest, age, members, seq string) string {
	var b strings.Builder
	b.WriteString(mark + " " + listing.Left(name, t.name) + listing.Right(shards, 7) + listing.Right(messages, 7) + listing.Right(bytes, 10))
	if t.spark > 0 {
		b.WriteString(" " + listing.Left(spark, t.spark))
	}
	if t.newest > 0 {
		b.WriteString(" " + listing.Left(newest, t.newest))
	}
	b.WriteString(listing.Right(age, 7) + listing.Right(members, 8))
	if t.seq > 0 {
		b.WriteString("  " + listing.Cut(seq, t.seq))
	}
	return b.String()
}

func (v *view) fit(s string) string { return strings.TrimRight(listing.Cut(s, v.width), " ") }

// The styles, as a terminal takes them.
const (
	plain    = ""
	bold     = "1"
	dim      = "2"
	red      = "31"
	yellow   = "1;33"
	reversed = "7"
)

// paint is a whole line in a style. Without colours the line stands for itself.
func (v *view) paint(style, line string) string {
	if !v.colour || style == plain || line == "" {
		return line
	}
	if style == reversed {
		line += strings.Repeat(" ", max(0, v.width-listing.Cells(line)))
	}
	return "\x1b[" + style + "m" + line
}
