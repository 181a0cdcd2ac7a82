package redis

import (
	"errors"
	"slices"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
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
