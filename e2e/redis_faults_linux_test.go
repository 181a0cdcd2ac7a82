package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/redis"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// faults are what happens to servers under load, one after the other.
type faults struct {
	t     *testing.T
	s     *redistest.Servers
	rnd   *rand.Rand
	loads []*load
	live  *live // of the first load

	done      map[string]int
	effective int
	all       int
	slowest   time.Duration // from when the servers are well until every stream has an acknowledgement again
	longest   time.Duration // from a fault until the servers are well again
}

// kinds of faults, by the names under which they are counted.
const (
	kill      = "kill"
	partition = "partition"
	pause     = "pause"
	reshard   = "reshard"
	failover  = "failover"
)

// lasts is how long a node is gone: the others have chosen a new master by then.
const lasts = 3 * time.Second

// strike does one fault to the master of a random slot and heals it.
func (f *faults) strike(kind string) {
	t, s := f.t, f.s
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	master := masterOf(t, s, f.rnd.IntN(16384))
	// It must be in the middle of work to count. Where answers come at once that
	// is seldom so.
	flying := f.inFlight()
	for late := time.Now().Add(10 * time.Second); flying == 0 && time.Now().Before(late); flying = f.inFlight() {
		time.Sleep(200 * time.Microsecond)
	}
	if flying > 0 {
		f.effective++
	}
	f.all++
	f.done[kind]++
	begun := time.Now()
	switch kind {
	case kill:
		s.Kill(master)
		time.Sleep(lasts)
		if err := s.Restart(ctx, master); err != nil {
			t.Fatal(err)
		}
	case pause:
		if err := s.Pause(master); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lasts)
		if err := s.Continue(master); err != nil {
			t.Fatal(err)
		}
	case partition:
		f.apart(master, part)
		time.Sleep(lasts)
		f.apart(master, heal)
	case reshard:
		f.reshard(master)
	case failover:
		var err error
		if master, err = s.Failover(ctx, master); err != nil {
			t.Fatal(err)
		}
	}
	healed := time.Now()
	if err := s.Ready(ctx); err != nil {
		t.Fatalf("%s of node %d: %v\n%s", kind, master, err, f.state())
	}
	well := time.Since(healed)
	f.longest = max(f.longest, time.Since(begun))
	going := f.goesOn(healed)
	f.slowest = max(f.slowest, going)
	t.Logf("%s of node %d for %v with %d messages in flight; the servers were well after %v more, every stream went on %v after that",
		kind, master, healed.Sub(begun).Round(time.Millisecond), flying, well.Round(time.Millisecond), going.Round(time.Millisecond))
}

// inFlight is how many messages have no outcome at this moment.
func (f *faults) inFlight() (n int64) {
	for _, l := range f.loads {
		n += l.inFlight.Load()
	}
	return n
}

