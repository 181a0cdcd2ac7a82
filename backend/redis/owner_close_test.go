package redis

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// An owner that is closed has no connection any more, also where Close had no
// time.
func TestOwnerCloseWithoutTime(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	c := open(t, r.URL(), Options{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		o, err := c.Owner(t.Context(), driver.OwnerConfig{Name: "job"})
		if err != nil {
			t.Fatal(err)
		}
		claim(t, o, pos("in", 0, 1))
		if err := o.Close(over); err != nil {
			t.Errorf("close, with nobody in the way: %v", err)
		}
		if o.(*owner).wire != nil {
			t.Fatal("the connection is open")
		}
	}
}

// The same where somebody has the connection and is just through.
func TestOwnerCloseBehindCall(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for round := range 20_000 {
		near, far := net.Pipe()
		o := &owner{line: make(chan struct{}, 1), wire: newWire(near)}
		o.line <- struct{}{} // a call
		var both sync.WaitGroup
		both.Go(o.release)
		both.Go(func() { _ = o.Close(over) })
		both.Wait()
		left := o.wire != nil
		_, _ = near.Close(), far.Close()
		if left {
			t.Fatalf("round %d: the connection is open", round)
		}
	}
}
