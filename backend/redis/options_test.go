package redis

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// opened opens a URL without talking to a server.
func opened(url string, o Options) (*client, error) {
	u, err := driver.ParseBroker(url)
	if err != nil {
		return nil, err
	}
	d, err := OpenDriver(nil, u, o) //nolint:staticcheck // it does not use the context
	if err != nil {
		return nil, err
	}
	return d.(*client), nil
}

func TestURLs(t *testing.T) {
	secret := secretFile(t, "x")
	for _, c := range []struct {
		url   string
		nodes []string
		want  func(*Options)
	}{
		{"redis://h", []string{"h:6379"}, func(*Options) {}},
		{"redis://h1,h2:7,[::1]:8,[::2]", []string{"h1:6379", "h2:7", "[::1]:8", "[::2]:6379"}, func(*Options) {}},
		{"rediss://h", []string{"h:6379"}, func(o *Options) { o.TLS = true }},
		{"redis://h/?tls", []string{"h:6379"}, func(o *Options) { o.TLS = true }},
		{"redis://h/?server_name=x", []string{"h:6379"}, func(o *Options) { o.TLS, o.ServerName = true, "x" }},
		{"redis://bob:p%40ss@h", []string{"h:6379"}, func(o *Options) { o.User, o.Password = "bob", "p@ss" }},
		{"redis://:pass@h", []string{"h:6379"}, func(o *Options) { o.Password = "pass" }},
		{"redis://bob@h/?password_file=" + secret, []string{"h:6379"}, func(o *Options) { o.User, o.PasswordFile = "bob", secret }},
		{"redis://h/?password_file=" + secret, []string{"h:6379"}, func(o *Options) { o.PasswordFile = secret }},
		{"redis://h/?db=3", []string{"h:6379"}, func(o *Options) { o.DB = 3 }},
		{"redis+unix:///run/redis.sock?db=3", []string{"/run/redis.sock"}, func(o *Options) { o.DB = 3 }},
		{"redis+sentinel://h1,h2:5/?master=m&db=3&sentinel_user=s&sentinel_password_file=" + secret, []string{"h1:26379", "h2:5"},
			func(o *Options) { o.Master, o.DB, o.SentinelUser, o.SentinelPasswordFile = "m", 3, "s", secret }},
		{"rediss+sentinel://h/?master=m", []string{"h:26379"}, func(o *Options) { o.Master, o.TLS = "m", true }},
		{"redis://h/?connect_timeout=1s&request_timeout=2s&delivery_timeout=3s&discover_every=4s&ack_timeout=5s", []string{"h:6379"}, func(o *Options) {
			o.ConnectTimeout, o.RequestTimeout, o.DeliveryTimeout, o.DiscoverEvery, o.AckTimeout = time.Second, 2*time.Second, 3*time.Second, 4*time.Second, 5*time.Second
		}},
		{"redis://h/?field=body&hash_tag=stream&discover=scan&shards=4&partitioner=round_robin&max_record=1MB&max_len=1000&replicas=2&synced&no_autocreate&consumer=me&client_name=p", []string{"h:6379"}, func(o *Options) {
			o.Field, o.HashTag, o.Discover, o.Shards, o.Partitioner = "body", "stream", "scan", 4, "round_robin"
			o.MaxRecord, o.MaxLen, o.Replicas, o.Synced, o.NoAutocreate, o.Consumer, o.ClientName = 1e6, 1000, 2, true, true, "me", "p"
		}},
		{"redis://h/?max_age=7d", []string{"h:6379"}, func(o *Options) { o.MaxAge = 7 * 24 * time.Hour }},
	} {
		got, err := opened(c.url, Options{})
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		var want Options
		want.fill()
		c.want(&want)
		if d := cmp.Diff(want, got.o, cmpopts.IgnoreTypes(seastreamer.Options{})); d != "" {
			t.Errorf("%s: options (-want +got):\n%s", c.url, d)
		}
		if d := cmp.Diff(c.nodes, got.nodes); d != "" {
			t.Errorf("%s: nodes (-want +got):\n%s", c.url, d)
		}
	}
}

