package redis

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A cutter is a proxy that passes so many bytes of what a client says, once it
// is armed, swallows the answers and then cuts the connection.
type cutter struct {
	net.Listener
	armed atomic.Int64 // bytes to pass; −1 passes all, −2 all but the answers
	whole atomic.Int64 // of the command that is cut: all of it is taken
}

func cut(t *testing.T, to string) *cutter {
	t.Helper()
	c := &cutter{}
	c.armed.Store(-1)
	c.Listener = between(t, to, c.pass)
	return c
}

func (c *cutter) pass(to, from net.Conn, answers bool) {
	b := make([]byte, 4096)
	taken := int64(0)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		left := c.armed.Load()
		switch {
		case left != -1 && answers:
			return
		case left >= 0:
			pass := min(n, int(left))
			_, _ = to.Write(b[:pass])
			taken += int64(n)
			if c.armed.Add(int64(-pass)); pass < n {
				_, _ = io.CopyN(io.Discard, from, c.whole.Load()-taken) // so that the client has sent all
				return
			}
		default:
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
}

// A reply that is lost leaves the outcome unknown, and a claim tells.
func TestUnitLostReply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		bytes int64
		want  []string
	}{{"done", -2, []string{"1", "2"}}, {"not begun", 0, []string{"1"}}, {"cut in the middle", 500, []string{"1"}}} {
		t.Run(c.name, func(t *testing.T) {
			r := redistest.ForTest(t, redistest.Options{})
			cut := cut(t, r.Addr(1))
			o := ownerForTest(t, "redis://"+cut.Addr().String()+"/?shards=1", driver.OwnerConfig{Name: "job"})
			claim(t, o, pos("in", 0, 0))
			if err := unit(t, o, 0, 1, "out=1"); err != nil {
				t.Fatal(err)
			}
			u, _ := o.Begin(t.Context())
			if err := u.Produce(t.Context(), driver.Record{Stream: "out", Value: []byte("2")}); err != nil {
				t.Fatal(err)
			}
			moves := []driver.Move{moved(0, 1, 2)}
			cut.whole.Store(sizeOf(t, u.(*tx), moves))
			cut.armed.Store(c.bytes)
			wantKind(t, "a lost reply", u.Commit(t.Context(), moves), driver.ErrUnknown)
			cut.armed.Store(-1)
			got := claim(t, sole(t, r), pos("in", 0, 0))
			wantValues(t, r, 1, "out:0", c.want...)
			if want := (driver.Seq{Lo: uint64(len(c.want))}); got[0].Next != want {
				t.Errorf("position %v, want %v", got[0].Next, want)
			}
		})
	}
}

// sizeOf is how many bytes the command of a unit has.
func sizeOf(t *testing.T, u *tx, moves []driver.Move) int64 {
	t.Helper()
	u.o.mu.Lock()
	defer u.o.mu.Unlock()
	head, body, err := u.command(moves)
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(head) + len(body))
}

