package cp

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// A pair is what is copied where, and whose progress it is.
type pair struct {
	src, dst ss.URL // with one stream each
	name     string
}

func (p *pair) from() string { return p.src.Streams[0] }
func (p *pair) to() string   { return p.dst.Streams[0] }

// pair finds out what SRC and DST mean. A URL is itself; --broker and the
// environment are where plain names are.
func (o *Options) pair() (*pair, error) {
	p := &pair{name: o.Name}
	named := false // a plain name
	for _, e := range []struct {
		what, text string
		u          *ss.URL
	}{{"SRC", o.Src, &p.src}, {"DST", o.Dst, &p.dst}} {
		target := o.Target
		if isURL := strings.Contains(e.text, "://") || strings.HasPrefix(e.text, "file:"); isURL {
			target = factory.Target{}
		} else {
			named = true
		}
		u, err := o.f.Resolve(target, e.text)
		if err != nil {
			return nil, err
		}
		if len(u.Streams) != 1 {
			return nil, exit.Usagef("run one command for each", "%s names %d streams, and one is copied at a time", e.what, len(u.Streams))
		}
		*e.u = u
	}
	if len(o.Target.Brokers) > 0 && !named {
		return nil, exit.Usagef("leave out --broker", "SRC and DST are URLs, so that --broker means neither of them")
	}
	if overlap(p.src, p.dst) {
		return nil, exit.Usagef("name another stream", "SRC and DST are the same stream, %v", p.src)
	}
	if p.name == "" {
		p.name = p.hash(o)
	}
	return p, nil
}

// output is DST as it is opened. In a cluster of Redis a unit stays in one slot:
// the progress goes to the one of the stream.
func (p *pair) output(o *Options) ss.URL {
	u := p.dst
	if o.Delivery != "exactly" || u.Scheme != "redis" && u.Scheme != "rediss" || u.Query.Has("unit_tag") {
		return u
	}
	tag := p.to()
	if _, after, ok := strings.Cut(tag, "{"); ok {
		// Redis takes what is between the first { and the next }.
		if in, _, ok := strings.Cut(after, "}"); ok && in != "" {
			tag = in
		}
	}
	if strings.ContainsAny(tag, "{}") {
		return u
	}
	q := url.Values{"unit_tag": {tag}}
	maps.Copy(q, u.Query)
	u.Query = q
	return u
}

// hash is the name of progress that has none: of what is copied where, and not
// of how long or how the brokers are spoken to.
func (p *pair) hash(o *Options) string {
	h := sha256.New()
	for _, s := range []string{"1", identity(p.src), identity(p.dst), o.Receive.From, o.Receive.Shards, o.Receive.Isolation} {
		h.Write([]byte(s + "\x00"))
	}
	return "cp-" + hex.EncodeToString(h.Sum(nil))[:20]
}

// identity is what makes a stream another one: the kind of broker, its nodes,
// the database and the name. Users, TLS and tuning do not.
func identity(u ss.URL) string {
	return kind(u) + "//" + strings.Join(nodes(u), ",") + "/" + u.Streams[0]
}

// kind is an identity without nodes and stream.
func kind(u ss.URL) string {
	scheme := strings.Replace(u.Scheme, "rediss", "redis", 1)
	for _, k := range []string{"db", "master", "hash_tag"} {
		if v := u.Query.Get(k); v != "" && v != "0" && v != "none" {
			scheme += "?" + k + "=" + v
		}
	}
	return scheme
}

// nodes are the addresses in one spelling, sorted.
func nodes(u ss.URL) []string {
	var all []string
	for _, n := range u.Nodes {
		switch {
		case u.Scheme == "memory":
		case u.Scheme == "file" || strings.HasSuffix(u.Scheme, "+unix"):
			n = realPath(n)
		default:
			port := map[bool]string{true: "9092", false: "6379"}[u.Scheme == "kafka"]
			if strings.HasSuffix(u.Scheme, "+sentinel") {
				port = "26379"
			}
			host := n
			if h, p, err := net.SplitHostPort(n); err == nil {
				host, port = h, p
			}
			host = strings.ToLower(strings.Trim(host, "[]"))
			if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
				host = "localhost"
			}
			n = net.JoinHostPort(host, port)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// realPath is a path without links and from the root, as far as it exists.
func realPath(path string) string {
	abs, err := filepath.Abs(filepath.FromSlash(path))
	if err != nil {
		return path
	}
	for dir, rest := abs, ""; ; {
		if found, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.ToSlash(filepath.Join(found, rest))
		}
		up := filepath.Dir(dir)
		if up == dir {
			return filepath.ToSlash(abs)
		}
		dir, rest = up, filepath.Join(filepath.Base(dir), rest)
	}
}

// overlap reports whether a copy would read what it writes. It is found by
// what the URLs say: two names of one host are not seen through.
func overlap(a, b ss.URL) bool {
	if kind(a) != kind(b) {
		return false
	}
	shared := slices.ContainsFunc(nodes(a), func(n string) bool { return slices.Contains(nodes(b), n) })
	if !shared && len(a.Nodes)+len(b.Nodes) > 0 {
		return false
	}
	x, y := a.Streams[0], b.Streams[0]
	if x == y {
		return true
	}
	// On Redis name:0 is a shard of name.
	return strings.HasPrefix(a.Scheme, "redis") && (isShardOf(x, y) || isShardOf(y, x))
}

func isShardOf(key, stream string) bool {
	n, ok := strings.CutPrefix(key, stream+":")
	return ok && n != "" && strings.Trim(n, "0123456789") == ""
}
