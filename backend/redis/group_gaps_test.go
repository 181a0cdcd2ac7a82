package redis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestPendingEntriesAreTrimmed: what a dead member had does not exist any more.
// It is one gap with exact bounds, once, and nothing stays pending.
func TestPendingEntriesAreTrimmed(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), quickly), Options{})
	addNumbers(t, s, "s", "1", "2", "3", "5", "8", "9")
	a, b := newMate(t, c, "g", "s"), newMate(t, c, "g", "s")
	m := a.wants("1 1", "2 1", "3 1", "5 1", "8 1", "9 1")
	a.verdict(driver.VerdictAck, 0, m[0])
	a.die()
	s.Call(t, 1, "XTRIM", "s", "MINID", "8-0")
	b.wantsGap("2-0", "5-1", driver.GapTrimmed)
	m = b.wants("8 2", "9 2")
	b.verdict(driver.VerdictAck, 0, m...)
	b.quiet(300 * time.Millisecond)
	if n := pendingIn(t, s, "s", "g"); n != "0" {
		t.Errorf("%s entries are pending", n)
	}
}

// TestPendingEntriesAreDeleted: what still exists between them is in no gap.
func TestPendingEntriesAreDeleted(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), quickly), Options{})
	addNumbers(t, s, "s", "1", "2", "3", "4")
	a, b := newMate(t, c, "g", "s"), newMate(t, c, "g", "s")
	m := a.wants("1 1", "2 1", "3 1", "4 1")
	a.verdict(driver.VerdictAck, 0, m[2])
	a.die()
	s.Call(t, 1, "XDEL", "s", "2-0", "4-0")
	b.wantsGap("2-0", "2-1", driver.GapTrimmed)
	b.wantsGap("4-0", "4-1", driver.GapTrimmed)
	b.wants("1 2")
}

// TestNackOfWhatIsGone: a message cannot be delivered again whose entry does
// not exist any more, whoever hands it back.
func TestNackOfWhatIsGone(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), quickly), Options{})
	addNumbers(t, s, "s", "1", "2", "3", "4", "5")
	w := newMate(t, c, "g", "s")
	m := w.wants("1 1", "2 1", "3 1", "4 1", "5 1")
	s.Call(t, 1, "XTRIM", "s", "MINID", "3-0")
	s.Call(t, 1, "XDEL", "s", "4-0", "5-0")
	w.verdict(driver.VerdictExtend, 0, m...)
	w.verdict(driver.VerdictAck, 0, m[1], m[4]) // it was processed: nothing is missing
	w.verdict(driver.VerdictNack, 0, m[0], m[2], m[3])
	w.until("both gaps", func() bool { return len(w.gaps) == 2 })
	if from := w.gaps[0].From; from != seqOf(t, "4-0") {
		t.Errorf("the first gap is %v", w.gaps[0])
	}
	w.gaps = w.gaps[1:]
	w.wantsGap("1-0", "1-1", driver.GapTrimmed)
	w.wants("3 2")
	if n := pendingIn(t, s, "s", "g"); n != "1" {
		t.Errorf("%s entries are pending, want the one in hand", n)
	}
}

