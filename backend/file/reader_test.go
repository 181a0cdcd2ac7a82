//go:build linux || darwin

package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A client is a consumer that a test drives.
type client struct {
	driver.Consumer
	t        testing.TB
	assigned chan driver.Position
	revoked  chan driver.Shard
}

func consume(t testing.TB, d driver.Driver, cfg driver.ConsumerConfig) *client {
	t.Helper()
	c := &client{t: t, assigned: make(chan driver.Position, 100), revoked: make(chan driver.Shard, 100)}
	var gen atomic.Uint64
	cfg.Events = driver.Events{
		Assigned: func(_ context.Context, at []driver.Position) (uint64, []driver.Position, error) {
			for _, p := range at {
				c.assigned <- p
			}
			return gen.Add(1), nil, nil
		},
		Revoked: func(_ context.Context, shards []driver.Shard, _ bool) {
			for _, s := range shards {
				c.revoked <- s
			}
		},
	}
	var err error
	if c.Consumer, err = d.Consumer(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// next is the next thing that Fetch returns, in words.
func (c *client) next() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	bs, err := c.Fetch(ctx, nil)
	var all []string
	for _, b := range bs {
		for i := range b.Len() {
			all = append(all, fmt.Sprintf("%v:%v=%s", b.Shard(), b.Seq(i), b.Value(i)))
		}
	}
	if err != nil {
		all = append(all, err.Error())
	}
	return strings.Join(all, " ")
}

// Retention removes whole segments and never the tail; a reader that comes too
// late is told exactly what it has missed, one that has the file open is not
// disturbed.
func TestRetention(t *testing.T) {
	for name, o := range map[string]Options{
		"bytes": {SegmentSize: minSegment, RetentionBytes: 3 * minSegment},
		"age":   {SegmentSize: minSegment, Retention: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, o)
			d := s.open()
			p, err := d.Producer(t.Context(), driver.ProducerConfig{})
			if err != nil {
				t.Fatal(err)
			}
			put := func(n int, at time.Time) {
				for range n {
					done := make(chan error, 1)
					p.Produce(t.Context(), driver.Record{Stream: "s", Value: make([]byte, minSegment/2), Time: at}, func(_ driver.Receipt, err error) { done <- err })
					if err := <-done; err != nil {
						t.Fatal(err)
					}
				}
			}
			put(4, time.Now().Add(-2*time.Hour))
			c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
			open := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
			from := (<-c.assigned).Next.Lo
			open.next()
			put(8, time.Now())
			bounds, err := d.Bounds(t.Context(), []string{"s"})
			if err != nil {
				t.Fatal(err)
			}
			b := bounds[driver.Shard{Stream: "s"}]
			if b.First.Lo < 4 || b.First.Lo >= b.Next.Lo || b.Next.Lo != 12 {
				t.Errorf("bounds %v to %v", b.First, b.Next)
			}
			if files := s.files("*.log"); len(files) > 9 || !strings.HasSuffix(files[0], segmentName(b.First.Lo)) {
				t.Errorf("files %v, first message %v", files, b.First)
			}
			want := fmt.Sprintf("gap in s[0]: sequences %d up to %v are missing (trimmed)", from, b.First)
			if got := c.next(); !strings.HasPrefix(got, want) {
				t.Errorf("a late reader got %.200q, want %q", got, want)
			}
			if got := c.next(); !strings.HasPrefix(got, fmt.Sprintf("s[0]:%v=", b.First)) {
				t.Errorf("after the gap came %.20q", got)
			}
			want = fmt.Sprintf("gap in s[0]: sequences %d up to %v are", from+1, b.First)
			if from+1 == b.First.Lo {
				want = fmt.Sprintf("s[0]:%d=", from+1)
			}
			if got := open.next(); !strings.HasPrefix(got, want) {
				t.Errorf("a reader in the middle got %.200q, want %q", got, want)
			}
		})
	}
}

