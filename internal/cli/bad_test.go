//go:build unix

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// canary is a secret that must show nowhere.
const canary = "canary-7f3a"

// A bad is a call that must fail, with what must be said about it.
type bad struct {
	args  string // split at spaces; {dir}, {closed}, {http} and {silent} are replaced
	stdin string
	code  int
	want  string // in the only line of standard error: the culprit
	fix   string // and what to do; "" where nothing sensible can be said
}

var bads = []bad{
	// commands and flags
	{"streamer flxu ./p news", "", 2, `unknown command "flxu"`, "did you mean flux"},
	{"steamer produce news", "", 2, `unknown command "steamer"`, "did you mean streamer"},
	{"streamer bogus", "", 2, `unknown command "bogus"`, "--help lists the commands"},
	{"streamer produce news --bogus", "", 2, "--bogus", "--help lists the flags"},
	{"streamer group describe g --broker x", "", 2, `unknown command "describe"`, "did you mean info"},
	{"streamer group frob g --broker x", "", 2, `unknown command "frob"`, "--help lists the commands"},
	{"streamer prodoce news --topic x", "", 2, `unknown command "prodoce"`, "did you mean produce"},
	{"streamer consume news -x", "", 2, "'x'", "--help lists the flags"},
	{"streamer produce", "", 2, "no stream is named", "--topic"},
	{"streamer consume", "", 2, "no stream is named", "--topic"},
	{"streamer flux", "", 2, "name the pipe", "flux ./producer news"},
	{"streamer tap", "", 2, "name the pipe", "tap ./consumer news"},
	{"streamer flux {dir}/p", "", 2, "no stream is named", "--topic"},
	{"streamer tap {dir}/p", "", 2, "no stream is named", "--topic"},
	{"streamer flux {dir}/p a b", "", 2, "one stream", "flux ./producer news"},
	{"streamer flux {dir}/p a --topic b", "", 2, "one stream", "flux ./producer news"},
	{"streamer tap {dir}/p a --topic b", "", 2, "named twice", "leave out --topic"},
	{"streamer consume a --topic b", "", 2, "named twice", "leave out --topic"},
	{"streamer consume a a", "", 2, `"a" is named twice`, "once"},
	{"streamer version x", "", 2, `"x"`, ""},
	{"streamer lag --interval soon", "", 2, "--interval soon", "use 1s"},
	{"streamer lag --watch --interval 1ms", "", 2, "--interval 1ms", "use 1s"},
	{"streamer lag --max -5", "", 2, "--max -5", "--max 1000"},
	{"streamer lag --max-age old", "", 2, "--max-age old", "--max-age 30s"},
	{"streamer lag nobody", "", 5, "nobody", "check the name"},
	{"streamer lag nobody nobody", "", 2, `"nobody" is named twice`, "once"},
	{"streamer lag file:///tmp/x", "", 2, "is a URL and not the name of a group", "--broker"},
	{"streamer lag -o xml", "", 2, "-o, --output", "auto, table, wide, tsv, json"},
	{"streamer lag --broker {dir}", "", 2, "{dir}", "file:///DIRECTORY"},
	{"streamer timeline", "", 2, "no stream is named", "--topic"},
	{"streamer timeline a b", "", 2, `"b" is too much`, "timeline news"},
	{"streamer timeline news --bucket 0", "", 2, "--bucket 0", "use 1s"},
	{"streamer timeline news --width 5", "", 2, "--width 5", "20 to 1000"},
	{"streamer timeline news --from +10", "", 2, "--from +10", "@TIME"},
	{"streamer timeline news --until elsewhere", "", 2, "--until", "@TIME"},
	{"streamer top a b", "", 2, `"b" is too much`, "top 'news*'"},
	{"streamer top [", "", 2, "[", "use * and ?"},
	{"streamer top --interval 0", "", 2, "--interval 0", "-1 --interval 0"},
	{"streamer top --interval 10ms -1", "", 2, "--interval 10ms", "use 2s"},
	{"streamer top --stale never", "", 2, "--stale never", "use 1m"},
	{"streamer top -1 --broker {closed}", "", 3, "{closed}", "check that the broker runs"},
	{"streamer completion tcsh", "", 2, `"tcsh"`, "bash, zsh, fish"},
	{"streamer consume news --errors xml", "", 2, "--errors", "text, json"},
	{"streamer consume news --progress maybe", "", 2, "--progress", "auto, never, json"},
	{"streamer consume news -o xml", "", 2, "-o, --output", "text, json"},
	{"streamer consume news --frame whole", "", 2, "--frame", "lines, nul, len32be"},
	{"streamer consume news -o json --frame nul", "", 2, "--frame is nul", "leave it out"},
	{"streamer produce news --frame csv", "", 2, "--frame", "lines, nul, len32be, whole, envelope"},
	{"streamer produce news --in json --frame nul", "", 2, "--frame is nul", "leave out --frame"},
	{"streamer produce news --in text --frame envelope", "", 2, "--in is text", "leave out --in"},
	{"streamer produce news --in json --key k", "", 2, "--key", "leave them out"},
	{"streamer produce news --frame nul --crlf", "", 2, "--crlf", "leave it out"},
	{"streamer produce news -H novalue", "", 2, `"novalue"`, "NAME=VALUE"},
	{"streamer produce news --to-shard -3", "", 2, "--to-shard -3", "from 0"},
	{"streamer produce news --max-message 0", "", 2, "--max-message 0", "64KiB"},
	{"streamer produce news --max-message huge", "", 2, "--max-message huge", "64KiB"},
	{"streamer produce news --delivery twice", "", 2, "--delivery", "at-most, at-least, exactly"},
	{"streamer produce news -z brotli", "", 2, "--compress", "none, gzip, snappy, lz4, zstd"},
	{"streamer produce news -z zstd", "x\n", 2, "--compress", "leave it out"},
	{"streamer produce news --on-error shrug", "", 2, "--on-error", "fail, skip"},
	{"streamer produce news --oversize explode", "", 2, "--oversize", "fail, skip, truncate"},
	{"streamer produce news --partial maybe", "", 2, "--partial", "send, drop, hold, fail"},
	{"streamer consume news --from elsewhere", "", 2, `"elsewhere"`, "start, end, now"},
	{"streamer consume news --from @31-12-2025", "", 2, `"31-12-2025"`, "2026-01-02"},
	{"streamer consume news --until @2999-01-01", "", 2, "2999-01-01", "in the past"},
	{"streamer consume news --from 0=1,0=2", "", 2, "shard 0 twice", ""},
	{"streamer consume news -n -5", "", 2, "-5", ""},
	{"streamer consume news -n many", "", 2, `"many"`, "--help"},
	{"streamer consume news -s x", "", 2, `"x"`, "0,2,4-6"},
	{"streamer consume news -g g --until end", "", 2, "--until and --group", "without a group"},
	{"streamer consume news -g g -s 0", "", 2, "--shard and --group", "leave out one"},
	{"streamer consume news -g g --from -5", "", 2, "--from -5 and --group", "start, end"},
	{"streamer consume news --isolation dirty", "", 2, "--isolation", "committed, uncommitted"},
	{"streamer tap {dir}/p news -g g --session restart", "", 2, "--session restart and --group", "leave out one"},
	{"streamer tap {dir}/p news --session sometimes", "", 2, "--session", "resume, restart, live"},
	{"streamer flux {dir}/p news --mode 0999", "", 2, "--mode 0999", "0600"},
	{"streamer flux {dir}/p news --drain soon", "", 2, "--drain", "500ms"},
	{"streamer flux {dir}/p news --buffer none", "", 2, "--buffer none", "8MiB"},
	{"streamer flux {dir}/p news --ready-fd 1", "", 2, "--ready-fd 1", "3>ready"},
	{"streamer flux {dir}/p news -d --ready-fd 3", "", 2, "--detach and --ready-fd", "leave out one"},

	// copies
	{"streamer cp", "", 2, "no stream is named: SRC and DST", "cp redis://localhost/news kafka://"},
	{"streamer mirror", "", 2, "no stream is named: SRC and DST", "mirror redis://"},
	{"streamer cp there", "", 2, "only there is named", "cp redis://"},
	{"streamer cp there a b", "", 2, "3 streams are named", "one command for each"},
	{"streamer cp there there", "", 2, "the same stream", "name another stream"},
	{"streamer cp there file://{dir}/data/sea-streamer/there", "", 2, "the same stream", "name another stream"},
	{"streamer mirror kafka://LOCALHOST/a kafka://127.0.0.1:9092/a", "", 2, "the same stream", "name another stream"},
	{"streamer cp kafka://h1,h2/a kafka://h2:9092/a?tls", "", 2, "the same stream", "name another stream"},
	{"streamer cp redis://h/a rediss://h/a:3", "", 2, "the same stream", "name another stream"},
	{"streamer cp - copy", "", 2, `"-" is no stream`, "use produce"},
	{"streamer cp there stdio:///out", "", 2, `"stdio:///out" is no stream`, "consume to write"},
	{"streamer cp there nats://h/x", "", 2, "nats:// is not built into this version yet", "kafka://"},
	{"streamer cp there mqtt://h/x", "", 2, `"mqtt"`, "file, kafka, memory, redis"},
	{"streamer cp there kafka://h:9092", "", 2, "names no stream", "kafka://HOST:PORT/STREAM"},
	{"streamer cp kafka://h/a,b copy", "", 2, "SRC names 2 streams", "one command for each"},
	{"streamer cp there kafka://h/a,b", "", 2, "DST names 2 streams", "one command for each"},
	{"streamer cp kafka://h/a kafka://h/b --broker i:9092", "", 2, "--broker means neither", "leave out --broker"},
	{"streamer cp there ..", "", 2, `".."`, ""},
	{"streamer cp there copy --topic x", "", 2, "--topic", "--help lists the flags"},
	{"streamer cp there copy --delivery twice", "", 2, "--delivery", "at-most, at-least, exactly"},
	{"streamer cp there copy --name a/b", "", 2, `"a/b"`, "--name nightly"},
	{"streamer cp there copy --name=", "", 2, "--name", "--name nightly"},
	{"streamer cp there copy --from nowhere", "", 2, `"nowhere"`, "start, end, now"},
	{"streamer cp there copy --until @2999-01-01", "", 2, "2999-01-01", "in the past"},
	{"streamer cp there copy -n -1", "", 2, "-1", ""},
	{"streamer cp there copy -o xml", "", 2, "-o, --output", "text, json"},
	{"streamer cp there copy --report 1s", "", 2, "--report", "--help lists the flags"},
	{"streamer mirror there copy --report soon", "", 2, "--report soon", "30s"},
	{"streamer mirror there copy --report 1ms", "", 2, "--report 1ms", "30s"},
	{"streamer cp there copy -s 7", "", 5, "no shard: 7", "from 0"},
	{"streamer cp there copy --from 7=1", "", 2, "no shard 7", ""},
	{"streamer cp there copy --isolation uncommitted", "", 2, "uncommitted", "drivers"},
	{"streamer cp missing copy", "", 5, "missing", "produce"},
	{"streamer mirror missing copy --delivery at-least", "", 5, "missing", "produce"},
	{"streamer cp kafka://{closed}/a copy", "", 3, "{closed}", "check that the broker runs"},
	{"streamer cp there kafka://{closed}/a", "", 3, "{closed}", "check that the broker runs"},
	{"streamer mirror there redis://me:" + canary + "@{closed}/a", "", 3, "{closed}", "check that the broker runs"},
	{"streamer cp there file://{dir}/file/a", "", 2, "{dir}/file", "names a directory"},

	// URLs and brokers
	{"streamer produce kafka://h:9092", "", 2, "names no stream", "kafka://HOST:PORT/STREAM"},
	{"streamer produce kafka://h:9092/a,b", "x\n", 2, "2 are named", "one command for each"},
	{"streamer produce kafka://h:9092/a/b", "", 2, "%2F", "%2F"},
	{"streamer consume kafka://h:9092/a --broker other:9092", "", 2, "--broker is kafka://other:9092", "leave out --broker"},
	{"streamer consume kafka://h/a file:///d/b", "", 2, "two brokers", "one command for each"},
	{"streamer consume news --broker kafka://", "", 2, "names no host", "kafka://HOST:PORT"},
	{"streamer consume news --broker kafka://h/x", "", 2, `"/x"`, "leave out"},
	{"streamer consume news --broker /var/lib", "", 2, `"/var/lib"`, "file:///DIRECTORY"},
	{"streamer consume news --broker h:99999", "", 2, "99999", ""},
	{"streamer consume news --broker h1:1 --broker file:///x", "", 2, "two brokers", "nodes of one cluster"},
	{"streamer consume nats://localhost/news", "", 2, "nats:// is not built into this version yet", "kafka://"},
	{"streamer consume news --broker mqtt://localhost", "", 2, `"mqtt"`, "file, kafka, memory, redis"},
	{"streamer consume news --broker kafka://h?acks=all", "", 2, "acks", "known are"},
	{"streamer consume news --broker kafka://h?compression=brotli", "", 2, "compression", "one of"},
	{"streamer consume news --broker file://{dir}?shard=4", "", 2, "shard", "known are"},
	{"streamer consume news --broker kafka://me:" + canary + "@h/x/y", "", 2, "host", ""},
	{"streamer consume news --broker kafka://me@h", "", 2, "password", "password_file"},
	{"streamer consume news --broker kafka://h?ca_file={dir}/none.pem", "", 2, "none.pem", ""},
	{"streamer consume .. --broker h", "", 2, `".."`, ""},
	{"streamer produce kafka://{closed}/news", "x\n", 3, "{closed}", "check that the broker runs"},
	{"streamer consume kafka://{closed}/news", "", 3, "{closed}", "check that the broker runs"},
	{"streamer flux {dir}/p news --broker {closed} --require-broker", "", 3, "{closed}", "check that the broker runs"},
	{"streamer flux -d {dir}/p news --broker {closed}", "", 3, "{closed}", "check that the broker runs"},
	{"streamer tap {dir}/p news --broker {closed} --require-broker", "", 3, "{closed}", "check that the broker runs"},
	{"streamer consume news --broker {http}", "", 3, "{http}", ""},
	{"streamer produce news --broker kafka://me:" + canary + "@{closed}", "x\n", 3, "{closed}", "check that the broker runs"},
	{"streamer consume news --broker {silent}", "", 3, "{silent}", "check that the broker runs"},

	// streams and files
	{"streamer consume missing", "", 5, "missing", "produce"},
	{"streamer tap {dir}/p missing", "", 5, "missing", "produce"},
	{"streamer consume there -s 7", "", 5, "7", "from 0"},
	{"streamer consume there --from 7=1", "", 2, "no shard 7", ""},
	{"streamer consume there --isolation uncommitted", "", 2, "uncommitted", "drivers"},
	{"streamer produce news {dir}/none.txt", "", 5, "none.txt", ""},
	{"streamer produce news {dir}", "", 2, "is a directory", "name the files"},
	{"streamer produce news --broker file://{dir}/file", "x\n", 2, "{dir}/file", "names a directory"},
	{"streamer flux {dir}/none/p news", "", 5, "none", ""},
	{"streamer tap {dir}/none/p there", "", 5, "none", ""},
	{"streamer flux {dir}/file news", "", 6, "regular file", "--adopt"},
	{"streamer tap {dir}/file2 there", "", 6, "regular file", "another path"},
	{"streamer flux {dir} news", "", 6, "directory", ""},
	{"streamer tap {dir}/data there", "", 6, "directory", ""},
	{"streamer flux {dir}/link news", "", 6, "link", ""},
	{"streamer tap {dir}/link there", "", 6, "link", ""},
	{"streamer flux {dir}/foreign news", "", 6, "foreign", ""},
	{"streamer tap {dir}/foreign there", "", 6, "foreign", ""},
	{"streamer flux {dir}/served news", "", 6, "served", ""},
	{"streamer tap {dir}/served there", "", 6, "served", ""},
	{"streamer flux {dir}/p news --ready-fd 77", "", 2, "--ready-fd 77", "3>ready"},

	// data
	{"streamer produce bad --max-message 5", "short\ntoo long\nlast\n", 8, "line 2 (from byte 6) is longer than 5 bytes", "--oversize skip"},
	{"streamer produce bad --max-message 5 --oversize skip", "short\ntoo long\nlast\n", 1, "1 message was too long: left out", ""},
	{"streamer produce bad --max-message 5 --oversize truncate", "too long\n", 1, "1 message was too long: cut", ""},
	{"streamer produce bad --partial fail", "one\ntwo", 8, "line 2", "--partial"},
	{"streamer produce bad --frame len32be", "\x00\x00\x00\x09abc", 8, "message 1", "--partial"},
	{"streamer produce bad --in json", "{\"value\":\"x\"}\n{\"vlaue\":\"x\"}\n", 8, `message 2: envelope: column 2: unknown field "vlaue"`, "--on-error skip"},
	{"streamer produce bad --in json", "{\"value\":12}\n", 8, "message 1: envelope: column 10", "consume -o json"},
	{"streamer produce bad --in json", "plain text\n", 8, "message 1: envelope: column 1: an object is wanted", "consume -o json"},
	{"streamer produce bad --check json", "{}\n{\n", 8, "message 2: the payload is not JSON", "--on-error skip"},
	{"streamer produce bad --check json --on-error skip", "{}\n{\n", 1, "1 message could not be decoded: left out", ""},
	{"streamer produce bad --check yaml", "", 2, "--check", "use json"},
	{"streamer produce --in json", "{\"value\":\"x\"}\n", 8, "names no stream", "consume -o json"},
	{"streamer produce bad --broker memory://m?max_record=10 --max-message 100", "far too long for ten bytes\n", 8, "too large", ""},
}

