package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func pendingOfGroup(t *testing.T, c *client, stream, group string, f driver.PendingFilter) (ids []driver.MessageID, members []string, attempts []int) {
	t.Helper()
	for m, err := range c.Pending(t.Context(), stream, group, f) {
		if err != nil {
			t.Fatal(err)
		}
		ids, members, attempts = append(ids, m.MessageID), append(members, m.Member), append(attempts, m.Attempts)
	}
	return ids, members, attempts
}

func pendingMessages(t *testing.T, s *redistest.Servers, _ string) {
	c := open(t, s.URL(), Options{})
	ctx := t.Context()
	const n = 2500 // more than a page
	for _, k := range []string{"news:0", "news:1", "news:2"} {
		numbered(t, c, k, n)
		if k != "news:2" { // a shard that the group has not seen yet
			run(t, c, "XGROUP CREATE", k, "g", "0")
		}
	}
	run(t, c, "XREADGROUP GROUP g a COUNT 2400 STREAMS", "news:0", ">")
	run(t, c, "XREADGROUP GROUP g b COUNT 50 STREAMS", "news:0", ">")
	run(t, c, "XREADGROUP GROUP g b COUNT 10 STREAMS", "news:1", ">")
	id := func(shard int32, ms uint64) driver.MessageID {
		return driver.MessageID{Shard: driver.Shard{Stream: "news", Index: shard}, Seq: driver.Seq{Hi: ms}}
	}
	ids, members, attempts := pendingOfGroup(t, c, "news", "g", driver.PendingFilter{})
	if len(ids) != 2460 || ids[0] != id(0, 1) || ids[2449] != id(0, 2450) || ids[2459] != id(1, 10) || members[0] != "a" || members[2400] != "b" || attempts[0] != 1 {
		t.Errorf("got %d: %v … %v, of %q", len(ids), ids[:1], ids[len(ids)-1:], members[:1])
	}
	if ids, _, _ := pendingOfGroup(t, c, "news", "g", driver.PendingFilter{Member: "b"}); len(ids) != 60 {
		t.Errorf("of b: got %d, want 60", len(ids))
	}
	if ids, _, _ := pendingOfGroup(t, c, "news", "g", driver.PendingFilter{MinIdle: time.Hour}); len(ids) != 0 {
		t.Errorf("idle for an hour: got %d", len(ids))
	}
	for range c.Pending(ctx, "news", "g", driver.PendingFilter{}) {
		break // it costs a page
	}
	for _, x := range [][2]string{{"news", "missing"}, {"missing", "g"}} {
		for _, err := range c.Pending(ctx, x[0], x[1], driver.PendingFilter{}) {
			if !errors.Is(err, driver.ErrNotFound) {
				t.Errorf("%q: got %v, want ErrNotFound", x, err)
			}
		}
	}

	got, err := c.SettlePending(ctx, "g", []driver.MessageID{id(0, 1), id(0, 2), id(1, 1), id(1, 999), id(2, 1)}, driver.VerdictAck)
	if err != nil || got != 3 {
		t.Errorf("acked %d, %v; want 3", got, err)
	}
	says := func(shard int32, ms int) string {
		key := "news:" + strconv.Itoa(int(shard))
		id := strconv.Itoa(ms) + "-0"
		return strings.ReplaceAll(cli(t, s, master(t, s, key), "XPENDING", key, "g", id, id, "1"), "\n", " ")
	}
	if got := says(0, 1) + says(1, 1); got != "" {
		t.Errorf("redis-cli still has %q", got)
	}
	// Nacked: the holder stays, it is due, and the number of deliveries is as it was.
	run(t, c, "XDEL", "news:0", "4-0")
	got, err = c.SettlePending(ctx, "g", []driver.MessageID{id(0, 3), id(0, 4), id(0, 2500)}, driver.VerdictNack)
	if err != nil || got != 1 {
		t.Errorf("nacked %d, %v; want 1: one is deleted, one was never delivered", got, err)
	}
	if f := strings.Fields(says(0, 3)); len(f) != 4 || f[1] != "a" || len(f[2]) < 7 || f[3] != "1" {
		t.Errorf("nacked: redis-cli says %q", f)
	}
	if got := says(0, 4); got == "" {
		t.Error("the deleted entry was forgotten: nobody would hear of it")
	}
	got, err = c.ClaimPending(ctx, "g", "b", time.Hour, []driver.MessageID{id(0, 3), id(0, 5)})
	if err != nil || got != 1 {
		t.Errorf("claimed %d, %v; want 1: the other was not idle for so long", got, err)
	}
	if f := strings.Fields(says(0, 3)); len(f) != 4 || f[1] != "b" || f[3] != "1" {
		t.Errorf("claimed: redis-cli says %q", f)
	}
	if got, err := c.ClaimPending(ctx, "g", "fresh", 0, []driver.MessageID{id(0, 5)}); got != 1 || err != nil {
		t.Errorf("for a member that is new: %d, %v", got, err)
	}
	if got, err := c.ClaimPending(ctx, "g", "", 0, nil); got != 0 || !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("for nobody: %d, %v; want ErrInvalid", got, err)
	}
	if _, err := c.SettlePending(ctx, "missing", []driver.MessageID{id(0, 5)}, driver.VerdictAck); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("no group: got %v, want ErrNotFound", err)
	}
	if _, err := c.SettlePending(ctx, "g", nil, driver.VerdictExtend); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("extend: got %v, want ErrInvalid", err)
	}

	// A member gets what was nacked at once, as its second delivery.
	got, err = c.SettlePending(ctx, "g", []driver.MessageID{id(1, 7)}, driver.VerdictNack)
	if err != nil || got != 1 {
		t.Fatal(got, err)
	}
	k, err := c.Consumer(ctx, driver.ConsumerConfig{Streams: []string{"news"}, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close(context.Background())
	for found := false; !found; {
		batches, err := k.Fetch(ctx, nil)
		if err != nil && !errors.Is(err, driver.ErrLost) { // of the deleted one
			t.Fatal(err)
		}
		for _, b := range batches {
			for i := range b.Len() {
				if (driver.MessageID{Shard: b.Shard(), Seq: b.Seq(i)}) == id(1, 7) {
					if d := cmp.Diff(2, b.(*delivery).Attempt(i)); d != "" {
						t.Errorf("attempt (-want +got):\n%s", d)
					}
					found = true
				}
			}
		}
	}
}
