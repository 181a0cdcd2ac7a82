package redis

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A crew is a group whose members come and go while somebody writes. Each
// message is acknowledged by whoever gets it, some after having been nacked.
type crew struct {
	t       *testing.T
	url     string
	streams []string

	mu   sync.Mutex
	seen map[string]int
	more chan struct{} // closed when there is nothing more to come
	all  sync.WaitGroup
}

func newCrew(t *testing.T, url string, streams ...string) *crew {
	return &crew{t: t, url: with(url, "ack_timeout=1s"), streams: streams, seen: map[string]int{}, more: make(chan struct{})}
}

// work has a member read until all is done, or until it dies.
func (w *crew) work(die <-chan struct{}) {
	c := open(w.t, w.url, Options{})
	w.all.Go(func() {
		var m driver.Consumer
		for {
			var err error
			if m, err = c.Consumer(w.t.Context(), driver.ConsumerConfig{Group: "g", Streams: w.streams, Start: driver.Earliest}); err == nil {
				break
			} else if !errors.Is(err, driver.ErrUnavailable) {
				w.t.Error(err)
				return
			}
		}
		mate := &mate{member: m.(*member), t: w.t}
		for n := 0; ; n++ {
			select {
			case <-die:
				mate.die()
				return
			case <-w.more:
				mate.leaveGroup()
				return
			default:
			}
			ctx, cancel := context.WithTimeout(w.t.Context(), 100*time.Millisecond)
			batches, err := m.Fetch(ctx, nil)
			cancel()
			var gap *driver.GapError
			if errors.As(err, &gap) {
				w.t.Errorf("%v", gap)
			} else if err != nil && !errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				w.t.Errorf("Fetch: %v", err)
				return
			}
			w.settle(mate, batches, n)
		}
	})
}

func (w *crew) settle(m *mate, batches []driver.Batch, n int) {
	var all []driver.Settlement
	for _, b := range batches {
		for i := range b.Len() {
			s := driver.Settlement{Batch: b, From: i, To: i + 1}
			if (n+i)%17 == 0 && b.Attempt(i) == 1 {
				s.Verdict = driver.VerdictNack
			} else {
				w.mu.Lock()
				w.seen[string(b.Value(i))]++
				w.mu.Unlock()
			}
			all = append(all, s)
		}
	}
	for end := time.Now().Add(30 * time.Second); len(all) > 0; time.Sleep(10 * time.Millisecond) {
		err := m.Settle(w.t.Context(), all)
		if err == nil || time.Now().After(end) {
			return
		}
		if !errors.Is(err, driver.ErrUnavailable) {
			w.t.Errorf("Settle: %v", err)
			return
		}
	}
}

// wait waits until all messages have been seen and well says so, and ends the
// crew.
func (w *crew) wait(sent []string, well func() bool) {
	w.t.Helper()
	missing := 0
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		missing = 0
		w.mu.Lock()
		for _, v := range sent {
			if w.seen[v] == 0 {
				missing++
			}
		}
		w.mu.Unlock()
		if missing == 0 && well() {
			break
		}
	}
	close(w.more)
	w.all.Wait()
	twice := 0
	for v, n := range w.seen {
		if n > 1 {
			twice++
		}
		if !slices.Contains(sent, v) {
			w.t.Errorf("message %q was not sent", v)
		}
	}
	if missing > 0 {
		w.t.Errorf("%d of %d messages have not come", missing, len(sent))
	}
	w.t.Logf("%d messages, %d of them more than once", len(sent), twice)
}

// write writes n messages to the keys in turn, each until a server has
// acknowledged it: some may be there twice.
func (w *crew) write(c *client, prefix string, keys []string, n int) (sent []string) {
	w.t.Helper()
	for i := range n {
		v := fmt.Sprintf("%s-%d", prefix, i)
		sent = append(sent, v)
		if !w.add(c, keys[i%len(keys)], v) {
			break
		}
	}
	return sent
}