// A unit that a server finds when somebody else has claimed changes nothing,
// also where it was sent before.
func TestUnitPausedServer(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	a, b := ownerForTest(t, r.URL()+"/?shards=1&request_timeout=1m", driver.OwnerConfig{Name: "job"}), sole(t, r)
	claim(t, a, pos("in", 0, 0))
	if err := unit(t, a, 0, 1, "out=1"); err != nil {
		t.Fatal(err)
	}
	if err := r.Pause(1); err != nil {
		t.Fatal(err)
	}
	tx, _ := a.Begin(t.Context())
	if err := tx.Produce(t.Context(), driver.Record{Stream: "out", Value: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	const limit = 2 * time.Second // it is on its way by then
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	begun := time.Now()
	wantKind(t, "a server that says nothing", tx.Commit(ctx, []driver.Move{moved(0, 1, 2)}), driver.ErrUnknown)
	if d := time.Since(begun); d > 30*time.Second {
		t.Errorf("commit took %v with %v", d, limit)
	}
	if err := r.Continue(1); err != nil {
		t.Fatal(err)
	}
	got := claim(t, b, pos("in", 0, 0))
	if n := len(values(t, r, 1, "out:0")); uint64(n) != got[0].Next.Lo {
		t.Errorf("%d entries and position %v", n, got[0].Next)
	}
}

// copyAll copies numbers from a position that begins at 0 up to n at least, as
// long as during runs, as the core does it: it tries again what was aborted, and
// opens another owner after what is unknown. It returns where it ended. During
// may call some, which waits until some more units are committed.
func copyAll(t *testing.T, url, stream string, n uint64, during func(some func())) uint64 {
	t.Helper()
	c := open(t, url, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var committed atomic.Int64
	some := func() {
		for want := committed.Load() + 5; committed.Load() < want && ctx.Err() == nil; {
			time.Sleep(time.Millisecond)
		}
	}
	ended := make(chan struct{})
	go func() { defer close(ended); during(some) }()
	done, after := false, false // during has ended, and a unit was committed since
	counts := map[string]int{}
	var at uint64
	session := func() error {
		o, err := c.Owner(ctx, driver.OwnerConfig{Name: "job"})
		if err != nil {
			return err
		}
		defer o.Close(ctx)
		got, err := o.Claim(ctx, []driver.Position{pos("in", 0, 0)})
		if err != nil {
			return err
		}
		for at = got[0].Next.Lo; at < n || !after; {
			select {
			case <-ended:
				done = true
			default:
			}
			tx, err := o.Begin(ctx)
			if err != nil {
				return err
			}
			for i := at; i < at+10; i++ {
				if err := tx.Produce(ctx, driver.Record{Stream: stream, Value: strconv.AppendUint(nil, i, 10)}); err != nil {
					return errors.Join(err, tx.Abort(ctx))
				}
			}
			switch err := tx.Commit(ctx, []driver.Move{moved(0, at, at+10)}); {
			case err == nil:
				at += 10
				after = done
				counts["committed"]++
				committed.Add(1)
			case errors.Is(err, driver.ErrAborted):
				counts[err.Error()]++
				time.Sleep(10 * time.Millisecond) // as the core backs off
			default:
				return err
			}
		}
		return nil
	}
	for {
		err := session()
		if err == nil {
			break
		}
		counts[err.Error()]++
		if ctx.Err() != nil || errors.Is(err, driver.ErrFenced) || errors.Is(err, driver.ErrLost) {
			t.Fatalf("at %d: %v", at, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	<-ended
	for what, n := range counts {
		t.Logf("%d × %s", n, what)
	}
	return at
}

// wantNumbers wants each number below n once and in order.
func wantNumbers(t *testing.T, r *redistest.Servers, node int, key string, n uint64) {
	t.Helper()
	want := make([]string, n)
	for i := range want {
		want[i] = strconv.Itoa(i)
	}
	if d := cmp.Diff(want, values(t, r, node, key)); d != "" {
		t.Errorf("%s (-want +got):\n%s", key, d[:min(len(d), 2000)])
	}
}

func TestUnitKilledServer(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "always"})
	n := copyAll(t, r.URL(), "out", 1000, func(some func()) {
		for range 5 {
			some()
			r.Kill(1)
			if err := r.Restart(t.Context(), 1); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wantNumbers(t, r, 1, "out", n)
}

func TestUnitCutConnections(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	n := copyAll(t, r.URL(), "out", 1000, func(some func()) {
		for range 30 {
			some()
			r.Call(t, 1, "CLIENT", "KILL", "TYPE", "normal")
			r.Call(t, 1, "SCRIPT", "FLUSH")
		}
	})
	wantNumbers(t, r, 1, "out", n)
}

// A fail-over may take back units, and then outputs and progress together.
func TestUnitSentinelFailover(t *testing.T) {
	t.Parallel()
	r := redistest.SentinelForTest(t, redistest.Options{})
	for _, query := range []string{"", "&replicas=1"} {
		r.Call(t, must(t)(r.Master(0)), "DEL", "out", "sea:progress:{job}", "sea:shards:{job}")
		n := copyAll(t, r.URL()+query, "out", 1000, func(some func()) {
			some()
			if _, err := r.Failover(t.Context(), must(t)(r.Master(0))); err != nil {
				t.Error(err)
			}
			if err := r.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wantNumbers(t, r, must(t)(r.Master(0)), "out", n)
	}
}

func must(t *testing.T) func(n int, err error) int {
	return func(n int, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// Too few replicas: the unit is there, and is not as safe as asked.
func TestUnitTooFewReplicas(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	o := ownerForTest(t, r.URL()+"/?replicas=1&request_timeout=2s", driver.OwnerConfig{Name: "job"})
	_, err := o.Claim(t.Context(), []driver.Position{pos("in", 0, 0)})
	wantKind(t, "a claim", err, driver.ErrUnavailable)
	tx, _ := o.Begin(t.Context())
	wantKind(t, "a unit", tx.Commit(t.Context(), nil), driver.ErrUnknown)
}

func TestUnitCluster(t *testing.T) {
	t.Parallel()
	r := redistest.ClusterForTest(t, redistest.Options{})
	t.Run("outputs", func(t *testing.T) {
		for _, c := range []struct{ query, stream, key, hint string }{
			{"", "job", "job", ""},
			{"", "x{job}", "x{job}", ""},
			{"?unit_tag=out", "out", "out", ""},
			{"?unit_tag=out&hash_tag=stream&shards=4", "out", "{out}:3", ""},
			{"?unit_tag=out", "other", "", "set unit_tag=other"},
			{"?shards=2", "out", "", "set hash_tag=stream and unit_tag=out"},
			{"?hash_tag=stream&shards=2", "out", "", "set unit_tag=out"},
			{"?hash_tag=shard&shards=2", "out", "", "set hash_tag=stream and unit_tag=out"},
			{"", "out{x}", "", "set unit_tag=x"},
			{"", "o{}t", "", "its key needs the hash tag {job}"},
		} {
			t.Run(c.query+" "+c.stream, func(t *testing.T) {
				o := ownerForTest(t, r.URL()+"/"+c.query, driver.OwnerConfig{Name: "job"})
				at := claim(t, o, pos("in", 0, 0))[0].Next.Lo
				tx, _ := o.Begin(t.Context())
				rec := driver.Record{Stream: c.stream, Value: []byte("v")}
				if strings.Contains(c.query, "shards=4") {
					rec.Shard = driver.On(3)
				}
				err := tx.Produce(t.Context(), rec)
				if c.key == "" {
					wantKind(t, "another slot", err, errors.ErrUnsupported)
					if err != nil && !strings.Contains(err.Error(), c.hint) {
						t.Errorf("%v: want %q in it", err, c.hint)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := tx.Commit(t.Context(), []driver.Move{moved(0, at, at+1)}); err != nil {
					t.Fatal(err)
				}
				node := must(t)(r.Master(int(slot(c.key))))
				wantValues(t, r, node, c.key, "v")
				if got := claim(t, o, pos("in", 0, 0))[0].Next.Lo; got != at+1 {
					t.Errorf("position %d, want %d", got, at+1)
				}
			})
		}
	})
	t.Run("failover", func(t *testing.T) {
		s := int(slot("copy"))
		n := copyAll(t, r.URL()+"/?unit_tag=copy&hash_tag=stream&shards=1&replicas=1", "copy", 1000, func(some func()) {
			some()
			if _, err := r.Failover(t.Context(), must(t)(r.Master(s))); err != nil {
				t.Error(err)
			}
			if err := r.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wantNumbers(t, r, must(t)(r.Master(s)), "{copy}:0", n)
	})
	t.Run("slot moves", func(t *testing.T) {
		s := int(slot("moves"))
		n := copyAll(t, r.URL()+"/?unit_tag=moves", "moves", 500, func(some func()) {
			if err := r.Ready(t.Context()); err != nil {
				t.Error(err)
			}
			masters := []int{must(t)(r.Master(0)), must(t)(r.Master(8000)), must(t)(r.Master(16000))}
			for i := range 6 {
				some()
				if to := masters[i%3]; to != must(t)(r.Master(s)) {
					if err := r.MoveSlot(t.Context(), s, to); err != nil {
						t.Error(err)
						return
					}
				}
			}
			if err := r.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wantNumbers(t, r, must(t)(r.Master(s)), "moves", n)
	})
	t.Run("killed", func(t *testing.T) {
		s := int(slot("killed"))
		n := copyAll(t, r.URL()+"/?unit_tag=killed", "killed", 1000, func(some func()) {
			some()
			old := must(t)(r.Master(s))
			r.Kill(old)
			for {
				if now, err := r.Master(s); err == nil && now != old {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if err := r.Restart(t.Context(), old); err != nil {
				t.Error(err)
			}
			if err := r.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wantNumbers(t, r, must(t)(r.Master(s)), "killed", n)
	})
}
