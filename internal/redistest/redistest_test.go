//go:build unix

package redistest

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestOneServer(t *testing.T) {
	begun := time.Now()
	s := ForTest(t, Options{AppendOnly: true, Fsync: "always", Socket: true, Directives: []string{"maxmemory 100mb"}})
	t.Logf("started in %v", time.Since(begun))
	if got := s.Call(t, 1, "XADD", "news", "1-1", "msg", "hello"); got != "1-1" {
		t.Errorf("XADD: %q", got)
	}
	s.Kill(1)
	if got := s.PID(1); got != 0 {
		t.Errorf("process %d after Kill", got)
	}
	if _, err := s.Do(1, "PING"); err == nil {
		t.Error("it answers after Kill")
	}
	if err := s.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Call(t, 1, "XRANGE", "news", "-", "+"), "1-1\nmsg\nhello"; got != want {
		t.Errorf("after Kill and Restart: %q, want %q", got, want)
	}
	if got, want := s.Call(t, 1, "CONFIG", "GET", "maxmemory"), "maxmemory\n104857600"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	conn, err := net.Dial("unix", s.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(command(nil, "PING")); err != nil {
		t.Fatal(err)
	}
	if got, err := readReply(bufio.NewReader(conn)); got != "PONG" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.Do(1, "NONSENSE"); !errors.As(err, new(ServerError)) {
		t.Errorf("got %v, want a ServerError", err)
	}
	if want := "redis://" + s.Addr(1); s.URL() != want {
		t.Errorf("URL %s, want %s", s.URL(), want)
	}
}

func TestRedisCLISeesPasswordsUsersAndCertificates(t *testing.T) {
	s := ForTest(t, Options{Password: "sesame", Users: map[string]string{"reader": "on >secret ~news* +@read"}, ClientCerts: true})
	ca, cert, key := s.Files()
	host, port, _ := net.SplitHostPort(s.Addr(1))
	cli := func(args ...string) string {
		t.Helper()
		args = append([]string{"-h", host, "-p", port, "--no-auth-warning"}, args...)
		out, err := exec.CommandContext(t.Context(), "redis-cli", args...).CombinedOutput()
		if err != nil {
			return "failed: " + string(out)
		}
		return strings.TrimSpace(string(out))
	}
	with := []string{"--tls", "--cacert", ca, "--cert", cert, "--key", key}
	if got := cli(append(slices.Clone(with), "-a", "sesame", "PING")...); got != "PONG" {
		t.Errorf("with the password: %q", got)
	}
	if got := cli(append(slices.Clone(with), "PING")...); !strings.HasPrefix(got, "NOAUTH") {
		t.Errorf("without a password: %q", got)
	}
	if got := cli(append(slices.Clone(with), "--user", "reader", "--pass", "secret", "XADD", "news", "*", "a", "b")...); !strings.HasPrefix(got, "NOPERM") {
		t.Errorf("a reader that writes: %q", got)
	}
	if got := cli("--tls", "--cacert", ca, "-a", "sesame", "PING"); !strings.Contains(got, "failed") {
		t.Errorf("without a certificate: %q", got)
	}
	if got := cli("-a", "sesame", "PING"); got == "PONG" {
		t.Error("the port answers without TLS")
	}
}

func TestSentinel(t *testing.T) {
	begun := time.Now()
	s := SentinelForTest(t, Options{AppendOnly: true, Password: "data", SentinelPassword: "guard"})
	t.Logf("started in %v", time.Since(begun))
	s.Call(t, 1, "XADD", "news", "1-1", "msg", "hello")
	if got := s.Call(t, 1, "WAIT", "2", "25000"); got != "2" {
		t.Fatalf("WAIT: %s replicas, want 2", got)
	}
	s.Kill(1)
	begun = time.Now()
	master := waitForMaster(t, s, 0, 1)
	t.Logf("node %d is the master after %v", master, time.Since(begun))
	if got := s.Call(t, master, "XLEN", "news"); got != "1" {
		t.Errorf("%s entries at the new master, want 1", got)
	}
	if err := s.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, err := s.Failover(t.Context(), master)
	if err != nil || next == master {
		t.Fatalf("Failover: node %d after %d, %v", next, master, err)
	}
	if got, want := s.URL(), "?master=mymaster"; !strings.HasPrefix(got, "redis+sentinel://") || !strings.HasSuffix(got, want) || strings.Count(got, ",") != 2 {
		t.Errorf("URL %s", got)
	}
}

func waitForMaster(t *testing.T, s *Servers, slot, not int) (master int) {
	t.Helper()
	err := until(t.Context(), "no new master", func() (err error) {
		if master, err = s.Master(slot); err == nil && master == not {
			err = errors.New("it is the old one")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return master
}

func TestCluster(t *testing.T) {
	for _, o := range []Options{{OwnAddresses: true, AppendOnly: true, NodeTimeout: 3 * time.Second}, {TLS: true, Password: "sesame", NodeTimeout: Patient}} {
		begun := time.Now()
		s := ClusterForTest(t, o)
		t.Logf("started in %v", time.Since(begun))
		slot, err := strconv.Atoi(s.Call(t, 1, "CLUSTER", "KEYSLOT", "news"))
		if err != nil {
			t.Fatal(err)
		}
		master, err := s.Master(slot)
		if err != nil {
			t.Fatal(err)
		}
		if want := 1 + slot*3/16384; master != want {
			t.Errorf("slot %d is at node %d, want %d", slot, master, want)
		}
		s.Call(t, master, "XADD", "news", "1-1", "msg", "hello")
		next, err := s.Failover(t.Context(), master)
		if err != nil || next != master+3 {
			t.Fatalf("Failover: node %d, %v, want %d", next, err, master+3)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.Call(t, next, "XLEN", "news"); got != "1" {
			t.Errorf("%s entries after a failover, want 1", got)
		}
		if !o.AppendOnly {
			continue
		}
		if err := s.Pause(next); err != nil {
			t.Fatal(err)
		}
		if got := waitForMaster(t, s, slot, next); got != master {
			t.Errorf("node %d took over for one that is paused, want %d", got, master)
		}
		if err := s.Continue(next); err != nil {
			t.Fatal(err)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Kill(master)
		waitForMaster(t, s, slot, master)
		if err := s.Restart(t.Context(), master); err != nil {
			t.Fatal(err)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMissingServerIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Start(t.Context(), Options{})
	if want := "redistest: redis-server is not installed: run scripts/setup"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A server that does not like its configuration is not waited for.
func TestBadDirective(t *testing.T) {
	_, err := Start(t.Context(), Options{Directives: []string{"nonsense 1"}})
	if err == nil || !strings.Contains(err.Error(), "Bad directive") {
		t.Errorf("got %v, want what the server said", err)
	}
}

// The servers of a test binary that is killed end, and their folder goes.
func TestNothingOutlivesItsParent(t *testing.T) {
	if os.Getenv("REDISTEST_CHILD") != "" {
		s := ForTest(t, Options{})
		println(s.PID(1), s.Dir()) // to standard error
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingOutlivesItsParent$")
	cmd.Env = append(os.Environ(), "REDISTEST_CHILD=1")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	pid, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
	err = until(t.Context(), "a server or its folder is left", func() error {
		if b, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && !strings.Contains(string(b), ") Z ") {
			return errors.New("process " + pid + " runs")
		}
		if _, err := os.Stat(dir); err == nil {
			return errors.New(dir + " is there")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