// Shards that are added later are read from their start, with and without a
// group.
func TestNewShards(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a")
	d := s.open()
	for _, group := range []string{"", "g"} {
		c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}, Group: group})
		first := <-c.assigned
		if first.Next.Lo == 0 {
			t.Fatalf("assigned %+v, want the end", first)
		}
		root, err := d.store.open(false)
		if err != nil {
			t.Fatal(err)
		}
		m, err := readMeta(root, "s")
		if err != nil {
			t.Fatal(err)
		}
		if err := fillShard(root, fmt.Sprintf("s/%d", m.Shards), 1); err != nil {
			t.Fatal(err)
		}
		m.Shards++
		if err := writeMeta(root, "s", m); err != nil {
			t.Fatal(err)
		}
		w := s.open()
		p, _ := w.Producer(t.Context(), driver.ProducerConfig{})
		if err := p.Produce(t.Context(), driver.Record{Stream: "s", Shard: driver.On(int32(m.Shards - 1)), Value: []byte("new")}, nil); err != nil {
			t.Fatal(err)
		}
		p.Close(t.Context())
		if got, want := c.next(), fmt.Sprintf("s[%d]:0=new", m.Shards-1); got != want {
			t.Errorf("group %q: got %q, want %q", group, got, want)
		}
		c.Close(t.Context())
	}
}

// A stream that is deleted and made anew is a gap, and the writer that had the
// old one open says so instead of writing to nowhere.
func TestRecreated(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a", "b")
	d := s.open()
	c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}})
	if _, err := send(d, "c"); err != nil {
		t.Fatal(err)
	}
	if got := c.next(); got != "s[0]:2=c" {
		t.Fatal(got)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "s")); err != nil {
		t.Fatal(err)
	}
	if _, err := send(d, "d"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("a send to a deleted stream: %v", err)
	}
	if rs, err := send(d, "e"); err != nil || rs[0].Seq.Lo != 0 {
		t.Errorf("a send after that: %v, %v", rs, err)
	}
	if got := c.next(); !strings.Contains(got, "recreated") {
		t.Errorf("got %q, want a gap", got)
	}
	if got := c.next(); got != "s[0]:0=e" {
		t.Errorf("got %q", got)
	}
}

// Searching by time agrees with looking at every message, also where times go
// back and segments have no index.
func TestFindTime(t *testing.T) {
	s := newSite(t, Options{SegmentSize: minSegment})
	d := s.open()
	p, _ := d.Producer(t.Context(), driver.ProducerConfig{})
	r := rand.New(rand.NewPCG(3, 4))
	var times []int64
	at := int64(1_000_000)
	for i := range 2000 {
		at += r.Int64N(2000) - 500
		times = append(times, at)
		p.Produce(t.Context(), driver.Record{Stream: "s", Value: make([]byte, r.IntN(100)), Time: time.UnixMicro(at)}, nil)
		if i%10 == 0 {
			p.Flush(t.Context())
		}
	}
	p.Close(t.Context())
	check := func(what string) {
		root, _ := d.store.open(false)
		l, err := openLog(root, driver.Shard{Stream: "s"})
		if err != nil {
			t.Fatal(err)
		}
		rd := newReader(l, false)
		defer rd.close()
		for range 300 {
			find := 1_000_000 + r.Int64N(at-1_000_000+2000)
			want := len(times)
			for i, m := range times {
				if m >= find {
					want = i
					break
				}
			}
			got, err := rd.resolve(driver.Since(time.UnixMicro(find)))
			if err != nil || got != uint64(want) {
				t.Fatalf("%s: since %d is %d, %v, want %d", what, find, got, err, want)
			}
		}
	}
	check("with indexes")
	for _, f := range s.files("*.idx") {
		if rand.IntN(2) == 0 {
			os.Remove(f)
		}
	}
	check("without some of them")
	check("with indexes made anew")
}

