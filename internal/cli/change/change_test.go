package change

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a broker in memory with a stream of two shards of 10 messages, and a
// group g that has been moved to 4 by a command.
type bench struct {
	*testing.T
	c    *admin.Client
	f    *factory.Factory
	out  bytes.Buffer
	errs bytes.Buffer
	d    *dying
}

var broker = ss.URL{Scheme: "memory"}

// dying is a backend whose process can die in the middle of a move: before is
// called before it, after behind it.
type dying struct {
	driver.Driver
	driver.StreamAdmin
	driver.GroupAdmin
	before, after func() error
	described     func() // is called when a group is described
	deletes       func(done <-chan struct{})
}

func (d *dying) DeleteGroup(ctx context.Context, group string) error {
	err := d.GroupAdmin.DeleteGroup(ctx, group)
	if d.deletes != nil {
		d.deletes(ctx.Done())
	}
	return err
}

func (d *dying) DescribeGroups(ctx context.Context, names []string) ([]driver.GroupInfo, error) {
	if d.described != nil {
		d.described()
	}
	return d.GroupAdmin.DescribeGroups(ctx, names)
}

func (d *dying) SetPositions(ctx context.Context, group string, at []driver.Position) error {
	if d.before != nil {
		if err := d.before(); err != nil {
			return err
		}
	}
	if err := d.GroupAdmin.SetPositions(ctx, group, at); err != nil {
		return err
	}
	if d.after != nil {
		return d.after()
	}
	return nil
}

func newBench(t *testing.T) *bench {
	m := memory.NewStore().Driver(memory.Options{})
	b := &bench{T: t, d: &dying{Driver: m, StreamAdmin: m.(driver.StreamAdmin), GroupAdmin: m.(driver.GroupAdmin)}}
	s := ss.New(b.d, ss.Options{})
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	b.c = admin.New(s)
	b.f = factory.New(&iostreams.Streams{In: strings.NewReader("y\ny\n"), Out: &b.out, Err: &b.errs}, nil)
	state := t.TempDir()
	b.f.Getenv = func(name string) string {
		if name == "XDG_STATE_HOME" {
			return state
		}
		return ""
	}
	if _, err := b.c.Apply(t.Context(), admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "news", Shards: 2}}); err != nil {
		t.Fatal(err)
	}
	for i := range int32(2) {
		p, err := s.Producer(t.Context(), ss.ProducerConfig{Stream: "news"})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := p.Send(t.Context(), ss.Record{Shard: ss.On(i), Value: []byte("v")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.seek(4)
	return b
}

func (b *bench) run(ch admin.Change, o Options) error {
	b.out.Reset()
	b.errs.Reset()
	o.Count = -1
	return Run(b.Context(), b.f, b.c, broker, ch, o)
}

func (b *bench) seek(to uint64) {
	b.Helper()
	if err := b.run(seekTo(to), Options{Yes: true}); err != nil {
		b.Fatal(err)
	}
}

func seekTo(n uint64) admin.Change {
	return admin.SeekGroup{Group: "g", Streams: []string{"news"}, To: new(ss.From(ss.SeqOf(n)))}
}

var kinds = []string{"seek-group", "delete-group"}

func (b *bench) undo(o Options) error {
	b.out.Reset()
	b.errs.Reset()
	o.Count = -1
	return Undo(b.Context(), b.f, b.c, broker, "g", kinds, o)
}

func (b *bench) undoes() {
	b.Helper()
	if err := b.undo(Options{Yes: true}); err != nil {
		b.Error(err)
	}
}

// at checks where the group stands; below zero it does not.
func (b *bench) at(want int) {
	b.Helper()
	infos, err := b.c.DescribeGroups(context.Background(), "g")
	if err != nil && !errors.Is(err, ss.ErrNotFound) {
		b.Fatal(err)
	}
	got := -1
	for _, p := range infos[0].Positions {
		got = int(p.Next.Lo)
	}
	if got != want {
		b.Errorf("the group stands at %d, want %d", got, want)
	}
}

// dies runs do, which ends in a panic: what is behind it was never run, as when
// the process is killed there.
func (b *bench) dies(do func()) {
	b.Helper()
	defer func() {
		if recover() == nil {
			b.Error("it did not die")
		}
		b.d.before, b.d.after = nil, nil
	}()
	do()
}

func death() error { panic("killed") }

func code(err error) int {
	if err == nil {
		return 0
	}
	return exit.From(err).Code
}

// Each undo goes one further back, and then there is nothing.
func TestUndoGoesBack(t *testing.T) {
	b := newBench(t)
	b.seek(7)
	b.seek(1)
	b.at(1)
	for _, want := range []int{7, 4, -1} {
		b.undoes()
		b.at(want)
	}
	if err := b.undo(Options{Yes: true}); code(err) != exit.NotFound || !strings.Contains(err.Error(), "nothing to undo") {
		t.Errorf("with nothing to undo: %v", err)
	}
}

// Whoever dies behind a move has it on record, and whoever dies before it has an
// entry that does no harm.
func TestDeathInRun(t *testing.T) {
	t.Run("behind", func(t *testing.T) {
		b := newBench(t)
		b.d.after = death
		b.dies(func() { b.seek(9) })
		b.at(9)
		b.undoes()
		b.at(4)
	})
	t.Run("before", func(t *testing.T) {
		b := newBench(t)
		b.d.before = death
		b.dies(func() { b.seek(9) })
		b.at(4)
		b.undoes()
		if b.at(4); !strings.Contains(b.out.String(), "nothing to do") {
			t.Errorf("said %q", b.out.String())
		}
		b.undoes()
		b.at(-1)
	})
}

// An undo that dies can be run again, and changes nothing twice.
func TestDeathInUndo(t *testing.T) {
	for name, set := range map[string]func(*bench){"behind": func(b *bench) { b.d.after = death }, "before": func(b *bench) { b.d.before = death }} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.seek(9)
			set(b)
			b.dies(b.undoes)
			b.undoes()
			b.at(4)
			b.undoes()
			b.at(-1)
		})
	}
}

