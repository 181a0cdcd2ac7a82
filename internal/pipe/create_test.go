//go:build linux

package pipe

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// creators are both ends, for what is the same with them.
var creators = map[string]func(path string, mode os.FileMode) (io.Closer, error){
	"flux": func(path string, mode os.FileMode) (io.Closer, error) {
		return closer(CreateFlux(path, FluxOptions{Mode: mode}))
	},
	"tap": func(path string, mode os.FileMode) (io.Closer, error) {
		return closer(CreateTap(path, TapOptions{Mode: mode}))
	},
	"tap of one inode": func(path string, mode os.FileMode) (io.Closer, error) {
		return closer(CreateTap(path, TapOptions{Mode: mode, OneInode: true}))
	},
}

// closer keeps a nil pointer from becoming an interface that is not nil.
func closer[T io.Closer](c T, err error) (io.Closer, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

func TestCreateMode(t *testing.T) {
	for name, create := range creators {
		for _, umask := range []int{0, 0o077, 0o777} {
			for _, mode := range []os.FileMode{0, 0o622, 0o666} {
				path := filepath.Join(t.TempDir(), "p")
				old := unix.Umask(umask)
				c, err := create(path, mode)
				unix.Umask(old)
				if err != nil {
					t.Fatalf("%s, umask %o: %v", name, umask, err)
				}
				want := os.ModeNamedPipe | 0o600
				if mode != 0 {
					want = os.ModeNamedPipe | mode
				}
				st, err := os.Lstat(path)
				if err != nil || st.Mode() != want {
					t.Errorf("%s, umask %o: mode %v, want %v (%v)", name, umask, st.Mode(), want, err)
				}
				c.Close()
				if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
					t.Errorf("%s: %v is left", name, left)
				}
			}
		}
	}
}

func TestCreateGroup(t *testing.T) {
	dir := t.TempDir()
	groups, err := os.Getgroups()
	if err != nil || len(groups) == 0 {
		groups = []int{os.Getgid()}
	}
	f, err := CreateFlux(filepath.Join(dir, "p"), FluxOptions{Group: "no-such-group-here"})
	wantPathError(t, "an unknown group", closeIt(f, err), NotFound, "no-such-group-here")
	want := groups[len(groups)-1]
	if os.Geteuid() == 0 {
		want = 4242
	}
	f, err = CreateFlux(filepath.Join(dir, "p"), FluxOptions{Group: itoa(want)})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, "p"), &st); err != nil || int(st.Gid) != want {
		t.Errorf("group %d, want %d (%v)", st.Gid, want, err)
	}
}

func closeIt(f *Flux, err error) error {
	if err == nil {
		f.Close()
	}
	return err
}

func wantPathError(t *testing.T, what string, err error, kind Kind, text string) *PathError {
	t.Helper()
	var pe *PathError
	if !errors.As(err, &pe) {
		t.Errorf("%s: got %v, want a PathError", what, err)
		return &PathError{}
	}
	if pe.Kind != kind || !strings.Contains(pe.Error(), text) || strings.Contains(pe.Error(), "\n") {
		t.Errorf("%s: got kind %d, %q; want kind %d, one line with %q", what, pe.Kind, pe, kind, text)
	}
	return pe
}

// Row 1: what is in the way is named, and not touched.
func TestCreateRefuses(t *testing.T) {
	for name, create := range creators {
		dir := t.TempDir()
		at := func(n string) string { return filepath.Join(dir, n) }
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(os.Mkdir(at("dir"), 0o700))
		must(unix.Mkfifo(at("target"), 0o600))
		must(os.Symlink("target", at("link")))
		must(os.Symlink("nothing", at("dangling")))
		must(os.WriteFile(at("file"), []byte("data\n"), 0o640))
		l, err := net.Listen("unix", at("socket"))
		must(err)
		defer l.Close()
		cases := []struct {
			path string
			kind Kind
			text string
		}{
			{at("dir"), Exists, "is a directory"},
			{at("link"), Exists, "is a symbolic link"},
			{at("dangling"), Exists, "is a symbolic link"},
			{at("socket"), Exists, "is a socket"},
			{at("file"), Exists, "is a regular file"},
			{at("none/p"), NotFound, "there is no folder"},
			{at("file/p"), NotFound, "is not a folder"},
			{"/dev/null", Exists, "is a device"},
		}
		if os.Geteuid() == 0 {
			must(unix.Mkfifo(at("foreign"), 0o666))
			must(os.Chown(at("foreign"), 12345, 12345))
			cases = append(cases, struct {
				path string
				kind Kind
				text string
			}{at("foreign"), Exists, "belongs to another user (uid 12345)"})
		}
		before := listing(t, dir)
		for _, c := range cases {
			got, err := create(c.path, 0)
			wantPathError(t, name+" "+c.path, err, c.kind, c.text)
			if err == nil {
				got.Close()
			}
		}
		if after := listing(t, dir); after != before {
			t.Errorf("%s: the folder was\n%sand is\n%s", name, before, after)
		}
	}
}

