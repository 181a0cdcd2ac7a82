//go:build unix

package ledger

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
)

func TestMain(m *testing.M) {
	Main() // where this process is a worker
	os.Exit(m.Run())
}

// A body says what it is, and every single bit that flips is noticed.
func TestBodies(t *testing.T) {
	want := Message{Run: "7f", Writer: 3, Stream: "out", ID: 123456, Index: 2, Total: 987}
	body := want.Append(nil)
	if got, err := Parse(body); err != nil || got != want {
		t.Errorf("Parse(%q) = %v, %v, want %v", body, got, err, want)
	}
	for i := range 8 * len(body) {
		body[i/8] ^= 1 << (i % 8)
		if got, err := Parse(body); err == nil && string(got.Append(nil)) == string(body) {
			t.Errorf("bit %d flipped: nobody notices in %q", i, body)
		}
		body[i/8] ^= 1 << (i % 8)
	}
	for _, bad := range []string{"", "x", "00000000", strings.Repeat(" ", 40)} {
		if m, err := Parse([]byte(bad)); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", bad, m)
		}
	}
}

// A book says after a kill -9 of its writer what was acknowledged, and its
// writer goes on behind what it had begun.
func TestBooksSurviveAKill(t *testing.T) {
	dir := t.TempDir()
	crew := NewCrew(dir, os.Args[0])
	t.Cleanup(crew.Stop)
	plan := Plan{Run: "r", Writers: 1, Messages: 1 << 20, Shards: 4, Keys: 100}
	file := "file://" + dir + "/log?shards=4"
	w, err := crew.Add(Task{Do: "write", To: file, Out: "in", Plan: plan, Rate: 20_000, Books: dir})
	if err != nil {
		t.Fatal(err)
	}
	for kills := range 5 {
		if err := crew.Wait(time.Minute, w.Progressed); err != nil {
			t.Fatalf("the writer sends nothing: %s", w.LastWords())
		}
		time.Sleep(time.Duration(kills) * 13 * time.Millisecond) // an instant like any other
		w.Kill()
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := crew.Wait(time.Minute, w.Progressed); err != nil {
		t.Fatalf("the writer does not go on: %s", w.LastWords())
	}
	w.End(time.Minute)
	books, err := ReadBooks(dir, plan)
	if err != nil {
		t.Fatal(err)
	}
	if books.Acked() == 0 || books.Refused() != 0 {
		t.Fatalf("%d acknowledged, %d refused: want some and none", books.Acked(), books.Refused())
	}
	c := books.Check()
	if err := Fresh(t.Context(), os.Args[0], file, "in", c.Saw); err != nil {
		t.Fatal(err)
	}
	v := c.Verdict()
	if !v.Exactly() {
		t.Error(v)
	}
	t.Logf("%d begun, %d acknowledged, %d kills of which %d with messages under way: %v", books.Begun(), books.Acked(), w.Kills, w.Effective, v)
}

// The fold finds an update that was lost, one that was doubled, and outputs
// that are not all there.
func TestFold(t *testing.T) {
	plan := Plan{Run: "r", Writers: 1, Messages: 100, Shards: 2, Keys: 10}
	read := func(spoil func(m *Message) (copies int)) Verdict {
		books := NewBooks(plan)
		c := books.Check()
		for id := range plan.Messages {
			books.Sent(0, id, nil)
			c.Saw(plan.Shard(id), []byte(plan.Key(id)), Message{Run: "r", Stream: "in", ID: id}.Append(nil))
		}
		f := c.Fold()
		totals := map[string]int64{}
		for id := range plan.Messages {
			k := plan.Key(id)
			totals[k] += Amount(id)
			for i := range Outputs(id) {
				m := Message{Run: "r", Stream: "out", ID: id, Index: i, Total: totals[k]}
				for range spoil(&m) {
					f.Saw(plan.Shard(id), []byte(k), m.Append(nil))
				}
			}
		}
		return f.Verdict()
	}
	if v := read(func(*Message) int { return 1 }); !v.Exactly() || v.Messages == 0 {
		t.Errorf("of a job that is right: %v", v)
	}
	if v := read(func(m *Message) int {
		if m.ID >= 50 {
			m.Total++
		}
		return 1
	}); v.Wrong == 0 || v.Lost+v.Twice+v.Torn > 0 {
		t.Errorf("of a job whose state is wrong: %v", v)
	}
	if v := read(func(m *Message) int {
		if m.ID == 41 && m.Index == 1 {
			return 0
		}
		return 1
	}); v.Torn != 1 {
		t.Errorf("of a job that lost one of several outputs: %v", v)
	}
	if v := read(func(m *Message) int {
		if m.ID == 40 {
			return 2
		}
		return 1
	}); v.Twice != 1 {
		t.Errorf("of a job that doubled an output: %v", v)
	}
	if v := read(func(m *Message) int {
		if m.ID == 42 {
			return 0
		}
		return 1
	}); v.Lost != 1 {
		t.Errorf("of a job that left an input out: %v", v)
	}
}

// An outcome that the producer denies, or does not know, is held against what
// is there.
func TestOutcomes(t *testing.T) {
	plan := Plan{Run: "r", Writers: 1, Messages: 4, Shards: 1, Keys: 1}
	books := NewBooks(plan)
	for id, err := range []error{nil, seastreamer.ErrUnknown, seastreamer.ErrTooLarge, seastreamer.ErrUnknown} {
		books.Sent(0, int64(id), err)
	}
	c := books.Check()
	for _, id := range []int64{1, 2} {
		c.Saw(0, []byte("k0"), Message{Run: "r", Stream: "in", ID: id}.Append(nil))
	}
	c.Saw(0, []byte("k0"), Message{Run: "other", Stream: "in", ID: 1}.Append(nil))
	v := c.Verdict()
	if v.Lost != 1 || v.Denied != 1 || v.Unknown != 2 || v.Arrived != 1 || v.Phantom != 1 {
		t.Errorf("got %+v, want 1 lost, 1 denied, 1 of 2 unknown there, 1 never sent", v)
	}
}
