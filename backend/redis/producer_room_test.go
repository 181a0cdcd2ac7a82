package redis

import (
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// Who waits for room gets what there is, also where most of the room is taken by
// records that a shard holds for long, as its server is away.
func TestProduceRoomBesideHeld(t *testing.T) {
	t.Parallel()
	const most = 10_000
	r := redistest.ForTest(t, redistest.Options{})
	p := producerForTest(t, r.URL(), driver.ProducerConfig{MaxBytes: most})
	l := newLedger(t, p, "s", 1)
	if err := l.send(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	flush(t, p)
	p.mu.Lock()
	held := tally{bytes: most * 8 / 10, run: p.enter(most * 8 / 10), n: 1}
	p.mu.Unlock()
	if err := r.Pause(1); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		for range most / sendCost {
			if err := l.send(t.Context(), 0); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	until(t, "there is no room", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.waiting > 0
	})
	if err := r.Continue(1); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-sent:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		p.mu.Lock()
		t.Errorf("it waits for room, of which %d bytes are there", p.max-p.inflight)
		p.account(&held)
		p.mu.Unlock()
		<-sent
	}
	p.mu.Lock()
	p.account(&held)
	p.mu.Unlock()
	flush(t, p)
	l.check(entries(t, r, 1))
}
