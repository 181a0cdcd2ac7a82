package admin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// waiting is a backend with pending messages that is away from the message fails
// on: it settles those before it.
type waiting struct {
	driver.Driver
	driver.PendingAdmin
	fails map[string]uint64 // by stream
	calls int
}

func (w *waiting) settle(ids []driver.MessageID) (n int, err error) {
	w.calls++
	for _, id := range ids {
		if at, ok := w.fails[id.Stream]; ok && id.Seq.Lo >= at {
			return n, errBroken
		}
		n++
	}
	return n, nil
}

func (w *waiting) SettlePending(_ context.Context, _ string, ids []driver.MessageID, _ driver.Verdict) (int, error) {
	return w.settle(ids)
}

func (w *waiting) ClaimPending(_ context.Context, _, _ string, _ time.Duration, ids []driver.MessageID) (int, error) {
	return w.settle(ids)
}

// What was done of many pending messages before something failed is said, page by
// page; what lies behind on the same shard is not tried, and other shards are.
func TestPendingFailsInTheMiddle(t *testing.T) {
	w := &waiting{Driver: memory.NewStore().Driver(memory.Options{}), fails: map[string]uint64{"a": 1500}}
	s := ss.New(struct {
		driver.Driver
		driver.PendingAdmin
	}{w.Driver, w}, ss.Options{})
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	var ids []admin.MessageID
	for _, stream := range []string{"a", "b"} {
		for i := range 3000 {
			ids = append(ids, admin.MessageID{Shard: ss.Shard{Stream: stream}, Seq: ss.SeqOf(uint64(i))})
		}
	}
	for _, ch := range []admin.Change{
		admin.SettlePending{Group: "g", IDs: ids},
		admin.SettlePending{Group: "g", IDs: ids, Again: true, Loose: true},
		admin.ClaimPending{Group: "g", IDs: ids, Member: "m"},
	} {
		w.calls = 0
		p, err := admin.New(s).Apply(t.Context(), ch)
		if got, want := ends(t, p), "done, 500 of 1000 were done, and then: unavailable: broken, not tried, done, done, done"; got != want {
			t.Errorf("%s: got %s, want %s", ch.Kind(), got, want)
		}
		if want := "1 of 6 failed, 1 not tried: a[0] 1000 to 1999: 500 of 1000 were done, "; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s…", ch.Kind(), err, want)
		}
		if w.calls != 5 {
			t.Errorf("%s: %d calls, want 5", ch.Kind(), w.calls)
		}
	}
}
