package redis

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// eventually waits for a condition, at most a minute.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for begun := time.Now(); !cond(); {
		if time.Since(begun) > time.Minute {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestClass(t *testing.T) {
	for _, c := range []struct {
		name string
		o    redistest.Options
		want serverInfo
	}{
		{"no AOF", redistest.Options{}, serverInfo{class: driver.ClassMemory}},
		{"AOF", redistest.Options{AppendOnly: true}, serverInfo{class: driver.ClassProcess}},
		{"AOF always", redistest.Options{AppendOnly: true, Fsync: "always"}, serverInfo{class: driver.ClassSynced, always: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := redistest.ForTest(t, c.o)
			cl := open(t, s.URL(), Options{})
			if got := cl.class(); got != driver.ClassMemory {
				t.Errorf("before a server has answered: %v, want memory", got)
			}
			if err := cl.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := cl.server()
			if got.version.less(oldest) || !got.known {
				t.Errorf("version %v, known %v", got.version, got.known)
			}
			// What 7.2 and 8.6 have depends on the server that is installed.
			c.want.known, c.want.version = true, got.version
			c.want.waitAOF = c.o.AppendOnly && !got.version.less(version{7, 2})
			c.want.idmp = !got.version.less(version{8, 6})
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(serverInfo{})); d != "" {
				t.Errorf("server (-want +got):\n%s", d)
			}
			if got := cl.class(); got != c.want.class {
				t.Errorf("class %v, want %v", got, c.want.class)
			}
			f := cl.Features()
			if !slices.Contains(f.Classes, c.want.class) || c.want.class < driver.ClassSynced && slices.Contains(f.Classes, c.want.class+1) || slices.Contains(f.Classes, driver.ClassReplicated) {
				t.Errorf("Features has the classes %v", f.Classes)
			}
		})
	}
}

// TestClassChanges: what a server keeps is asked again when a connection was
// lost, and nothing is promised until then.
func TestClassChanges(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true})
	c := open(t, s.URL(), Options{})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		set  string
		want driver.Class
	}{{"no", driver.ClassMemory}, {"yes", driver.ClassProcess}} {
		s.Call(t, 1, "CONFIG", "SET", "appendonly", step.set)
		s.Call(t, 1, "CLIENT", "KILL", "TYPE", "normal")
		eventually(t, fmt.Sprintf("with appendonly %s the class is %v", step.set, step.want), func() bool {
			_ = c.Ping(t.Context())
			return c.class() == step.want && !c.state.doubtful()
		})
	}
	s.Kill(1)
	eventually(t, "the class of a server that was killed is in doubt", func() bool { return c.class() == driver.ClassMemory })
	if err := s.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is process again after a restart", func() bool { return c.class() == driver.ClassProcess })
}

// TestClassWhileAsking: from when a connection is lost until the servers have
// answered nothing is promised, also while they are being asked.
func TestClassWhileAsking(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true})
	asked, answer := make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	ln := between(t, s.Addr(1), func(to, from net.Conn, answers bool) {
		b := make([]byte, 4096)
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			if !answers && bytes.Contains(b[:n], []byte("INFO")) && hold.CompareAndSwap(true, false) {
				asked <- struct{}{}
				<-answer
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	})
	c := open(t, "redis://"+ln.Addr().String(), Options{})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the first question may be from before the loss
		hold.Store(true)
		c.suspect(true)
		<-asked
		if got := c.class(); got != driver.ClassMemory {
			t.Errorf("while the server is asked the class is %v", got)
		}
		answer <- struct{}{}
		eventually(t, "it is process again", func() bool { return c.class() == driver.ClassProcess })
	}
}

