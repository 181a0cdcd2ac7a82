package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// add writes one entry and returns what a producer would.
func add(ctx context.Context, c *client, key, value string) error {
	rc, err := c.connect(ctx)
	if err != nil {
		return err
	}
	answers, err := c.ask(ctx, rc, rc.B().Xadd().Key(key).Id("*").FieldValue().FieldValue("msg", value).Build())
	if err != nil {
		return err
	}
	return c.keyFailure("send", driver.Shard{Stream: key}, key, answers[0].Error())
}

// scripted is a listener of which every connection is handled by talk.
func scripted(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns <- conn
			go talk(conn)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		close(conns)
		for conn := range conns {
			conn.Close()
		}
	})
	return l.Addr().String()
}

// says answers every connection with a text after the client has spoken.
func says(text string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			fmt.Fprint(conn, text)
		}
	}
}

func secretFile(t *testing.T, secret string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(f, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

const canary = "s3cret"

// A failing is a way in which a server does not do what is wanted. Its error
// is one line that names the server and what to do about it.
type failing struct {
	name string
	url  string
	o    Options
	do   func(context.Context, *client) error // Ping where it is nil
	kind error
	want []string
}

func (f failing) test(t *testing.T) {
	t.Helper()
	if f.o.ConnectTimeout == 0 {
		f.o.ConnectTimeout = 10 * time.Second
	}
	c := open(t, f.url, f.o)
	do := f.do
	if do == nil {
		do = func(ctx context.Context, c *client) error { return c.Ping(ctx) }
	}
	begun := time.Now()
	err := do(t.Context(), c)
	if took := time.Since(begun); took > f.o.ConnectTimeout+10*time.Second {
		t.Errorf("took %v with %v", took, f.o.ConnectTimeout)
	}
	if err == nil {
		t.Fatal("no error")
	}
	if f.kind != nil && !errors.Is(err, f.kind) {
		t.Errorf("%v\nis not %v", err, f.kind)
	}
	text := err.Error()
	t.Log(text)
	for _, w := range f.want {
		if !strings.Contains(text, w) {
			t.Errorf("got %q\nwithout %q", text, w)
		}
	}
	if strings.Contains(text, canary) || strings.ContainsAny(text, "\r\n\x1b") {
		t.Errorf("got %q: it has a secret, or more than a line", text)
	}
}

func TestServerRefuses(t *testing.T) {
	full := redistest.ForTest(t, redistest.Options{Directives: []string{"maxmemory 4mb", "maxclients 50"}})
	locked := redistest.ForTest(t, redistest.Options{Password: "right", Users: map[string]string{
		"bob": "on >bobs ~mine* +@all", "eve": "on >eves ~* +@all -xadd", "off": "off >offs ~* +@all",
	}})
	broken := redistest.ForTest(t, redistest.Options{Directives: []string{"enable-protected-configs yes"}})
	broken.Call(t, 1, "CONFIG", "SET", "dir", "/proc")
	broken.Call(t, 1, "CONFIG", "SET", "save", "3600 1")
	broken.Call(t, 1, "BGSAVE")
	for strings.Contains(broken.Call(t, 1, "INFO", "persistence"), "rdb_last_bgsave_status:ok") {
		if t.Context().Err() != nil {
			t.Fatal("BGSAVE into /proc went well")
		}
	}
	replica := redistest.ForTest(t, redistest.Options{})
	replica.Call(t, 1, "REPLICAOF", "127.0.0.1", "1")
	at := func(s *redistest.Servers) string { return s.Addr(1) }
	full.Call(t, 1, "LPUSH", "list", "x")
	bounds := func(key string) func(context.Context, *client) error {
		return func(ctx context.Context, c *client) error { return second(c.Bounds(ctx, []string{key})) }
	}
	write := func(key, value string) func(context.Context, *client) error {
		return func(ctx context.Context, c *client) error { return add(ctx, c, key, value) }
	}
	fill := func(ctx context.Context, c *client) (err error) {
		for range 1000 {
			if err = add(ctx, c, "s", strings.Repeat("x", 10_000)); err != nil {
				break
			}
		}
		return err
	}
	for _, f := range []failing{
		{name: "wrong password", url: "redis://:" + canary + "@" + at(locked), kind: driver.ErrDenied, want: []string{at(locked), `user "default"`, "password"}},
		{name: "no such user", url: "redis://mallory:" + canary + "@" + at(locked), kind: driver.ErrDenied, want: []string{at(locked), `user "mallory"`, "is there such a user"}},
		{name: "wrong password of a user", url: "redis://bob:" + canary + "@" + at(locked), kind: driver.ErrDenied, want: []string{at(locked), `user "bob"`}},
		{name: "user switched off", url: "redis://off:offs@" + at(locked), kind: driver.ErrDenied, want: []string{at(locked), `user "off"`}},
		{name: "no password", url: "redis://" + at(locked), kind: driver.ErrDenied, want: []string{at(locked), "wants a password", "password_file"}},
		{name: "key not allowed", url: "redis://bob:bobs@" + at(locked), do: write("yours", "x"), kind: driver.ErrDenied, want: []string{at(locked), `user "bob"`, `key "yours"`}},
		{name: "command not allowed", url: "redis://eve:eves@" + at(locked), do: write("yours", "x"), kind: driver.ErrDenied, want: []string{at(locked), `user "eve"`, "xadd"}},
		{name: "reading a list", url: full.URL(), do: bounds("list"), kind: driver.ErrInvalid, want: []string{at(full), `"list"`, "no stream"}},
		{name: "writing to a list", url: full.URL(), do: write("list", "x"), kind: driver.ErrInvalid, want: []string{at(full), `"list"`, "no stream"}},
		{name: "out of memory", url: full.URL(), do: fill, kind: driver.ErrUnavailable, want: []string{at(full), "maxmemory", "max_len"}},
		{name: "disk full", url: broken.URL(), do: write("s", "x"), kind: driver.ErrUnavailable, want: []string{at(broken), "disk"}},
		{name: "replica", url: replica.URL(), do: write("s", "x"), kind: driver.ErrUnavailable, want: []string{at(replica), "replica", "redis+sentinel"}},
		{name: "no such database", url: with(full.URL(), "db=99"), kind: driver.ErrInvalid, want: []string{at(full), "99"}},
		{name: "two servers that are no cluster", url: full.URL() + "," + at(replica), kind: driver.ErrInvalid, want: []string{at(full), "no cluster"}},
		{name: "server in place of a sentinel", url: "redis+sentinel://" + at(full) + "/?master=m", kind: driver.ErrInvalid, want: []string{at(full), "no Sentinel", "redis://"}},
	} {
		t.Run(f.name, f.test)
	}
}

func TestTooManyClients(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{Directives: []string{"maxclients 3"}})
	for range 3 {
		// It is refused as long as the server has not noticed that the one who
		// waited for its start has hung up.
		until(t, "a place", func() bool {
			conn, err := net.Dial("tcp", s.Addr(1))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			fmt.Fprint(conn, "PING\r\n")
			reply := make([]byte, 7)
			_, err = io.ReadFull(conn, reply)
			return err == nil && string(reply) == "+PONG\r\n"
		})
	}
	// The server says why and closes; where that is noticed while we greet it,
	// what it said is lost.
	ping := func(ctx context.Context, c *client) (err error) {
		for range 100 {
			if err = c.Ping(ctx); err == nil || strings.Contains(err.Error(), "maxclients") {
				break
			}
		}
		return err
	}
	failing{url: s.URL(), do: ping, kind: driver.ErrUnavailable, want: []string{s.Addr(1), "maxclients"}}.test(t)
}

func TestSentinelRefuses(t *testing.T) {
	t.Parallel()
	s := redistest.SentinelForTest(t, redistest.Options{NodeTimeout: redistest.Patient, Password: "right", SentinelPassword: "theirs"})
	sentinel := s.Addr(4)
	sentinels := strings.TrimSuffix(s.URL(), "?master="+redistest.MasterName)
	right, theirs := secretFile(t, "right"), secretFile(t, "theirs")
	for _, f := range []failing{
		{name: "wrong master", url: sentinels + "/?master=yours&sentinel_password_file=" + theirs, kind: driver.ErrNotFound, want: []string{sentinel, `"yours"`, "SENTINEL MASTERS"}},
		{name: "sentinel in place of a server", url: "redis://:theirs@" + sentinel, kind: driver.ErrInvalid, want: []string{sentinel, "is a Sentinel", "redis+sentinel://", "master="}},
		{name: "no sentinel password", url: with(s.URL(), "password_file="+right), kind: driver.ErrDenied, want: []string{"sentinel 127.0.0.1:", " wants a password: give sentinel_password_file"}},
		{name: "wrong sentinel password", url: with(s.URL(), "sentinel_password_file="+secretFile(t, canary)), kind: driver.ErrDenied, want: []string{"sentinel 127.0.0.1:", `refuses user "default"`, "sentinel_password_file"}},
		{name: "no data password", url: with(s.URL(), "sentinel_password_file="+theirs), kind: driver.ErrDenied, want: []string{s.Addr(1) + " wants a password: give password_file"}},
		{name: "data password for the sentinel only", url: with(s.URL(), "sentinel_password_file="+theirs+"&password_file="+secretFile(t, canary)), kind: driver.ErrDenied, want: []string{s.Addr(1) + ` refuses user "default"`}},
	} {
		t.Run(f.name, f.test)
	}
	c := open(t, with(s.URL(), "password_file="+right+"&sentinel_password_file="+theirs), Options{})
	if err := add(t.Context(), c, "s", "x"); err != nil {
		t.Error(err)
	}
	c = open(t, s.URL(), Options{Password: "right", SentinelPassword: "theirs"})
	if err := add(t.Context(), c, "s", "x"); err != nil {
		t.Error(err)
	}
}

func TestClusterRefuses(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient, Users: map[string]string{"bob": "on >bobs ~* +@all -cluster|slots -cluster|shards"}})
	for _, f := range []failing{
		{name: "database", url: with("redis://"+s.Addr(1), "db=1"), kind: driver.ErrInvalid, want: []string{s.Addr(1), "leave out db"}},
		{name: "may not ask for the slots", url: "redis://bob:bobs@" + s.Addr(1), kind: driver.ErrDenied, want: []string{s.Addr(1), `user "bob"`, "+cluster|slots"}},
	} {
		t.Run(f.name, f.test)
	}
}

