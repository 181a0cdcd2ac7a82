package seastreamer

import (
	"testing"
	"time"
)

// The queue is locked under a window's lock, as when a message is nacked, so
// that whoever has the queue must not wait for a window: neither would go on.
func TestDroppingWaitsForNoWindow(t *testing.T) {
	c := &Consumer{queue: newPrefetch(0)}
	w := newWindow(c, Position{Shard: Shard{Stream: "s"}}, 1)
	c.queue.push(&Batch{w: w, to: 1})
	w.mu.Lock()
	defer w.mu.Unlock()
	dropped := make(chan struct{})
	go func() { c.queue.drop(); close(dropped) }()
	select {
	case <-dropped:
	case <-time.After(time.Minute):
		t.Error("dropping waits for a window that may be waiting for the queue")
	}
}
