package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) *Journal {
	t.Helper()
	return &Journal{filepath.Join(t.TempDir(), "journal.ndjson")}
}

func entry(target string, n int) Entry {
	return Entry{Broker: "b", Kind: "move", Target: target, Undo: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))}
}

func (j *Journal) put(t *testing.T, some ...Entry) {
	t.Helper()
	if err := j.change(func(all []Entry) ([]Entry, error) { return append(all, some...), nil }); err != nil {
		t.Fatal(err)
	}
}

func (j *Journal) undo(e Entry, do func() error) error {
	return j.Undo(context.Background(), e, func() {}, do)
}

func (j *Journal) all(t *testing.T) string {
	t.Helper()
	all, err := j.read()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "%s%s ", e.Target, e.Undo)
	}
	return b.String()
}

func TestNewestFirst(t *testing.T) {
	j := open(t)
	if all, err := j.Of("b", "g", "move"); len(all) > 0 || err != nil {
		t.Fatalf("in no file: %v %v", all, err)
	}
	other := entry("g", 9)
	other.Kind = "set"
	elsewhere := entry("g", 8)
	elsewhere.Broker = "c"
	j.put(t, entry("g", 1), entry("h", 2), entry("g", 3), other, elsewhere)
	all, err := j.Of("b", "g", "move")
	if err != nil || len(all) != 2 || string(all[0].Undo) != `{"n":3}` || string(all[1].Undo) != `{"n":1}` {
		t.Fatalf("%v %v, want 3 and 1", all, err)
	}
	if err := j.Remove(all[0], entry("nobody", 1)); err != nil {
		t.Fatal(err)
	}
	if all, _ = j.Of("b", "g", "move"); len(all) != 1 || string(all[0].Undo) != `{"n":1}` {
		t.Errorf("%v, want 1", all)
	}
}

// Of two like entries one is removed.
func TestLikeEntriesAreTwo(t *testing.T) {
	j := open(t)
	j.put(t, entry("g", 1), entry("h", 1), entry("g", 1))
	if err := j.Remove(entry("g", 1)); err != nil {
		t.Fatal(err)
	}
	if got, want := j.all(t), `g{"n":1} h{"n":1} `; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOldEntriesGo(t *testing.T) {
	j := open(t)
	var many []Entry
	for i := range keep + 5 {
		many = append(many, entry("g", i))
	}
	j.put(t, many...)
	all, err := j.read()
	if err != nil || len(all) != keep || string(all[0].Undo) != `{"n":5}` {
		t.Errorf("%d entries from %s: %v", len(all), all[0].Undo, err)
	}
}

// What fails is still on record, and what was undone is not.
func TestUndo(t *testing.T) {
	j := open(t)
	j.put(t, entry("g", 1))
	no := errors.New("no")
	if err := j.undo(entry("g", 1), func() error { return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if got, want := j.all(t), `g{"n":1} `; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := j.undo(entry("g", 1), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := j.undo(entry("g", 1), func() error { t.Error("undone twice"); return nil }); !errors.Is(err, ErrUndone) {
		t.Errorf("the second time: %v", err)
	}
}

// Any number of writers lose nothing, and of those who undo one entry one does.
// Each opens the file for itself, as a process does, and it is the open file that
// has the lock.
func TestAtOnce(t *testing.T) {
	j := open(t)
	j.put(t, entry("shared", 0))
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for i := range 20 {
		wg.Go(func() {
			own := &Journal{j.path}
			own.put(t, entry("g", i))
			err := own.undo(entry("shared", 0), func() error { mu.Lock(); done++; mu.Unlock(); return nil })
			if err != nil && !errors.Is(err, ErrUndone) {
				t.Error(err)
			}
			if i%2 == 0 {
				if err := own.Remove(entry("g", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if done != 1 {
		t.Errorf("undone %d times", done)
	}
	all, err := j.read()
	if err != nil || len(all) != 10 {
		t.Errorf("%d entries, want 10: %v", len(all), err)
	}
}

func TestDamaged(t *testing.T) {
	j := open(t)
	const text = `{"time":"2026-01-01T00:00:00Z","broker":"b","target":"g"}` + "\n" + `{"time":` + "\n"
	if err := os.WriteFile(j.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := j.Of("b", "g")
	if e := exit.From(err); e == nil || e.Code != exit.BadData || !strings.Contains(e.Text("sea"), j.path) || e.Hint == "" {
		t.Errorf("%v", err)
	}
	if err := j.change(func(all []Entry) ([]Entry, error) { return append(all, entry("g", 1)), nil }); err == nil {
		t.Error("a damaged journal is written over")
	}
	if b, _ := os.ReadFile(j.path); string(b) != text {
		t.Errorf("it has become %q", b)
	}
}

// A file that is left from a writer that died is not in the way.
func TestLeftovers(t *testing.T) {
	j := open(t)
	if err := os.WriteFile(j.path+".new", []byte(strings.Repeat("half ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	j.put(t, entry("g", 1))
	if got, want := j.all(t), `g{"n":1} `; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","broker":"b","kind":"k","target":"g","undo":{"kind":"move-group","change":{"Group":"g","At":[{"Stream":"s","Index":1,"Next":"4"}]}}}`))
	f.Add([]byte("\n\n{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parse("j", b)
		if err != nil {
			return
		}
		for _, e := range all {
			_, _ = e.Change()
		}
		// What can be read can be written, and says the same.
		text, err := format(all)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse("j", text)
		if err != nil || len(again) != len(all) {
			t.Fatalf("%d entries, want %d: %v", len(again), len(all), err)
		}
		for i := range all {
			if find(again, all[i]) < 0 && json.Valid(all[i].Undo) && string(compact(all[i].Undo)) == string(all[i].Undo) {
				t.Errorf("entry %d is another one: %+v, was %+v", i, again[i], all[i])
			}
		}
	})
}

func compact(b []byte) []byte {
	var c bytes.Buffer
	_ = json.Compact(&c, b)
	return c.Bytes()
}
