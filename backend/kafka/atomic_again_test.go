package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// holdID keeps the next one who asks for a transactional id waiting, until go on
// is called.
func holdID(t *testing.T, k *kfake.Cluster, id string) (waits chan struct{}, goOn func()) {
	t.Helper()
	var once atomic.Bool
	waits, release := make(chan struct{}), make(chan struct{})
	k.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if *req.(*kmsg.InitProducerIDRequest).TransactionalID == id && once.CompareAndSwap(false, true) {
			close(waits)
			k.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	return waits, func() { close(release) }
}

// after opens an owner that replaces another, and claims.
func after(t *testing.T, c *client, o driver.Owner) (driver.Owner, error) {
	t.Helper()
	if err := o.Close(within(t)); err != nil {
		return nil, err
	}
	next, err := c.Owner(within(t), driver.OwnerConfig{Name: "job", After: o.Claimed()})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = next.Close(context.Background()) })
	_, err = next.Claim(within(t), []driver.Position{{Shard: somewhere}})
	return next, err
}

// TestFencedBySomebodySlow: who is fenced knows by whom, at once or when it
// begins anew, and does not come back, however long that one needs to begin.
func TestFencedBySomebodySlow(t *testing.T) {
	for _, id := range []string{"job+claims", "job"} {
		t.Run(id, func(t *testing.T) {
			k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "out"))
			c := open(t, url(k.ListenAddrs(), ""), Options{})
			old, _ := claimed(t, c, "job")
			waits, goOn := holdID(t, k, id)
			heir, err := open(t, url(k.ListenAddrs(), ""), Options{}).Owner(within(t), driver.OwnerConfig{Name: "job"})
			if err != nil {
				t.Fatal(err)
			}
			defer heir.Close(context.Background())
			var at []driver.Position
			claims := make(chan error, 1)
			go func() {
				got, err := heir.Claim(within(t), []driver.Position{{Shard: somewhere}})
				at = got
				claims <- err
			}()
			<-waits
			n := uint64(0)
			for ; err == nil; n++ {
				if n == 3 {
					goOn()
				}
				for err = driver.ErrAborted; errors.Is(err, driver.ErrAborted); {
					err = unitOf(t, old, n)
				}
			}
			if errors.Is(err, driver.ErrUnknown) { // fenced between two of its requests: then the broker says so
				_, err = after(t, c, old)
			}
			if n--; !errors.Is(err, driver.ErrFenced) || n < 3 {
				t.Errorf("after %d units: %v, want ErrFenced", n, err)
			}
			if n < 3 {
				goOn()
			}
			if err := <-claims; err != nil {
				t.Fatalf("the newest owner: %v", err)
			}
			if at[0].Next != driver.SeqOf(n) {
				t.Errorf("it begins at %v, want %d", at[0].Next, n)
			}
			if err := unitOf(t, heir, n); err != nil {
				t.Errorf("a unit of the newest owner: %v", err)
			}
		})
	}
}

// TestComesBackBesideSomebody: one that begins anew has looked who has the
// name, and then somebody takes it, before it does. It ends all the same, and who
// was fenced by that goes on.
func TestComesBackBesideSomebody(t *testing.T) {
	k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "out"))
	c, other := open(t, url(k.ListenAddrs(), ""), Options{}), open(t, url(k.ListenAddrs(), ""), Options{})
	old, _ := claimed(t, c, "job")
	if err := unitOf(t, old, 0); err != nil {
		t.Fatal(err)
	}
	waits, goOn := holdID(t, k, "job+claims")
	back := make(chan error, 1)
	go func() {
		_, err := after(t, c, old)
		back <- err
	}()
	<-waits
	heir, at := claimed(t, other, "job")
	if at != 1 {
		t.Errorf("it begins at %d, want 1", at)
	}
	if err := unitOf(t, heir, 1); err != nil {
		t.Fatal(err)
	}
	goOn()
	if err := <-back; !errors.Is(err, driver.ErrFenced) {
		t.Errorf("who comes back: %v, want ErrFenced", err)
	}
	if err := unitOf(t, heir, 2); !errors.Is(err, driver.ErrUnknown) {
		t.Errorf("who was fenced by that: %v, want ErrUnknown", err)
	}
	again, err := after(t, other, heir)
	if err != nil {
		t.Fatal(err)
	}
	if err := unitOf(t, again, 2); err != nil {
		t.Fatal(err)
	}
	if got, want := committed(t, c), fmt.Sprint(0, 1, 2); got != want {
		t.Errorf("the stream holds %q, want %q", got, want)
	}
}

// TestRecordFromBefore: what a broker still has that has lost one's own record,
// or what can be seen of the log, is nobody who has taken over.
func TestRecordFromBefore(t *testing.T) {
	k := fake(t, kfake.NumBrokers(1))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	before, _ := claimed(t, c, "job")
	for last, want := range map[uint64]error{before.last - 1: driver.ErrFenced, before.last + 1: nil} {
		o, err := c.Owner(within(t), driver.OwnerConfig{Name: "job", After: driver.Claimed{Run: "lost", Count: last}})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close(context.Background())
		if err := o.(*owner).unchanged(within(t), driver.Uncommitted); !errors.Is(err, want) {
			t.Errorf("after a record at %d, and one at %d: %v, want %v", last, before.last, err, want)
		}
	}
}
