package seastreamer_test

import (
	"testing"
	"testing/synctest"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

// What somebody else is closing has to come to its end before the backend is
// closed: what it still stores would be refused.
func TestCloseWaitsForWhatIsBeingClosed(t *testing.T) {
	for name, c := range map[string]struct {
		op   drivertest.Op
		open func(*testing.T, *seastreamer.Streamer) func() error // what closes it
	}{
		"a consumer": {drivertest.OpCommit, func(t *testing.T, s *seastreamer.Streamer) func() error {
			c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", CommitEvery: -1})
			return func() error { return c.Close(t.Context()) }
		}},
		"a named producer": {drivertest.OpUnit, func(t *testing.T, s *seastreamer.Streamer) func() error {
			p := namedProducer(t, s)
			if err := p.Enqueue(t.Context(), seastreamer.Record{ID: 1}, nil); err != nil {
				t.Fatal(err)
			}
			return func() error { return p.Close(t.Context()) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.NewStore()
				onStore(t, store, 1, nil)
				until := make(chan struct{})
				s := seastreamer.New(drivertest.Faults(store.Driver(memory.Options{}), drivertest.Nth(c.op, 1, drivertest.Fault{Wait: until})), seastreamer.Options{})
				closePart := c.open(t, s)
				synctest.Wait()
				ended, closed := make(chan error, 1), make(chan error, 1)
				go func() { ended <- closePart() }()
				synctest.Wait()
				go func() { closed <- s.Close(t.Context()) }()
				synctest.Wait()
				select {
				case err := <-closed:
					t.Errorf("the streamer is closed before %s is", name)
					closed <- err
				default:
				}
				close(until)
				if err := <-ended; err != nil {
					t.Errorf("closing %s: %v", name, err)
				}
				if err := <-closed; err != nil {
					t.Errorf("closing the streamer: %v", err)
				}
			})
		})
	}
}