// add writes one message, until a server has taken it.
func (w *crew) add(c *client, key, v string) bool {
	w.t.Helper()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		rc, err := c.connect(w.t.Context())
		if err == nil {
			var answers []rueidis.RedisResult
			if answers, err = c.ask(w.t.Context(), rc, rc.B().Xadd().Key(key).Id("*").FieldValue().FieldValue("msg", v).Build()); err == nil {
				err = answers[0].Error()
			}
		}
		if err == nil {
			return true
		}
		if time.Now().After(end) {
			w.t.Error(err)
			return false
		}
	}
}

// addLost writes again what a server took and did not tell a replica before it
// was no master any more: on a busy machine there may be another election.
func (w *crew) addLost(c *client, key string, sent []string) {
	w.t.Helper()
	for lost := sent; len(lost) > 0; {
		until(w.t, "a replica that has all", func() bool {
			rc, err := c.connect(w.t.Context())
			if err != nil {
				return false
			}
			var there []rueidis.XRangeEntry
			wrote := false
			err = rc.Dedicated(func(one rueidis.DedicatedClient) error {
				answers := one.DoMulti(w.t.Context(), one.B().Set().Key("told").Value("1").Build(),
					one.B().Wait().Numreplicas(1).Timeout(1000).Build(), one.B().Xrange().Key(key).Start("-").End("+").Build())
				n, err := answers[1].AsInt64()
				if err != nil {
					return err
				}
				wrote = n > 0
				there, err = answers[2].AsXRange()
				return err
			})
			has := make(map[string]bool, len(there))
			for _, e := range there {
				has[e.FieldValues["msg"]] = true
			}
			lost = slices.DeleteFunc(slices.Clone(sent), func(v string) bool { return has[v] })
			return err == nil && wrote
		})
		for _, v := range lost {
			w.t.Logf("%q is lost with a master that nobody killed", v)
			w.add(c, key, v)
		}
	}
}

// finish is wait, and checks that nothing of the group is pending then. What was
// written twice may still be in somebody's hands when all has been seen.
func (w *crew) finish(c *client, sent []string, keys ...string) {
	w.t.Helper()
	pending := func() (n int64, err error) {
		for _, k := range keys {
			rc, err := c.connect(w.t.Context())
			if err != nil {
				return 0, err
			}
			s, err := summaryOf(rc.Do(w.t.Context(), rc.B().Xpending().Key(k).Group("g").Build()).ToMessage())
			if err != nil {
				return 0, err
			}
			n += s.count
		}
		return n, nil
	}
	w.wait(sent, func() bool {
		at, err := c.Delivered(w.t.Context(), "g", w.streams)
		if err != nil {
			return false
		}
		all, err := c.Bounds(w.t.Context(), w.streams)
		if err != nil {
			return false
		}
		for shard, b := range all {
			if at[shard].Less(b.Next) {
				return false
			}
		}
		n, err := pending()
		return n == 0 && err == nil
	})
	if n, err := pending(); n != 0 || err != nil {
		w.t.Errorf("%d entries are pending, %v", n, err)
	}
}

// TestMembersAndAServerThatDies: the server is killed and comes back with its
// append-only file, and a member dies as well. Nothing is lost.
func TestMembersAndAServerThatDies(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "no"})
	c := open(t, s.URL(), Options{})
	run(t, c, "XADD", "s", "1-0", "msg", "first")
	w := newCrew(t, s.URL(), "s")
	w.work(nil)
	w.work(nil)
	die := make(chan struct{})
	w.work(die)
	sent := []string{"first"}
	for round := range 3 {
		written := make(chan []string)
		go func() { written <- w.write(c, fmt.Sprint(round), []string{"s"}, 1500) }()
		w.until(fmt.Sprintf("%d-500", round))
		s.Kill(1)
		if err := s.Restart(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, <-written...)
		if round == 0 {
			close(die)
			w.work(nil)
		}
	}
	w.finish(c, sent, "s")
}

