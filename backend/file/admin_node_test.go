//go:build linux || darwin

package file

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

// The directory is described as du and the file system see it.
func TestLogDirs(t *testing.T) {
	s := newSite(t, Options{Shards: 3, SegmentSize: minSegment})
	s.send("a", strings.Repeat("b", 10_000), "c")
	d := s.open()
	dirs, err := d.LogDirs(t.Context(), nodeID)
	if err != nil || len(dirs) != 1 {
		t.Fatalf("%+v, %v", dirs, err)
	}
	want := int64(0)
	for i := range 3 {
		// GNU du counts the folder itself, too.
		b, err := exec.Command("du", "-sb", filepath.Join(s.dir, "s", fmt.Sprint(i))).Output()
		if err != nil {
			want = walk(t, filepath.Join(s.dir, "s")) - walk(t, filepath.Join(s.dir, "s", "meta"))
			break
		}
		n, _ := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		st, err := os.Stat(filepath.Join(s.dir, "s", fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		want += n - st.Size()
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &fs); err != nil {
		t.Fatal(err)
	}
	l := dirs[0]
	if l.Bytes != want || l.Shards != 3 || l.Path != s.dir || l.Total != int64(fs.Blocks)*int64(fs.Bsize) || l.Free <= 0 || l.Free > l.Total || l.Err != nil { //nolint:unconvert // Bsize is another type on other systems
		t.Errorf("%+v, want %d bytes", l, want)
	}
	if _, err := d.LogDirs(t.Context(), "other"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("another node: %v", err)
	}
}

// There is one node, with the options of the process, and nothing to choose.
func TestNode(t *testing.T) {
	s := newSite(t, Options{Shards: 3})
	d := s.open()
	nodes, err := d.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].ID != nodeID || nodes[0].Addr != s.dir || !nodes[0].Up {
		t.Errorf("%+v, %v", nodes, err)
	}
	cfg, err := d.NodeConfig(t.Context(), nodeID)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range cfg {
		got[e.Name] = e.Value + " " + e.Source
	}
	if got["shards"] != "3 node" || got["sync"] != "never default" || got["buffer"] != "2097152 default" {
		t.Errorf("%v", got)
	}
	if _, err := d.NodeConfig(t.Context(), "other"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("another node: %v", err)
	}
	_, elect := d.ElectLeaders(t.Context(), nil, false)
	_, list := d.Reassignments(t.Context())
	for what, err := range map[string]error{
		"set": d.SetNodeConfig(t.Context(), nodeID, nil), "elect": elect, "list": list, "reassign": d.Reassign(t.Context(), nil),
	} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What is not well with the shards is said, and looking repairs nothing.
func TestProblems(t *testing.T) {
	problems := func(s *site) string {
		t.Helper()
		before := make(map[string]string)
		if _, err := os.Stat(s.dir); err == nil {
			before = tree(t, s.dir)
		}
		info, err := s.open().Cluster(t.Context())
		if err != nil || info.Kind != "single" || info.ID != s.dir {
			t.Fatalf("%+v, %v", info, err)
		}
		for name, b := range before {
			if now, err := os.ReadFile(name); err == nil && string(now) != b {
				t.Errorf("looking has changed %s", name)
			}
		}
		var all []string
		for _, p := range info.Problems {
			if p.What == "disk-full" {
				continue // it may be
			}
			all = append(all, p.What+" "+p.Item)
		}
		return strings.Join(all, ", ")
	}
	s := newSite(t, Options{Shards: 2})
	if got := problems(&site{t, filepath.Join(s.dir, "none"), s.env, s.o}); got != "" {
		t.Errorf("no directory: %s", got)
	}
	s.send("a", "b")
	if got := problems(s); got != "" {
		t.Errorf("all well: %s", got)
	}
	flag := func(flags uint32) {
		root, _ := s.open().store.open(false)
		l, err := openLog(root, driver.Shard{Stream: "s"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		w := newAppender(l, meta{}, s.o, &s.env)
		end, err := (&tail{l: l}).load()
		if err != nil {
			t.Fatal(err)
		}
		w.end = end
		end.flags = flags
		if err := w.publish(end); err != nil {
			t.Fatal(err)
		}
	}
	flag(flagPoisoned)
	if got := problems(s); got != "persistence s[0]" {
		t.Errorf("a sync failed: %s", got)
	}
	flag(0)
	o := newOwner(t, s.open(), false)
	claim(t, o, at(0, 0), at(1, 0))
	s.dieInUnit(stepUnitMarked, 1, []driver.Record{out(0, "u")}, move(0, 0, 1))
	if got := problems(s); got != "transaction-hanging s[0]" {
		t.Errorf("a committer died: %s", got)
	}
	s.send("c", "d")
	if got := problems(s); got != "" {
		t.Errorf("after the next write: %s", got)
	}
	if err := os.Truncate(filepath.Join(s.dir, "s", "1", "ctl"), 100); err != nil {
		t.Fatal(err)
	}
	if got := problems(s); got != "failing s[1]" {
		t.Errorf("a ctl that was cut: %s", got)
	}
}
