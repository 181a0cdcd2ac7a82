//go:build linux || darwin

package file

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// limit is how long anything may take that must come: on a busy machine it is
// late, and only what never comes is wrong.
const limit = time.Minute

// A site is a directory that a test works on as several processes would.
type site struct {
	t   testing.TB
	dir string
	env env
	o   Options
}

func newSite(t testing.TB, o Options) *site {
	return &site{t, t.TempDir(), env{boot: 1, patience: limit, sync: datasync, look: 50 * time.Millisecond, tick: 50 * time.Millisecond}, o}
}

func (s *site) open() *fileDriver {
	s.t.Helper()
	d, err := openDriver(s.dir, s.o, s.env)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { d.Close(context.Background()) })
	return d
}

// send writes records one by one and returns the error of the last.
func send(d driver.Driver, values ...string) ([]driver.Receipt, error) {
	ctx := context.Background()
	p, err := d.Producer(ctx, driver.ProducerConfig{})
	if err != nil {
		return nil, err
	}
	defer p.Close(ctx)
	var rs []driver.Receipt
	for _, v := range values {
		type outcome struct {
			r   driver.Receipt
			err error
		}
		got := make(chan outcome, 1)
		if err := p.Produce(ctx, driver.Record{Stream: "s", Value: []byte(v)}, func(r driver.Receipt, err error) { got <- outcome{r, err} }); err != nil {
			return rs, err
		}
		o := <-got
		if o.err != nil {
			return rs, o.err
		}
		rs = append(rs, o.r)
	}
	return rs, nil
}

func (s *site) send(values ...string) []driver.Receipt {
	s.t.Helper()
	d := s.open()
	rs, err := send(d, values...)
	if err != nil {
		s.t.Fatal(err)
	}
	d.Close(context.Background())
	return rs
}

// A seen is what a reader got: a message, or a gap.
type seen struct {
	seq   uint64
	value string
	gap   string
}

func (s seen) String() string {
	if s.gap != "" {
		return s.gap
	}
	return fmt.Sprintf("%d=%.20s", s.seq, s.value)
}

