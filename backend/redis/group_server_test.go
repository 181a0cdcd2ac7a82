package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestWhatGroupsBuildOn pins what Redis does that groups rely on and that its
// documentation says in half a sentence, or not at all.
func TestWhatGroupsBuildOn(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	do := func(words string) string {
		t.Helper()
		got, err := s.Do(1, strings.Fields(words)...)
		if err != nil {
			return err.Error()
		}
		return strings.ReplaceAll(got, "\n", " ")
	}
	begin := func() {
		t.Helper()
		do("FLUSHALL")
		for _, id := range []string{"1-0", "2-0", "3-0"} {
			do("XADD s " + id + " msg x")
		}
		do("XGROUP CREATE s g 0 ENTRIESREAD 0")
		do("XREADGROUP GROUP g a STREAMS s >")
	}
	// has checks what is pending under an id: consumer, at least so idle, count.
	has := func(what, id, consumer string, atLeast string, count string) {
		t.Helper()
		f := strings.Fields(do("XPENDING s g " + id + " " + id + " 1"))
		if len(f) != 4 || f[1] != consumer || f[3] != count || len(f[2]) < len(atLeast) {
			t.Errorf("%s: pending is %q, want %s %s, idle for %s", what, f, consumer, count, atLeast)
		}
	}
	is := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}

	begin()
	is("JUSTID", do("XCLAIM s g a 0 1-0 IDLE 30000 RETRYCOUNT 0 JUSTID"), "1-0")
	has("IDLE and RETRYCOUNT are taken as they are, also for one's own", "1-0", "a", "30000", "0")
	do("XCLAIM s g a 0 2-0 IDLE 30000 JUSTID")
	has("JUSTID does not count", "2-0", "a", "30000", "1")
	is("an idle entry is claimed", do("XCLAIM s g b 30000 1-0 3-0"), "1-0 msg x")
	has("a claim counts", "1-0", "b", "0", "1")
	has("one that was not idle for so long stays", "3-0", "a", "0", "1")
	do("XCLAIM s g a 0 3-0 TIME 99999999999999 JUSTID")
	if f := strings.Fields(do("XPENDING s g 3-0 3-0 1")); len(f) != 4 || len(f[2]) > 4 {
		t.Errorf("idle since the future: %q; a longer delay could be written down", f)
	}

	begin()
	do("XDEL s 2-0")
	is("XPENDING lists what does not exist", do("XPENDING s g 2-0 2-0 1 a")[:5], "2-0 a")
	is("XCLAIM takes what exists", do("XCLAIM s g b 0 1-0 2-0 3-0 JUSTID"), "1-0 3-0")
	is("XCLAIM forgets what does not", do("XPENDING s g 2-0 2-0 1"), "")

	begin()
	is("XACK whoever has it", do("XACK s g 1-0 1-0 9-0"), "1")
	is("XACK without a group", do("XACK s other 1-0"), "0")
	is("XPENDING of a consumer that does not exist", do("XPENDING s g - + 9 nobody"), "")
	for _, cmd := range []string{"XPENDING s other - + 9", "XPENDING s other", "XCLAIM s other a 0 1-0", "XREADGROUP GROUP other a STREAMS s >", "XREADGROUP GROUP g a STREAMS missing >"} {
		if got := do(cmd); !strings.HasPrefix(got, "NOGROUP") {
			t.Errorf("%s: got %q", cmd, got)
		}
	}
	is("DELCONSUMER takes pending entries with it", do("XGROUP DELCONSUMER s g a"), "2")

	begin()
	do("XADD s 4-0 msg x")
	do("XADD s 5-0 msg x")
	do("XTRIM s MINID 5-0")
	group := do("XINFO GROUPS s")
	if !strings.Contains(group, "last-delivered-id 3-0 entries-read 3") {
		t.Errorf("the count of what was read is %q", group)
	}
	stream := do("XINFO STREAM s")
	if !strings.Contains(stream, "length 1 ") || !strings.Contains(stream, "entries-added 5 ") || !strings.Contains(stream, "max-deleted-entry-id 0-0 ") {
		t.Errorf("the count of what was added is %q; trimming is told from deleting by it", stream)
	}

	// A read that waits learns of the end of what it waits for.
	for cmd, want := range map[string]string{"XGROUP DESTROY s g": "NOGROUP", "DEL s": "UNBLOCKED"} {
		begin()
		said := make(chan string)
		go func() { said <- do("XREADGROUP GROUP g a BLOCK 20000 STREAMS s >") }()
		until(t, "it waits", func() bool { return strings.Contains(s.Call(t, 1, "INFO", "clients"), "blocked_clients:1") })
		began := time.Now()
		do(cmd)
		if got := <-said; !strings.HasPrefix(got, want) || time.Since(began) > 15*time.Second {
			t.Errorf("%s under a read that waits: %q after %v", cmd, got, time.Since(began))
		}
	}
}