// TestBadInput checks every call of the table: the code, one line that names the
// culprit and the fix, nothing on standard output, no secret anywhere, and what
// was at the paths still there.
func TestBadInput(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	silent := listen(t)
	dir := badFolder(t)
	replace := func(own string) *strings.Replacer {
		return strings.NewReplacer("{dir}/p", own+"/p", "{dir}", dir, "{closed}", closedPort(t), "{http}", strings.TrimPrefix(web.URL, "http://"), "{silent}", silent)
	}
	for _, b := range bads {
		t.Run(strings.ReplaceAll(b.args, "/", "|"), func(t *testing.T) {
			t.Parallel()
			own := t.TempDir()
			r := replace(own)
			b.check(t, dir, own, r)
		})
	}
	if len(bads) < 60 {
		t.Errorf("%d rows", len(bads))
	}
}

// check makes the call and looks at all that comes of it. own is where the
// pipe was to be, dir has what must not be touched.
func (b bad) check(t *testing.T, dir, own string, r *strings.Replacer) {
	args := strings.Fields(r.Replace(b.args))
	for _, format := range []string{"text", "json"} {
		if format == "json" && b.code == exit.Connect {
			continue // they take their time, and the way is the same
		}
		code, out, errs := sea(t, dir, b.stdin, append(args, "--errors", format)...)
		if strings.Contains(b.args, "--errors") {
			code, out, errs = sea(t, dir, b.stdin, args...)
			format = "text"
		}
		if code != b.code {
			t.Errorf("exit code %d, want %d: %s", code, b.code, errs)
		}
		if out != "" {
			t.Errorf("standard output has %q", out)
		}
		line := onlyLine(t, errs)
		if format == "json" {
			line = fromJSON(t, line, b.code)
		} else if !strings.HasPrefix(line, "sea streamer: ") {
			t.Errorf("the line does not begin with the program: %q", line)
		}
		if !strings.Contains(line, r.Replace(b.want)) || !strings.Contains(line, b.fix) {
			t.Errorf("said %q, want %q and %q", line, r.Replace(b.want), b.fix)
		}
		if strings.Contains(errs, canary) {
			t.Errorf("the secret is shown: %s", errs)
		}
		checkFolder(t, dir)
		if _, err := os.Lstat(own + "/p"); err == nil {
			t.Error("the pipe was left behind")
		}
	}
}

