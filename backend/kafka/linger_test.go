package kafka

import (
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/seastreamer/seastreamer/driver"
)

// rounds are those in which two meet that have to come at the same instant; the
// race detector makes each a hundred times slower.
func rounds() int {
	if raced {
		return 100
	}
	return 1000
}

// TestFlushMeetsProduce: a record that is on its way to franz-go while Flush
// begins does not linger there while Flush waits for it.
func TestFlushMeetsProduce(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	p := producerOf(t, c, driver.ProducerConfig{Linger: time.Minute})
	for i := range rounds() {
		var producing sync.WaitGroup
		producing.Go(func() {
			if err := p.Produce(t.Context(), driver.Record{Stream: "s"}, func(driver.Receipt, error) {}); err != nil {
				t.Error(err)
			}
		})
		for range 2 {
			begun := time.Now()
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took > 30*time.Second {
				t.Fatalf("round %d: Flush took %v", i, took)
			}
		}
		producing.Wait()
	}
}

// TestRoomMeetsProduce: nor does it while another one waits for its room.
func TestRoomMeetsProduce(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	p := producerOf(t, c, driver.ProducerConfig{Linger: time.Minute, MaxBytes: 1})
	for i := range rounds() / 10 {
		var producing sync.WaitGroup
		for range 3 {
			producing.Go(func() {
				begun := time.Now()
				if err := p.Produce(t.Context(), driver.Record{Stream: "s"}, func(driver.Receipt, error) {}); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took > 30*time.Second {
					t.Errorf("round %d: Produce took %v", i, took)
				}
			})
		}
		if producing.Wait(); t.Failed() {
			return
		}
	}
}