// TestClassOfCluster: what is promised holds on all masters.
func TestClassOfCluster(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient})
	c := open(t, s.URL(), Options{})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !c.server().cluster {
		t.Error("it is no cluster")
	}
	for i := 1; i <= 2; i++ {
		s.Call(t, i, "CONFIG", "SET", "appendonly", "yes")
	}
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []driver.Class{driver.ClassMemory, driver.ClassProcess} {
		got, err := c.probe(t.Context(), rc)
		if err != nil || got.class != want {
			t.Errorf("got %v, %v, want %v", got.class, err, want)
		}
		s.Call(t, 3, "CONFIG", "SET", "appendonly", "yes")
	}
}

// TestWithoutInfo: a user who may not ask can work and is promised nothing.
func TestWithoutInfo(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true, Users: map[string]string{
		"bob": "on >bobs ~* +@all -info", "eve": "on >eves ~* +@all -config -command",
	}})
	var text strings.Builder
	o := Options{Options: seastreamer.Options{Logger: slog.New(slog.NewTextHandler(&text, nil))}}
	bob := open(t, strings.Replace(s.URL(), "//", "//bob:bobs@", 1), o)
	run(t, bob, "XADD", "s", "*", "msg", "x")
	if got := bob.class(); got != driver.ClassMemory {
		t.Errorf("without INFO: class %v, want memory", got)
	}
	if !strings.Contains(text.String(), "+info") {
		t.Errorf("logged %q, want a hint", text.String())
	}
	eve := open(t, strings.Replace(s.URL(), "//", "//eve:eves@", 1), Options{})
	run(t, eve, "XADD", "s", "*", "msg", "x")
	if got := eve.class(); got != driver.ClassProcess {
		t.Errorf("without CONFIG: class %v, want process", got)
	}
}

// fake is a server that answers as scripted, by the first word of a command or
// the first two, and OK otherwise. It stands for servers that are not to be
// had here.
func fake(t *testing.T, answers map[string]string) string {
	t.Helper()
	return scripted(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		line := func() (string, error) {
			s, err := r.ReadString('\n')
			return strings.TrimRight(s, "\r\n"), err
		}
		for {
			head, err := line()
			if err != nil {
				return
			}
			n, _ := strconv.Atoi(strings.TrimPrefix(head, "*"))
			var words []string
			for range n {
				size, err := line()
				if err != nil {
					return
				}
				k, _ := strconv.Atoi(strings.TrimPrefix(size, "$"))
				b := make([]byte, k+2)
				if _, err := io.ReadFull(r, b); err != nil {
					return
				}
				words = append(words, string(b[:k]))
			}
			answer, ok := answers[strings.Join(words[:min(2, len(words))], " ")]
			if !ok {
				if answer, ok = answers[words[0]]; !ok {
					answer = "+OK\r\n"
				}
			}
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
	})
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// TestNewerServers runs against a scripted server: 7.2 and 8.6 cannot be had
// here, so that what they answer is from their documentation.
func TestNewerServers(t *testing.T) {
	const aof = "aof_enabled:1\r\n"
	denied := "-NOPERM this user has no permissions to run this command\r\n"
	always := "%1\r\n" + bulk("appendfsync") + bulk("always")
	known := "*6\r\n" + bulk("x") + ":1\r\n*0\r\n:0\r\n:0\r\n:0\r\n"
	for _, c := range []struct {
		name, info, config, command string
		want                        serverInfo
	}{
		{"7.0", "redis_version:7.0.15\r\n" + aof, "%0\r\n", "*2\r\n_\r\n_\r\n", serverInfo{version: version{7, 0, 15}, class: driver.ClassProcess}},
		{"7.2", "redis_version:7.2.4\r\n" + aof, "%0\r\n", "*2\r\n" + known + "_\r\n", serverInfo{version: version{7, 2, 4}, class: driver.ClassProcess, waitAOF: true}},
		{"7.2 without AOF", "redis_version:7.2.4\r\naof_enabled:0\r\n", always, "*2\r\n" + known + "_\r\n", serverInfo{version: version{7, 2, 4}, class: driver.ClassMemory}},
		{"8.6", "redis_version:8.6.0\r\n" + aof, always, "*2\r\n" + known + known, serverInfo{version: version{8, 6, 0}, class: driver.ClassSynced, always: true, waitAOF: true, idmp: true}},
		{"8.6 that may not be asked", "redis_version:8.6.0\r\n" + aof, denied, denied, serverInfo{version: version{8, 6, 0}, class: driver.ClassProcess, waitAOF: true, idmp: true}},
		{"7.0 that may not be asked", "redis_version:7.0.0\r\n" + aof, denied, denied, serverInfo{version: version{7, 0, 0}, class: driver.ClassProcess}},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := fake(t, map[string]string{
				"HELLO": "%2\r\n" + bulk("proto") + ":3\r\n" + bulk("id") + ":1\r\n", "PING": "+PONG\r\n",
				"CLUSTER": "-ERR This instance has cluster support disabled\r\n",
				"INFO":    bulk("# Server\r\n" + c.info + "# Replication\r\nrole:master\r\n"),
				"CONFIG":  c.config, "COMMAND": c.command,
			})
			cl := open(t, "redis://"+addr, Options{})
			if err := cl.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.want.known = true
			if d := cmp.Diff(c.want, cl.server(), cmp.AllowUnexported(serverInfo{})); d != "" {
				t.Errorf("server (-want +got):\n%s", d)
			}
		})
	}
}

