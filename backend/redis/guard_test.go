package redis

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestPanicsAreErrors: what rueidis takes for a bug of its caller, and panics
// about, is an error whose outcome is unknown.
func TestPanicsAreErrors(t *testing.T) {
	t.Parallel()
	c := open(t, redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient}).URL(), Options{})
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	get := func(key string) rueidis.Completed { return rc.B().Exists().Key(key).Build() }
	for _, r := range rc.DoMulti(t.Context(), rc.B().Ping().Build(), get("a"), get("b")) {
		if err := r.Error(); !errors.Is(err, errPanic) {
			t.Errorf("commands without and with slots: got %v, want errPanic", err)
		}
	}
	if err := c.failure("send", driver.Shard{}, errPanic); !errors.Is(err, driver.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
	if err := add(t.Context(), c, "a", "x"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestAllNodesKilled: a whole cluster goes away under load and comes back, and
// all that happens are errors.
func TestAllNodesKilled(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{ConnectTimeout: time.Second, RequestTimeout: 2 * time.Second})
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var good, bad, panics atomic.Int64
	count := func(err error) {
		switch {
		case err == nil:
			good.Add(1)
		case errors.Is(err, errPanic):
			panics.Add(1)
			t.Error(err)
		default:
			bad.Add(1)
		}
	}
	load := func(f func(i int)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ctx.Err() == nil; i++ {
				f(i)
			}
		}()
	}
	key := func(i int) string { return "k" + strconv.Itoa(i%50) }
	xadd := func(k string) rueidis.Completed {
		return rc.B().Xadd().Key(k).Id("*").FieldValue().FieldValue("msg", "x").Build()
	}
	for range 2 {
		load(func(i int) { // many slots at once
			cmds := make([]rueidis.Completed, 20)
			for j := range cmds {
				cmds[j] = xadd(key(i + j))
			}
			within, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			for _, r := range rc.DoMulti(within, cmds...) {
				count(r.Error())
			}
		})
	}
	w := c.newWaiter(key(0))
	load(func(int) { // a blocked reader
		_, err := w.do(ctx, blockFor+deadAfter, func(b rueidis.Builder) []rueidis.Completed {
			return []rueidis.Completed{b.Xread().Block(100).Streams().Key(w.key).Id("$").Build()}
		})
		count(err)
	})
	load(func(i int) { count(second(c.Bounds(ctx, []string{key(i)}))) })
	load(func(int) { count(c.Ping(ctx)) })
	load(func(int) { c.suspect(true) })
	eventually(t, "it works", func() bool { return good.Load() > 1000 })
	for range 2 {
		for i := 1; i <= s.Len(); i++ {
			s.Kill(i)
		}
		before := bad.Load()
		eventually(t, "calls fail", func() bool { return bad.Load() > before+100 })
		for i := 1; i <= s.Len(); i++ {
			if err := s.Restart(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			eventually(t, "writes work again", func() bool { return add(t.Context(), c, key(i), "x") == nil })
		}
	}
	stop()
	wg.Wait()
	w.close()
	t.Logf("%d calls succeeded, %d failed, %d panicked", good.Load(), bad.Load(), panics.Load())
}