// TestRefusedURLs: each is refused in one line that says what to do, and that
// does not repeat a password.
func TestRefusedURLs(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	empty := secretFile(t, "")
	if err := os.WriteFile(open, []byte(canary), 0o644); err != nil { //nolint:gosec // that is what is refused
		t.Fatal(err)
	}
	for _, c := range []struct{ url, want string }{
		{"redis://", "redis://host"},
		{"redis://:1", "has no host"},
		{"redis://h:http2", "not a port"},
		{"redis://h:70000", "not a port"},
		{"redis+unix://", "redis+unix:///"},
		{"redis+tls://h", "rediss"},
		{"redis+unix:///s?tls", "leave out tls"},
		{"redis+sentinel://h", "master=mymaster"},
		{"redis://h/?master=m", "redis+sentinel://"},
		{"redis://h/?sentinel_user=s&sentinel_password_file=" + open, "redis+sentinel://"},
		{"redis+sentinel://h/?master=m&sentinel_user=s", "sentinel_password_file"},
		{"redis://h1,h2/?db=1", "leave out db"},
		{"redis://bob@h", "password_file"},
		{"redis://bob:" + canary + "@h/?password_file=" + open, "two passwords"},
		{"redis://bob@h/?password_file=/nowhere", "/nowhere"},
		{"redis://bob@h/?password_file=" + empty, "empty"},
		{"redis://h/?cert_file=x", "key_file"},
		{"redis://h/?ca_file=/nowhere", "/nowhere"},
		{"redis://h/?ca_file=" + empty, "PEM"},
		{"redis://h/?field=key", "another name"},
		{"redis://h/?field=ts", "another name"},
		{"redis://h/?field=h:x", "another name"},
		{"redis://h/?hash_tag=node", "none, stream, shard"},
		{"redis://h/?discover=keys", "exists, scan"},
		{"redis://h/?partitioner=random", "hash, round_robin"},
		{"redis://h/?max_len=1&max_age=1d", "leave out"},
		{"redis://h/?shards=-1", "shards"},
		{"redis://h/?shards=100000", "shards"},
		{"redis://h/?replicas=5000", "replicas"},
		{"redis://h/?max_record=1GiB", "max_record"},
		{"redis://h/?connect_timeout=0.1ms", "connect_timeout"},
		{"redis://h/?ack_timeout=1ms", "ack_timeout"},
		{"redis://h/?client_name=a%20b", "client_name"},
		{"redis://h/?password=" + canary, "unknown option password"},
		{"redis://h/?sentinel_password=" + canary, "unknown option sentinel_password"},
		{"redis://h/news", "leave out"},
	} {
		got, err := opened(c.url, Options{})
		if err == nil {
			t.Errorf("%s: no error, got %+v", c.url, got.o)
			continue
		}
		text := err.Error()
		if !errors.Is(err, driver.ErrInvalid) || !strings.Contains(text, c.want) || strings.Contains(text, "\n") || strings.Contains(text, canary) {
			t.Errorf("%s: got %q, want one line of kind ErrInvalid with %q and without the secret", c.url, text, c.want)
		}
	}
	if runtime.GOOS != "windows" {
		if _, err := opened("redis://h/?password_file="+open, Options{}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("a password that others can read: got %v", err)
		}
	}
}

// TestPasswordFileChanges: the file is read at each connection.
func TestPasswordFileChanges(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{Password: "old"})
	file := secretFile(t, "old")
	c := open(t, with(s.URL(), "password_file="+file), Options{})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Call(t, 1, "CONFIG", "SET", "requirepass", "new")
	s.Call(t, 1, "CLIENT", "KILL", "TYPE", "normal")
	err := c.Ping(t.Context())
	for ; !errors.Is(err, driver.ErrDenied) && t.Context().Err() == nil; err = c.Ping(t.Context()) {
	}
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	// An attempt that began before it was written may still be under way.
	eventually(t, "it works with the new password in the file", func() bool { return c.Ping(t.Context()) == nil })
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.Call(t, 1, "CLIENT", "KILL", "TYPE", "normal")
	for err = c.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), file); err = c.Ping(t.Context()) {
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(err, driver.ErrUnavailable) || !strings.Contains(err.Error(), s.Addr(1)) {
		t.Errorf("without the file: got %v, want ErrUnavailable that names the server and the file", err)
	}
}

func TestUnixSocket(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{Socket: true, Password: "p"})
	c := open(t, "redis+unix://"+s.Socket()+"?password_file="+secretFile(t, "p"), Options{})
	run(t, c, "XADD", "s", "1-0", "msg", "x")
	if _, err := c.Bounds(t.Context(), []string{"s"}); err != nil {
		t.Error(err)
	}
}

// FuzzURL checks that URLs are taken or refused in one line without the
// secrets in them.
func FuzzURL(f *testing.F) {
	f.Add("redis", "bob", "s3cret", "h:1", "db=1&shards=3")
	f.Add("rediss+sentinel", "", "", "h1,h2", "master=m&sentinel_user=s")
	f.Add("redis+unix", "", "", "/run/x.sock", "field=\n&hash_tag=stream")
	f.Fuzz(func(t *testing.T, scheme, user, password, nodes, query string) {
		if len(password) < 6 || strings.Contains(scheme+user+nodes+query, password) {
			password = ""
		}
		at := ""
		if password != "" {
			at = user + ":" + password + "@"
		}
		url := fmt.Sprintf("%s://%s%s/?%s", scheme, at, nodes, query)
		if strings.Contains(query, "_file") {
			return // reads files
		}
		c, err := opened(url, Options{})
		if err == nil {
			c.end()
			if c.o.check() != nil || len(c.nodes) == 0 {
				t.Errorf("%q is taken as %+v", url, c.o)
			}
			return
		}
		if u, e := driver.ParseBroker(url); e == nil && u.User != nil {
			if p, ok := u.User.Password(); ok && len(p) > 5 && strings.Contains(err.Error(), p) && !strings.Contains(scheme+nodes+query+user, p) {
				t.Errorf("%q: %v has the password", url, err)
			}
		}
	})
}