// until waits until a message has come.
func (w *crew) until(v string) {
	w.t.Helper()
	until(w.t, "message "+v, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.seen[v] > 0
	})
}

// TestMembersInACluster: shards in many slots, a hand-over, a member that dies.
func TestMembersInACluster(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient})
	c := open(t, s.URL(), Options{})
	keys := make([]string, 8)
	for i := range keys {
		keys[i] = fmt.Sprintf("s:%d", i)
		run(t, c, "XADD", keys[i], "1-0", "msg", fmt.Sprint("first", i))
	}
	w := newCrew(t, s.URL(), "s")
	w.work(nil)
	die := make(chan struct{})
	w.work(die)
	written := make(chan []string)
	go func() { written <- w.write(c, "a", keys, 4000) }()
	w.until("a-1000")
	close(die)
	if _, err := s.Failover(t.Context(), 1); err != nil {
		t.Error(err)
	}
	w.work(nil)
	sent := <-written
	for i := range keys {
		sent = append(sent, fmt.Sprint("first", i))
	}
	w.finish(c, sent, keys...)
}

// TestMembersBehindSentinel: the master hands over, and then dies.
func TestMembersBehindSentinel(t *testing.T) {
	t.Parallel()
	s := redistest.SentinelForTest(t, redistest.Options{NodeTimeout: redistest.Patient})
	c := open(t, s.URL(), Options{})
	run(t, c, "XADD", "s", "1-0", "msg", "first")
	w := newCrew(t, s.URL(), "s")
	w.work(nil)
	w.work(nil)
	sent := []string{"first"}
	w.until("first")
	told(t, s, 1)
	master, err := s.Failover(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	// Until the old master is a replica it takes writes, and loses them.
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent = append(sent, w.write(c, "a", []string{"s"}, 200)...)
	w.until("a-199")
	told(t, s, master)
	for _, sentinel := range []int{4, 5, 6} { // not before: on a busy machine there would be elections of theirs
		s.Call(t, sentinel, "SENTINEL", "SET", redistest.MasterName, "down-after-milliseconds", "1000")
	}
	s.Kill(master)
	sent = append(sent, w.write(c, "b", []string{"s"}, 200)...)
	w.addLost(c, "s", sent)
	w.wait(sent, func() bool { return true })
}

// told waits until a master has told both its replicas all that it has: what it
// has not told them is lost with it. WAIT speaks of what its own connection has
// written.
func told(t *testing.T, s *redistest.Servers, master int) {
	t.Helper()
	got, err := s.Pipe(master, []string{"SET", "told", "1"}, []string{"WAIT", "2", "20000"})
	if err != nil || got[1] != "2" {
		t.Fatalf("told replicas: %q, %v, want 2", got, err)
	}
}

// TestAServerThatIsSilent: Close does not wait for it.
func TestAServerThatIsSilent(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	addNumbers(t, s, "s", "1")
	w := newMate(t, c, "g", "s")
	w.wants("1 1")
	if err := s.Pause(1); err != nil {
		t.Fatal(err)
	}
	defer s.Continue(1)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	// Nil is right where no read was under way.
	if err := w.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(began); d > c.o.RequestTimeout {
		t.Errorf("Close took %v", d)
	}
}

// TestManyShards: a thousand shards cost a member little while nothing comes,
// and all of them are read.
func TestManyShards(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), "discover_every=1m"), Options{})
	const n = 1000
	cmds := make([][]string, n)
	for i := range cmds {
		cmds[i] = []string{"XADD", fmt.Sprintf("s:%d", i), "1-0", "msg", fmt.Sprint(i)}
	}
	if _, err := s.Pipe(1, cmds...); err != nil {
		t.Fatal(err)
	}
	w := newMate(t, c, "g", "s")
	w.until("all", func() bool { return len(w.got) == n })
	w.verdict(driver.VerdictAck, 0, w.got...)
	w.got = nil
	for i := range cmds {
		cmds[i][2] = "*"
		cmds[i] = append(cmds[i][:1:1], fmt.Sprintf("s:%d", i%10), "*", "msg", fmt.Sprint(i))
	}
	if _, err := s.Pipe(1, cmds...); err != nil {
		t.Fatal(err)
	}
	w.until("all", func() bool { return len(w.got) == n })
	w.verdict(driver.VerdictAck, 0, w.got...)
	w.got = nil
	w.quiet(time.Second)
	before, began := commands(t, s), time.Now()
	w.quiet(3 * time.Second)
	// One look at each shard's pending entries a second.
	if got, took := commands(t, s)-before, time.Since(began); float64(got) > 2*n*took.Seconds() {
		t.Errorf("%d commands in %v", got, took)
	}
}

