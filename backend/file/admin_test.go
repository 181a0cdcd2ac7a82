//go:build linux || darwin

package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
)

// names collects what a list yields.
func names(t testing.TB, it iter.Seq2[string, error]) []string {
	t.Helper()
	var all []string
	for name, err := range it {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// describe describes one stream that exists.
func (s *site) describe(d *fileDriver, name string, detail driver.Detail) driver.StreamInfo {
	s.t.Helper()
	infos, err := d.DescribeStreams(context.Background(), []string{name}, detail)
	if err == nil {
		err = infos[0].Err
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return infos[0]
}

// walk is the bytes of the regular files below a folder, as du counts them with
// --apparent-size.
func walk(t testing.TB, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		total += st.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// Names are those that were given, also where folders are called otherwise, and
// what is no stream is none.
func TestStreamNames(t *testing.T) {
	s := newSite(t, Options{})
	d := s.open()
	if got := names(t, d.StreamNames(t.Context())); len(got) != 0 {
		t.Errorf("a directory that is not there has streams %q", got)
	}
	want := []string{"Orders", "a/b", "groups", "orders", "units", ".hidden", "é%!~", strings.Repeat("é", 120), strings.Repeat("é", 119) + "è"}
	for _, name := range want {
		if err := d.CreateStream(t.Context(), driver.StreamSpec{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	for _, dir := range []string{"backup", "lost+found", ".new-0", goneFolder + "0", "a~b"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := consume(t, d, driver.ConsumerConfig{Streams: []string{"orders"}, Group: "g"})
	c.Close(t.Context())
	if diff := cmp.Diff(want, names(t, d.StreamNames(t.Context()))); diff != "" {
		t.Error(diff)
	}
	for range d.StreamNames(t.Context()) {
		break // a caller that stops
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range d.StreamNames(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	}
}

// What is said of a stream agrees with its files and with what a reader gets.
func TestDescribeStream(t *testing.T) {
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		s := newSite(t, Options{Shards: 2, SegmentSize: minSegment, Sync: sync, RetentionBytes: 8 * minSegment})
		d := s.open()
		r := rand.New(rand.NewPCG(1, 2))
		p, _ := d.Producer(t.Context(), driver.ProducerConfig{})
		for i := range 2000 {
			rec := driver.Record{Stream: "s", Shard: driver.On(int32(i % 2)), Value: make([]byte, r.IntN(200)), Time: time.UnixMicro(1e15 + r.Int64N(1e12))}
			if err := p.Produce(t.Context(), rec, nil); err != nil {
				t.Fatal(err)
			}
			if i%7 == 0 {
				p.Flush(t.Context())
			}
		}
		p.Close(t.Context())
		info := s.describe(d, "s", driver.DetailBounds|driver.DetailTimes|driver.DetailBytes|driver.DetailReplicas)
		if len(info.Shards) != 2 {
			t.Fatalf("%d shards", len(info.Shards))
		}
		type facts struct {
			n           int64
			first, last time.Time
		}
		var got [2]facts
		var times [2][]time.Time
		if err := readStream(t, d, "s", func(b driver.Batch) error {
			f := &got[b.Shard().Index]
			for i := range b.Len() {
				if f.n == 0 {
					f.first = b.Time(i)
				}
				f.n, f.last = f.n+1, b.Time(i)
				times[b.Shard().Index] = append(times[b.Shard().Index], b.Time(i))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for i, sh := range info.Shards {
			if sh.Bound.First == driver.SeqOf(0) {
				t.Fatal("retention has removed nothing: this tests less than it should")
			}
			if have := (facts{sh.Messages.N, sh.FirstTime, sh.LastTime}); have != got[i] || sh.Messages.Estimated {
				t.Errorf("shard %d: described %+v, read %+v", i, have, got[i])
			}
			if want := walk(t, filepath.Join(s.dir, "s", fmt.Sprint(i))); sh.Bytes != want {
				t.Errorf("shard %d: %d bytes, want %d", i, sh.Bytes, want)
			}
			if sh.Leader != nodeID {
				t.Errorf("leader %q", sh.Leader)
			}
			// Times agree with the reader at any position, and Resolve finds
			// the way back.
			first := sh.Bound.First.Lo
			shard := driver.Shard{Stream: "s", Index: int32(i)}
			for range 50 {
				k := r.IntN(len(times[i]))
				at := driver.Position{Shard: shard, Next: driver.SeqOf(first + uint64(k))}
				ts, err := d.Times(t.Context(), []driver.Position{at})
				if err != nil || !ts[0].Equal(times[i][k]) {
					t.Fatalf("time at %v is %v, %v, want %v", at, ts, err, times[i][k])
				}
				to := driver.SeqOf(first + uint64(k+r.IntN(len(times[i])-k)))
				n, err := d.Count(t.Context(), []driver.Range{{Shard: shard, From: at.Next, To: to}})
				if err != nil || n[0] != (driver.Count{N: int64(to.Lo - at.Next.Lo)}) {
					t.Fatalf("count %v, %v", n, err)
				}
				since, err := d.Resolve(t.Context(), "s", driver.Since(times[i][k]))
				want := first + uint64(slices.IndexFunc(times[i], func(x time.Time) bool { return !x.Before(times[i][k]) }))
				if err != nil || since[i].Next.Lo != want {
					t.Fatalf("since %v is %v, %v, want %d", times[i][k], since, err, want)
				}
			}
			ts, err := d.Times(t.Context(), []driver.Position{{Shard: shard, Next: sh.Bound.Next}, {Shard: shard}})
			if err != nil || !ts[0].IsZero() || !ts[1].Equal(times[i][0]) {
				t.Errorf("times at the end and before the start: %v, %v", ts, err)
			}
			n, err := d.Count(t.Context(), []driver.Range{{Shard: shard, To: driver.Seq{Hi: 1}}})
			if err != nil || n[0].N != got[i].n {
				t.Errorf("count of all: %v, %v, want %d", n, err, got[i].n)
			}
		}
		ends, err := d.Resolve(t.Context(), "s", driver.Since(time.UnixMicro(2e15)))
		if err != nil || ends[0].Next != info.Shards[0].Bound.Next || ends[1].Next != info.Shards[1].Bound.Next {
			t.Errorf("behind the last: %v, %v", ends, err)
		}
	}
}

// An empty stream and one that does not exist are described, and nothing is
// made by looking.
func TestDescribeNothing(t *testing.T) {
	s := newSite(t, Options{})
	d := s.open()
	infos, err := d.DescribeStreams(t.Context(), []string{"x"}, driver.DetailBounds)
	if err != nil || !errors.Is(infos[0].Err, driver.ErrNotFound) {
		t.Errorf("in no directory: %+v, %v", infos, err)
	}
	groups, err := d.DescribeGroups(t.Context(), []string{"x"})
	if err != nil || !errors.Is(groups[0].Err, driver.ErrNotFound) {
		t.Errorf("in no directory: %+v, %v", groups, err)
	}
	if err := d.CreateStream(t.Context(), driver.StreamSpec{Name: "s", Shards: 3}); err != nil {
		t.Fatal(err)
	}
	before := tree(t, s.dir)
	info := s.describe(d, "s", driver.DetailBounds|driver.DetailTimes)
	for i, sh := range info.Shards {
		want := driver.ShardInfo{Index: int32(i), Bytes: -1}
		if diff := cmp.Diff(want, sh); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := d.Resolve(t.Context(), "none", driver.Latest); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("resolve: %v", err)
	}
	for _, shard := range []driver.Shard{{Stream: "none"}, {Stream: "s", Index: 3}, {Stream: "s", Index: -1}} {
		if _, err := d.Times(t.Context(), []driver.Position{{Shard: shard}}); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("times of %v: %v", shard, err)
		}
		if _, err := d.Count(t.Context(), []driver.Range{{Shard: shard}}); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("count of %v: %v", shard, err)
		}
		if _, err := d.Trim(t.Context(), []driver.Position{{Shard: shard}}); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("trim of %v: %v", shard, err)
		}
	}
	for _, err := range d.GroupNames(t.Context(), nil) {
		t.Errorf("there is a group, or %v", err)
	}
	if _, err := d.Cluster(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := d.LogDirs(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, tree(t, s.dir)); diff != "" {
		t.Errorf("looking has changed the directory: %s", diff)
	}
	d.Close(t.Context())
	for _, err := range d.StreamNames(t.Context()) {
		if !errors.Is(err, driver.ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
	}
}

// tree is every file of a directory with its content.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			all[name] = ""
			return err
		}
		b, err := os.ReadFile(name)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The sequence numbers that are given up after a power loss are no messages.
func TestCountAcrossJumps(t *testing.T) {
	s := newSite(t, Options{SegmentSize: minSegment})
	total := 0
	for range 3 {
		for range 30 {
			s.send(strings.Repeat("x", 300))
			total++
		}
		s.env.boot++ // and so the log goes on at the next multiple of 2³²
	}
	d := s.open()
	info := s.describe(d, "s", driver.DetailBounds|driver.DetailTimes)
	sh := info.Shards[0]
	if sh.Bound.Next.Lo < 2*jump {
		t.Fatalf("the log ends at %v: it has not jumped", sh.Bound.Next)
	}
	if sh.Messages != (driver.Count{N: int64(total)}) {
		t.Errorf("%+v messages, want %d", sh.Messages, total)
	}
	if sh.FirstTime.IsZero() || sh.LastTime.Before(sh.FirstTime) {
		t.Errorf("from %v to %v", sh.FirstTime, sh.LastTime)
	}
	all, err := readAll(d)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		spot := func() uint64 { return r.Uint64N(4)*jump + r.Uint64N(100) - r.Uint64N(2) }
		from, to := spot(), spot()
		want := int64(0)
		for _, m := range all {
			if m.gap == "" && m.seq >= from && m.seq < to {
				want++
			}
		}
		got, err := d.Count(t.Context(), []driver.Range{{Shard: driver.Shard{Stream: "s"}, From: driver.SeqOf(from), To: driver.SeqOf(to)}})
		if err != nil || got[0] != (driver.Count{N: want}) {
			t.Fatalf("count from %d to %d: %+v, %v, want %d", from, to, got, err, want)
		}
	}
}
