package driver

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		in      string
		scheme  string
		nodes   []string
		streams []string
		print   string
	}{
		{"kafka://h1:9092,h2:9093/a,b", "kafka", []string{"h1:9092", "h2:9093"}, []string{"a", "b"}, "kafka://h1:9092,h2:9093/a,b"},
		{"redis://h1,h2:7/a", "redis", []string{"h1", "h2:7"}, []string{"a"}, "redis://h1,h2:7/a"},
		{"REDIS://h/", "redis", []string{"h"}, nil, "redis://h"},
		{"redis://h", "redis", []string{"h"}, nil, "redis://h"},
		{"redis://[::1]:6379/x?db=1", "redis", []string{"[::1]:6379"}, []string{"x"}, "redis://[::1]:6379/x?db=1"},
		{"sqlite+file:///var/lib/news.db/news", "sqlite+file", []string{"/var/lib/news.db"}, []string{"news"}, "sqlite+file:///var/lib/news.db/news"},
		{"redis+unix:///run/redis.sock/news", "redis+unix", []string{"/run/redis.sock"}, []string{"news"}, "redis+unix:///run/redis.sock/news"},
		{"file:///a/b", "file", []string{"/a"}, []string{"b"}, "file:///a/b"},
		{"file://./dir/x.ss/a,b", "file", []string{"./dir/x.ss"}, []string{"a", "b"}, "file://./dir/x.ss/a,b"},
		{"file:///DIR/my%20dir/a%2Fb", "file", []string{"/DIR/my dir"}, []string{"a/b"}, "file:///DIR/my%20dir/a%2Fb"},
		{"file:///b", "file", []string{"/"}, []string{"b"}, "file:///b"},
		{"stdio:///a,b", "stdio", nil, []string{"a", "b"}, "stdio:///a,b"},
		{"kafka://me:s%40cret@h/x,,y", "kafka", []string{"h"}, []string{"x", "y"}, "kafka://me:xxxxx@h/x,y"},
		{"kafka://h/x?sasl_password=abc", "kafka", []string{"h"}, []string{"x"}, "kafka://h/x?sasl_password=xxxxx"},
	} {
		u, err := ParseURL(c.in)
		if err != nil {
			t.Errorf("ParseURL(%q): %v", c.in, err)
			continue
		}
		if u.Scheme != c.scheme || !cmp.Equal(u.Nodes, c.nodes) || !cmp.Equal(u.Streams, c.streams) || u.String() != c.print {
			t.Errorf("ParseURL(%q) = %q %q %q %v, want %q %q %q %v", c.in, u.Scheme, u.Nodes, u.Streams, u, c.scheme, c.nodes, c.streams, c.print)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "no scheme",
		"localhost:9092":          "write localhost:// and then the host", // a scheme, as far as the grammar goes
		"/a":                      "no scheme",
		"1x://h/a":                "no scheme",
		"kafka:h/a":               "kafka://",
		"kafka://h/a/b":           "%2F",
		"kafka://h/a%zz":          "percent-encoding",
		"kafka://h/a%00b":         "zero byte",
		"kafka://h/..":            "reserved",
		"kafka://h/a,a":           "twice",
		"kafka://h/a?b=%zz":       "query",
		"kafka://u:%zz@h/a":       "user information",
		"kafka://h/" + long(250):  "249",
		"kafka://u:canary@h/a/b":  "",
		"file:///a%00/b":          "zero byte",
		"canary:canary@nowhere:1": "",
	} {
		_, err := ParseURL(in)
		if err == nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseURL(%q): error %v, want one line with %q", in, err, want)
		} else if strings.Contains(err.Error(), "canary@") || strings.Contains(err.Error(), ":canary") {
			t.Errorf("ParseURL(%q): error %q reveals the password", in, err)
		}
	}
	if _, err := ParseBroker("kafka://h/news"); err == nil || !strings.Contains(err.Error(), "/news") {
		t.Errorf("ParseBroker with a stream: %v", err)
	}
	u, err := ParseBroker("file:///a/b/")
	if err != nil || !cmp.Equal(u.Nodes, []string{"/a/b"}) {
		t.Errorf("ParseBroker(file) = %q, %v", u.Nodes, err)
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"kafka://u:p@h1,h2:9/a,b?x=y", "file:///a/b%2Fc,d", "redis+unix:///s/n", "memory:///", "file:x", "a://@/,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			return
		}
		p := u.text(false)
		again, err := ParseURL(p)
		if err != nil {
			t.Fatalf("%q printed as %q: %v", s, p, err)
		}
		if again.text(false) != p || again.Scheme != u.Scheme || !cmp.Equal(again.Streams, u.Streams) {
			t.Fatalf("%q printed as %q, which reads as %q", s, p, again.text(false))
		}
		if u.User != nil {
			if pw, ok := u.User.Password(); ok && len(pw) > 8 && strings.Contains(u.String(), pw) && !strings.Contains(s[:strings.LastIndex(s, "@")+1], "xxxxx") && strings.Count(s, pw) == 1 {
				t.Fatalf("%q printed as %q reveals the password", s, u)
			}
		}
	})
}

func TestQuery(t *testing.T) {
	u, err := ParseURL("file:///d?shards=4&sync=always&retention=7d&size=1GiB&flag")
	if err != nil {
		t.Fatal(err)
	}
	q := u.Options()
	if n := q.Int("shards", 1); n != 4 {
		t.Errorf("Int = %d", n)
	}
	if s := q.OneOf("sync", "never", "never", "always"); s != "always" {
		t.Errorf("OneOf = %s", s)
	}
	if d := q.Duration("retention", 0); d.Hours() != 168 {
		t.Errorf("Duration = %v", d)
	}
	if err := q.Err(); err == nil || !strings.Contains(err.Error(), "flag, size: known are retention, shards, sync") {
		t.Errorf("Err = %v", err)
	}
	if n := q.Size("size", 0); n != 1<<30 {
		t.Errorf("Size = %d", n)
	}
	if !q.Bool("flag", false) {
		t.Error("Bool = false")
	}
	if err := q.Err(); err != nil {
		t.Errorf("Err = %v", err)
	}
}
