package cp

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a source and a sink, each a store of its own, and what happens to
// the calls of the sink's driver.
type world struct {
	t        *testing.T
	src, dst *memory.Store
	plan     drivertest.Plan
	env      map[string]string
}

func newWorld(t *testing.T, shards, n int) *world {
	w := &world{t: t, src: memory.NewStore(), dst: memory.NewStore(), env: map[string]string{"XDG_STATE_HOME": t.TempDir()}}
	if err := w.src.Create("a", memory.Options{Shards: shards}); err != nil {
		t.Fatal(err)
	}
	w.fill(0, n)
	return w
}

// fill sends the numbers, each to the shard that it names.
func (w *world) fill(from, to int) {
	w.t.Helper()
	s := ss.New(w.src.Driver(memory.Options{}), ss.Options{})
	defer s.Close(w.t.Context())
	p, err := s.Producer(w.t.Context(), ss.ProducerConfig{Stream: "a"})
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := s.Bounds(w.t.Context(), "a")
	if err != nil {
		w.t.Fatal(err)
	}
	for i := from; i < to; i++ {
		if _, err := p.Send(w.t.Context(), ss.Record{Shard: ss.On(int32(i % len(b))), Value: fmt.Append(nil, i), Headers: []ss.Header{{Key: "n", Value: fmt.Append(nil, i)}}}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// run runs the command and returns what it said.
func (w *world) run(ctx context.Context, follow bool, args ...string) (said string, err error) {
	w.t.Helper()
	f, errs := testFactory(w.env)
	out := f.IO.Out.(*bytes.Buffer)
	f.Registry = ss.Registry{
		"kafka": driver.OpenerFunc(func(context.Context, driver.URL) (driver.Driver, error) { return w.src.Driver(memory.Options{}), nil }),
		"redis": driver.OpenerFunc(func(context.Context, driver.URL) (driver.Driver, error) {
			d := w.dst.Driver(memory.Options{})
			if w.plan != nil {
				d = drivertest.Faults(d, w.plan)
			}
			return d, nil
		}),
	}
	cmd := New(f, nil)
	if follow {
		cmd = NewMirror(f, nil)
	}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"kafka://h/a", "redis://h/b"}, args...))
	err = cmd.ExecuteContext(ctx)
	return errs.String() + out.String(), err
}

// output is what the sink has, in the order of its shards.
func (w *world) output() (got []string) {
	w.t.Helper()
	s := ss.New(w.dst.Driver(memory.Options{}), ss.Options{})
	defer s.Close(w.t.Context())
	until, err := s.End(w.t.Context(), "b")
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := s.Consumer(w.t.Context(), ss.ConsumerConfig{Streams: []string{"b"}, Start: ss.Earliest, Until: until})
	if err != nil {
		w.t.Fatal(err)
	}
	for m, err := range c.Messages(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		if n, _ := m.Header("n"); string(n) != string(m.Value()) {
			w.t.Errorf("message %s has the header of %s", m.Value(), n)
		}
		got = append(got, string(m.Value()))
	}
	return got
}

func numbers(from, to int) (s []string) {
	for i := from; i < to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

// Whatever becomes of a unit, each message is copied once and counted once.
func TestUnitsUnderFaults(t *testing.T) {
	for name, plan := range map[string]drivertest.Plan{
		"none":                   nil,
		"aborted":                drivertest.First(drivertest.OpUnit, 2, drivertest.Fault{Err: ss.ErrAborted}),
		"not stored":             drivertest.First(drivertest.OpUnit, 2, drivertest.Fault{Err: ss.ErrUnknown}),
		"stored, the reply lost": drivertest.Nth(drivertest.OpUnit, 1, drivertest.Fault{Err: ss.ErrUnknown, Late: true}),
		"no unit begins":         drivertest.First(drivertest.OpBegin, 2, drivertest.Fault{Err: ss.ErrUnavailable}),
		"a record is lost":       drivertest.Nth(drivertest.OpSend, 7, drivertest.Fault{Err: ss.ErrUnavailable}),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, 500)
			w.plan = plan
			for _, limit := range []string{"-n=200", "-n=1000"} {
				said, err := w.run(t.Context(), false, limit)
				want := map[string]string{"-n=200": "200 messages copied", "-n=1000": "300 messages copied"}[limit]
				if err != nil || !strings.Contains(said, want) {
					t.Errorf("%s: %v, said %q, want %q", limit, err, said, want)
				}
			}
			if d := cmp.Diff(numbers(0, 500), w.output()); d != "" {
				t.Error(d)
			}
			if said, err := w.run(t.Context(), false); err != nil || !strings.Contains(said, "nothing new since a[0] 500") {
				t.Errorf("again: %v, said %q", err, said)
			}
		})
	}
}

