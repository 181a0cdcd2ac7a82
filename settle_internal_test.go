package seastreamer

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
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

// A fetchUntilClosed is a driver's consumer whose Fetch ends when it is closed.
type fetchUntilClosed struct {
	driver.Consumer
	end func()
}

func (d fetchUntilClosed) Close(context.Context) error { d.end(); return nil }

// A slowContext is looked at when all others have done what they can.
type slowContext struct{ context.Context }

func (c slowContext) Done() <-chan struct{} { synctest.Wait(); return c.Context.Done() }

// Where there was no time to hand messages back Close says so, also where what
// comes after that is done at once.
func TestCloseWithoutTimeToHandBack(t *testing.T) {
	for range 20 { // of an end and a context that are both there either may be seen
		synctest.Test(t, func(t *testing.T) {
			c := &Consumer{owner: new(Streamer), queue: newPrefetch(0), settler: deafSettler{}, windows: map[Shard]*window{}}
			c.life, c.end = context.WithCancel(t.Context())
			c.running.Add(1)
			c.d = fetchUntilClosed{end: c.running.Done}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := c.Close(slowContext{ctx}); !errors.Is(err, context.Canceled) {
				t.Errorf("Close: %v, want the context's cause", err)
			}
		})
	}
}