// readAll reads from the start to the end, gaps included.
func readAll(d driver.Driver) ([]seen, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	bounds, err := d.Bounds(ctx, []string{"s"})
	if err != nil {
		return nil, err
	}
	end := bounds[driver.Shard{Stream: "s"}].Next
	var at driver.Seq
	c, err := d.Consumer(ctx, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(_ context.Context, ps []driver.Position) (uint64, []driver.Position, error) {
			at = ps[0].Next
			return 1, nil, nil
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	var all []seen
	for at.Less(end) {
		bs, err := c.Fetch(ctx, nil)
		for _, b := range bs {
			for i := range b.Len() {
				all = append(all, seen{seq: b.Seq(i).Lo, value: string(b.Value(i))})
			}
			at = b.Next()
		}
		var gap *driver.GapError
		if errors.As(err, &gap) {
			at = gap.To
			all = append(all, seen{gap: fmt.Sprintf("[%v %v %v)", gap.Cause, gap.From, gap.To)})
		} else if err != nil {
			return all, err
		}
	}
	return all, nil
}

func (s *site) read() string {
	s.t.Helper()
	d := s.open()
	all, err := readAll(d)
	d.Close(context.Background())
	if err != nil {
		s.t.Fatalf("after %v: %v", all, err)
	}
	return strings.Trim(fmt.Sprint(all), "[]")
}

func (s *site) path(name string) string { return filepath.Join(s.dir, "s", "0", name) }

func (s *site) files(pattern string) []string {
	names, _ := filepath.Glob(s.path(pattern))
	return names
}

func wantText(t testing.TB, what, got, want string) {
	t.Helper()
	if got != strings.Trim(want, "[]") {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// die writes one batch with values and dies at an instant of the protocol. Its
// locks are freed as the kernel frees them.
func (s *site) die(at step, noTrim bool, values ...string) {
	s.t.Helper()
	e := s.env
	e.noTrim = noTrim
	e.at = func(is step) {
		if is == at {
			panic(at)
		}
	}
	d, err := openDriver(s.dir, s.o, e)
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := d.writerOf("s")
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := w.lane(0)
	if err != nil {
		s.t.Fatal(err)
	}
	c := new(chunk)
	for _, v := range values {
		rec := driver.Record{Value: []byte(v)}
		c.add(&rec, recordSize(&rec), pending{})
	}
	c.seal()
	func() {
		defer func() {
			if r := recover(); r != at {
				s.t.Fatalf("the writer did not die at %d: %v", at, r)
			}
		}()
		l.w.append(c)
	}()
	l.w.closeTail()
	l.w.l.close()
}

// A writer that dies at any instant leaves a log that reads well, and that
// goes on with the next sequence.
func TestDeathAtEachStep(t *testing.T) {
	big := strings.Repeat("x", minSegment)
	for at := step(0); at < steps; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			s := newSite(t, Options{SegmentSize: minSegment})
			s.send("a", "b")
			s.die(at, false, big)
			want := "0=a 1=b"
			next := uint64(2)
			if at >= stepPublished {
				want += " 2=" + big[:20]
				next = 3
			}
			wantText(t, "after the death", s.read(), want)
			if rs := s.send("c"); rs[0].Seq.Lo != next {
				t.Errorf("the next record has sequence %v, want %d", rs[0].Seq, next)
			}
			wantText(t, "after the next record", s.read(), want+fmt.Sprintf(" %d=c", next))
		})
	}
}

// The mutant that leaves out step 3 of the protocol (to cut what a dead writer
// has left) shows its leftovers as messages as soon as the segment is sealed.
// The test that finds nothing wrong with the protocol must find that.
func TestMutantWithoutTrim(t *testing.T) {
	for _, mutant := range []bool{false, true} {
		s := newSite(t, Options{SegmentSize: minSegment})
		s.send("a", "b")
		s.die(stepWritten, mutant, "ghost")
		s.env.noTrim = mutant
		s.send(strings.Repeat("x", minSegment)) // seals the first segment
		got := s.read()
		if bad := strings.Contains(got, "ghost"); bad != mutant {
			t.Errorf("mutant %v: a reader saw %q", mutant, got)
		}
	}
}

// After another boot everything that is still there is read, what was lost is
// never numbered again, and readers are told.
func TestOtherBoot(t *testing.T) {
	jumped := uint64(jump)
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		t.Run(string(sync), func(t *testing.T) {
			s := newSite(t, Options{Sync: sync})
			s.send("a", "b", "c")
			s.env.boot = 2
			want := "0=a 1=b 2=c"
			if sync == SyncNever {
				want += fmt.Sprintf(" [truncated 3 %d)", jumped)
			}
			wantText(t, "after another boot", s.read(), want)
			rs := s.send("d")
			next := uint64(3)
			if sync == SyncNever {
				next = jumped
			}
			if rs[0].Seq.Lo != next {
				t.Errorf("the next record has sequence %v, want %d", rs[0].Seq, next)
			}
			wantText(t, "after the next record", s.read(), want+fmt.Sprintf(" %d=d", next))
			s.env.boot = 3
			s.read()
			s.env.boot = 4 // nobody has written since: nothing can be lost
			got := s.read()
			if n := strings.Count(got, "truncated"); sync == SyncNever && n != 2 || sync == SyncAlways && n != 0 {
				t.Errorf("%s: %d jumps are there", got, n)
			}
		})
	}
}

