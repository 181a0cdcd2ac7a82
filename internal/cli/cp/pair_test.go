package cp

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/all"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

func testFactory(env map[string]string) (*factory.Factory, *bytes.Buffer) {
	var errs bytes.Buffer
	f := factory.New(&iostreams.Streams{Out: &bytes.Buffer{}, Err: &errs}, all.Registry())
	f.Getenv = func(k string) string { return env[k] }
	return f, &errs
}

func parse(t *testing.T, s string) ss.URL {
	t.Helper()
	u, err := ss.ParseURL(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// What is the same stream, and what has a progress of its own: neither how a
// broker is spoken to nor how its address is spelled makes another stream.
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a, b          string
		same, overlap bool
	}{
		{"kafka://h/a", "kafka://h:9092/a", true, true},
		{"kafka://H1,h2/a", "kafka://h2:9092,h1:9092/a?tls&compression=zstd", true, true},
		{"kafka://h1,h2/a", "kafka://h2/a", false, true}, // another list of nodes is another name
		{"kafka://h/a", "kafka://h/b", false, false},
		{"kafka://h/a", "kafka://h:9093/a", false, false},
		{"kafka://h/a", "redis://h:9092/a", false, false},
		{"kafka://localhost/a", "kafka://[::1]:9092/a", true, true},
		{"redis://me:secret@127.0.0.1/a", "redis://localhost:6379/a?db=0", true, true},
		{"redis://h/a", "rediss://h/a", true, true},
		{"redis://h/a", "redis://h/a?db=1", false, false},
		{"redis://h/a?db=2", "redis://h/a?db=2&shards=3&unit_tag=x", true, true},
		{"redis://h/a", "redis://h/a:3", false, true},
		{"redis://h/a:3", "redis://h/a", false, true},
		{"redis://h/a", "redis://h/a:b", false, false},
		{"kafka://h/a", "kafka://h/a:3", false, false},
		{"redis+sentinel://s1,s2/a?master=x", "redis+sentinel://s2:26379/a?master=x", false, true},
		{"redis+sentinel://s1/a?master=x", "redis+sentinel://s1/a?master=y", false, false},
		{"file://" + target + "/a", "file://" + link + "/a", true, true},
		{"file://" + target + "/a", "file://" + link + "/../real/a", true, true},
		{"file://" + link + "/none/a", "file://" + target + "/none/a?sync=always", true, true},
		{"file://" + target + "/a", "file://" + target + "/none/a", false, false},
		{"memory://m/a", "memory://m/a", true, true},
		{"memory://m/a", "memory://n/a", false, false},
	} {
		a, b := parse(t, c.a), parse(t, c.b)
		if got := identity(a) == identity(b); got != c.same {
			t.Errorf("%s and %s: the same is %v: %s, %s", c.a, c.b, got, identity(a), identity(b))
		}
		if got := overlap(a, b); got != c.overlap {
			t.Errorf("%s and %s: overlap is %v", c.a, c.b, got)
		}
	}
}

// The name is made of what is copied where, and of nothing else.
func TestName(t *testing.T) {
	name := func(change func(*Options)) string {
		f, _ := testFactory(nil)
		o := &Options{f: f, Src: "kafka://h/a", Dst: "redis://h/b"}
		o.Receive.From, o.Receive.Isolation = "start", "committed"
		change(o)
		p, err := o.pair()
		if err != nil {
			t.Fatal(err)
		}
		return p.name
	}
	was := name(func(*Options) {})
	if len(was) != 23 {
		t.Errorf("the name is %q", was)
	}
	for what, change := range map[string]func(*Options){
		"until":    func(o *Options) { o.Receive.Until = "end" },
		"count":    func(o *Options) { o.Count = 5 },
		"mirror":   func(o *Options) { o.follow = true },
		"delivery": func(o *Options) { o.Delivery = "at-least" },
		"TLS":      func(o *Options) { o.Dst = "rediss://u:p@h:6379/b?replicas=1" },
	} {
		if got := name(change); got != was {
			t.Errorf("with another %s the name is another", what)
		}
	}
	seen := map[string]string{was: "the first"}
	for what, change := range map[string]func(*Options){
		"source":    func(o *Options) { o.Src = "kafka://h/c" },
		"sink":      func(o *Options) { o.Dst = "redis://h/c" },
		"way round": func(o *Options) { o.Src, o.Dst = o.Dst, o.Src },
		"start":     func(o *Options) { o.Receive.From = "-1h" },
		"shards":    func(o *Options) { o.Receive.Shards = "1" },
		"isolation": func(o *Options) { o.Receive.Isolation = "uncommitted" },
	} {
		got := name(change)
		if seen[got] != "" {
			t.Errorf("with another %s the name is that of %s", what, seen[got])
		}
		seen[got] = what
	}
	if got := name(func(o *Options) { o.Name = "mine" }); got != "mine" {
		t.Errorf("the name given became %q", got)
	}
}

// In a cluster the progress is in the slot of the stream.
func TestUnitTag(t *testing.T) {
	for dst, want := range map[string]string{
		"redis://h/b":            "b",
		"redis://h/b?unit_tag=x": "x",
		"redis://h/{t}b":         "t",
		"redis://h/a{t}{u}":      "t",
		"redis://h/{}b":          "",
		"redis://h/b{":           "",
		"redis+unix:///s/b":      "",
		"kafka://h/b":            "",
	} {
		p := &pair{dst: parse(t, dst)}
		if got := p.output(&Options{Delivery: "exactly"}).Query.Get("unit_tag"); got != want {
			t.Errorf("%s: unit_tag %q, want %q", dst, got, want)
		}
		if got := p.output(&Options{Delivery: "at-least"}).Query; got.Has("unit_tag") && want != "x" {
			t.Errorf("%s, at-least: %v", dst, got)
		}
	}
}
