package driver

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A URL names a broker and streams on it:
//
//	kafka://user:secret@h1:9092,h2:9092/news,sport?compression=zstd
//	redis+unix:///run/redis.sock/news
//	file:///var/lib/logs/news
//
// The query is cut off first; the streams are what follows the last slash of
// the rest; what precedes it are the nodes, or one path where the scheme is
// file or ends in +unix or +file. User information is given once and shared by
// all nodes. Nodes, streams and paths are percent-decoded. net/url knows
// neither several nodes nor several streams, hence this type.
type URL struct {
	Scheme  string        // lower case
	User    *url.Userinfo // nil where there is none; its String reveals the password
	Nodes   []string      // host, host:port, or a single path
	Streams []string
	Query   url.Values
}

// ParseURL reads a URL with streams, of which there may be none.
func ParseURL(s string) (URL, error) { return parse(s, true) }

// ParseBroker reads a URL without streams: for the schemes that are paths the
// whole path is the node, and for the others a stream is an error.
func ParseBroker(s string) (URL, error) {
	u, err := parse(s, false)
	if err == nil && len(u.Streams) > 0 {
		return URL{}, Errorf(ErrInvalid, "", "broker URL %v names a stream: leave out %q", u, "/"+strings.Join(u.Streams, ","))
	}
	return u, err
}

// Broker is u without its streams.
func (u URL) Broker() URL {
	u.Streams = nil
	return u
}

// isPath reports whether URLs of the scheme have one path in place of hosts.
func isPath(scheme string) bool {
	return scheme == "file" || strings.HasSuffix(scheme, "+unix") || strings.HasSuffix(scheme, "+file")
}

func parse(s string, streams bool) (URL, error) {
	var u URL
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !validScheme(scheme) {
		return URL{}, Errorf(ErrInvalid, "", "URL %q has no scheme: write kafka://host:9092/stream, redis://host/stream or file:///directory/stream", withoutUser(s))
	}
	u.Scheme = strings.ToLower(scheme)
	rest, query, _ := strings.Cut(rest, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		return URL{}, Errorf(ErrInvalid, "", "URL with scheme %s: its query cannot be read: percent-encode special characters", u.Scheme)
	}
	if len(q) > 0 {
		u.Query = q
	}
	body, slashes := strings.CutPrefix(rest, "//")
	if isPath(u.Scheme) {
		return u.parsePath(body, streams)
	}
	if !slashes {
		return URL{}, Errorf(ErrInvalid, "", "URL with scheme %s: write %s:// and then the host", u.Scheme, u.Scheme)
	}
	nodes, names := body, ""
	if i := strings.LastIndexByte(body, '/'); i >= 0 {
		nodes, names = body[:i], body[i+1:]
	}
	if i := strings.LastIndexByte(nodes, '@'); i >= 0 {
		if u.User, err = parseUser(nodes[:i]); err != nil {
			return URL{}, Errorf(ErrInvalid, "", "URL with scheme %s: its user information cannot be read: percent-encode special characters", u.Scheme)
		}
		nodes = nodes[i+1:]
	}
	for n := range items(nodes) {
		node, err := decode(n)
		if err == nil && strings.ContainsAny(node, "/@, ") {
			err = fmt.Errorf("a node is host or host:port (a slash in a stream's name is written %%2F)")
		}
		if err != nil {
			return URL{}, Errorf(ErrInvalid, "", "URL with scheme %s: node %q: %w", u.Scheme, n, err)
		}
		u.Nodes = append(u.Nodes, node)
	}
	return u, u.parseStreams(names)
}

func (u URL) parsePath(path string, streams bool) (URL, error) {
	path = strings.TrimPrefix(path, "localhost/")
	names := ""
	if i := strings.LastIndexByte(path, '/'); i >= 0 && streams {
		path, names = path[:max(i, 1)], path[i+1:]
	}
	node, err := decode(path)
	if err != nil {
		return URL{}, Errorf(ErrInvalid, "", "URL with scheme %s: path %q: %w", u.Scheme, path, err)
	}
	if node != "" {
		if node = strings.TrimRight(node, "/"); node == "" {
			node = "/"
		}
		u.Nodes = []string{node}
	}
	return u, u.parseStreams(names)
}

