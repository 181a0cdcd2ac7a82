package redis

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A link that reaches nobody fails what has waited for too long. What the same
// shard holds from behind that goes on only when its outcome was told.
func TestProduceOrderOfFailures(t *testing.T) {
	t.Parallel()
	p := producerForTest(t, "redis://127.0.0.1:1/?shards=1&delivery_timeout=100ms", driver.ProducerConfig{})
	p.mu.Lock()
	p.ready = true // nobody is asked what the servers are
	st, err := p.stream("s")
	if err != nil {
		p.mu.Unlock()
		t.Fatal(err)
	}
	s := st.shards[0]
	l := s.link
	var order []uint64 // of outcomes, which p.mu guards here
	var early bool
	record := func() send {
		s.seq++
		no := s.seq
		return send{no: no, cost: 1, run: p.enter(1), done: func(_ driver.Receipt, err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if err == nil {
				t.Errorf("record %d was written", no)
			}
			early = early || no == 1 && p.mending
			order = append(order, no)
		}}
	}
	// Record 1 waits to be sent, and 2 is held: before 1 was another, which was
	// told to go elsewhere.
	c := l.room(1)
	c.entries = append(c.entries, entry{send: record(), s: s})
	s.last = c.n
	s.holding, s.why = true, errors.New("MOVED")
	s.held = append(s.held, held{send: record()})
	l.watch(s)
	l.poke()
	p.mu.Unlock()
	flush(t, p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := []uint64{1, 2}; early || !slices.Equal(order, want) {
		t.Errorf("outcomes of %d, want %d; the shard went on before it knew of the first: %v", order, want, early)
	}
}

// A record to a shard that is not known makes the producer ask. Where the answer
// is no, the shards that are known stay as they are, with what they hold: what
// comes later does not overtake it.
func TestProduceOrderBesideUnknownShard(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	p := producerForTest(t, r.URL(), driver.ProducerConfig{})
	var outcomes []string
	send := func(value string, to driver.Target) {
		t.Helper()
		err := p.Produce(t.Context(), driver.Record{Stream: "s", Shard: to, Value: []byte(value)}, func(_ driver.Receipt, err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if errors.Is(err, driver.ErrDenied) {
				value += " denied"
			} else if err != nil {
				t.Errorf("record %s: %v", value, err)
			}
			outcomes = append(outcomes, value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	send("a", 0)
	flush(t, p)
	r.Call(t, 1, "CONFIG", "SET", "maxmemory", "1")
	send("b", 0)
	until(t, "b is held, and tried seldom", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.streams["s"].shards[0].tries > 5
	})
	r.Call(t, 1, "ACL", "SETUSER", "default", "-exists")
	p.mu.Lock()
	p.streams["s"].checked = p.streams["s"].checked.Add(-time.Minute) // or it is not asked again
	p.mu.Unlock()
	send("c", driver.On(9))
	until(t, "c is refused", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(outcomes) == 2
	})
	r.Call(t, 1, "ACL", "SETUSER", "default", "+exists")
	r.Call(t, 1, "CONFIG", "SET", "maxmemory", "0")
	for _, v := range []string{"d", "e", "f"} {
		send(v, 0)
	}
	flush(t, p)
	wantValues(t, r, 1, "s", "a", "b", "d", "e", "f")
	if d := cmp.Diff([]string{"a", "c denied", "b", "d", "e", "f"}, outcomes); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
}
