package change

import (
	"context"
	"io"
	"strings"
	"testing"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// moves puts the group somewhere as others do, who keep nothing.
func (b *bench) moves(to uint64) {
	b.Helper()
	at := []driver.Position{{Shard: driver.Shard{Stream: "news"}, Next: driver.SeqOf(to)}, {Shard: driver.Shard{Stream: "news", Index: 1}, Next: driver.SeqOf(to)}}
	if err := b.d.GroupAdmin.SetPositions(b.Context(), "g", at); err != nil {
		b.Fatal(err)
	}
}

// beside is another process of the same user, and what it says.
func (b *bench) beside(said io.Writer) *factory.Factory {
	f := factory.New(&iostreams.Streams{In: strings.NewReader(""), Out: io.Discard, Err: said}, nil)
	f.Getenv = b.f.Getenv
	return f
}

// meanwhile has something happen between the plan that is shown and the one that
// is done: when the group has been described n times.
func (b *bench) meanwhile(n int, do func()) {
	b.d.described = func() {
		if n--; n == 0 {
			do()
		}
	}
}

// An undo that had nothing to do, and would have something when it begins, asks.
func TestUndoAsksForWhatItHasNotShown(t *testing.T) {
	b := newBench(t)
	b.seek(7)
	b.moves(4) // nothing to undo any more
	b.meanwhile(2, func() { b.moves(9) })
	if err := b.undo(Options{}); code(err) != exit.Refused {
		t.Errorf("exit %d, %v, want 7", code(err), err)
	}
	if b.at(9); !strings.Contains(b.errs.String(), "move news[0]: 9 → 4") {
		t.Errorf("said %q, want what it would do", b.errs.String())
	}
	b.moves(4)
	b.meanwhile(2, func() { b.moves(9) })
	if err := b.undo(Options{Yes: true}); err != nil { // the word was given for whatever it is
		t.Error(err)
	}
	b.at(4)
}

// An undo that goes where it said is done, wherever the group has come to since:
// members may be at work.
func TestUndoGoesWhereItSaid(t *testing.T) {
	b := newBench(t)
	b.seek(7)
	b.meanwhile(2, func() { b.moves(8) })
	if err := b.undo(Options{Yes: true}); err != nil {
		t.Error(err)
	}
	if b.at(4); !strings.Contains(b.out.String(), "8 → 4") {
		t.Errorf("printed %q, want from where it went", b.out.String())
	}
}

// Changes are kept while an undo waits for its broker.
func TestUndoHoldsUpNoOtherChange(t *testing.T) {
	b := newBench(t)
	b.seek(7)
	waits, goOn := make(chan struct{}), make(chan struct{})
	b.d.before = func() error {
		b.d.before = nil
		close(waits)
		<-goOn
		return nil
	}
	done := make(chan error)
	go func() { done <- b.undo(Options{Yes: true}) }()
	<-waits
	if err := Run(t.Context(), b.beside(io.Discard), b.c, broker, admin.CloneGroup{From: "g", To: "h"}, Options{Count: -1}); err != nil {
		t.Error(err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	b.at(4)
	if err := Undo(t.Context(), b.f, b.c, broker, "h", []string{"clone-group"}, Options{Yes: true, Count: -1}); err != nil {
		t.Errorf("the change that was made meanwhile: %v", err)
	}
}

// Of two undos the second says for what it waits, and can be given up.
func TestUndoWaitsForAnother(t *testing.T) {
	b := newBench(t)
	b.seek(7)
	ctx, cancel := context.WithCancelCause(t.Context())
	b.d.before = func() error { // while the first undo is at its broker
		b.d.before = nil
		said := writer(func(p []byte) (int, error) {
			if strings.Contains(string(p), "waiting for another undo") {
				cancel(errGivenUp)
			}
			return len(p), nil
		})
		if err := Undo(ctx, b.beside(said), b.c, broker, "g", kinds, Options{Yes: true, Count: -1}); err == nil || !strings.Contains(err.Error(), "given up") {
			t.Errorf("the second: %v, want that it was given up", err)
		}
		return nil
	}
	b.undoes()
	b.at(4)
}

var errGivenUp = driver.Errorf(nil, "", "given up")

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// What was done to a stream that is gone since is passed over with a line, and what
// was done to others before is undone.
func TestUndoOfWhatIsGone(t *testing.T) {
	b := newBench(t)
	if _, err := b.c.Apply(t.Context(), admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "old"}}); err != nil {
		t.Fatal(err)
	}
	to := func(streams ...string) admin.Change {
		return admin.SeekGroup{Group: "g", Streams: streams, To: new(ss.From(ss.SeqOf(2)))}
	}
	for _, streams := range [][]string{{"news"}, {"old"}} {
		if err := b.run(to(streams...), Options{Yes: true}); err != nil {
			t.Fatal(err)
		}
	}
	removed := func() {
		t.Helper()
		if _, err := b.c.Apply(t.Context(), admin.DeleteStream{Streams: []string{"old"}}); err != nil {
			t.Fatal(err)
		}
	}
	removed()
	b.at(2)
	b.undoes()
	if b.at(4); !strings.Contains(b.errs.String(), "is passed over: it was about old, which is gone") {
		t.Errorf("said %q", b.errs.String())
	}
	b.undoes()
	b.at(-1)
	if err := b.undo(Options{Yes: true}); code(err) != exit.NotFound || !strings.Contains(err.Error(), "nothing to undo: what is on record of g is about streams that are gone") {
		t.Errorf("with nothing but that: exit %d, %v", code(err), err)
	}

	// Of a change of both the rest is undone.
	if _, err := b.c.Apply(t.Context(), admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "old"}}); err != nil {
		t.Fatal(err)
	}
	b.moves(4)
	if err := b.run(to("news", "old"), Options{Yes: true}); err != nil {
		t.Fatal(err)
	}
	removed()
	b.undoes()
	if b.at(4); !strings.Contains(b.errs.String(), "old is left out: it is gone") {
		t.Errorf("said %q", b.errs.String())
	}
}