// Names and modes do not depend on the umask.
func TestModes(t *testing.T) {
	old := syscall.Umask(0o777)
	defer syscall.Umask(old)
	s := &site{t, filepath.Join(t.TempDir(), "sub"), env{boot: 1, patience: limit, sync: datasync}, Options{}}
	syscall.Umask(old)
	os.MkdirAll(filepath.Dir(s.dir), 0o700)
	for _, mask := range []int{0, 0o777} {
		syscall.Umask(mask)
		s.dir += "x"
		s.send("a")
		d := s.open()
		c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}, Group: "g"})
		<-c.assigned
		c.Close(t.Context())
		syscall.Umask(old)
		filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				t.Fatal(err)
			}
			st, _ := e.Info()
			want := fs.FileMode(0o600)
			if e.IsDir() {
				want = 0o700
			}
			if st.Mode().Perm() != want {
				t.Errorf("umask %o: %s has mode %o", mask, path, st.Mode().Perm())
			}
			return nil
		})
	}
}

// A reader of what nobody may write to.
func TestStoppedHolder(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a")
	s.env.patience = 50 * time.Millisecond
	d := s.open()
	f, err := os.OpenFile(s.path("ctl"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := flock(f, true); err != nil {
		t.Fatal(err)
	}
	if _, err := send(d, "b"); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("a send while another process has the lock: %v", err)
	}
	wantText(t, "readers need no lock", s.read(), "0=a")
	funlock(f)
	for {
		rs, err := send(d, "c")
		if err == nil {
			if rs[0].Seq.Lo != 1 {
				t.Errorf("sequence %v", rs[0].Seq)
			}
			return
		}
		if !errors.Is(err, driver.ErrUnavailable) {
			t.Fatal(err)
		}
	}
}

// Reading allocates for each block, not for each message; producing allocates
// nothing once it is warm.
func TestAllocations(t *testing.T) {
	s := newSite(t, Options{})
	d := s.open()
	const n = 20000
	produceAll(t, d, "s", n, 256)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	produceAll(t, d, "s", n, 256)
	runtime.ReadMemStats(&after)
	// Per chunk, and under the race detector pools forget at random.
	if got := float64(after.Mallocs-before.Mallocs) / n; got > 0.2 {
		t.Errorf("producing allocates %.3f times a message", got)
	}
	messages := 0
	runtime.ReadMemStats(&before)
	err := readStream(t, d, "s", func(b driver.Batch) error {
		for i := range b.Len() {
			if len(b.Key(i)) != 13 || len(b.Value(i)) != 256 || b.Time(i).IsZero() {
				t.Fatal("message", i)
			}
		}
		messages += b.Len()
		return nil
	})
	runtime.ReadMemStats(&after)
	if err != nil || messages != 2*n {
		t.Fatal(messages, err)
	}
	if got := float64(after.Mallocs-before.Mallocs) / 2 / n; got > 0.05 {
		t.Errorf("reading allocates %.3f times a message", got)
	}
}

// Bytes of a batch stay what they are as long as it is held, whatever is read
// meanwhile; only Release gives them back.
func TestOwnership(t *testing.T) {
	s := newSite(t, Options{})
	d := s.open()
	var want []string
	for i := range 3000 {
		want = append(want, fmt.Sprintf("%d-%s", i, strings.Repeat("x", 300)))
	}
	p, _ := d.Producer(t.Context(), driver.ProducerConfig{})
	for _, v := range want {
		p.Produce(t.Context(), driver.Record{Stream: "s", Value: []byte(v)}, nil)
	}
	p.Close(t.Context())
	var held []driver.Batch
	for range 3 {
		c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
		for n := 0; n < len(want); {
			bs, err := c.Fetch(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, b := range bs {
				n += b.Len()
				if i%2 == rand.IntN(2) {
					b.Release()
					continue
				}
				held = append(held, b)
			}
		}
		c.Close(t.Context())
	}
	for _, b := range held {
		for i := range b.Len() {
			if got := string(b.Value(i)); got != want[b.Seq(i).Lo] {
				t.Fatalf("message %v has become %.20q", b.Seq(i), got)
			}
		}
	}
}

// A consumer that waits costs next to nothing, and wakes at once.
func TestIdle(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("polls here")
	}
	for _, group := range []string{"", "g"} {
		s := newSite(t, Options{Shards: 8})
		s.env.look, s.env.tick = 0, 0 // as it comes
		s.send("a")
		d := s.open()
		c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}, Group: group})
		got := make(chan time.Duration)
		for range 8 {
			<-c.assigned
		}
		go func() {
			for {
				bs, err := c.Fetch(context.Background(), nil)
				if err != nil {
					close(got)
					return
				}
				got <- time.Since(bs[0].Time(0))
			}
		}()
		runtime.GC()
		time.Sleep(3 * time.Second) // the start is over; what follows is measured
		// A machine under load adds switches of the runtime's own, and work that
		// it puts off: what this finds is a loop that polls, which shows hundreds
		// in any while. The exact figures are those of bench/.
		for began := time.Now(); ; {
			before := usage()
			time.Sleep(5 * time.Second)
			after := usage()
			wakes := float64(after.Nvcsw-before.Nvcsw) / 5
			cpu := float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) / 5e9
			t.Logf("group %q: %.1f voluntary switches a second over all threads, %.3f %% CPU", group, wakes, 100*cpu)
			if wakes <= 20 && cpu <= 0.01 {
				break
			}
			if time.Since(began) > limit {
				t.Errorf("group %q: idle costs %.1f switches a second and %.3f %% CPU", group, wakes, 100*cpu)
				break
			}
		}
		for range 3 {
			if _, err := send(d, "b"); err != nil {
				t.Fatal(err)
			}
			t.Logf("woken after %v", <-got)
		}
		c.Close(t.Context())
		<-got
	}
}

