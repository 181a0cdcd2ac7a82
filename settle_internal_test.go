package seastreamer

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

type deafSettler struct{}

func (deafSettler) Settle(context.Context, []driver.Settlement) error { return nil }

// A loop may begin just while it is found that none has run for long. It has
// resumed fetching then, and nothing may stop it for good.
func TestALoopThatBeginsWhileTheConsumerIsFoundIdle(t *testing.T) {
	c := &Consumer{queue: newPrefetch(0), settler: deafSettler{}, ackTimeout: time.Minute, committing: make(chan struct{}, 1), idle: true}
	c.life = t.Context()
	w := newWindow(c, Position{Shard: Shard{Stream: "s"}}, 0)
	c.windows = map[Shard]*window{w.shard: w}
	w.mu.Lock() // so that the look stops in the middle
	ended := make(chan struct{})
	go func() { c.extend(); close(ended) }()
	for stacks := make([]byte, 1<<20); !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*window).working"); {
		runtime.Gosched()
	}
	leave, err := c.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	w.mu.Unlock()
	<-ended
	if c.queue.full() {
		t.Error("nothing is fetched for the loop that has begun")
	}
}
