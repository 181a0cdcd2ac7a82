package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// readFrom builds a read of one key behind an id that waits.
func readFrom(key, id string) func(rueidis.Builder) []rueidis.Completed {
	return readFor(blockFor, key, id)
}

func readFor(block time.Duration, key, id string) func(rueidis.Builder) []rueidis.Completed {
	return func(b rueidis.Builder) []rueidis.Completed {
		return []rueidis.Completed{b.Xread().Block(block.Milliseconds()).Streams().Key(key).Id(id).Build()}
	}
}

// blockLong is the BLOCK of reads of which a test says that they were woken: no
// stall of the machine is half as long.
const blockLong = time.Minute

// there reports whether an entry is in the stream, by the answer to its XADD
// with an id of its own: also where one before has put it there, whose answer
// was lost.
func there(err error) bool {
	return err == nil || strings.Contains(err.Error(), "equal or smaller than the target stream top item")
}

// entriesOf is how many entries an answer has.
func entriesOf(t *testing.T, v value) (n int) {
	t.Helper()
	if err := v.err(); err != nil {
		t.Fatal(err)
	}
	if err := v.eachStream(func(_ string, entries value) error {
		list, err := entries.list()
		n += len(list)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// until calls ok until it is true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// waiting waits until a waiter's command is at the server.
func (w *waiter) waiting(t *testing.T) {
	t.Helper()
	until(t, "a command at the server", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.turn%2 == 1
	})
}

func TestWakeIdle(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	w := c.newWaiter("k")
	defer w.close()
	for range 3 {
		done := make(chan error, 1)
		go func() {
			answers, err := w.do(t.Context(), blockLong+deadAfter, readFor(blockLong, "k", "0"))
			if err == nil && entriesOf(t, answers[0]) != 0 {
				err = errors.New("there are entries")
			}
			done <- err
		}()
		w.waiting(t)
		began := time.Now()
		w.wake()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > blockLong/2 {
			t.Errorf("woken after %v", d)
		}
	}
	w.wake()
	if _, err := w.do(t.Context(), blockFor+deadAfter, readFrom("k", "0")); !errors.Is(err, errWoken) {
		t.Errorf("a wake before do: got %v, want errWoken", err)
	}
}

// TestWakeAnyTime wakes a waiter at whatever moment comes: every command
// returns long before its time, and no entry is lost.
func TestWakeAnyTime(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	w := c.newWaiter("k")
	defer w.close()
	const n = 300
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range n {
			run(t, c, "XADD", "k", fmt.Sprintf("%d-0", i+1), "msg", "x")
		}
	}()
	read := 0
	for i := 0; read < n; i++ {
		wake := time.AfterFunc(time.Duration(i%40)*20*time.Microsecond, w.wake)
		began := time.Now()
		answers, err := w.do(t.Context(), blockLong+deadAfter, readFor(blockLong, "k", fmt.Sprintf("%d-0", read)))
		if d := time.Since(began); d > blockLong/2 {
			t.Fatalf("command %d took %v", i, d)
		}
		wake.Stop()
		if errors.Is(err, errWoken) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		read += entriesOf(t, answers[0])
	}
	<-ended
}

// TestServerGone: the server is killed under a command that waits, and is back
// later.
func TestServerGone(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "no"})
	c := open(t, s.URL(), Options{})
	w := c.newWaiter("k")
	defer w.close()
	done := make(chan error, 1)
	go func() {
		_, err := w.do(t.Context(), blockFor+deadAfter, readFrom("k", "0"))
		done <- err
	}()
	w.waiting(t)
	s.Kill(1)
	if err := <-done; !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	for range 5 {
		if _, err := w.do(t.Context(), blockFor+deadAfter, readFrom("k", "0")); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
	}
	if err := s.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.Call(t, 1, "XADD", "k", "1-0", "msg", "x")
	until(t, "the entry", func() bool {
		answers, err := w.do(t.Context(), blockFor+deadAfter, readFrom("k", "0"))
		return err == nil && entriesOf(t, answers[0]) == 1
	})
}

