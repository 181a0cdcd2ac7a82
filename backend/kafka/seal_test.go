package kafka

import (
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestSealedBehindAnEmptyUnit: a unit without records has not waited until the
// one before it was ended everywhere, and so the next one that has some waits.
func TestSealedBehindAnEmptyUnit(t *testing.T) {
	k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "out"))
	o, at := claimed(t, open(t, url(k.ListenAddrs(), ""), Options{}), "job")
	if err := unitOf(t, o, at); err != nil {
		t.Fatal(err)
	}
	if err := o.lastSealed(within(t)); err != nil {
		t.Fatal(err)
	}
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	k.ControlKey(int16(kmsg.DescribeProducers), func(kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		once.Do(func() { close(asked) })
		k.SleepControl(func() { <-release })
		return nil, nil, false
	})
	if err := unitOf(t, o, at+1); err != nil {
		t.Fatal(err)
	}
	<-asked
	empty, err := o.Begin(within(t))
	if err == nil {
		err = empty.Abort(within(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	third := make(chan error, 1)
	go func() { third <- unitOf(t, o, at+2) }()
	select {
	case err := <-third:
		t.Errorf("a unit has ended, and the one before it is not ended everywhere: %v", err)
		third <- err
	case <-time.After(100 * time.Millisecond): // it waits
	}
	close(release)
	if err := <-third; err != nil {
		t.Error(err)
	}
}
