package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// circle makes two masters of a cluster send each other's clients to and fro
// about a slot, as moves of a slot in quick succession and a cluster that was
// mended by hand have done. The keys of the slot are at the second one, which
// end makes its owner.
func circle(t *testing.T, r *redistest.Servers, slot int) (masters [2]int, end func()) {
	t.Helper()
	from := must(t)(r.Master(slot))
	to := from%3 + 1
	n := strconv.Itoa(slot)
	m, err := r.BeginMove(slot, to)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Keys(); err != nil {
		t.Fatal(err)
	}
	r.Call(t, from, "CLUSTER", "SETSLOT", n, "NODE", r.Call(t, to, "CLUSTER", "MYID"))
	r.Call(t, to, "CLUSTER", "SETSLOT", n, "STABLE")
	r.Call(t, to, "CLUSTER", "SETSLOT", n, "NODE", r.Call(t, from, "CLUSTER", "MYID"))
	return [2]int{from, to}, func() {
		t.Helper()
		r.Call(t, to, "CLUSTER", "BUMPEPOCH")
		r.Call(t, to, "CLUSTER", "SETSLOT", n, "NODE", r.Call(t, to, "CLUSTER", "MYID"))
		if err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// redirections is how many commands a node has answered with MOVED.
func redirections(t *testing.T, r *redistest.Servers, node int) (n int) {
	t.Helper()
	for line := range strings.Lines(r.Call(t, node, "INFO", "errorstats")) {
		if after, ok := strings.CutPrefix(strings.TrimSpace(line), "errorstat_MOVED:count="); ok {
			n, _ = strconv.Atoi(after)
		}
	}
	return n
}

// Nobody spins while nodes send clients in a circle: each pauses, says that it
// does not go on where somebody waits for that, and goes on when it is over.
func TestCircle(t *testing.T) {
	t.Parallel()
	r := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient})
	c := open(t, r.URL(), Options{RequestTimeout: time.Second})
	const key = "k"
	sl := int(slot(key))
	r.Call(t, must(t)(r.Master(sl)), "XADD", key, "1-0", "msg", "1")
	read := consume(t, c, driver.ConsumerConfig{Streams: []string{key}, Start: driver.Earliest})
	read.wants("1-0")
	member := newMate(t, c, "g", key)
	member.wants("1 1")
	once := producerForTest(t, r.URL(), driver.ProducerConfig{})
	exactly := producerForTest(t, r.URL(), driver.ProducerConfig{Durability: driver.ExactlyOnce})
	o := ownerForTest(t, r.URL()+"/?unit_tag=k", driver.OwnerConfig{Name: "job"})
	at := claim(t, o, pos("in", 0, 0))[0].Next.Lo
	if err := unit(t, o, at, at+1, "k=2"); err != nil {
		t.Fatal(err)
	}
	masters, end := circle(t, r, sl)
	moved := func() int { return redirections(t, r, masters[0]) + redirections(t, r, masters[1]) }

	// Each for a while alone, and then they all stay.
	const most = 600 // of tens of thousands that nodes could answer
	rate := func(who string, during func(ctx context.Context)) {
		t.Helper()
		begun := time.Now()
		before := moved()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		during(ctx)
		<-ctx.Done()
		n, took := moved()-before, time.Since(begun)
		t.Logf("%s: %d in %v", who, n, took)
		if float64(n) > most*took.Seconds() {
			t.Errorf("%s: %d redirections in %v, want at most %d a second", who, n, took, most)
		}
	}
	rate("reader and member", func(context.Context) {})
	settled := make(chan error, 2)
	for i, p := range []*producer{once, exactly} {
		rate(fmt.Sprintf("producer %d", i), func(ctx context.Context) {
			rec := driver.Record{Stream: key, Value: strconv.AppendInt(nil, int64(3+i), 10)}
			if err := p.Produce(ctx, rec, func(_ driver.Receipt, err error) { settled <- err }); err != nil {
				t.Error(err)
			}
		})
	}
	rate("units", func(ctx context.Context) {
		for ctx.Err() == nil {
			wantKind(t, "a unit", unit(t, o, at+1, at+2, "k=x"), driver.ErrAborted)
			time.Sleep(20 * time.Millisecond) // the core pauses as long as that, and then longer
		}
	})
	rate("what is asked now and then", func(ctx context.Context) {
		if _, err := c.Bounds(ctx, []string{key}); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("Bounds: %v, want ErrUnavailable", err)
		}
	})

	end()
	for range 2 {
		select {
		case err := <-settled:
			if err != nil {
				t.Errorf("what was sent meanwhile: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("what was sent meanwhile does not go out")
		}
	}
	until(t, "a unit", func() bool { err := unit(t, o, at+1, at+2, "k=5"); return err == nil })
	want := values(t, r, masters[1], key)
	sorted := slices.Sorted(slices.Values(want))
	if fmt.Sprint(sorted) != "[1 2 3 4 5]" {
		t.Errorf("the stream has %v, want each of 1 to 5 once", want)
	}
	for len(read.got) < len(want)-1 {
		if err := read.fetch(time.Minute); err != nil && !errors.Is(err, driver.ErrUnavailable) {
			t.Fatalf("the reader has %v: %v", read.got, err)
		}
	}
	member.until("all messages", func() bool { return len(member.got) >= len(want)-1 })
}
