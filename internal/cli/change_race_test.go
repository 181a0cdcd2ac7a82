//go:build unix

package cli

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Processes that change groups at the same time lose no undo, and two that undo
// the same group go back as far as they say they did.
func TestUndoByManyProcesses(t *testing.T) {
	dir := t.TempDir()
	mustDo(t, dir, "produce", "news", "-q")
	const groups = 6
	together := func(do func(g string)) {
		var wg sync.WaitGroup
		for i := range groups {
			wg.Go(func() { do(fmt.Sprint("g", i)) })
		}
		wg.Wait()
	}
	run := func(args ...string) int {
		code, _, errs := sea(t, dir, "", append([]string{"streamer", "group"}, args...)...)
		if code != 0 && code != 6 {
			t.Errorf("%v: %d %s", args, code, errs)
		}
		return code
	}
	for _, to := range []string{"0", "1", "2"} {
		together(func(g string) { run("seek", g, "--to", to, "--stream", "news", "--yes") })
	}
	together(func(g string) {
		var wg sync.WaitGroup
		var codes [2]int
		for i := range codes {
			wg.Go(func() { codes[i] = run("undo", g, "--yes") })
		}
		wg.Wait()
		want := "0" // both, one behind the other
		if codes[0] != codes[1] {
			want = "1" // one, and the other says so
		}
		if codes[0]+codes[1] > 6 {
			t.Errorf("%s: neither was undone", g)
		}
		_, out, _ := sea(t, dir, "", "streamer", "group", "info", g, "-o", "json")
		_, out, _ = strings.Cut(out, `"next":"`)
		if at, _, _ := strings.Cut(out, `"`); at != want {
			t.Errorf("%s stands at %s after %v, want %s", g, at, codes, want)
		}
	})
}

func mustDo(t *testing.T, dir string, args ...string) {
	t.Helper()
	if code, _, errs := sea(t, dir, "1\n2\n3\n", append([]string{"streamer"}, args...)...); code != 0 {
		t.Fatalf("%v: %d %s", args, code, errs)
	}
}