// TestTrimmedUnread: entries were trimmed before any member has read them. One
// of them tells it.
func TestTrimmedUnread(t *testing.T) {
	t.Parallel()
	s, c := single(t)
	addNumbers(t, s, "s", "1", "2", "3", "4", "5")
	a, b := newMate(t, c, "g", "s"), newMate(t, c, "g", "s")
	s.Call(t, 1, "XREADGROUP", "GROUP", "g", "x", "COUNT", "1", "STREAMS", "s", ">")
	s.Call(t, 1, "XTRIM", "s", "MINID", "4-0")
	a.wantsGap("1-1", "4-0", driver.GapTrimmed)
	m := a.wants("4 1", "5 1")
	a.verdict(driver.VerdictAck, 0, m...)
	b.quiet(200 * time.Millisecond)
	addNumbers(t, s, "s", "6", "7")
	s.Call(t, 1, "XTRIM", "s", "MAXLEN", "0")
	w := newMate(t, c, "g", "s")
	w.wantsGap("5-1", "7-1", driver.GapTrimmed)
	for _, o := range []*mate{a, b, newMate(t, c, "g", "s")} {
		o.quiet(200 * time.Millisecond)
	}
	// What was read is trimmed, as it should be, and what is deleted singly is
	// no gap.
	addNumbers(t, s, "s", "8", "9", "10", "11")
	s.Call(t, 1, "XDEL", "s", "9-0")
	// In any order: another member may have fetched one ahead and handed it back.
	w.until("three messages", func() bool { return len(w.got) >= 3 })
	slices.SortFunc(w.got, func(a, b mail) int { return a.d.Seq(a.i).Compare(b.d.Seq(b.i)) })
	m = w.wants("8 1", "10 1", "11 1")
	w.verdict(driver.VerdictAck, 0, m...)
	s.Call(t, 1, "XTRIM", "s", "MAXLEN", "1")
	newMate(t, c, "g", "s").quiet(200 * time.Millisecond)
}

// TestPassHoles runs the script on ids of every size.
func TestPassHoles(t *testing.T) {
	s, c := single(t)
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const most = "18446744073709551615"
	for i, x := range []struct{ ids, from, to string }{
		{"1-1 2-5 3-0", "0-0", "2-" + most},
		{"1-1 2-5 3-7", "0-0", "3-6"},
		{"1-1 2-5 10-0", "0-0", "9-" + most},
		{"9-9 1000000000000-10", "0-0", "1000000000000-9"},
		{"7-1 " + most + "-" + most, "0-0", most + "-18446744073709551614"},
		{"7-1 " + most + "-0", "0-0", "18446744073709551614-" + most},
		{"9007199254740993-9007199254740993 9007199254740993-9007199254740995", "0-0", "9007199254740993-9007199254740994"},
	} {
		key := "s" + strconv.Itoa(i)
		s.Call(t, 1, "XGROUP", "CREATE", key, "g", "0", "MKSTREAM", "ENTRIESREAD", "0")
		for _, id := range strings.Fields(x.ids) {
			s.Call(t, 1, "XADD", key, id, "msg", "x")
		}
		s.Call(t, 1, "XTRIM", key, "MAXLEN", "1")
		for _, want := range []string{"2 " + x.from + " " + x.to, ""} { // the second time nothing is missing
			list, err := rc.Do(t.Context(), passHoles.buildFor(rc.B(), []string{"none", key}, "g", "note:", "", "")).ToArray()
			got := ""
			for _, hole := range list {
				f, _ := hole.ToArray()
				n, _ := f[0].AsInt64()
				from, _ := f[1].ToString()
				to, _ := f[2].ToString()
				got += fmt.Sprintf("%d %s %s", n, from, to)
			}
			if err != nil || got != want {
				t.Errorf("%s: got %q, %v; want %q", x.ids, got, err, want)
			}
		}
		if got, want := s.Call(t, 1, "XREADGROUP", "GROUP", "g", "c", "STREAMS", key, ">"), strings.Fields(x.ids); !strings.Contains(got, want[len(want)-1]) {
			t.Errorf("%s: what is left is not read: %q", x.ids, got)
		}
	}
}

