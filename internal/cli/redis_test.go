//go:build unix

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seastreamer/seastreamer/internal/redistest"
)

// redisServer is a server for the test, with the append-only file.
func redisServer(t *testing.T) *redistest.Servers {
	t.Helper()
	if _, err := exec.LookPath("redis-cli"); err != nil {
		t.Fatal("redis-cli, the independent witness, is not installed: run scripts/setup")
	}
	return redistest.ForTest(t, redistest.Options{AppendOnly: true, Socket: true})
}

// redisParams runs scripts with a database of their own each, named by
// $STREAMER_URI and, for redis-cli, by $REDISCLI_… as in `redis` of scripts.
func redisParams(r *redistest.Servers) testscript.Params {
	p := scripts()
	setup, database := p.Setup, new(atomic.Int32)
	p.Setup = func(e *testscript.Env) error {
		db := strconv.Itoa(int(database.Add(1)))
		host, port, _ := strings.Cut(r.Addr(1), ":")
		e.Setenv("STREAMER_URI", r.URL()+"?db="+db)
		e.Setenv("BROKER", r.URL())
		e.Setenv("SOCKET", r.Socket())
		e.Setenv("HOSTNAME", host)
		e.Setenv("PORT", port)
		e.Setenv("DB", db)
		return setup(e)
	}
	p.Cmds = map[string]func(*testscript.TestScript, bool, []string){"redis": redisCLI}
	return p
}

// redisCLI is the command redis of scripts: redis-cli on the script's database.
// What it prints is standard output for stdout and cmp.
func redisCLI(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("redis-cli", append([]string{"-e", "-h", ts.Getenv("HOSTNAME"), "-p", ts.Getenv("PORT"), "-n", ts.Getenv("DB")}, args...)...)
	if neg != (err != nil) {
		ts.Fatalf("redis-cli %s: %v", strings.Join(args, " "), err)
	}
}

// What the commands do on Redis, with redis-cli as the witness.
func TestRedisScripts(t *testing.T) {
	p := redisParams(redisServer(t))
	p.Dir = "testdata/script/redis"
	testscript.Run(t, p)
}

// What the commands do on the embedded default, they do on Redis.
func TestScriptsOnRedis(t *testing.T) {
	p := redisParams(redisServer(t))
	for _, name := range []string{"cp", "flux", "tap", "seed", "streams"} {
		p.Files = append(p.Files, filepath.Join("testdata/script", name+".txtar"))
	}
	testscript.Run(t, p)
}

// TLS, a user whose password is in a file, and several --broker.
func TestRedisSecured(t *testing.T) {
	dir := t.TempDir()
	r := redistest.ForTest(t, redistest.Options{ClientCerts: true, Password: "other", Users: map[string]string{"me": "on >" + canary + " ~news ~news:* +@all"}})
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca, cert, key := r.Files()
	broker := strings.Replace(r.URL(), "://", "://me@", 1) + "?password_file=" + password + "&ca_file=" + ca + "&cert_file=" + cert + "&key_file=" + key
	for _, args := range [][]string{{"produce", "news"}, {"consume", "news", "--from", "start", "--until", "end"}} {
		code, out, errs := sea(t, dir, "secret news\n", append(append([]string{"streamer"}, args...), "--broker", broker, "-v")...)
		if code != 0 || args[0] == "consume" && out != "secret news\n" || strings.Contains(errs, canary) || strings.Contains(errs, "warning") {
			t.Errorf("%v: %d %q %s", args, code, out, errs)
		}
	}
	// In the URL it works too, with a warning.
	broker = strings.Replace(r.URL(), "://", "://me:"+canary+"@", 1) + "?ca_file=" + ca + "&cert_file=" + cert + "&key_file=" + key
	code, _, errs := sea(t, dir, "x\n", "streamer", "produce", "news", "--broker", broker)
	if code != 0 || strings.Count(errs, "the password on the command line can be seen") != 1 || strings.Contains(errs, canary) {
		t.Errorf("%d %s", code, errs)
	}
	// Without a certificate, and with a file that others can read. The server
	// says why it closes the connection (4) unless that is overtaken by the
	// close itself (3).
	code, _, errs = sea(t, dir, "x\n", "streamer", "produce", "news", "--broker", r.URL()+"?ca_file="+ca)
	if code != 3 && code != 4 || !strings.Contains(onlyLine(t, errs), "cert_file") {
		t.Errorf("without a certificate: %d %s", code, errs)
	}
	if err := os.Chmod(password, 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, errs = sea(t, dir, "x\n", "streamer", "produce", "news", "--broker", "rediss://me@"+r.Addr(1)+"?password_file="+password)
	if code != 2 || !strings.Contains(onlyLine(t, errs), "chmod 600") {
		t.Errorf("a file for all: %d %s", code, errs)
	}
}
