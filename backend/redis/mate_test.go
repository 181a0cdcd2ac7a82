package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// mate is a member of a group that a test leads by the hand: it fetches when it
// is told to.
type mate struct {
	*member
	t    *testing.T
	got  []mail
	gaps []driver.GapError
}

// mail is a message that a mate has got.
type mail struct {
	d     driver.Batch
	i     int
	value string
}

func (m mail) String() string {
	return fmt.Sprintf("%s %d", m.value, m.d.Attempt(m.i))
}

// opens with a group from the start, and closes it at the end of the test.
func newMate(t *testing.T, c *client, group string, streams ...string) *mate {
	t.Helper()
	return mateOf(t, c, driver.ConsumerConfig{Group: group, Streams: streams, Start: driver.Earliest})
}

func mateOf(t *testing.T, c *client, conf driver.ConsumerConfig) *mate {
	t.Helper()
	m, err := c.Consumer(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	w := &mate{member: m.(*member), t: t}
	t.Cleanup(w.leaveGroup)
	return w
}

func (w *mate) leaveGroup() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		w.t.Errorf("close a member: %v", err)
	}
}

// die ends a member as a crash would: it hands nothing back.
func (w *mate) die() {
	w.once.Do(func() {
		close(w.closing)
		w.end()
		for _, l := range w.lanes {
			l.w.cut()
		}
		w.running.Wait()
		for _, l := range w.lanes {
			l.w.close()
		}
		close(w.closed)
	})
}

// fetch fetches once within a time and reports whether anything came.
func (w *mate) fetch(within time.Duration) bool {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), within)
	defer cancel()
	batches, err := w.Fetch(ctx, nil)
	for _, b := range batches {
		for i := range b.Len() {
			w.got = append(w.got, mail{b, i, string(b.Value(i))})
		}
	}
	var gap *driver.GapError
	switch {
	case errors.As(err, &gap):
		w.gaps = append(w.gaps, *gap)
	case errors.Is(err, driver.ErrUnavailable), err != nil && ctx.Err() != nil:
	case err != nil:
		w.t.Fatalf("Fetch: %v", err)
	}
	return len(batches) > 0 || gap != nil
}

// wants fetches until there are as many messages as are wanted, and takes them.
func (w *mate) wants(want ...string) []mail {
	w.t.Helper()
	w.until(fmt.Sprintf("%d messages", len(want)), func() bool { return len(w.got) >= len(want) })
	got := w.got[:len(want):len(want)]
	w.got = w.got[len(want):]
	text := make([]string, len(got))
	for i := range got {
		text[i] = got[i].String()
	}
	if d := cmp.Diff(want, text); d != "" {
		w.t.Fatalf("messages (-want +got):\n%s", d)
	}
	return got
}

// wantsGap fetches until there is a gap.
func (w *mate) wantsGap(from, to string, cause driver.GapCause) {
	w.t.Helper()
	w.until("a gap", func() bool { return len(w.gaps) > 0 })
	got := w.gaps[0]
	w.gaps = w.gaps[1:]
	want := driver.GapError{Shard: got.Shard, From: seqOf(w.t, from), To: seqOf(w.t, to), Cause: cause}
	if d := cmp.Diff(want, got); d != "" {
		w.t.Errorf("gap (-want +got):\n%s", d)
	}
}

func (w *mate) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); w.fetch(500 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within a minute; there are %v, gaps %v", what, w.got, w.gaps)
		}
	}
}

// rest waits until the member reads nothing any more: a read that waits at the
// server when Fetch ends may still be served before the server lets go of it.
func (w *mate) rest() {
	w.t.Helper()
	w.mu.Lock()
	begun, lanes := w.begun, w.lanes
	w.mu.Unlock()
	for _, l := range lanes {
		if begun {
			notify(l.poke) // what takes it has nothing to do
			until(w.t, "a lane rests", func() bool { return len(l.poke) == 0 })
		}
	}
}

// quiet checks that nothing comes for a time in which it would.
func (w *mate) quiet(within time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); {
		w.fetch(time.Until(end))
	}
	w.rest()
	if len(w.got) > 0 || len(w.gaps) > 0 {
		w.t.Fatalf("got %v and %v, want nothing", w.got, w.gaps)
	}
}

func (w *mate) verdict(v driver.Verdict, after time.Duration, ms ...mail) {
	w.t.Helper()
	all := make([]driver.Settlement, len(ms))
	for i, m := range ms {
		all[i] = driver.Settlement{Batch: m.d, From: m.i, To: m.i + 1, Verdict: v, After: after}
	}
	if err := w.Settle(w.t.Context(), all); err != nil {
		w.t.Fatalf("%v: %v", v, err)
	}
}

// addNumbers adds entries to a key: value 7 is entry 7-0.
func addNumbers(t *testing.T, s *redistest.Servers, key string, values ...string) {
	t.Helper()
	cmds := make([][]string, len(values))
	for i, v := range values {
		cmds[i] = []string{"XADD", key, v + "-0", "msg", v}
	}
	if _, err := s.Pipe(1, cmds...); err != nil {
		t.Fatal(err)
	}
}

// pendingIn is how many entries a group has pending.
func pendingIn(t *testing.T, s *redistest.Servers, key, group string) string {
	t.Helper()
	n, _, _ := strings.Cut(s.Call(t, 1, "XPENDING", key, group), "\n")
	return n
}

// quickly are options under which what is idle is taken soon.
const quickly = "ack_timeout=200ms"