// TestGroupIsDestroyed: it is made anew at the first entry, by one member, who
// says so.
func TestGroupIsDestroyed(t *testing.T) {
	s, c := single(t)
	addNumbers(t, s, "s", "1", "2")
	a, b := newMate(t, c, "g", "s"), newMate(t, c, "g", "s")
	old := a.wants("1 1", "2 1")
	a.verdict(driver.VerdictAck, 0, old[0])
	s.Call(t, 1, "XGROUP", "DESTROY", "s", "g")
	a.wantsGap("2-1", "1-0", driver.GapRecreated)
	m := a.wants("1 1", "2 1")
	// Verdicts on what was held in the old group do nothing.
	a.verdict(driver.VerdictAck, 0, old[1])
	if n := pendingIn(t, s, "s", "g"); n != "2" {
		t.Errorf("%s entries are pending, want 2", n)
	}
	a.verdict(driver.VerdictAck, 0, m...)
	b.quiet(100 * time.Millisecond)
	addNumbers(t, s, "s", "3")
	b.wants("3 1")
}

// TestAnswerToARepairIsLost: a member makes the group anew, and does not get the
// answer to that. Nobody else can say what it means.
func TestAnswerToARepairIsLost(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	url, armed, lost := losing(t, s, "BUSYGROUP", func() bool {
		groups, _ := s.Do(1, "XINFO", "GROUPS", "s")
		return strings.TrimSpace(groups) != ""
	})
	c := open(t, url, Options{})
	addNumbers(t, s, "s", "1", "2")
	w := newMate(t, c, "g", "s")
	w.verdict(driver.VerdictAck, 0, w.wants("1 1", "2 1")...)
	armed.Store(true)
	s.Call(t, 1, "XGROUP", "DESTROY", "s", "g")
	w.wantsGap("2-1", "0-1", driver.GapRecreated)
	w.wants("1 1", "2 1")
	if !lost.Load() {
		t.Error("no answer was lost")
	}
}

// TestStreamIsDeleted: the member waits until it is there again, and reads it
// from its start. While it waits it hardly does anything.
func TestStreamIsDeleted(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"DEL s", "FLUSHALL", "RENAME s t"} {
		t.Run(how, func(t *testing.T) {
			s := redistest.ForTest(t, redistest.Options{})
			c := open(t, s.URL(), Options{})
			addNumbers(t, s, "s", "5", "6")
			w := newMate(t, c, "g", "s")
			held := w.wants("5 1", "6 1")
			s.Call(t, 1, strings.Fields(how)...)
			w.quiet(100 * time.Millisecond)
			before, began := commands(t, s), time.Now()
			w.quiet(2 * time.Second)
			n, took := commands(t, s)-before, time.Since(began)
			if float64(n) > 30*took.Seconds() { // new shards are looked for by nine
				t.Errorf("%d commands in %v in which there was nothing to do", n, took)
			}
			w.verdict(driver.VerdictNack, 0, held[0])
			addNumbers(t, s, "s", "1", "5")
			w.wantsGap("6-1", "1-0", driver.GapRecreated)
			w.wants("1 1", "5 1")
		})
	}
}

// commands is how many commands a server has carried out.
func commands(t *testing.T, s *redistest.Servers) int {
	t.Helper()
	for line := range strings.Lines(s.Call(t, 1, "INFO", "stats")) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "total_commands_processed:"); ok {
			i, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			return i
		}
	}
	t.Fatal("INFO has no total_commands_processed")
	return 0
}

// TestOneShardIsDeleted: the others go on.
func TestOneShardIsDeleted(t *testing.T) {
	t.Parallel()
	s, c := single(t)
	for i := range 3 {
		addNumbers(t, s, fmt.Sprintf("s:%d", i), "1")
	}
	w := newMate(t, c, "g", "s")
	w.wants("1 1", "1 1", "1 1")
	s.Call(t, 1, "DEL", "s:1")
	for i := 2; i < 5; i++ {
		addNumbers(t, s, "s:2", strconv.Itoa(i))
		w.wants(fmt.Sprintf("%d 1", i))
	}
	addNumbers(t, s, "s:1", "7")
	w.wantsGap("1-1", "7-0", driver.GapRecreated)
	if m := w.wants("7 1"); m[0].d.Shard().Index != 1 {
		t.Errorf("shard %v", m[0].d.Shard())
	}
}