// The slot that published a batch was lost with the power, the batch was not.
func TestOlderSlot(t *testing.T) {
	s := newSite(t, Options{Sync: SyncAlways})
	s.send("a")
	old, err := os.ReadFile(s.path("ctl"))
	if err != nil {
		t.Fatal(err)
	}
	s.send("b", "c")
	if err := os.WriteFile(s.path("ctl"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	s.env.boot = 2
	wantText(t, "after another boot", s.read(), "0=a 1=b 2=c")
}

// What was not synced is cut at the first batch that is not right; below the
// synced sequence damage stays, and is an exact gap.
func TestPowerLossDamage(t *testing.T) {
	values := []string{"a", "b", "c", "d", "e"}
	damage := func(s *site, i int) {
		b, err := os.ReadFile(s.path(segmentName(0)))
		if err != nil {
			t.Fatal(err)
		}
		size := (len(b) - headerSize) / len(values)
		clear(b[headerSize+i*size : headerSize+(i+1)*size]) // as blocks that never reached the disk
		if err := os.WriteFile(s.path(segmentName(0)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t, Options{})
	s.send(values...)
	damage(s, 2)
	s.env.boot = 2
	wantText(t, "not synced", s.read(), fmt.Sprintf("0=a 1=b [truncated 2 %d)", uint64(jump)))

	s = newSite(t, Options{Sync: SyncAlways})
	s.send(values...)
	damage(s, 2)
	s.env.boot = 2
	wantText(t, "synced", s.read(), "0=a 1=b [corrupt 2 3) 3=d 4=e")
}

// Both slots are gone: the log is found again from its segments.
func TestBadSlots(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a", "b", "c")
	b, err := os.ReadFile(s.path("ctl"))
	if err != nil {
		t.Fatal(err)
	}
	clear(b[ctlEnd : ctlEnd+pairSize])
	clear(b[ctlStart : ctlStart+pairSize])
	if err := os.WriteFile(s.path("ctl"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	wantText(t, "after the loss of the slots", s.read(), fmt.Sprintf("0=a 1=b 2=c [truncated 3 %d)", uint64(jump)))
	s.send("d")
	wantText(t, "after the next record", s.read(), fmt.Sprintf("0=a 1=b 2=c [truncated 3 %d) %d=d", uint64(jump), uint64(jump)))
}

// A sync that fails poisons the log: nobody is told that a record is safe. The
// next writer copies what is not known to be safe, and goes on.
func TestPoison(t *testing.T) {
	s := newSite(t, Options{Sync: SyncAlways})
	s.send("a", "b")
	broken := s.env
	fail := errors.New("the disk is on fire")
	broken.sync = func(f *os.File) error {
		if strings.Contains(filepath.Base(f.Name()), "log") {
			return fail
		}
		return datasync(f)
	}
	d, err := openDriver(s.dir, s.o, broken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := send(d, "c"); !errors.Is(err, driver.ErrUnknown) || !errors.Is(err, fail) {
		t.Errorf("a send whose sync failed: %v, want ErrUnknown and the cause", err)
	}
	wantText(t, "while it is poisoned", s.read(), "0=a 1=b")
	if _, err := send(d, "d"); err == nil {
		t.Error("a send to a log that cannot be repaired: no error")
	} else if errors.Is(err, driver.ErrUnknown) {
		t.Errorf("a send to a log that cannot be repaired: %v, want one that says it was not written", err)
	}
	d.Close(context.Background())
	rs := s.send("e")
	if rs[0].Class != driver.ClassSynced || rs[0].Seq.Lo != 3 {
		t.Errorf("after the repair: sequence %v, class %v", rs[0].Seq, rs[0].Class)
	}
	wantText(t, "after the repair", s.read(), "0=a 1=b 2=c 3=e")
	if n := len(s.files("*.log")); n != 2 {
		t.Errorf("%d segments, want the old one and the copy", n)
	}
}

// A repair that was cut short after the old segment was cut finds the copy.
func TestPoisonTwice(t *testing.T) {
	s := newSite(t, Options{Sync: SyncAlways})
	s.send("a", "b")
	d := s.open()
	w, _ := d.writerOf("s")
	l, _ := w.lane(0)
	s.o.Sync = SyncNever
	if _, err := send(d, "c"); err != nil {
		t.Fatal(err)
	}
	if err := l.w.lock(); err != nil {
		t.Fatal(err)
	}
	if err := l.w.begin(); err != nil {
		t.Fatal(err)
	}
	bad := l.w.end
	bad.flags |= flagPoisoned
	bad.synced = 1
	if err := l.w.publish(bad); err != nil {
		t.Fatal(err)
	}
	poisoned, err := os.ReadFile(s.path("ctl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.w.rewrite(); err != nil {
		t.Fatal(err)
	}
	l.w.unlock()
	if err := os.WriteFile(s.path("ctl"), poisoned, 0o600); err != nil {
		t.Fatal(err)
	}
	s.send("d")
	wantText(t, "after the second repair", s.read(), "0=a 1=b 2=c 3=d")
}

var sweepAll = flag.Bool("sweep.all", false, "change every byte of a log, not one in eleven")

// Whatever one bit or one cut does to the files of a small log, a reader gets
// every other message unharmed, and an error or a gap for what it does not get.
func TestEveryFlipAndCut(t *testing.T) {
	s := newSite(t, Options{SegmentSize: minSegment})
	var want []string
	for i := range 12 {
		want = append(want, fmt.Sprintf("message %d %s", i, strings.Repeat(string(rune('a'+i)), 600)))
	}
	s.send(want...)
	if n := len(s.files("*.log")); n < 2 {
		t.Fatalf("%d segments", n)
	}
	type change struct {
		file string
		at   int
		bit  int // negative cuts there
	}
	var changes []change
	files := append(s.files("*.log"), s.files("*.idx")...)
	for _, f := range append(files, s.path("ctl")) {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		n := int(st.Size())
		if n > 1024 {
			n = min(n, 1024+n/16)
		}
		step, i := 11, rand.IntN(11)
		if *sweepAll {
			step, i = 1, 0
		}
		for ; i < n; i += step {
			at := i
			if i >= 1024 {
				at = 1024 + (i-1024)*16
			}
			changes = append(changes, change{f, at, rand.IntN(8)})
			if at%16 == 0 && f != s.path("ctl") {
				changes = append(changes, change{f, at, -1})
			}
		}
	}
	for _, c := range changes {
		orig, err := os.ReadFile(c.file)
		if err != nil || c.at >= len(orig) {
			continue
		}
		tree := copyTree(t, s.dir)
		b := bytes.Clone(orig)
		if c.bit < 0 {
			b = b[:c.at]
		} else {
			b[c.at] ^= 1 << c.bit
		}
		rel, _ := filepath.Rel(s.dir, c.file)
		if err := os.WriteFile(filepath.Join(tree, rel), b, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := openDriver(tree, s.o, s.env)
		if err != nil {
			t.Fatal(err)
		}
		all, rerr := readAll(d)
		d.Close(context.Background())
		reported := rerr != nil
		got := make(map[uint64]string)
		for _, m := range all {
			if m.gap != "" {
				reported = true
				continue
			}
			got[m.seq] = m.value
		}
		for i, v := range want {
			switch g, ok := got[uint64(i)]; {
			case ok && g != v:
				t.Errorf("%+v: message %d is %.20q", c, i, g)
			case !ok && !reported:
				t.Errorf("%+v: message %d is missing and nothing was said: %v", c, i, all)
			}
		}
		if len(got) > len(want) {
			t.Errorf("%+v: messages that were never sent: %v", c, all)
		}
		os.RemoveAll(tree)
	}
	t.Logf("%d changes", len(changes))
}

func copyTree(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// readStream reads a stream from its start to its end.
func readStream(t testing.TB, d driver.Driver, stream string, see func(driver.Batch) error) error {
	ctx := context.Background()
	bounds, err := d.Bounds(ctx, []string{stream})
	if err != nil {
		return err
	}
	at := make(map[driver.Shard]driver.Seq)
	c, err := d.Consumer(ctx, driver.ConsumerConfig{Streams: []string{stream}, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(_ context.Context, ps []driver.Position) (uint64, []driver.Position, error) {
			for _, p := range ps {
				at[p.Shard] = p.Next
			}
			return 1, nil, nil
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	finished := func() bool {
		for s, b := range bounds {
			if at[s].Less(b.Next) {
				return false
			}
		}
		return true
	}
	for !finished() {
		ctx, cancel := context.WithTimeout(ctx, limit)
		bs, err := c.Fetch(ctx, nil)
		cancel()
		for _, b := range bs {
			at[b.Shard()] = b.Next()
			if err := see(b); err != nil {
				return err
			}
			b.Release()
		}
		var gap *driver.GapError
		if errors.As(err, &gap) && gap.Cause == driver.GapTruncated {
			at[gap.Shard] = gap.To // the jump after another boot
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