// TestUnwantedGoesBack: what was read and nobody has asked for since is given
// to others before the time-out has passed, and does not count as an attempt.
func TestUnwantedGoesBack(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	const timeout = 15 * time.Second
	c := open(t, with(s.URL(), "ack_timeout="+timeout.String()), Options{})
	addNumbers(t, s, "s", "1")
	a := newMate(t, c, "g", "s")
	a.verdict(driver.VerdictAck, 0, a.wants("1 1")...)
	b := newMate(t, c, "g", "s")
	addNumbers(t, s, "s", "2")
	a.mu.Lock()
	a.wanted = true // as a Fetch has it that is about to end
	a.mu.Unlock()
	notify(a.lanes[0].poke)
	until(t, "something is read", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.queue) > 0
	})
	began := time.Now()
	b.wants("2 1")
	if d := time.Since(began); d > timeout {
		t.Errorf("it came after %v", d)
	}
}

// TestClosedBeforeTheAnswer: Close gives a read up that a slow server answers
// later. What the answer has goes to others at once.
func TestClosedBeforeTheAnswer(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), "ack_timeout=10m"), Options{})
	addNumbers(t, s, "s", "1")
	w := newMate(t, c, "g", "s")
	m := w.wants("1 1")
	w.verdict(driver.VerdictAck, 0, m...)
	fetched := make(chan error, 1)
	go func() {
		_, err := w.Fetch(t.Context(), nil)
		fetched <- err
	}()
	until(t, "a read that waits", func() bool { return blockedClients(t, s) == 1 })
	lane := w.lanes[0].w
	lane.mu.Lock()
	lane.conn.id = "" // else the server may be asked to let go of the read before it sees the entry
	lane.mu.Unlock()
	writer, err := net.Dial("tcp", s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	// Once to be sure that the server knows the connection, so that it looks at
	// what comes over it in the order in which it came.
	ping := bufio.NewReader(writer)
	if _, err := writer.Write(appendCommand(nil, "PING")); err != nil {
		t.Fatal(err)
	}
	if _, err := ping.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(1); err != nil {
		t.Fatal(err)
	}
	defer s.Continue(1)
	if _, err := writer.Write(appendCommand(nil, "XADD", "s", "2-0", "msg", "2")); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- w.Close(t.Context()) }()
	until(t, "the read is given up", func() bool {
		lane.mu.Lock()
		defer lane.mu.Unlock()
		return lane.conn == nil
	})
	if err := s.Continue(1); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := <-fetched; !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Fetch: got %v, want ErrClosed", err)
	}
	// It counts as an attempt, unless the server was quick and had answered
	// before it stopped.
	b := newMate(t, c, "g", "s")
	b.until("the message", func() bool { return len(b.got) > 0 })
	if b.got[0].value != "2" {
		t.Errorf("got %v", b.got)
	}
}