// onlyLine is the one line of standard error, but for warnings and notices of
// what is being done.
func onlyLine(t *testing.T, errs string) string {
	t.Helper()
	var lines []string
	for l := range strings.Lines(errs) {
		if !strings.HasPrefix(l, "warning: ") && !strings.Contains(l, "does not exist: the first record creates it") {
			lines = append(lines, strings.TrimSuffix(l, "\n"))
		}
	}
	if len(lines) != 1 {
		t.Errorf("standard error has %d lines, want 1: %q", len(lines), errs)
		return errs
	}
	return lines[0]
}

func fromJSON(t *testing.T, line string, code int) string {
	t.Helper()
	var e struct {
		Code        int
		Error, Hint string
	}
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Code != code {
		t.Errorf("%q: %v, code %d", line, err, e.Code)
	}
	return e.Error + " (" + e.Hint + ")"
}

// badFolder has everything that can be in the way, and a stream called there.
func badFolder(t *testing.T) string {
	dir := t.TempDir()
	put := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	put(os.WriteFile(filepath.Join(dir, "file"), []byte("precious\n"), 0o600))
	// Two commands at one path see each other: so there is another file and another
	// folder, data, which is where streams are.
	put(os.WriteFile(filepath.Join(dir, "file2"), nil, 0o600))
	put(os.Symlink("file", filepath.Join(dir, "link")))
	put(syscall.Mkfifo(filepath.Join(dir, "foreign"), 0o600))
	if os.Geteuid() == 0 {
		put(os.Chown(filepath.Join(dir, "foreign"), 12345, 12345))
	} else {
		put(os.Remove(filepath.Join(dir, "foreign")))
		put(os.Mkdir(filepath.Join(dir, "foreign"), 0o700))
	}
	if code, _, errs := sea(t, dir, "x\n", "streamer", "produce", "there"); code != 0 {
		t.Fatalf("produce: %d %s", code, errs)
	}
	// A pipe that somebody serves.
	ctx, cancel := context.WithCancel(context.Background())
	cmd := command(ctx, dir, "streamer", "flux", filepath.Join(dir, "served"), "there", "--ready-fd", "3")
	r, w, err := os.Pipe()
	put(err)
	cmd.ExtraFiles = []*os.File{w}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	put(cmd.Start())
	_ = w.Close()
	t.Cleanup(func() {
		cancel()
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("flux ended with %v", err)
		}
	})
	if n, err := r.Read(make([]byte, 10)); n == 0 {
		t.Fatalf("flux is not ready: %v", err)
	}
	_ = r.Close()
	return dir
}

// checkFolder finds out whether what was at the paths is still there, and
// nothing else is.
func checkFolder(t *testing.T, dir string) {
	t.Helper()
	if b, err := os.ReadFile(filepath.Join(dir, "file")); string(b) != "precious\n" {
		t.Errorf("the file has become %q, %v", b, err)
	}
	if to, err := os.Readlink(filepath.Join(dir, "link")); to != "file" {
		t.Errorf("the link has become %q, %v", to, err)
	}
	for _, name := range []string{"foreign", "served"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sea", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(dir, "data"), "XDG_STATE_HOME="+filepath.Join(dir, "state"), "XDG_RUNTIME_DIR="+dir, "STREAMER_URI=", "STREAM_URL=", raceExit)
	return cmd
}

// sea runs the program to its end.
func sea(t *testing.T, dir, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := command(ctx, dir, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Errorf("sea %s did not end", strings.Join(args, " "))
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// closedPort is an address where nobody listens, and nobody can while the test
// runs: the port is taken.
func closedPort(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	syscall.CloseOnExec(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
}

// listen is an address where somebody accepts and says nothing.
func listen(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	return l.Addr().String()
}