func (u *URL) parseStreams(names string) error {
	for n := range items(names) {
		name, err := decode(n)
		if err == nil {
			err = CheckStream(name)
		}
		if err == nil && slices.Contains(u.Streams, name) {
			err = fmt.Errorf("it is named twice")
		}
		if err != nil {
			*u = URL{}
			return Errorf(ErrInvalid, "", "stream %q: %w", n, err)
		}
		u.Streams = append(u.Streams, name)
	}
	return nil
}

// CheckStream says why name cannot name a stream on any backend: names are 1
// to 249 bytes of UTF-8 without control characters, and neither . nor .. A
// backend may allow less.
func CheckStream(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("the name is reserved")
	case len(name) > 249:
		return fmt.Errorf("the name has %d bytes: at most 249 are allowed", len(name))
	case !utf8.ValidString(name):
		return fmt.Errorf("the name is not UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the name contains a control character")
	}
	return nil
}

// items yields the items between commas that are not empty.
func items(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range strings.SplitSeq(s, ",") {
			if i != "" && !yield(i) {
				return
			}
		}
	}
}

func decode(s string) (string, error) {
	t, err := url.PathUnescape(s)
	if err != nil {
		return "", fmt.Errorf("percent-encoding is broken")
	}
	if strings.IndexByte(t, 0) >= 0 {
		return "", fmt.Errorf("it contains a zero byte")
	}
	return t, nil
}

func parseUser(s string) (*url.Userinfo, error) {
	name, pass, has := strings.Cut(s, ":")
	name, err := url.PathUnescape(name)
	if err != nil || !has {
		return url.User(name), err
	}
	pass, err = url.PathUnescape(pass)
	return url.UserPassword(name, pass), err
}

func validScheme(s string) bool {
	for i, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z':
		case i > 0 && ('0' <= r && r <= '9' || strings.ContainsRune("+-.", r)):
		default:
			return false
		}
	}
	return s != ""
}

// withoutUser takes what may be user information out of a text that could not
// be read as a URL, so that it can be shown.
func withoutUser(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…@" + s[i+1:]
	}
	return s
}

// String is the URL with secrets replaced by xxxxx: the password and every
// query value whose key sounds like one.
func (u URL) String() string { return u.text(true) }

func (u URL) text(redact bool) string {
	var b strings.Builder
	b.WriteString(u.Scheme)
	b.WriteString("://")
	if u.User != nil {
		b.WriteString(url.PathEscape(u.User.Username()))
		if p, ok := u.User.Password(); ok {
			if redact {
				p = "xxxxx"
			}
			b.WriteString(":" + escapeItem(p))
		}
		b.WriteByte('@')
	}
	if isPath(u.Scheme) {
		for _, n := range u.Nodes {
			b.WriteString(strings.TrimSuffix((&url.URL{Path: n}).EscapedPath(), "/"))
		}
	} else {
		for i, n := range u.Nodes {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(escapeItem(n))
		}
	}
	// A path without streams ends in a slash, else its last part would read
	// as a stream.
	if len(u.Streams) > 0 || isPath(u.Scheme) && len(u.Nodes) > 0 {
		b.WriteByte('/')
	}
	for i, n := range u.Streams {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(escapeItem(n))
	}
	if len(u.Query) > 0 {
		q := u.Query
		if redact {
			q = redacted(q)
		}
		b.WriteString("?" + q.Encode())
	}
	return b.String()
}

// escapeItem escapes what separates items, and all that net/url escapes in a
// path.
func escapeItem(s string) string {
	return strings.NewReplacer(",", "%2C", "@", "%40", "%5B", "[", "%5D", "]").Replace(url.PathEscape(s))
}

func redacted(q url.Values) url.Values {
	r := make(url.Values, len(q))
	for k, v := range q {
		r[k] = v
		l := strings.ToLower(k)
		if strings.HasSuffix(l, "_file") {
			continue
		}
		for _, word := range []string{"pass", "secret", "token", "credential"} {
			if strings.Contains(l, word) {
				r[k] = []string{"xxxxx"}
			}
		}
	}
	return r
}