// TestReadComesAfterClose: a read that Close gives up is still on its way to the
// server, and comes there when the member is gone. It takes nothing any more.
func TestReadComesAfterClose(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	var armed atomic.Bool
	held, late := make(chan struct{}), make(chan struct{})
	ln := between(t, s.Addr(1), func(to, from net.Conn, answers bool) {
		b := make([]byte, 32<<10)
		for {
			n, err := from.Read(b)
			if !answers && bytes.Contains(b[:n], []byte("\r\nXREADGROUP\r\n")) && armed.CompareAndSwap(true, false) {
				close(held)
				<-late
				_, _ = to.Write(b[:n])
				return
			}
			if _, werr := to.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	})
	c := open(t, "redis://"+ln.Addr().String()+"/?ack_timeout=10m", Options{})
	addNumbers(t, s, "s", "1")
	w := newMate(t, c, "g", "s")
	w.verdict(driver.VerdictAck, 0, w.wants("1 1")...)
	addNumbers(t, s, "s", "2")
	armed.Store(true)
	go func() { _, _ = w.Fetch(t.Context(), nil) }()
	<-held
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	close(late)
	until(t, "the server sees the end of the connection", func() bool {
		return !strings.Contains(s.Call(t, 1, "CLIENT", "LIST"), "name="+w.lanes[0].w.name+" ")
	})
	b := newMate(t, open(t, with(s.URL(), "ack_timeout=10m"), Options{}), "g", "s")
	b.wants("2 1")
}

// TestAnswerToAClaimIsLost: what was nacked is taken again, and the answer to
// that is lost. It comes all the same, before the time-out has passed.
func TestAnswerToAClaimIsLost(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	url, armed, lost := losing(t, s, "\r\nXCLAIM\r\n", func() bool {
		list, _ := s.Do(1, "XPENDING", "s", "g", "-", "+", "1")
		return strings.HasSuffix(strings.TrimSpace(list), "\n2")
	})
	armed.Store(true)
	c := open(t, url+"/?ack_timeout=10m", Options{})
	addNumbers(t, s, "s", "1")
	w := newMate(t, c, "g", "s")
	w.verdict(driver.VerdictNack, 0, w.wants("1 1")...)
	w.wants("1 3")
	if !lost.Load() {
		t.Error("no answer was lost")
	}
}

// endsInWait is a context that ends while Fetch begins to wait.
type endsInWait struct {
	context.Context
	cancel context.CancelFunc
}

func (c endsInWait) Done() <-chan struct{} {
	c.cancel()
	return c.Context.Done()
}

// TestFetchThatEndsIsNotWaitedFor: a Fetch whose context ends in the moment in
// which it is woken wants nothing any more, and what comes then is for others.
func TestFetchThatEndsIsNotWaitedFor(t *testing.T) {
	s, c := single(t)
	addNumbers(t, s, "s", "1")
	w := newMate(t, c, "g", "s")
	w.verdict(driver.VerdictAck, 0, w.wants("1 1")...)
	for range 20 { // each time one of two ways is taken
		notify(w.arrived) // left over from what an earlier Fetch took by itself
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := w.Fetch(endsInWait{ctx, cancel}, nil); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		w.mu.Lock()
		wanted := w.wanted
		w.mu.Unlock()
		if wanted {
			t.Fatal("the member goes on to read for a Fetch that has ended")
		}
	}
}

// TestWithoutScripts: a user who may not run scripts is told what is missing.
func TestWithoutScripts(t *testing.T) {
	s, _ := single(t)
	addNumbers(t, s, "s", "1")
	s.Call(t, 1, "ACL", "SETUSER", "some", "on", ">secret", "~*", "+@all", "-eval")
	u := strings.Replace(s.URL(), "://", "://some:secret@", 1)
	c := open(t, u, Options{})
	if _, err := c.Consumer(t.Context(), driver.ConsumerConfig{Group: "g", Streams: []string{"s"}}); !errors.Is(err, driver.ErrDenied) || !strings.Contains(err.Error(), "eval") {
		t.Errorf("got %v", err)
	}
}
