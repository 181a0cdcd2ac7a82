package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

var toLatest = map[driver.Shard]driver.Start{{Stream: "s"}: driver.Latest}

// joined is a member of generation 5, whose Assigned waits for release.
func joined(t *testing.T, c *client, called, release chan struct{}) driver.Consumer {
	t.Helper()
	k, err := c.Consumer(within(t), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Earliest, Events: driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) {
			close(called)
			<-release
			return 5, nil, nil
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close(context.Background()) })
	return k
}

// wantAll wants the next batch to be the whole shard, under the generation of
// Assigned.
func wantAll(t *testing.T, k driver.Consumer) {
	t.Helper()
	got, err := k.Fetch(within(t), nil)
	if err != nil || len(got) != 1 {
		t.Fatalf("Fetch has %d batches, %v, want one", len(got), err)
	}
	if b := got[0]; b.Gen() != 5 || b.Len() == 0 || b.Seq(0) != driver.SeqOf(0) {
		t.Errorf("the batch is of generation %d, with %d messages, and moves to %v; want 5, and from the first message on", b.Gen(), b.Len(), b.Next())
	}
}

// TestSeekThatFails: a Seek that was given up while its shard was being assigned
// has moved nothing.
func TestSeekThatFails(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	put(t, raw(t, cluster.ListenAddrs()), "a")
	called, release := make(chan struct{}), make(chan struct{})
	k := joined(t, c, called, release)
	<-called
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if at, err := k.Seek(ctx, 6, toLatest); err == nil {
		t.Errorf("Seek before the shard is read says %v, want an error", at)
	}
	close(release)
	wantAll(t, k)
}

// TestSeekOfAShardThatCameSince: the core has asked for a Seek, and then the
// shard left and was assigned anew, under a later generation, which stays.
func TestSeekOfAShardThatCameSince(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	put(t, raw(t, cluster.ListenAddrs()), "a")
	called, release := make(chan struct{}), make(chan struct{})
	close(release)
	k := joined(t, c, called, release)
	<-called
	if at, err := k.Seek(within(t), 4, toLatest); err != nil || len(at) > 0 {
		t.Errorf("Seek moved %v, %v, want nothing", at, err)
	}
	wantAll(t, k)
}

// TestSeekFromAGap: a gap that was not told yet is not told after a Seek of its
// shard, which has made it obsolete.
func TestSeekFromAGap(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	put(t, raw(t, cluster.ListenAddrs()), "a", "b")
	at := func(n uint64) []driver.Position {
		return []driver.Position{{Shard: shard("s", 0), Next: driver.SeqOf(n)}}
	}
	if err := c.SetPositions(within(t), "g", at(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Trim(within(t), at(1)); err != nil {
		t.Fatal(err)
	}
	called, release := make(chan struct{}), make(chan struct{})
	close(release)
	k := joined(t, c, called, release)
	<-called
	if _, err := k.Seek(within(t), 6, map[driver.Shard]driver.Start{{Stream: "s"}: driver.Earliest}); err != nil {
		t.Fatal(err)
	}
	got, err := k.Fetch(within(t), nil)
	if err != nil || len(got) != 1 || got[0].Seq(0) != driver.SeqOf(1) {
		t.Errorf("after the Seek there are %d batches, %v, want one that begins with the first message", len(got), err)
	}
}

// TestCloseDuringSeek: Close does not wait for what a Seek waits for.
func TestCloseDuringSeek(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	r := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}})
	asked, release := make(chan struct{}), make(chan struct{})
	cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(asked)
		cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	defer close(release)
	sought := make(chan error, 1)
	go func() {
		_, err := r.c.Seek(context.Background(), 9, toLatest)
		sought <- err
	}()
	<-asked
	if err := r.c.Close(within(t)); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-sought; !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Seek: %v, want ErrClosed", err)
	}
}