// A move that was refused leaves nothing to undo, and one that failed with no
// word on what was done is on record.
func TestFailedMove(t *testing.T) {
	b := newBench(t)
	no := errors.New("no")
	b.d.before = func() error { return no }
	if err := b.run(seekTo(9), Options{Yes: true}); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if b.out.Len() > 0 {
		t.Errorf("beside the error there is %q", b.out.String())
	}
	if err := b.run(seekTo(9), Options{Yes: true, Output: "json"}); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if !strings.Contains(b.out.String(), `"done":false,"error":"no"`) {
		t.Errorf("the result says %q", b.out.String())
	}
	b.d.before = nil
	b.d.after = func() error { return no }
	if err := b.run(seekTo(8), Options{Yes: true}); !errors.Is(err, no) {
		t.Fatal(err)
	}
	b.d.after = nil
	b.at(8)
	b.undoes()
	b.at(4)
	b.undoes()
	b.at(-1)
}

// An undo that fails is still there to be done.
func TestFailedUndo(t *testing.T) {
	b := newBench(t)
	b.seek(9)
	no := errors.New("no")
	b.d.before = func() error { return no }
	if err := b.undo(Options{Yes: true}); !errors.Is(err, no) {
		t.Fatal(err)
	}
	b.d.before = nil
	b.undoes()
	b.at(4)
}

// Several groups that are removed by one command are had back one by one.
func TestUndoOfMany(t *testing.T) {
	b := newBench(t)
	if err := b.run(admin.CloneGroup{From: "g", To: "h"}, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := b.run(admin.DeleteGroup{Groups: []string{"g", "h"}}, Options{Yes: true}); err != nil {
		t.Fatal(err)
	}
	b.at(-1)
	b.undoes()
	b.at(4)
	if _, err := b.c.DescribeGroups(t.Context(), "h"); !errors.Is(err, ss.ErrNotFound) {
		t.Errorf("the other one too: %v", err)
	}
}

// What needs somebody's word is refused where there is no terminal, even when
// standard input says yes, and shown.
func TestRefused(t *testing.T) {
	b := newBench(t)
	for name, do := range map[string]func(Options) error{"run": func(o Options) error { return b.run(seekTo(9), o) }, "undo": b.undo} {
		b.at(4)
		err := do(Options{})
		if code(err) != exit.Refused || !strings.Contains(err.Error(), "was not done") || exit.From(err).Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
		if b.out.Len() > 0 || !strings.Contains(b.errs.String(), "news[0]") {
			t.Errorf("%s: printed %q, said %q", name, b.out.String(), b.errs.String())
		}
	}
	b.at(4)
	if err := b.run(admin.CloneGroup{From: "g", To: "h"}, Options{}); err != nil {
		t.Errorf("what harms nobody is refused: %v", err)
	}
}

// --dry-run changes nothing, asks nothing, keeps nothing, and prints what the
// result would be but for what says that it was done.
func TestDryRun(t *testing.T) {
	b := newBench(t)
	b.seek(6)
	o := Options{DryRun: true, Output: "json"}
	for name, do := range map[string]func(Options) error{"run": func(o Options) error { return b.run(seekTo(9), o) }, "undo": b.undo} {
		b.at(6)
		if err := do(o); err != nil || b.errs.Len() > 0 {
			t.Fatal(name, err, b.errs.String())
		}
		b.at(6)
		plan := object(t, b.out.Bytes())
		if err := do(Options{Output: "json", Yes: true}); err != nil {
			t.Fatal(err)
		}
		result := object(t, b.out.Bytes())
		if d := cmp.Diff(fields(plan), fields(result)); d != "" {
			t.Errorf("%s: the plan has other fields than the result: %s", name, d)
		}
		if plan["applied"] != false || result["applied"] != true {
			t.Errorf("%s: %v, %v", name, plan, result)
		}
		if name == "run" {
			b.undoes()
		} else {
			b.seek(6)
		}
	}
}

func object(t *testing.T, line []byte) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(line, &o); err != nil || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("%q: %v", line, err)
	}
	return o
}