// A restart is a unit of its own: until it is stored nothing has changed.
func TestRestart(t *testing.T) {
	w := newWorld(t, 1, 10)
	copies := func(want string, args ...string) {
		t.Helper()
		if said, err := w.run(t.Context(), false, args...); err != nil || !strings.Contains(said, want) {
			t.Errorf("%v: %v, said %q, want %q", args, err, said, want)
		}
	}
	copies("10 messages copied")
	w.plan = drivertest.First(drivertest.OpUnit, 1, drivertest.Fault{Err: ss.ErrUnavailable})
	if said, err := w.run(t.Context(), false, "--restart"); err == nil {
		t.Errorf("the restart was not stored, and the copy said %q", said)
	}
	w.plan = nil
	copies("nothing new")
	copies("4 messages copied", "--restart", "-n=4")
	copies("gone on at a[0] 4; 6 messages copied")
	copies("nothing new")
	if d := cmp.Diff(append(numbers(0, 10), numbers(0, 10)...), w.output()); d != "" {
		t.Error(d)
	}
	// Once: a session that is opened anew goes on.
	w.plan = drivertest.Nth(drivertest.OpUnit, 2, drivertest.Fault{Err: ss.ErrUnknown, Late: true})
	copies("10 messages copied", "--restart", "-n=20")
	w.plan = nil
	if n := len(w.output()); n != 30 {
		t.Errorf("%d messages after three copies of 10", n)
	}
	copies("3 messages copied", "--from=+7", "--restart")
	copies("nothing new", "--from=+7")
}

// With at-least what fails comes again, with at-most it does not.
func TestLooseUnderFaults(t *testing.T) {
	for name, plan := range map[string]drivertest.Plan{
		"not written":             drivertest.Nth(drivertest.OpProduce, 50, drivertest.Fault{Err: ss.ErrUnknown}),
		"written, the reply lost": drivertest.Nth(drivertest.OpProduce, 50, drivertest.Fault{Err: ss.ErrUnknown, Late: true}),
		"not taken":               drivertest.Nth(drivertest.OpProduce, 50, drivertest.Fault{Err: ss.ErrUnavailable, Refused: true}),
		"the flush fails":         drivertest.Nth(drivertest.OpFlush, 1, drivertest.Fault{Err: ss.ErrUnavailable}),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, 300)
			w.plan = plan
			said, err := w.run(t.Context(), false, "--delivery=at-least")
			if err != nil {
				t.Errorf("at least: %v, said %q", err, said)
			}
			has := map[string]bool{}
			for _, v := range w.output() {
				has[v] = true
			}
			if len(has) != 300 {
				t.Errorf("%d of 300 messages are there", len(has))
			}
			if said, err := w.run(t.Context(), false, "--delivery=at-least"); err != nil || !strings.Contains(said, "nothing new") {
				t.Errorf("again: %v, said %q", err, said)
			}
			w = newWorld(t, 1, 300)
			w.plan = plan
			if said, err := w.run(t.Context(), false, "--delivery=at-least", "-n=200"); err != nil || !strings.Contains(said, "200 messages copied") {
				t.Errorf("200 of them: %v, said %q", err, said)
			}
			if got := w.output(); !slices.Contains(got, "199") || slices.Contains(got, "200") {
				t.Errorf("200 of them: the last is %q", got[len(got)-1])
			}
			w = newWorld(t, 2, 300)
			w.plan = plan
			_, _ = w.run(t.Context(), false, "--delivery=at-most")
			w.plan = nil
			_, _ = w.run(t.Context(), false, "--delivery=at-most")
			seen := map[string]int{}
			for _, v := range w.output() {
				if seen[v]++; seen[v] > 1 {
					t.Errorf("%s is there %d times", v, seen[v])
				}
			}
		})
	}
}

// A record that is refused after a signal is told: being stopped is not why it is
// not there.
func TestLooseRefusedAfterASignal(t *testing.T) {
	w := newWorld(t, 1, 300)
	ctx, signal := context.WithCancel(t.Context())
	defer signal()
	w.plan = func(op drivertest.Op, n int) drivertest.Fault {
		if op != drivertest.OpProduce || n != 50 {
			return drivertest.Fault{}
		}
		signal()
		return drivertest.Fault{Err: ss.ErrDenied}
	}
	said, err := w.run(ctx, true, "--delivery=at-least")
	if e := exit.From(err); e == nil || e.Code != exit.Denied {
		t.Errorf("%v, said %q", err, said)
	}
}