func TestOldServer(t *testing.T) {
	addr := fake(t, map[string]string{
		"HELLO":   "%2\r\n" + bulk("proto") + ":3\r\n" + bulk("id") + ":1\r\n",
		"CLUSTER": "-ERR This instance has cluster support disabled\r\n",
		"INFO":    bulk("redis_version:6.0.16\r\nrole:master\r\n"), "CONFIG": "%0\r\n", "COMMAND": "*2\r\n_\r\n_\r\n",
	})
	err := open(t, "redis://"+addr, Options{}).Ping(t.Context())
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "6.2") {
		t.Errorf("got %v, want ErrUnsupported that names %s and 6.2", err, addr)
	}
}

func TestVersions(t *testing.T) {
	for s, want := range map[string]version{"7.0.15": {7, 0, 15}, "255.255.255": {255, 255, 255}, "7": {7}, "7.2-rc1": {7, 2}, "": {}, "x.y": {}} {
		if got := parseVersion(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
	if !(version{6, 2}).less(version{7}) || (version{7, 2}).less(version{7, 0, 15}) || oldest.less(oldest) {
		t.Error("versions are in the wrong order")
	}
}

func FuzzInfo(f *testing.F) {
	f.Add("# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\naof_enabled:1\r\n", "always")
	f.Add("redis_version:99999999999999999999.-1.\xff\naof_enabled:1", "no")
	f.Fuzz(func(t *testing.T, text, fsync string) {
		i := parseInfo(text, fsync)
		if i.always != (i.class == driver.ClassSynced) || i.class != driver.ClassMemory && !strings.Contains(text, "aof_enabled:1") {
			t.Errorf("%q, %q: %+v", text, fsync, i)
		}
	})
}

// TestLeastRights: the rights that the package's page lists are enough to be
// connected, to find a stream and to write.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	const rights = "on >bobs ~* +exists +@stream +@connection +@transaction"
	s := redistest.ForTest(t, redistest.Options{Users: map[string]string{"bob": rights}})
	c := open(t, strings.Replace(s.URL(), "//", "//bob:bobs@", 1), Options{})
	if err := add(t.Context(), c, "s", "x"); err != nil {
		t.Error(err)
	}
	if _, err := c.Bounds(t.Context(), []string{"s"}); err != nil {
		t.Error(err)
	}
	many := redistest.ClusterForTest(t, redistest.Options{Users: map[string]string{"bob": rights + " +cluster|slots +cluster|shards"}})
	c = open(t, strings.Replace(many.URL(), "//", "//bob:bobs@", 1), Options{})
	for _, key := range []string{"a", "b", "c"} {
		if err := add(t.Context(), c, key, "x"); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Bounds(t.Context(), []string{"a", "b", "c"}); err != nil {
		t.Error(err)
	}
}
