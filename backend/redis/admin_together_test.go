package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// A stream whose creation fails half-way leaves no keys: nobody could create it
// any more.
func TestCreateStreamGivenUp(t *testing.T) {
	t.Parallel()
	t.Run("its context ends", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		takenBack := make(chan struct{})
		var once sync.Once
		createHalf(ctx, t, context.Canceled, func(_ *redistest.Servers, server net.Conn, rest []byte) bool {
			cancel()
			select {
			case <-takenBack: // too early
			case <-time.After(50 * time.Millisecond):
			}
			_, err := server.Write(rest)
			return err == nil
		}, func(_ *redistest.Servers, _ bool, some []byte) bool {
			if bytes.Contains(some, []byte("UNLINK")) {
				once.Do(func() { close(takenBack) })
			}
			return true
		})
	})
	t.Run("its connection breaks", func(t *testing.T) {
		t.Parallel()
		createHalf(t.Context(), t, driver.ErrUnavailable, breakOff(t), func(*redistest.Servers, bool, []byte) bool { return true })
	})
	t.Run("its server then takes no writes for a moment", func(t *testing.T) {
		t.Parallel()
		var once sync.Once
		createHalf(t.Context(), t, driver.ErrUnavailable, func(r *redistest.Servers, server net.Conn, rest []byte) bool {
			defer r.Call(t, 1, "CONFIG", "SET", "min-replicas-to-write", "1")
			return breakOff(t)(r, server, rest)
		}, func(r *redistest.Servers, _ bool, some []byte) bool {
			if bytes.Contains(some, []byte("NOREPLICAS")) {
				once.Do(func() { r.Call(t, 1, "CONFIG", "SET", "min-replicas-to-write", "0") })
			}
			return true
		})
	})
	// Its connection breaks again under what takes it back, which so comes twice.
	t.Run("somebody else creates it meanwhile", func(t *testing.T) {
		t.Parallel()
		var back, made atomic.Bool
		var once sync.Once
		createHalf(t.Context(), t, driver.ErrUnavailable, breakOff(t), func(r *redistest.Servers, answers bool, some []byte) bool {
			if !answers {
				back.Store(back.Load() || bytes.Contains(some, []byte("UNLINK")))
				return true
			}
			if !back.Load() || made.Load() {
				return true
			}
			once.Do(func() { // all answers wait for it, and are lost
				for len(strings.Fields(r.Call(t, 1, "KEYS", "*"))) > 1 {
					runtime.Gosched()
				}
				err := open(t, r.URL(), Options{}).CreateStream(t.Context(), driver.StreamSpec{Name: "s", Shards: 1100})
				wantKind(t, "while what was made is taken back", err, driver.ErrExists)
				made.Store(true)
			})
			return false
		})
	})
}

// breakOff breaks a connection when what it was asked for half-way is done.
func breakOff(t *testing.T) func(*redistest.Servers, net.Conn, []byte) bool {
	return func(r *redistest.Servers, _ net.Conn, _ []byte) bool {
		for r.Call(t, 1, "EXISTS", "s:100") != "1" {
			runtime.Gosched()
		}
		return false
	}
}

// createHalf creates a stream through a connection between, which asks half
// what to do when the server has the command for a shard in the middle and no
// more: it goes on or breaks. Until then it gives no answers for what it has
// seen since. What passes, requests and answers, is shown to see first, which
// says the same.
func createHalf(ctx context.Context, t *testing.T, want error, half func(r *redistest.Servers, server net.Conn, rest []byte) (goOn bool), see func(r *redistest.Servers, answers bool, some []byte) (goOn bool)) {
	r := redistest.ForTest(t, redistest.Options{})
	middle := []byte("\r\ns:100\r\n") // the end of its command
	var reached atomic.Bool
	ln := between(t, r.Addr(1), func(to, from net.Conn, answers bool) {
		b := make([]byte, 64<<10)
		var tail []byte // of what came before: a read ends anywhere
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			at := -1
			seen := append(tail, b[:n]...)
			if !see(r, answers, seen) {
				return
			}
			if !answers {
				if i := bytes.Index(seen, middle); i >= 0 {
					at = i + len(middle) - len(tail) // in b
				}
			}
			tail = bytes.Clone(seen[max(0, len(seen)-len(middle)+1):])
			if at < 0 || reached.Swap(true) {
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
				continue
			}
			if _, err := to.Write(b[:at]); err != nil || !half(r, to, b[at:n]) {
				return
			}
		}
	})
	c := open(t, "redis://"+ln.Addr().String(), Options{})
	spec := driver.StreamSpec{Name: "s", Shards: 1100} // more than one script takes: a key each
	if err := c.CreateStream(ctx, spec); !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
	if left := r.Call(t, 1, "KEYS", "*"); left != "" {
		t.Errorf("%d keys are left", len(strings.Fields(left)))
	}
	if err := c.CreateStream(t.Context(), spec); err != nil {
		t.Error(err)
	}
}