// A signal during the unit with which there is enough changes nothing: it is done.
func TestSignalDuringTheLastUnit(t *testing.T) {
	c := &copier{}
	c.tally.claimed(nil, nil)
	ctx, end := context.WithCancelCause(t.Context())
	u := &c.tally.unit
	u.left, u.end = 1, end
	u.begin()
	u.messages = 1
	u.stop()
	c.committed(nil, nil)
	if context.Cause(ctx) != errEnough {
		t.Errorf("the copy ends with %v", context.Cause(ctx))
	}
}

// With at-most many batches are noted as copied at once, and none is sent
// before it is noted: where the progress cannot be written nothing is.
func TestAtMostNotesFirst(t *testing.T) {
	const n = 30_000
	w := newWorld(t, 1, n)
	if said, err := w.run(t.Context(), false, "--delivery=at-most", "-n=12345"); err != nil || !strings.Contains(said, "12,345 messages copied") {
		t.Errorf("%v, said %q", err, said)
	}
	state := filepath.Join(w.env["XDG_STATE_HOME"], "sea-streamer", "copies")
	files, err := filepath.Glob(filepath.Join(state, "*.at-most"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.Mkdir(files[0]+".new", 0o700); err != nil { // no file can be written there
		t.Fatal(err)
	}
	if said, err := w.run(t.Context(), false, "--delivery=at-most"); err == nil {
		t.Errorf("the progress was not written, and the copy said %q", said)
	}
	if d := cmp.Diff(numbers(0, 12345), w.output()); d != "" {
		t.Error(d)
	}
	if err := os.Remove(files[0] + ".new"); err != nil {
		t.Fatal(err)
	}
	if said, err := w.run(t.Context(), false, "--delivery=at-most"); err != nil || !strings.Contains(said, "gone on at a[0] 12345; 17,655 messages copied") {
		t.Errorf("%v, said %q", err, said)
	}
	if d := cmp.Diff(numbers(0, n), w.output()); d != "" {
		t.Error(d)
	}
}

// The older of two is told, and ends with 6.
func TestFenced(t *testing.T) {
	w := newWorld(t, 1, 10)
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { _, err := w.run(ctx, true, "--name=n"); ended <- err }()
	for len(numbersOrNone(w)) < 10 {
		time.Sleep(time.Millisecond)
	}
	if said, err := w.run(ctx, false, "--name=n"); err != nil || !strings.Contains(said, "nothing new") {
		t.Errorf("%v, said %q", err, said)
	}
	w.fill(10, 20)
	err := <-ended
	if e := exit.From(err); e == nil || e.Code != exit.Conflict || !strings.Contains(e.Hint, "--name") {
		t.Errorf("the older one ended with %v", err)
	}
	if d := cmp.Diff(numbers(0, 10), w.output()); d != "" {
		t.Error(d)
	}
}

// numbersOrNone is output, of a sink that may not be there yet.
func numbersOrNone(w *world) []string {
	s := ss.New(w.dst.Driver(memory.Options{}), ss.Options{})
	defer s.Close(w.t.Context())
	if _, err := s.End(w.t.Context(), "b"); err != nil {
		return nil
	}
	return w.output()
}

// Shards stay where they are, with --keep-shard, and a part of them is copied.
func TestShards(t *testing.T) {
	w := newWorld(t, 3, 9)
	if _, err := w.run(t.Context(), false, "--keep-shard"); err == nil || !strings.Contains(err.Error(), `stream "b" does not exist, and "a" has 3 shards`) {
		t.Errorf("without shards: %v", err)
	}
	if err := w.dst.Create("b", memory.Options{Shards: 4}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-s=1"}, {"-s=0,2", "--from=0=1"}} {
		if said, err := w.run(t.Context(), false, append(args, "--keep-shard")...); err != nil {
			t.Errorf("%v: %v, said %q", args, err, said)
		}
	}
	s := ss.New(w.dst.Driver(memory.Options{}), ss.Options{})
	defer s.Close(t.Context())
	b, err := s.Bounds(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{2, 3, 3, 0} { // --from 0=1 leaves one out
		if n := b[ss.Shard{Stream: "b", Index: int32(i)}].Next.Lo; n != want {
			t.Errorf("shard %d has %d messages, want %d", i, n, want)
		}
	}
}