// listing describes the files of a folder, each with its inode.
func listing(t *testing.T, dir string) string {
	t.Helper()
	return run(t, dir, "bash", "-c", "ls -lAi --time-style=full-iso")
}

// A second instance is refused at once, names the first, and disturbs nothing.
func TestCreateSecond(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p")
	h := startHelper(t, "tap", path, "1000")
	h.line(t)
	for name, create := range creators {
		c, err := create(path, 0)
		if err == nil {
			c.Close()
		}
		pe := wantPathError(t, name, err, Locked, "already served by pid "+itoa(h.cmd.Process.Pid))
		if pe.PID != h.cmd.Process.Pid {
			t.Errorf("%s: pid %d, want %d", name, pe.PID, h.cmd.Process.Pid)
		}
	}
	wantText(t, "cat", run(t, "", "cat", path), lines(0, 1000))
	h.kill(t)

	path = filepath.Join(dir, "q")
	h = startHelper(t, "flux", path)
	h.line(t)
	for name, create := range creators {
		_, err := create(path, 0)
		wantPathError(t, name, err, Locked, "already served by pid "+itoa(h.cmd.Process.Pid))
	}
	// One that has another idea of where locks are.
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	_, err := CreateFlux(path, FluxOptions{})
	wantPathError(t, "flux with another runtime folder", err, Locked, "already served")
	if !exists(path) {
		t.Error("the pipe of the first was removed")
	}
}

// The name is free for a successor while the flux before it still drains.
func TestCreateWhileThePredecessorDrains(t *testing.T) {
	f := startFlux(t, FluxOptions{})
	w, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Stop(time.Minute)
	g := startFluxAt(t, f.path, FluxOptions{})
	if _, err := w.WriteString("to the first\n"); err != nil {
		t.Error(err)
	}
	w.Close()
	run(t, "", "bash", "-c", "echo to the second > "+f.path)
	wantText(t, "first", f.end(t), "to the first\n")
	if !exists(f.path) {
		t.Fatal("the first removed the second's pipe")
	}
	g.Stop(time.Second)
	wantText(t, "second", g.end(t), "to the second\n")
}

// F5: a shell was quicker with its > than we were.
func TestAdopt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "producer")
	say := filepath.Join(t.TempDir(), "say") // what the script waits for
	if err := unix.Mkfifo(say, 0o600); err != nil {
		t.Fatal(err)
	}
	script := startCommand(t, nil, "bash", "-c", "exec 3>"+path+"; echo early >&3; echo; read < "+say+"; echo late >&3")
	script.line(t) // the file is there, and its writer still has something to say
	_, err := CreateFlux(path, FluxOptions{})
	wantPathError(t, "without adopt", err, Exists, "--adopt")
	wantText(t, "the file", run(t, "", "cat", path), "early\n")

	f, err := CreateFlux(path, FluxOptions{Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := os.Lstat(path); err != nil || st.Mode() != os.ModeNamedPipe|0o600 {
		t.Errorf("at the path: %v, %v", st.Mode(), err)
	}
	if err := os.WriteFile(say, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f.Adopted())
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "adopted", string(got), "early\nlate\n")

	// Killed before it was delivered: the next one finds it.
	hidden := f.claim.hidden("adopted")
	f.Close()
	if !exists(hidden) || exists(path) {
		t.Fatal("the adopted file is gone, or the pipe is not")
	}
	_, err = CreateFlux(path, FluxOptions{})
	wantPathError(t, "with a leftover", err, Exists, hidden)
	f, err = CreateFlux(path, FluxOptions{Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err = io.ReadAll(f.Adopted())
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "adopted again", string(got), "early\nlate\n")
	if err := f.Adopted().Remove(); err != nil || exists(hidden) {
		t.Errorf("Remove: %v", err)
	}
}

// A flux that is told to stop while it sends the file that it has adopted has let
// the path go, and not yet the file: its successor would send it a second time.
func TestAdoptedIsSentByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "producer")
	if err := os.WriteFile(path, []byte("early\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := CreateFlux(path, FluxOptions{Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Stop(time.Minute)
	for _, adopt := range []bool{true, false} {
		pe := wantPathError(t, "while it is sent", closeIt(CreateFlux(path, FluxOptions{Adopt: adopt})), Locked, "still being sent")
		if pe != nil && pe.PID != os.Getpid() {
			t.Errorf("by process %d", pe.PID)
		}
	}
	got, err := io.ReadAll(f.Adopted())
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "adopted", string(got), "early\n")
	if err := f.Adopted().Remove(); err != nil {
		t.Fatal(err)
	}
	g, err := CreateFlux(path, FluxOptions{Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if g.Adopted() != nil {
		t.Error("the file is there a second time")
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
