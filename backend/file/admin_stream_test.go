//go:build linux || darwin

package file

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
)

// await waits until a condition holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// Settings are stored with the stream, and described as they were given; what
// files do not have is refused, and nothing is made or changed.
func TestSettings(t *testing.T) {
	s := newSite(t, Options{})
	d := s.open()
	str := func(s string) *string { return &s }
	spec := driver.StreamSpec{Name: "s", Shards: 2, Settings: driver.Settings{
		MaxAge: new(time.Hour), MaxBytes: new(int64(1 << 20)), Compact: new(false), Replicas: new(1), MaxMessage: new(int64(maxRecord)), MaxMessages: new(int64(-1)),
		Native: map[string]*string{"segment_size": str("64KiB"), "sync": str("interval")},
	}}
	refused := map[string]driver.Settings{
		"MaxBytes":     {MaxMessages: new(int64(5))},
		"MaxMessage":   {MaxMessage: new(int64(5))},
		"compacted":    {Compact: new(true)},
		"Replicas":     {Replicas: new(2)},
		"MinInSync":    {MinInSync: new(2)},
		"AddShards":    {Native: map[string]*string{"shards": str("3")}},
		"retention.ms": {Native: map[string]*string{"retention.ms": str("3")}},
	}
	for word, bad := range refused {
		err := d.CreateStream(t.Context(), driver.StreamSpec{Name: "s", Settings: bad})
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
	for _, bad := range []driver.StreamSpec{{}, {Name: "s", Shards: -1}, {Name: "s", Shards: maxShards + 1},
		{Name: "s", Settings: driver.Settings{MaxAge: new(time.Duration(0))}},
		{Name: "s", Settings: driver.Settings{MaxBytes: new(int64(0))}},
		{Name: "s", Settings: driver.Settings{Native: map[string]*string{"segment_size": str("1")}}},
		{Name: "s", Settings: driver.Settings{Native: map[string]*string{"retention": str("soon")}}},
		{Name: "s", Settings: driver.Settings{Native: map[string]*string{"sync": str("sometimes")}}},
	} {
		if err := d.CreateStream(t.Context(), bad); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if got := names(t, d.StreamNames(t.Context())); len(got) > 0 {
		t.Fatalf("made %q", got)
	}
	if err := d.CreateStream(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	config := func() map[string]string {
		all := make(map[string]string)
		for _, e := range s.describe(d, "s", driver.DetailSettings).Config {
			all[e.Name] = e.Value + " " + e.Source
		}
		return all
	}
	want := map[string]string{"retention": "1h0m0s stream", "retention_bytes": "1048576 stream", "segment_size": "65536 stream", "shards": "2 stream", "sync": "interval stream"}
	if diff := cmp.Diff(want, config()); diff != "" {
		t.Error(diff)
	}
	before := tree(t, s.dir)
	for word, bad := range refused {
		if err := d.SetStream(t.Context(), "s", bad); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", word, err)
		}
	}
	for _, bad := range []driver.Settings{{Replicas: new(1)}, {Native: map[string]*string{"sync": str("always")}}} {
		if err := d.SetStream(t.Context(), "s", bad); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := d.AddShards(t.Context(), "s", 1); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("fewer shards: %v", err)
	}
	if err := d.AddShards(t.Context(), "none", 1); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("shards of none: %v", err)
	}
	if err := d.SetStream(t.Context(), "none", driver.Settings{}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("settings of none: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, s.dir)); diff != "" {
		t.Error(diff)
	}
	err := d.SetStream(t.Context(), "s", driver.Settings{MaxAge: new(time.Duration(-1)), Native: map[string]*string{"segment_size": nil, "sync": str("never")}})
	if err != nil {
		t.Fatal(err)
	}
	want["retention"], want["segment_size"], want["sync"] = "0s default", "268435456 default", "never default"
	if diff := cmp.Diff(want, config()); diff != "" {
		t.Error(diff)
	}
	got := s.describe(d, "s", driver.DetailSettings).Settings
	if *got.MaxAge >= 0 || *got.MaxBytes != 1<<20 {
		t.Errorf("%v, %v", *got.MaxAge, *got.MaxBytes)
	}
}

// A producer that has a stream open goes by settings that are changed, without
// being opened anew, and what it sends to a shard stays in order.
func TestSetStreamLive(t *testing.T) {
	s := newSite(t, Options{})
	writer, d := s.open(), s.open()
	n := 0
	write := func() {
		var values []string
		for range 20 {
			values = append(values, fmt.Sprint(n, strings.Repeat("x", 500)))
			n++
		}
		if _, err := send(writer, values...); err != nil {
			t.Fatal(err)
		}
	}
	write()
	size := "8KiB"
	if err := d.SetStream(t.Context(), "s", driver.Settings{MaxBytes: new(int64(30_000)), Native: map[string]*string{"segment_size": &size}}); err != nil {
		t.Fatal(err)
	}
	await(t, "the writer trims", func() bool {
		write()
		return s.describe(d, "s", driver.DetailBounds).Shards[0].Bound.First.Lo > 0
	})
	if bytes := s.describe(d, "s", driver.DetailBytes).Shards[0].Bytes; bytes > 30_000+2*8192+ctlSize+10_000 {
		t.Errorf("%d bytes", bytes)
	}
	// A stream that is read with and without a group gets another shard.
	all := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}})
	member := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g"})
	<-all.assigned
	<-member.assigned
	if err := d.AddShards(t.Context(), "s", 3); err != nil {
		t.Fatal(err)
	}
	if err := d.AddShards(t.Context(), "s", 3); err != nil {
		t.Error(err)
	}
	await(t, "the writer uses the new shards", func() bool {
		write()
		info := s.describe(d, "s", driver.DetailBounds)
		return len(info.Shards) == 3 && info.Shards[1].Messages.N > 0 && info.Shards[2].Messages.N > 0
	})
	for _, c := range []*client{all, member} {
		go func() {
			for {
				var gap *driver.GapError // they come later than the trim
				if _, err := c.Fetch(context.Background(), nil); err != nil && !errors.As(err, &gap) {
					return // closed
				}
			}
		}()
		got := map[int32]bool{(<-c.assigned).Index: true, (<-c.assigned).Index: true}
		if !got[1] || !got[2] {
			t.Errorf("assigned %v", got)
		}
	}
}