// TestServerSilent: the server's process is stopped, its connections stay.
func TestServerSilent(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	w := c.newWaiter("k")
	defer w.close()
	done := make(chan error, 1)
	go func() {
		_, err := w.do(t.Context(), time.Second, readFrom("k", "0"))
		done <- err
	}()
	w.waiting(t)
	if err := s.Pause(1); err != nil {
		t.Fatal(err)
	}
	defer s.Continue(1)
	if err := <-done; !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.do(ctx, time.Second, readFrom("k", "0")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
	if err := s.Continue(1); err != nil {
		t.Fatal(err)
	}
	s.Call(t, 1, "XADD", "k", "1-0", "msg", "x")
	until(t, "the entry", func() bool {
		answers, err := w.do(t.Context(), blockFor+deadAfter, readFrom("k", "0"))
		return err == nil && entriesOf(t, answers[0]) == 1
	})
}

// TestAnswersOfTheCommand: what is about the command is the caller's.
func TestAnswersOfTheCommand(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	s.Call(t, 1, "SET", "k", "x")
	c := open(t, s.URL(), Options{})
	w := c.newWaiter("k")
	defer w.close()
	answers, err := w.do(t.Context(), blockFor+deadAfter, readFrom("k", "0"))
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := answer(answers[0].err()); !ok || code(r) != "WRONGTYPE" {
		t.Errorf("got %q", answers[0])
	}
}

// TestSentinelBlock follows a master that hands over and one that dies.
func TestSentinelBlock(t *testing.T) {
	t.Parallel()
	s := redistest.SentinelForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	w := c.newWaiter("k")
	defer w.close()
	n := 0
	next := func(master int) {
		t.Helper()
		n++
		until(t, "an entry", func() bool {
			_, err := s.Do(master, "XADD", "k", fmt.Sprintf("%d-0", n), "msg", "x")
			return there(err)
		})
		until(t, "it is read", func() bool {
			answers, err := w.do(t.Context(), blockFor+deadAfter, readFrom("k", fmt.Sprintf("%d-0", n-1)))
			if err != nil && !errors.Is(err, driver.ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil && entriesOf(t, answers[0]) == 1
		})
	}
	next(1)
	master, err := s.Failover(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	next(master)
	// Whoever takes over next has to be a replica by then.
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Kill(master)
	until(t, "another master", func() bool {
		m, err := s.Master(0)
		was := master
		if err == nil && m != was {
			master = m
		}
		return master != was
	})
	next(master)
}

// TestClusterBlock follows a slot by hand-over, by death, and by migration.
func TestClusterBlock(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	const key = "{a}k"
	w := c.newWaiter(key)
	defer w.close()
	master, err := s.Master(int(slot(key)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	next := func() {
		t.Helper()
		n++
		read := make(chan error, 1)
		go func() {
			for {
				answers, err := w.do(t.Context(), blockFor+deadAfter, readFrom(key, fmt.Sprintf("%d-0", n-1)))
				if errors.Is(err, driver.ErrUnavailable) {
					continue
				}
				if err != nil || entriesOf(t, answers[0]) == 1 {
					read <- err
					return
				}
			}
		}()
		until(t, "an entry", func() bool {
			rc, err := c.connect(t.Context())
			return err == nil && there(rc.Do(t.Context(), rc.B().Xadd().Key(key).Id(fmt.Sprintf("%d-0", n)).FieldValue().FieldValue("msg", "x").Build()).Error())
		})
		select {
		case err := <-read:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("it is not read")
		}
	}
	next()
	to := master%3 + 1
	m, err := s.BeginMove(int(slot(key)), to)
	if err != nil {
		t.Fatal(err)
	}
	next()
	if err := m.Keys(); err != nil {
		t.Fatal(err)
	}
	next() // by ASK
	if err := m.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	next() // by MOVED
	if master, err = s.Failover(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	next()
	if err := s.Ready(t.Context()); err != nil { // there is a replica that can take over
		t.Fatal(err)
	}
	s.Kill(master)
	next()
}