// fields are the names of an object's fields and of its steps'.
func fields(o map[string]any) []string {
	names := slices.Sorted(maps.Keys(o))
	for _, s := range o["steps"].([]any) {
		names = append(names, slices.Sorted(maps.Keys(s.(map[string]any)))...)
	}
	return names
}

// An empty plan is a list without steps in JSON, and asks nobody.
func TestNothingToDo(t *testing.T) {
	b := newBench(t)
	if err := b.run(seekTo(4), Options{Output: "json"}); err != nil {
		t.Fatal(err)
	}
	if steps := object(t, b.out.Bytes())["steps"]; steps == nil {
		t.Error("steps are null")
	}
	b.undoes()
	b.at(-1) // and was not kept
}

func TestMatchOfEverything(t *testing.T) {
	for _, test := range []struct {
		match string
		yes   bool
		count int
		want  int
	}{
		{"*", true, -1, exit.Refused},
		{"*", true, 1, exit.Refused},
		{"**", true, -1, exit.Refused},
		{"?*", true, -1, exit.Refused},
		{"*", false, 2, exit.Refused},
		{"*", true, 2, 0},
		{"[gh]", true, -1, 0},
		{"[gh]", true, 3, exit.Refused},
		{"[gh]", true, 2, 0},
		{"[gh]", false, 2, exit.Refused},
	} {
		b := newBench(t)
		if err := b.run(admin.CloneGroup{From: "g", To: "h"}, Options{}); err != nil {
			t.Fatal(err)
		}
		o := Options{Match: test.match, Yes: test.yes, Count: test.count}
		err := Run(t.Context(), b.f, b.c, broker, admin.DeleteGroup{Groups: []string{"g", "h"}}, o)
		if code(err) != test.want {
			t.Errorf("%+v: %v", test, err)
		}
		left := 4
		if test.want == 0 {
			left = -1
		}
		b.at(left)
	}
}

// A damaged journal does not keep anybody from working, and is said.
func TestDamagedJournal(t *testing.T) {
	b := newBench(t)
	dir, err := b.f.StateDir("undo")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "journal.ndjson")
	if err := os.WriteFile(file, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.seek(9)
	if b.at(9); !strings.Contains(b.errs.String(), "warning: this cannot be undone: the journal "+file+" is damaged") {
		t.Errorf("said %q", b.errs.String())
	}
	if err := b.undo(Options{Yes: true}); code(err) != exit.BadData {
		t.Errorf("undo: %v", err)
	}
	b.at(9)
}

// Nodes in another order are the same broker, another password as well, another
// database not.
func TestBrokerKey(t *testing.T) {
	key := func(url string) string {
		u, err := driver.ParseBroker(url)
		if err != nil {
			t.Fatal(err)
		}
		return brokerKey(u)
	}
	if a, b := key("kafka://a:1,b:2"), key("kafka://b:2,a:1"); a != b {
		t.Errorf("%s and %s", a, b)
	}
	if a, b := key("redis://u:one@h"), key("redis://u:two@h"); a != b || strings.Contains(a, "one") {
		t.Errorf("%s and %s", a, b)
	}
	if a, b := key("redis://h?db=1"), key("redis://h?db=2"); a == b {
		t.Errorf("%s is both", a)
	}
}

// What names hold is not obeyed by a terminal.
func TestNamesAreEscaped(t *testing.T) {
	b := newBench(t)
	for _, output := range []string{"text", "json"} {
		if err := b.run(admin.CloneGroup{From: "g", To: output + "\x1b[2J\u202e"}, Options{Output: output}); err != nil {
			t.Fatal(err)
		}
		if err := b.run(admin.DeleteGroup{Groups: []string{output + "\x1b[2J\u202e"}}, Options{Output: output}); err == nil {
			t.Error("it was done")
		}
		if text := b.out.String() + b.errs.String(); strings.ContainsAny(text, "\x1b\u202e") || !strings.Contains(text, output) {
			t.Errorf("%q", text)
		}
	}
}
