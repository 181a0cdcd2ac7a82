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

func TestAlign(t *testing.T) {
	in(t, "Asia/Kathmandu") // +05:45
	at := time.Date(2026, 1, 1, 13, 14, 15, 16, time.Local)
	for bucket, want := range map[time.Duration]string{
		time.Second: "2026-01-01T13:14:15+05:45", 5 * time.Minute: "2026-01-01T13:10:00+05:45", time.Hour: "2026-01-01T13:00:00+05:45",
		6 * time.Hour: "2026-01-01T12:00:00+05:45", day: "2026-01-01T00:00:00+05:45", 7 * day: "2025-12-29T00:00:00+05:45", // a Monday
	} {
		if got := align(at.UTC(), bucket).Format(time.RFC3339); got != want {
			t.Errorf("%v: %s, want %s", bucket, got, want)
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
	guess[1].Messages.Estimated, guess[3].Messages.Estimated = true, true
	for _, test := range []struct {
		name    string
		width   int
		buckets []admin.Bucket
		want    string
	}{
		{"nothing", 40, nil, "news: no messages there\n"},
		{"seconds", 40, buckets(time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), 5*time.Second, 100, 0, 25, 1), `
news: 126 messages from 2026-01-02 03:04:05 +01:00 to 2026-01-02 03:04:25 +01:00, bars of 5s, at most 100 at 03:04:05

03:04:05  100  █████████████████████████
03:04:10    0
03:04:15   25  ██████▎
03:04:20    1  ▎
`},
		{"over midnight, estimated", 50, guess, `
news: ~1,834,572 messages from 2026-01-02 23:00:00 +01:00 to 2026-01-03 01:00:00 +01:00, bars of 30m, at most ~1,234,567 at 2026-01-02 23:30

2026-01-02 23:00           5  ▏
           23:30  ~1,234,567  ████████████████████
2026-01-03 00:00           0
           00:30    ~600,000  █████████▊
`},
		{"days, one not known, too narrow", 10, buckets(time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local), day, 3, -1), `
news: - messages from 2026-01-02 00:00:00 +01:00 to 2026-01-04 00:00:00 +01:00, bars of 1d, at most 3 at 2026-01-02

2026-01-02  3  █
2026-01-03  -
`},
	} {
		if got := picture("news", test.buckets, test.width); got != strings.TrimPrefix(test.want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
	if got := picture("a\x1b[2J\nb", nil, 40); got != `a\x1b[2J\nb: no messages there`+"\n" {
		t.Errorf("a name that would control the terminal: %q", got)
	}
}
