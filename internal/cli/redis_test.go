//go:build unix

package cli

import (
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
	for _, name := range []string{"flux", "tap", "seed", "streams"} {
		p.Files = append(p.Files, filepath.Join("testdata/script", name+".txtar"))
	}
	testscript.Run(t, p)
}