// Where files cannot be watched a consumer polls, and gets everything too.
func TestPolling(t *testing.T) {
	for _, group := range []string{"", "g"} {
		s := newSite(t, Options{Shards: 3})
		s.send("a")
		d := s.open()
		c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}})
		cc := c.Consumer.(*consumer)
		if cc.watched {
			cc.watched = false
			watchers.release()
		}
		for i := range 5 {
			got := make(chan string)
			go func() { got <- c.next() }()
			time.Sleep(time.Duration(i) * 10 * time.Millisecond)
			if _, err := send(d, fmt.Sprint(group, i)); err != nil {
				t.Fatal(err)
			}
			if m := <-got; !strings.HasSuffix(m, fmt.Sprint("=", group, i)) {
				t.Errorf("got %q", m)
			}
		}
	}
}

// Errors are one line that names the culprit and what to do.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"file://" + dir + "/x?shard=2":        "unknown option shard: known are buffer, retention, retention_bytes, segment_size, shards, sync",
		"file://" + dir + "/x?sync=sometimes": "one of never, interval, always is wanted",
		"file://" + dir + "/x?segment_size=1": "at least 4096",
		"file://" + plain:                     plain,
		"file://":                             "name one directory",
	} {
		_, err := Open(t.Context(), url, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%q): %v, want one line with %q", url, err, want)
		}
	}
	d, err := OpenDriver(t.Context(), filepath.Join(dir, "empty"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"nosuch"}})
	if !errors.Is(err, driver.ErrNotFound) || !strings.HasPrefix(err.Error(), "read stream nosuch: not found: there is no such stream in "+dir) {
		t.Errorf("Consumer of a missing stream: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "empty")); err == nil {
		t.Error("reading has created the directory")
	}
	p, err := d.Producer(t.Context(), driver.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for what, rec := range map[string]driver.Record{
		"bad[7]: the stream has 1 shards": {Stream: "bad", Shard: driver.On(7)},
		"the record has 16777217 bytes":   {Stream: "bad", Value: make([]byte, maxRecord+1)},
		"the name is reserved":            {Stream: ".."},
	} {
		err := p.Produce(t.Context(), rec, nil)
		if err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Produce: %v, want one line with %q", err, what)
		}
	}
}

func usage() syscall.Rusage {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r
}