// goesOn waits until every stream of every load has had an acknowledgement
// since then, and returns how long it waited. If that takes half a minute it
// never will: the stacks say why.
func (f *faults) goesOn(then time.Time) time.Duration {
	for begun := time.Now(); ; {
		silent := 0
		for _, l := range f.loads {
			silent += l.since(then)
		}
		took := time.Since(begun)
		if silent == 0 {
			return took
		}
		if took > 30*time.Second {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			for _, l := range f.loads {
				s := l.sums()
				f.t.Logf("%s: %d in flight, %d of its streams silent, for instance %s; %+v", l.class, l.inFlight.Load(), l.since(then), l.oneSince(then), s)
			}
			f.t.Fatalf("%d streams have had no acknowledgement for %v although all is well\n%s\n%s", silent, took, stacks.String(), f.state())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// state is what each node says about all, and the ends of their logs.
func (f *faults) state() string {
	var b strings.Builder
	for n := 1; n <= f.s.Len(); n++ {
		nodes, err := f.s.Do(n, "CLUSTER", "NODES")
		log := f.s.Log(n)
		fmt.Fprintf(&b, "node %d, process %d: %v\n%s%s\n", n, f.s.PID(n), err, nodes, log[max(0, len(log)-3000):])
	}
	return b.String()
}

// apart parts a node from all others, but not from clients, or heals that.
func (f *faults) apart(node int, how func(*testing.T, string, string)) {
	for o := 1; o <= f.s.Len(); o++ {
		if o != node {
			how(f.t, hostOf(f.s, node), hostOf(f.s, o))
		}
	}
}

func hostOf(s *redistest.Servers, node int) string {
	host, _, _ := net.SplitHostPort(s.Addr(node))
	return host
}

// reshard moves slots from a master to another with redis-cli, as an operator
// does.
func (f *faults) reshard(from int) {
	t, s := f.t, f.s
	to := from
	for to == from {
		to = masterOf(t, s, f.rnd.IntN(16384))
	}
	before := f.slots(from)
	out := sh(t, "redis-cli", "--cluster", "reshard", s.Addr(from), "--cluster-from", s.Call(t, from, "CLUSTER", "MYID"),
		"--cluster-to", s.Call(t, to, "CLUSTER", "MYID"), "--cluster-slots", strconv.Itoa(min(500, before/2)), "--cluster-yes")
	if moved := before - f.slots(from); moved < 1 {
		t.Errorf("no slot was moved by redis-cli --cluster reshard:\n%s", out[max(0, len(out)-500):])
	}
}

// slots is how many slots a node serves by its own word.
func (f *faults) slots(node int) (n int) {
	for line := range strings.Lines(f.s.Call(f.t, node, "CLUSTER", "NODES")) {
		w := strings.Fields(line)
		if len(w) < 8 || !strings.Contains(w[2], "myself") {
			continue
		}
		for _, r := range w[8:] {
			first, last, ok := strings.Cut(r, "-")
			if !ok {
				last = first
			}
			a, err1 := strconv.Atoi(first)
			b, err2 := strconv.Atoi(last)
			if err1 == nil && err2 == nil {
				n += b - a + 1
			}
		}
	}
	return n
}

// plan is the faults in random order.
func plan(rnd *rand.Rand, counts map[string]int) (kinds []string) {
	for _, kind := range []string{partition, kill, pause, reshard, failover} {
		for range counts[kind] {
			kinds = append(kinds, kind)
		}
	}
	rnd.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	return kinds
}

// TestRedisClusterFaults does to a cluster what networks, machines and
// operators do, under two loads: one whose messages are acknowledged when a
// replica has them, which may lose nothing, and one whose messages are
// acknowledged by their master alone, whose loss is measured.
//
// REDIS_ROUNDS=100 does each of the five faults a hundred times, over
// REDIS_STREAMS streams, at REDIS_RATE messages a second; SEED repeats a run.
func TestRedisClusterFaults(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	rnd, seed := seeded(t)
	counts := map[string]int{partition: 2, kill: 2, reshard: 3}
	streams, rate := fromEnv(t, "REDIS_STREAMS", 120), fromEnv(t, "REDIS_RATE", 4000)
	if rounds := fromEnv(t, "REDIS_ROUNDS", 0); rounds > 0 {
		counts = map[string]int{partition: rounds, kill: rounds, pause: rounds, reshard: rounds, failover: rounds}
	}
	s := redistest.ClusterForTest(t, redistest.Options{AppendOnly: true, OwnAddresses: true})
	replicated := startLoad(t, s, newAccounts(seed, "replicated", streams/2), "replicated(1)", redis.Options{Replicas: 1}, rate/2)
	process := startLoad(t, s, newAccounts(seed, "process", streams/2), "process", redis.Options{}, rate/2)
	f := &faults{t: t, s: s, rnd: rnd, loads: []*load{replicated, process}, live: replicated.startLive(t, s), done: map[string]int{}}
	for _, kind := range plan(rnd, counts) {
		f.strike(kind)
	}
	f.verdict(seed, replicated)
}

// TestRedisSentinelFaults does the same to a master with two replicas that
// sentinels watch; a message is acknowledged when both replicas have it, since
// either may become the master.
//
// REDIS_FAILOVERS=50 has that many fail-overs.
func TestRedisSentinelFaults(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	rnd, seed := seeded(t)
	n := fromEnv(t, "REDIS_FAILOVERS", 2)
	counts := map[string]int{kill: (n + 1) / 2, partition: n / 2}
	if n > 3 {
		counts = map[string]int{kill: n - n/4*3, partition: n / 4, pause: n / 4, failover: n / 4}
	}
	streams, rate := fromEnv(t, "REDIS_STREAMS", 40), fromEnv(t, "REDIS_RATE", 2000)
	s := redistest.SentinelForTest(t, redistest.Options{AppendOnly: true, OwnAddresses: true})
	replicated := startLoad(t, s, newAccounts(seed, "replicated", streams/2), "replicated(2)", redis.Options{Replicas: 2}, rate/2)
	process := startLoad(t, s, newAccounts(seed, "process", streams/2), "process", redis.Options{}, rate/2)
	f := &faults{t: t, s: s, rnd: rnd, loads: []*load{replicated, process}, live: replicated.startLive(t, s), done: map[string]int{}}
	for _, kind := range plan(rnd, counts) {
		f.strike(kind)
	}
	f.verdict(seed, replicated)
}

// verdict stops the loads, reads everything back in two ways and says what
// held.
func (f *faults) verdict(seed uint64, replicated *load) {
	t := f.t
	var wg sync.WaitGroup
	for _, l := range f.loads {
		wg.Go(func() { l.finish(t) })
	}
	wg.Wait()
	var said []string
	for _, kind := range []string{partition, kill, pause, reshard, failover} {
		if n := f.done[kind]; n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, kind))
		}
	}
	c := &claims{t: t}
	defer c.end()
	t.Logf("seed %d: %s", seed, strings.Join(said, ", "))
	c.check(f.effective*100 >= 80*f.all, "%d of %d faults hit messages in flight, at least 80 %%", f.effective, f.all)
	c.check(f.slowest <= 10*time.Second, "every stream had an acknowledgement again %v after the servers were well, at most 10 s", f.slowest.Round(time.Millisecond))
	v, took, err := f.live.finish()
	c.check(err == nil, "a consumer that read all the while never failed: %v", err)
	c.check(v.lost == 0 && v.sound(), "%s: it has read, %v after the last was sent, %v; in %d streams it was told of gaps: %v, behind which %d messages came again",
		replicated.class, took.Round(time.Millisecond), v, len(f.live.told), f.live.gaps, v.again)
	for _, l := range f.loads {
		name, sum := l.class, l.sums()
		c.check(sum.unresolved == 0, "%s: each of %d messages has one outcome: %d acknowledged, %d unknown, %d not written, %d none",
			name, sum.sent, sum.acked, sum.unknown, sum.notWritten, sum.unresolved)
		c.check(sum.acked*10 > sum.sent*9, "%s: %d of %d were acknowledged, more than 90 %%", name, sum.acked, sum.sent)
		limit := f.longest + 10*time.Second // how long the servers take is up to them
		c.check(sum.stall <= limit, "%s: no stream went without an acknowledgement for more than %v, the longest was %v: %s",
			name, limit.Round(time.Millisecond), sum.stall.Round(time.Millisecond), sum.stallOf)
		if l == replicated {
			c.check(int(l.classes[seastreamer.ClassReplicated].Load()) == sum.acked, "%s: so say all receipts: %s", name, l.receipts())
		} else {
			// Memory is what they say while it is not known who the master is.
			c.check(l.classes[seastreamer.ClassProcess].Load() > 0 && l.classes[seastreamer.ClassReplicated].Load() == 0, "%s: no receipt says more: %s", name, l.receipts())
		}
		cold, witness := both(t, f.s, l.accounts)
		for who, v := range map[string]verdict{"a fresh client": cold, "redis-cli": witness} {
			c.check(v.sound(), "%s: %s reads %v", name, who, v)
			if l == replicated {
				c.check(v.lost == 0, "%s: nothing acknowledged is lost to %s", name, who)
			}
		}
		c.check(cold.messages == witness.messages, "%s: both read %d messages", name, cold.messages)
		if l != replicated {
			t.Logf("process: %d of %d acknowledged messages were lost (%.4f %%), as this class may", witness.lost, sum.acked, 100*float64(witness.lost)/float64(max(1, sum.acked)))
		}
	}
}