// A trim is exact, readers in the middle get a gap, and what lies below it is
// removed from the disk.
func TestTrim(t *testing.T) {
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		s := newSite(t, Options{SegmentSize: minSegment, Sync: sync})
		var values []string
		for i := range 100 {
			values = append(values, fmt.Sprint(i, strings.Repeat("x", 200)))
		}
		s.send(values...)
		d := s.open()
		shard := driver.Shard{Stream: "s"}
		late := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
		trim := func(before driver.Seq) uint64 {
			t.Helper()
			at, err := d.Trim(t.Context(), []driver.Position{{Shard: shard, Next: before}})
			if err != nil {
				t.Fatal(err)
			}
			if b := s.describe(d, "s", driver.DetailBounds).Shards[0].Bound; b.First != at[0].Next {
				t.Errorf("trimmed to %v, and it begins at %v", at[0].Next, b.First)
			}
			return at[0].Next.Lo
		}
		size := walk(t, filepath.Join(s.dir, "s"))
		for _, c := range []struct {
			before driver.Seq
			want   uint64
		}{{driver.SeqOf(0), 0}, {driver.SeqOf(37), 37}, {driver.SeqOf(10), 37}, {driver.SeqOf(38), 38}} {
			if got := trim(c.before); got != c.want {
				t.Errorf("trimmed before %v to %d, want %d", c.before, got, c.want)
			}
		}
		if now := walk(t, filepath.Join(s.dir, "s")); now > size*4/5 {
			t.Errorf("%d bytes of %d are left", now, size)
		}
		if got := late.next(); !strings.Contains(got, "0") || !strings.Contains(got, "38") {
			t.Errorf("a reader that comes late: %q", got)
		}
		if got := late.next(); !strings.HasPrefix(got, "s[0]:38=38x") {
			t.Errorf("and then: %.100q", got)
		}
		if got := trim(driver.Seq{Hi: 1}); got != 100 {
			t.Errorf("all trimmed to %d", got)
		}
		if now := walk(t, filepath.Join(s.dir, "s")); now > ctlSize+2*headerSize+1000 {
			t.Errorf("%d bytes are left of nothing", now)
		}
		s.send("new")
		wantText(t, "afterwards", s.read(), "100=new")
	}
}

// Of many shards the error says which failed, and the others are trimmed.
func TestTrimSaysOfEachShard(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a", "b", "c")
	d, shard := s.open(), driver.Shard{Stream: "s"}
	_, err := d.Trim(t.Context(), []driver.Position{{Shard: driver.Shard{Stream: "none"}}, {Shard: shard, Next: driver.SeqOf(2)}})
	var some *driver.PartialError
	if !errors.As(err, &some) || len(some.Errs) != 2 || !errors.Is(some.Errs[0], driver.ErrNotFound) || some.Errs[1] != nil {
		t.Fatalf("got %v, want the first to be not found", err)
	}
	if b := s.describe(d, "s", driver.DetailBounds).Shards[0].Bound; b.First != driver.SeqOf(2) {
		t.Errorf("the second begins at %v, want 2", b.First)
	}
}
