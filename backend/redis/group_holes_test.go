package redis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// patient is single where nothing times out, however slow the machine: what is
// in hand and trimmed would be a gap, too.
func patient(t *testing.T) (*redistest.Servers, *client) {
	t.Helper()
	s := redistest.ForTest(t, redistest.Options{})
	return s, open(t, s.URL(), Options{AckTimeout: time.Hour, DiscoverEvery: 100 * time.Millisecond})
}

// little opens a group's member that fetches a few messages at a time. The
// stream is made where it does not exist.
func little(t *testing.T, c *client, s *redistest.Servers) *mate {
	t.Helper()
	s.Call(t, 1, "XGROUP", "CREATE", "s", "other", "0", "MKSTREAM")
	return mateOf(t, c, driver.ConsumerConfig{Group: "g", Streams: []string{"s"}, Start: driver.Earliest, MaxBytes: 1})
}

// numbers are from to to, as values.
func numbers(from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// delivered is where a group stands.
func deliveredTo(t *testing.T, s *redistest.Servers) int {
	t.Helper()
	lines := strings.Split(s.Call(t, 1, "XINFO", "GROUPS", "s"), "\n")
	i := slices.Index(lines, "g") // the name of our group
	i += slices.Index(lines[max(i, 0):], "last-delivered-id")
	hi, _, _ := strings.Cut(lines[i+1], "-")
	n, err := strconv.Atoi(hi)
	if i < 0 || err != nil {
		t.Fatalf("XINFO GROUPS says %q", lines)
	}
	return n
}

// settled waits until a member has read as much ahead as it will.
func (w *mate) settled(s *redistest.Servers) int {
	w.t.Helper()
	w.rest()
	return deliveredTo(w.t, s)
}

// reads fetches until the group stands at n and that has come.
func (w *mate) reads(s *redistest.Servers, n int) {
	w.t.Helper()
	w.until(fmt.Sprintf("message %d", n), func() bool {
		return len(w.got) > 0 && w.got[len(w.got)-1].value == strconv.Itoa(n) && deliveredTo(w.t, s) == n
	})
}

// values are those of what was got, sorted.
func (w *mate) values() (all []int) {
	for _, m := range w.got {
		n, err := strconv.Atoi(m.value)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// TestTrimmedBetweenReads: whatever is trimmed between two reads of a group that
// has more to read is a gap with exact bounds, however soon the next read is.
func TestTrimmedBetweenReads(t *testing.T) {
	t.Parallel()
	s, c := patient(t)
	w := little(t, c, s)
	n := 0
	var want []driver.GapError
	for range 25 {
		addNumbers(t, s, "s", numbers(n+1, n+200)...)
		n += 200
		for !w.fetch(500 * time.Millisecond) {
		}
		last := w.settled(s)
		if last < n { // it has not read all
			first := min(last+30, n)
			s.Call(t, 1, "XTRIM", "s", "MINID", strconv.Itoa(first)+"-0")
			if first > last+1 {
				want = append(want, driver.GapError{Shard: driver.Shard{Stream: "s"}, From: driver.Seq{Hi: uint64(last), Lo: 1}, To: driver.Seq{Hi: uint64(first)}, Cause: driver.GapTrimmed}) //nolint:gosec // small
			}
		}
		w.reads(s, n)
	}
	if len(want) < 20 {
		t.Fatalf("only %d of 25 rounds had something to trim", len(want))
	}
	if d := cmp.Diff(want, w.gaps); d != "" {
		t.Errorf("gaps (-want +got):\n%s", d)
	}
	missing := 0
	for _, g := range want {
		missing += int(g.To.Hi-g.From.Hi) - 1 //nolint:gosec // small
	}
	if got := len(slices.Compact(w.values())); got+missing != n {
		t.Errorf("%d of %d were delivered, and %d are missing", got, n, missing)
	}
}

// TestTrimmedUnderTwo: each gap is told once, by the member whose read goes on
// behind it.
func TestTrimmedUnderTwo(t *testing.T) {
	t.Parallel()
	s, c := patient(t)
	both := []*mate{little(t, c, s), newMate(t, c, "g", "s")}
	n := 0
	for round := 0; round < 30 || len(both[0].gaps)+len(both[1].gaps) < 10 && round < 300; round++ {
		addNumbers(t, s, "s", numbers(n+1, n+200)...)
		n += 200
		both[round%2].fetch(500 * time.Millisecond)
		s.Call(t, 1, "XTRIM", "s", "MAXLEN", strconv.Itoa(round%7))
		both[(round+1)%2].fetch(20 * time.Millisecond)
	}
	addNumbers(t, s, "s", strconv.Itoa(n+1))
	n++
	until(t, "the end", func() bool {
		both[0].fetch(20 * time.Millisecond)
		both[1].fetch(20 * time.Millisecond)
		return deliveredTo(t, s) >= n
	})
	for _, w := range both { // what was read ahead
		for w.rest(); w.fetch(200 * time.Millisecond); w.rest() {
		}
	}
	told, gaps := make([]int, n+1), 0
	for _, w := range both {
		gaps += len(w.gaps)
		for _, v := range slices.Compact(w.values()) {
			told[v]++
		}
		for _, g := range w.gaps {
			for i := int(g.From.Hi); i <= int(g.To.Hi); i++ { //nolint:gosec // small
				if id := (driver.Seq{Hi: uint64(i)}); !id.Less(g.From) && id.Less(g.To) { //nolint:gosec // small
					told[i]++
				}
			}
		}
	}
	for i, times := range told[1:] {
		if times != 1 {
			t.Errorf("entry %d was delivered or told as missing %d times", i+1, times)
		}
	}
	if gaps < 10 {
		t.Errorf("only %d gaps", gaps)
	}
}

// TestDeletedUnread: what XDEL has deleted ahead of the group.
func TestDeletedUnread(t *testing.T) {
	t.Parallel()
	// There are 1 to 300, of which some are read.
	for _, x := range []struct {
		what string
		do   func(t *testing.T, s *redistest.Servers, read int)
		want func(read int) []string // from and to of gaps
	}{
		{"one near the end", func(t *testing.T, s *redistest.Servers, _ int) {
			s.Call(t, 1, "XDEL", "s", "298-0")
		}, func(int) []string { return []string{"297-1 299-0"} }},
		{"one, and everything before was trimmed", func(t *testing.T, s *redistest.Servers, read int) {
			s.Call(t, 1, "XDEL", "s", fmt.Sprintf("%d-0", read+2))
			s.Call(t, 1, "XTRIM", "s", "MINID", fmt.Sprintf("%d-0", read+1))
		}, func(read int) []string { return []string{fmt.Sprintf("%d-1 %d-0", read+1, read+3)} }},
		{"two, and everything before was trimmed", func(t *testing.T, s *redistest.Servers, read int) {
			s.Call(t, 1, "XDEL", "s", fmt.Sprintf("%d-0", read+2), fmt.Sprintf("%d-0", read+5))
			s.Call(t, 1, "XTRIM", "s", "MINID", fmt.Sprintf("%d-0", read+1))
		}, func(read int) []string { return []string{fmt.Sprintf("%d-1 %d-1", read, read+5)} }},
		{"the next ones", func(t *testing.T, s *redistest.Servers, read int) {
			s.Call(t, 1, "XTRIM", "s", "MINID", fmt.Sprintf("%d-0", read))
			s.Call(t, 1, "XDEL", "s", fmt.Sprintf("%d-0", read), fmt.Sprintf("%d-0", read+1), fmt.Sprintf("%d-0", read+2))
		}, func(read int) []string { return []string{fmt.Sprintf("%d-1 %d-0", read, read+3)} }},
		{"all that were left", func(t *testing.T, s *redistest.Servers, read int) {
			var ids []string
			for i := read + 1; i <= 300; i++ {
				ids = append(ids, fmt.Sprintf("%d-0", i))
			}
			s.Call(t, 1, append([]string{"XDEL", "s"}, ids...)...)
		}, func(read int) []string { return []string{fmt.Sprintf("%d-1 301-0", read)} }},
		{"one that was read", func(t *testing.T, s *redistest.Servers, read int) {
			s.Call(t, 1, "XDEL", "s", fmt.Sprintf("%d-0", read))
			s.Call(t, 1, "XDEL", "s", fmt.Sprintf("%d-0", read-2))
		}, func(int) []string { return nil }},
	} {
		t.Run(x.what, func(t *testing.T) {
			s, c := patient(t)
			w := little(t, c, s)
			addNumbers(t, s, "s", numbers(1, 300)...)
			w.until("something", func() bool { return len(w.got) > 0 })
			read := w.settled(s)
			if read > 280 {
				t.Fatalf("%d are read already", read)
			}
			x.do(t, s, read)
			addNumbers(t, s, "s", "301")
			w.until("the end", func() bool { return len(w.got) > 0 && w.got[len(w.got)-1].value == "301" })
			var got []string
			for _, g := range w.gaps {
				got = append(got, idText(g.From)+" "+idText(g.To))
			}
			if d := cmp.Diff(x.want(read), got); d != "" {
				t.Errorf("gaps (-want +got):\n%s", d)
			}
		})
	}
}

// TestDeletedToTheEnd: a read that goes to the end knows how many are missing.
func TestDeletedToTheEnd(t *testing.T) {
	s, c := patient(t)
	addNumbers(t, s, "s", "1")
	w := newMate(t, c, "g", "s")
	w.wants("1 1")
	w.settled(s)
	addNumbers(t, s, "s", "2", "3", "4", "5", "6")
	s.Call(t, 1, "XDEL", "s", "3-0")
	w.wantsGap("3-0", "3-1", driver.GapTrimmed)
	w.wants("2 1", "4 1", "5 1", "6 1")
	addNumbers(t, s, "s", "7", "8", "9", "10", "11")
	s.Call(t, 1, "XDEL", "s", "8-0", "10-0")
	w.wantsGap("6-1", "10-1", driver.GapTrimmed)
	w.wants("7 1", "9 1", "11 1")
	w.quiet(50 * time.Millisecond)
}

// TestGroupBeginsBehindHoles: what was removed before there was a group, it does
// not miss.
func TestGroupBeginsBehindHoles(t *testing.T) {
	s, c := patient(t)
	addNumbers(t, s, "s", numbers(1, 400)...)
	s.Call(t, 1, "XTRIM", "s", "MINID", "5-0")
	s.Call(t, 1, "XDEL", "s", "200-0", "390-0")
	w := little(t, c, s)
	w.until("all", func() bool { return len(w.got) == 394 })
	w.quietGaps()
}

func (w *mate) quietGaps() {
	w.t.Helper()
	if len(w.gaps) > 0 {
		w.t.Errorf("gaps %v, want none", w.gaps)
	}
}

// TestGroupIsMoved: an operator knows what he does.
func TestGroupIsMoved(t *testing.T) {
	s, c := patient(t)
	addNumbers(t, s, "s", numbers(1, 20)...)
	w := newMate(t, c, "g", "s")
	w.verdict(driver.VerdictAck, 0, w.wants(counted(1, 20)...)...)
	addNumbers(t, s, "s", numbers(21, 40)...)
	s.Call(t, 1, "XGROUP", "SETID", "s", "g", "30-0") // forward
	s.Call(t, 1, "XTRIM", "s", "MINID", "31-0")
	w.verdict(driver.VerdictAck, 0, w.wants(counted(31, 40)...)...)
	s.Call(t, 1, "XGROUP", "SETID", "s", "g", "0") // back, to what is left
	w.verdict(driver.VerdictAck, 0, w.wants(counted(31, 40)...)...)
	s.Call(t, 1, "XDEL", "s", "33-0", "36-0") // after they were read
	s.Call(t, 1, "XGROUP", "SETID", "s", "g", "0")
	w.verdict(driver.VerdictAck, 0, w.wants("31 1", "32 1", "34 1", "35 1", "37 1", "38 1", "39 1", "40 1")...)
	w.quietGaps()
	// And then it counts again.
	addNumbers(t, s, "s", "41", "42", "43")
	s.Call(t, 1, "XTRIM", "s", "MAXLEN", "1")
	w.wantsGap("40-1", "43-0", driver.GapTrimmed)
	w.wants("43 1")
}

func counted(from, to int) (all []string) {
	for _, v := range numbers(from, to) {
		all = append(all, v+" 1")
	}
	return all
}

// TestTrimmedWhereNobodyCounts: Redis does not know how many entries a group has
// read that was made in the middle. What lies between what it has read and what
// there is may be missing.
func TestTrimmedWhereNobodyCounts(t *testing.T) {
	s, c := patient(t)
	addNumbers(t, s, "s", numbers(1, 300)...)
	s.Call(t, 1, "XGROUP", "CREATE", "s", "g", "20-0")
	w := little(t, c, s)
	w.until("something", func() bool { return len(w.got) > 0 })
	read := w.settled(s)
	s.Call(t, 1, "XTRIM", "s", "MINID", "250-0")
	w.wantsGap(fmt.Sprintf("%d-1", read), "250-0", driver.GapTrimmed)
	w.until("the end", func() bool { return w.got[len(w.got)-1].value == "300" })
	w.quietGaps()
	// The same where another member has read the last one, and has it.
	addNumbers(t, s, "s", numbers(301, 320)...)
	s.Call(t, 1, "XGROUP", "SETID", "s", "g", "305-0")
	s.Call(t, 1, "XREADGROUP", "GROUP", "g", "x", "COUNT", "1", "STREAMS", "s", ">")
	s.Call(t, 1, "XTRIM", "s", "MINID", "310-0")
	w.wantsGap("306-1", "310-0", driver.GapTrimmed)
	w.until("the end", func() bool { return w.got[len(w.got)-1].value == "320" })
	w.quietGaps()
}

// TestRecreatedUnread: what was not read of a stream that was deleted is in the
// gap, too.
func TestRecreatedUnread(t *testing.T) {
	s, c := patient(t)
	w := little(t, c, s)
	addNumbers(t, s, "s", numbers(1, 300)...)
	w.until("something", func() bool { return len(w.got) > 0 })
	read := w.settled(s)
	s.Call(t, 1, "DEL", "s")
	addNumbers(t, s, "s", "400", "401")
	w.wantsGap(fmt.Sprintf("%d-1", read), "400-0", driver.GapRecreated)
	w.until("the end", func() bool { return w.got[len(w.got)-1].value == "401" })
	w.quietGaps()
}
