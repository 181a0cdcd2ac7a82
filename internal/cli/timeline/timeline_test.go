package timeline

import (
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/admin"
)

func TestLength(t *testing.T) {
	const week = 7 * day
	for _, test := range []struct {
		span time.Duration
		n    int
		want time.Duration
	}{
		{time.Millisecond, 10, time.Second},
		{9 * time.Second, 10, time.Second},
		{10 * time.Second, 10, 5 * time.Second}, // aligned it may reach into an eleventh second
		{8 * time.Hour, 60, 15 * time.Minute},
		{30 * day, 32, day},
		{60 * week, 61, week},
		{60 * week, 31, 2 * week},
		{100 * 365 * day, 11, 522 * week},
	} {
		got := length(test.span, test.n)
		if got != test.want {
			t.Errorf("length(%v, %d) = %v, want %v", test.span, test.n, got, test.want)
		}
		if bars := (test.span + got - 1) / got; int(bars)+1 > max(test.n, 2) {
			t.Errorf("%v in %v may be %d bars, %d fit", test.span, got, bars+1, test.n)
		}
	}
}

// in is how the zone of a test is set for all that shows local times.
func in(t *testing.T, zone string) {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	was := time.Local
	time.Local = loc
	t.Cleanup(func() { time.Local = was })
}

func TestEdges(t *testing.T) {
	for _, test := range []struct {
		zone, from, until string
		bucket            time.Duration
		want              string
	}{
		{"Asia/Kathmandu", "2026-01-01T13:14:15.000000016+05:45", "2026-01-01T13:14:16+05:45", time.Second, "2026-01-01T13:14:15+05:45 2026-01-01T13:14:16+05:45"},
		{"Asia/Kathmandu", "2026-01-01T13:14:15+05:45", "2026-01-01T13:14:15+05:45", 5 * time.Minute, "2026-01-01T13:10:00+05:45 2026-01-01T13:15:00+05:45"},
		{"Asia/Kathmandu", "2026-01-01T13:14:15+05:45", "2026-01-01T15:00:00+05:45", time.Hour, "2026-01-01T13:00:00+05:45 2026-01-01T14:00:00+05:45 2026-01-01T15:00:00+05:45"},
		{"Asia/Kathmandu", "2026-01-01T13:14:15+05:45", "2026-01-01T15:00:00+05:45", 6 * time.Hour, "2026-01-01T12:00:00+05:45 2026-01-01T18:00:00+05:45"},
		{"Asia/Kathmandu", "2026-01-01T13:14:15+05:45", "2026-01-01T15:00:00+05:45", 7 * day, "2025-12-29T00:00:00+05:45 2026-01-05T00:00:00+05:45"}, // a Monday
		// Where the clock is changed a day has 25 hours, or 23, or begins at 1:00.
		{"Europe/Berlin", "2026-10-25T12:00:00+01:00", "2026-10-26T12:00:00+01:00", day, "2026-10-25T00:00:00+02:00 2026-10-26T00:00:00+01:00 2026-10-27T00:00:00+01:00"},
		{"Europe/Berlin", "2026-03-28T12:00:00+01:00", "2026-03-30T00:00:00+02:00", day, "2026-03-28T00:00:00+01:00 2026-03-29T00:00:00+01:00 2026-03-30T00:00:00+02:00"},
		{"America/Sao_Paulo", "2018-11-03T12:00:00-03:00", "2018-11-05T00:00:00-02:00", day, "2018-11-03T00:00:00-03:00 2018-11-04T01:00:00-02:00 2018-11-05T00:00:00-02:00"},
	} {
		in(t, test.zone)
		at := func(text string) time.Time {
			v, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				t.Fatal(err)
			}
			return v.UTC()
		}
		var got []string
		for _, e := range edges(at(test.from), at(test.until), test.bucket) {
			got = append(got, e.Format(time.RFC3339))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("from %s until %s by %v: %s, want %s", test.from, test.until, test.bucket, got, test.want)
		}
	}
}

func buckets(from time.Time, length time.Duration, n ...int64) []admin.Bucket {
	b := make([]admin.Bucket, len(n))
	for i := range n {
		b[i] = admin.Bucket{From: from.Add(time.Duration(i) * length), To: from.Add(time.Duration(i+1) * length), Messages: admin.Count{N: n[i]}}
	}
	return b
}

func TestPicture(t *testing.T) {
	in(t, "Europe/Berlin")
	guess := buckets(time.Date(2026, 1, 2, 23, 0, 0, 0, time.Local), 30*time.Minute, 5, 1234567, 0, 600000)
	days := edges(time.Date(2026, 10, 25, 0, 0, 0, 0, time.Local), time.Date(2026, 10, 27, 0, 0, 0, 0, time.Local), day)
	guess[1].Messages.Estimated, guess[3].Messages.Estimated = true, true
	for _, test := range []struct {
		name    string
		width   int
		length  time.Duration
		buckets []admin.Bucket
		want    string
	}{
		{"nothing", 40, day, nil, "news: no messages there\n"},
		{"seconds", 40, 5 * time.Second, buckets(time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), 5*time.Second, 100, 0, 25, 1), `
news: 126 messages from 2026-01-02 03:04:05 +01:00 to 2026-01-02 03:04:25 +01:00, bars of 5s, at most 100 at 03:04:05

03:04:05  100  █████████████████████████
03:04:10    0
03:04:15   25  ██████▎
03:04:20    1  ▎
`},
		{"over midnight, estimated", 50, 30 * time.Minute, guess, `
news: ~1,834,572 messages from 2026-01-02 23:00:00 +01:00 to 2026-01-03 01:00:00 +01:00, bars of 30m, at most ~1,234,567 at 2026-01-02 23:30

2026-01-02 23:00           5  ▏
           23:30  ~1,234,567  ████████████████████
2026-01-03 00:00           0
           00:30    ~600,000  █████████▊
`},
		{"days, one not known, too narrow", 10, day, buckets(time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local), day, 3, -1), `
news: - messages from 2026-01-02 00:00:00 +01:00 to 2026-01-04 00:00:00 +01:00, bars of 1d, at most 3 at 2026-01-02

2026-01-02  3  █
2026-01-03  -
`},
		{"a day of 25 hours", 20, day, []admin.Bucket{{From: days[0], To: days[1], Messages: admin.Count{N: 2}}, {From: days[1], To: days[2], Messages: admin.Count{N: 1}}}, `
news: 3 messages from 2026-10-25 00:00:00 +02:00 to 2026-10-27 00:00:00 +01:00, bars of 1d, at most 2 at 2026-10-25

2026-10-25  2  █████
2026-10-26  1  ██▌
`},
	} {
		if got := picture("news", test.buckets, test.length, test.width); got != strings.TrimPrefix(test.want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
	if got := picture("a\x1b[2J\nb", nil, day, 40); got != `a\x1b[2J\nb: no messages there`+"\n" {
		t.Errorf("a name that would control the terminal: %q", got)
	}
}
