//go:build linux

package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// Many streams, shards and groups are listed and described page by page, each
// in at most 3 s of the processor, with at most 200 MiB; the race detector and a
// slow processor may take four times as long. FILE_SCALE=full has 100,000 streams,
// 10,000 shards of one and 10,000 groups; without it there are 5,000 of each.
func TestScale(t *testing.T) {
	streams, shards, groups := 5_000, 5_000, 5_000
	if os.Getenv("FILE_SCALE") == "full" {
		streams, shards, groups = 100_000, 10_000, 10_000
	}
	s := newSite(t, Options{})
	// In memory where there is a place for it: making the files costs far more
	// than what is measured, which is all from the system's caches anyway.
	if dir, err := os.MkdirTemp("/dev/shm", "file-scale-"); err == nil { //nolint:usetesting // t.TempDir is on the disk
		s.dir = dir
		defer os.RemoveAll(dir)
	}
	s.send("a", "b", "c")
	d := s.open()
	shard := driver.Shard{Stream: "s"}
	if err := d.SetPositions(t.Context(), "g", []driver.Position{{Shard: shard, Next: driver.SeqOf(1)}}); err != nil {
		t.Fatal(err)
	}
	// Copies of one stream: making as many with everything on the disk takes
	// minutes and is not the question here.
	meta, err := os.ReadFile(filepath.Join(s.dir, "s", "meta"))
	if err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(s.dir, "s", "0")
	for i := range streams - 1 {
		if i%20_000 == 19_999 { // a file has at most 65,000 names on ext4
			next := filepath.Join(s.dir, fmt.Sprintf("copy-%d", i))
			if err := os.CopyFS(next, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			from = next
		}
		name := fmt.Sprintf("stream-%06d", i)
		dir := filepath.Join(s.dir, name)
		linkFolder(t, from, filepath.Join(dir, "0"))
		b := strings.Replace(string(meta), `"s"`, strconv.Quote(name), 1)
		if err := os.WriteFile(filepath.Join(dir, "meta"), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range groups - 1 {
		for _, sub := range []string{leasesFolder, progressFolder, membersFolder} {
			linkFolder(t, filepath.Join(s.dir, "groups", "g", sub), filepath.Join(s.dir, "groups", fmt.Sprintf("group-%06d", i), sub))
		}
	}
	watchMemory(t)
	// What counts is the processor's time: all is system calls that the caches
	// answer, and other tests may run on this machine.
	clock := func() time.Duration {
		u := usage()
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	slowest := time.Duration(0)
	timed := func(f func()) {
		began := clock()
		f()
		slowest = max(slowest, clock()-began)
	}
	const page = 1000
	all := driver.DetailBounds | driver.DetailTimes | driver.DetailBytes | driver.DetailReplicas | driver.DetailSettings
	seen, began := make(map[string]bool, streams), time.Now()
	var batch []string
	describe := func() {
		timed(func() {
			infos, err := d.DescribeStreams(t.Context(), batch, all)
			if err != nil {
				t.Fatal(err)
			}
			for _, in := range infos {
				if in.Err != nil || in.Shards[0].Messages.N != 3 {
					t.Fatalf("%+v", in)
				}
			}
		})
		batch = batch[:0]
	}
	listed, at := time.Duration(0), clock()
	for name, err := range d.StreamNames(t.Context()) {
		if err != nil || seen[name] {
			t.Fatal(name, err)
		}
		seen[name] = true
		if batch = append(batch, name); len(batch) == page {
			listed = max(listed, clock()-at)
			describe()
			at = clock()
		}
	}
	describe()
	if len(seen) != streams {
		t.Errorf("%d streams, want %d", len(seen), streams)
	}
	t.Logf("%d streams in %v; the slowest page of %d: %v to list, %v to describe with everything", streams, time.Since(began), page, listed, slowest)
	report := func(what string) {
		if most := 12 * time.Second; slowest > most || listed > most {
			t.Errorf("%s: a page took %v", what, max(slowest, listed))
		}
		if peak := peakMemory(t); peak > 200<<20 {
			t.Errorf("%s: %d MiB", what, peak>>20)
		} else {
			t.Logf("%s: at most %d MiB in memory, the slowest page %v", what, peak>>20, slowest)
		}
		slowest, listed = 0, 0
	}
	report("streams")
	timed(func() {
		if n := len(names(t, d.StreamNames(t.Context()))); n != streams {
			t.Errorf("%d streams", n)
		}
	})
	report("names of all streams at once")

	batch = nil
	n := 0
	groupPage := func() {
		timed(func() {
			infos, err := d.DescribeGroups(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range infos {
				if g.Err != nil || len(g.Positions) != 1 || g.Positions[0].Behind.N != 2 {
					t.Fatalf("%+v", g)
				}
			}
		})
		n += len(batch)
		batch = batch[:0]
	}
	for name, err := range d.GroupNames(t.Context(), []string{"s"}) {
		if err != nil {
			t.Fatal(err)
		}
		if batch = append(batch, name); len(batch) == page {
			groupPage()
		}
	}
	groupPage()
	if n != groups {
		t.Errorf("%d groups, want %d", n, groups)
	}
	report("groups")

	for i := 1; i < shards; i++ {
		linkFolder(t, filepath.Join(s.dir, "s", "0"), filepath.Join(s.dir, "s", strconv.Itoa(i)))
	}
	many := strings.Replace(string(meta), `"shards": 1`, fmt.Sprintf(`"shards": %d`, shards), 1)
	if err := os.WriteFile(filepath.Join(s.dir, "s", "meta"), []byte(many), 0o600); err != nil {
		t.Fatal(err)
	}
	timed(func() {
		info := s.describe(d, "s", all)
		for _, sh := range info.Shards {
			if sh.Messages.N != 3 {
				t.Fatalf("%+v", sh)
			}
		}
		if len(info.Shards) != shards {
			t.Errorf("%d shards", len(info.Shards))
		}
	})
	report("shards of one stream")
	timed(func() {
		if at, err := d.Resolve(t.Context(), "s", driver.Latest); err != nil || len(at) != shards {
			t.Errorf("%d positions, %v", len(at), err)
		}
	})
	report("positions in one stream")
}

func linkFolder(t testing.TB, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	es, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// watchMemory forgets the peak of this process's memory (proc(5), clear_refs).
func watchMemory(t testing.TB) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// peakMemory is the most that was resident since watchMemory, in bytes.
func peakMemory(t testing.TB) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
