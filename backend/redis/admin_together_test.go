package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// Of several who create a stream of a cluster at the same moment one does: to
// the others it exists.
func TestCreateStreamTogether(t *testing.T) {
	t.Parallel()
	r := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient})
	const creators = 3
	var clients [creators]*client
	for i := range clients {
		clients[i] = open(t, r.URL(), Options{})
	}
	for round := range 50 {
		name := fmt.Sprint("s", round, "x")
		var errs [creators]error
		var all sync.WaitGroup
		for i, c := range clients {
			all.Go(func() { errs[i] = c.CreateStream(t.Context(), driver.StreamSpec{Name: name, Shards: 6}) })
		}
		all.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else if !errors.Is(err, driver.ErrExists) {
				t.Error(err)
			}
		}
		if l, err := clients[0].discover(t.Context(), name); err != nil || made != 1 || len(l.shards) != 6 {
			t.Fatalf("round %d: %q have made it, and it has %d shards, %v", round, errs, len(l.shards), err)
		}
	}
}

// A stream whose creation is given up half-way leaves no keys: nobody could
// create it any more.
func TestCreateStreamGivenUp(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var seen atomic.Bool // a command for a shard in the middle
	ln := between(t, r.Addr(1), func(to, from net.Conn, answers bool) {
		b := make([]byte, 64<<10)
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			if answers && seen.Load() {
				<-ctx.Done() // it is done, and not known
			}
			seen.Store(seen.Load() || bytes.Contains(b[:n], []byte("\r\ns:100\r\n")))
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
			if seen.Load() {
				cancel()
			}
		}
	})
	c := open(t, "redis://"+ln.Addr().String(), Options{})
	// More than one script takes: a key each.
	if err := c.CreateStream(ctx, driver.StreamSpec{Name: "s", Shards: 1100}); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want %v", err, context.Canceled)
	}
	if left := r.Call(t, 1, "KEYS", "*"); left != "" {
		t.Errorf("%d keys are left", len(strings.Fields(left)))
	}
	if err := c.CreateStream(t.Context(), driver.StreamSpec{Name: "s", Shards: 1100}); err != nil {
		t.Error(err)
	}
}