func TestTLSRefuses(t *testing.T) {
	plain := redistest.ForTest(t, redistest.Options{})
	secure := redistest.ForTest(t, redistest.Options{TLS: true})
	mutual := redistest.ForTest(t, redistest.Options{ClientCerts: true})
	ca, cert, key := secure.Files()
	mca, mcert, mkey := mutual.Files()
	for _, f := range []failing{
		{name: "TLS to a plain port", url: "rediss://" + plain.Addr(1), o: Options{ConnectTimeout: 2 * time.Second}, kind: driver.ErrUnavailable, want: []string{plain.Addr(1), "TLS", "redis://"}},
		{name: "plain to a TLS port", url: "redis://" + secure.Addr(1), kind: driver.ErrUnavailable, want: []string{secure.Addr(1), "TLS", "rediss://"}},
		{name: "unknown authority", url: secure.URL(), kind: driver.ErrDenied, want: []string{secure.Addr(1), "ca_file"}},
		{name: "another authority", url: with(secure.URL(), "ca_file="+mca), kind: driver.ErrDenied, want: []string{secure.Addr(1), "ca_file"}},
		{name: "another name", url: with(secure.URL(), "ca_file="+ca+"&server_name=example.com"), kind: driver.ErrDenied, want: []string{secure.Addr(1), "example.com", "server_name"}},
		{name: "no client certificate", url: with(mutual.URL(), "ca_file="+mca), want: []string{mutual.Addr(1), "cert_file"}},
		{name: "another client certificate", url: with(mutual.URL(), "ca_file="+mca+"&cert_file="+cert+"&key_file="+key), want: []string{mutual.Addr(1), "cert_file"}},
	} {
		t.Run(f.name, f.test)
	}
	for _, url := range []string{
		with(secure.URL(), "ca_file="+ca),
		with(strings.Replace(secure.URL(), "rediss", "redis", 1), "ca_file="+ca), // a TLS option means TLS
		with(secure.URL(), "insecure"),
		with(mutual.URL(), "ca_file="+mca+"&cert_file="+mcert+"&key_file="+mkey),
	} {
		if err := open(t, url, Options{}).Ping(t.Context()); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := open(t, mutual.URL(), Options{TLSConfig: mutual.TLS()}).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTLSTopologies(t *testing.T) {
	t.Parallel()
	for _, top := range topologies[1:] {
		t.Run(top.name, func(t *testing.T) {
			s := top.start(t, redistest.Options{NodeTimeout: redistest.Patient, ClientCerts: true, Password: "right"})
			c := open(t, s.URL(), Options{TLSConfig: s.TLS(), Password: "right"})
			for _, key := range []string{"a", "b", "c", "d"} {
				if err := add(t.Context(), c, key, "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestNotRedis(t *testing.T) {
	refused := refusing(t)
	silent := scripted(t, func(net.Conn) {})
	hangsUp := scripted(t, func(c net.Conn) { c.Close() })
	web := scripted(t, says("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
	noise := scripted(t, says("\x1b]0;gotcha\x07\x00\xff\xfe"))
	mail := scripted(t, says("+OK POP3 ready\r\n"))
	half := scripted(t, says("%7\r\n$6\r\nserver\r\n$5\r\nred"))
	liar := scripted(t, says(strings.Repeat("-ERR \x1b[2Jgotcha\r\n", 10)))
	chatty := scripted(t, says("%0\r\n"+strings.Repeat("+OK\r\n", 10)))
	hole := blackhole(t)
	for _, f := range []failing{
		{name: "refused", url: "redis://" + refused, kind: driver.ErrUnavailable, want: []string{refused, "refused"}},
		{name: "silence", url: "redis://" + silent, kind: driver.ErrUnavailable, want: []string{silent, "says nothing"}},
		{name: "silence with TLS", url: "rediss://" + silent, kind: driver.ErrUnavailable, want: []string{silent, "TLS"}},
		{name: "blackhole", url: "redis://" + hole, kind: driver.ErrUnavailable, want: []string{hole, "no answer"}},
		{name: "hangs up", url: "redis://" + hangsUp, kind: driver.ErrUnavailable, want: []string{hangsUp, "closed the connection"}},
		{name: "web server", url: "redis://" + web, kind: driver.ErrUnavailable, want: []string{web, "not a Redis server", "HTTP"}},
		{name: "noise", url: "redis://" + noise, kind: driver.ErrUnavailable, want: []string{noise, "not a Redis server"}},
		{name: "mail server", url: "redis://" + mail, kind: driver.ErrUnavailable, want: []string{mail, "right port"}},
		{name: "half a greeting", url: "redis://" + half, kind: driver.ErrUnavailable, want: []string{half}},
		{name: "control characters in an error", url: "redis://" + liar, want: []string{liar, `\x1b[2J`}},
		{name: "says more than it was asked", url: "redis://" + chatty, kind: driver.ErrUnavailable, want: []string{chatty, "not a Redis server"}},
		{name: "no such host", url: "redis://nowhere.invalid", kind: driver.ErrUnavailable, want: []string{"nowhere.invalid:6379"}},
		{name: "no socket", url: "redis+unix:///nowhere/redis.sock", kind: driver.ErrUnavailable, want: []string{"/nowhere/redis.sock", "unixsocket"}},
		{name: "sentinels that are away", url: "redis+sentinel://" + refused + "/?master=m", kind: driver.ErrUnavailable, want: []string{"sentinel " + refused, "refused"}},
		{name: "silent sentinel", url: "redis+sentinel://" + silent + "/?master=m", kind: driver.ErrUnavailable, want: []string{"sentinel " + silent, "says nothing"}},
		{name: "cluster that is away", url: "redis://" + refused + "," + hangsUp, kind: driver.ErrUnavailable, want: []string{"cannot connect to"}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel() // some last as long as they may
			f.o.ConnectTimeout = 3 * time.Second
			f.test(t)
		})
	}
}

// TestSilenceEndsWithContext: no call is held longer than its context by a
// server that accepts and says nothing.
func TestSilenceEndsWithContext(t *testing.T) {
	silent := scripted(t, func(net.Conn) {})
	for _, url := range []string{"redis://" + silent, "rediss://" + silent, "redis://" + silent + "," + silent, "redis+sentinel://" + silent + "/?master=m"} {
		c := open(t, url, Options{ConnectTimeout: time.Minute})
		for name, do := range map[string]func(context.Context) error{
			"Ping":   c.Ping,
			"Bounds": func(ctx context.Context) error { return second(c.Bounds(ctx, []string{"s"})) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			begun := time.Now()
			err := do(ctx)
			cancel()
			if took := time.Since(begun); took > 30*time.Second {
				t.Errorf("%s of %s took %v", name, url, took)
			}
			if !errors.Is(err, driver.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s of %s: %v", name, url, err)
			}
		}
		begun := time.Now()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("Close of %s took %v", url, took)
		}
	}
}

// TestFrozenServer: the same for a server that has stopped in the middle.
func TestFrozenServer(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{ConnectTimeout: time.Minute, RequestTimeout: time.Minute})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := c.Bounds(ctx, []string{"s"}); !errors.Is(err, driver.ErrUnavailable) || !strings.Contains(err.Error(), s.Addr(1)) {
		t.Errorf("got %v, want ErrUnavailable that names %s", err, s.Addr(1))
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("Bounds and Close took %v", took)
	}
	if err := s.Continue(1); err != nil {
		t.Fatal(err)
	}
}

// TestComesLater: opening does not need a server.
func TestComesLater(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	s.Kill(1)
	c := open(t, s.URL(), Options{})
	if err := c.Ping(t.Context()); !errors.Is(err, driver.ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	if err := s.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	s.Kill(1)
	err := c.Ping(t.Context())
	for ; err == nil && t.Context().Err() == nil; err = c.Ping(t.Context()) {
	}
	if !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if err := s.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := add(t.Context(), c, "s", "x"); err != nil {
		t.Error(err)
	}
}

// A connection that rueidis closes as another node takes the place of its own,
// under commands that wait there, is not the end of the driver: who asks again
// asks the other node.
func TestNodeReplaced(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	c := open(t, r.URL(), Options{})
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
	_, err = c.ask(t.Context(), rc, rc.B().Ping().Build())
	wantKind(t, "while the driver is open", err, driver.ErrUnavailable)
	t.Log(err)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "when it is closed", c.failure("", driver.Shard{}, rueidis.ErrClosing), driver.ErrClosed)
}
