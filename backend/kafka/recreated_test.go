package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

const remadeShards = 3

// remake deletes the stream s and makes it anew, with one message in each shard.
func remake(t *testing.T, cluster *kfake.Cluster) {
	t.Helper()
	cl, s := raw(t, cluster.ListenAddrs()), "s"
	del := kmsg.NewPtrDeleteTopicsRequest()
	dt := kmsg.NewDeleteTopicsRequestTopic()
	dt.Topic = &s
	del.Topics, del.TopicNames = append(del.Topics, dt), []string{s}
	gone, err := del.RequestWith(within(t), cl)
	if err == nil {
		err = kerr.ErrorForCode(gone.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	ct := kmsg.NewCreateTopicsRequestTopic()
	ct.Topic, ct.NumPartitions, ct.ReplicationFactor = s, remadeShards, 1
	create.Topics = append(create.Topics, ct)
	made, err := create.RequestWith(within(t), cl)
	if err == nil {
		err = kerr.ErrorForCode(made.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	putAll(t, cluster, "new")
}

func putAll(t *testing.T, cluster *kfake.Cluster, values ...string) {
	t.Helper()
	cl := raw(t, cluster.ListenAddrs())
	for i := range int32(remadeShards) {
		for _, v := range values {
			if err := cl.ProduceSync(within(t), &kgo.Record{Topic: "s", Partition: i, Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// readRemade reads the stream s up to its end, makes it anew, and returns what
// the consumer is about to learn of it.
func readRemade(t *testing.T, c *client, cluster *kfake.Cluster, group string) (*reader, *consumer, topic) {
	t.Helper()
	putAll(t, cluster, "old", "older")
	r := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Group: group, Start: driver.Earliest})
	r.until("what there is", func() bool { return len(r.values) == 2*remadeShards })
	r.values = nil
	remake(t, cluster)
	ts, err := topics(within(t), c, c.cl, false, "s")
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := r.c.(*member); ok {
		return r, m.consumer, ts["s"]
	}
	return r, r.c.(*consumer), ts["s"]
}

// wantRemade reads on, and wants all of the new stream and a gap in each shard.
func (r *reader) wantRemade() {
	r.t.Helper()
	r.until("what is new", func() bool { return len(r.values) >= remadeShards && len(r.gaps) >= remadeShards })
	if want := slices.Repeat([]string{"new"}, remadeShards); !slices.Equal(r.values, want) {
		r.t.Errorf("read %q, want %q", r.values, want)
	}
	var want []*driver.GapError
	for i := range int32(remadeShards) {
		want = append(want, &driver.GapError{Shard: shard("s", i), From: driver.SeqOf(2), To: driver.SeqOf(0), Cause: driver.GapRecreated})
	}
	slices.SortFunc(r.gaps, func(a, b *driver.GapError) int { return a.Shard.Compare(b.Shard) })
	if diff := cmp.Diff(want, r.gaps); diff != "" {
		r.t.Errorf("gaps (-want +got):\n%s", diff)
	}
}

// TestRecreatedInGroup: a member of a group reads a stream that was made anew
// from its beginning and tells a gap in each shard, whether its shards leave it
// before franz-go knows the stream again or after. Its progress in the old one
// is not stored for the new one.
func TestRecreatedInGroup(t *testing.T) {
	for _, first := range []string{"the shards leave", "the stream is known again"} {
		t.Run(first, func(t *testing.T) {
			cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(remadeShards, "s"))
			c := open(t, url(cluster.ListenAddrs(), ""), Options{})
			r, m, now := readRemade(t, c, cluster, "g")
			old := []driver.Position{{Shard: shard("s", 0), Next: driver.SeqOf(2)}}
			m.events.Lock()
			revoked := m.conf.Revoked
			m.conf.Revoked = func(ctx context.Context, s []driver.Shard, lost bool) { // as the core does
				if err := (&member{m}).Commit(ctx, old); !errors.Is(err, driver.ErrFenced) {
					t.Errorf("progress in the old stream, when it leaves: %v, want ErrFenced", err)
				}
				revoked(ctx, s, lost)
			}
			m.events.Unlock()
			over, cancel := context.WithCancel(t.Context())
			cancel()
			m.cl.PollFetches(over) // from here on no shard leaves
			if err := m.recreated(within(t), "s", now); err != nil {
				t.Fatal(err)
			}
			if err := (&member{m}).Commit(within(t), old); !errors.Is(err, driver.ErrFenced) {
				t.Errorf("progress in the old stream: %v, want ErrFenced", err)
			}
			if first == "the stream is known again" {
				asked := make(chan struct{}, 100)
				cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
					cluster.KeepControl()
					asked <- struct{}{}
					return nil, nil, false
				})
				for range 3 { // it has dealt with an answer when it asks again
					m.cl.ForceMetadataRefresh()
					<-asked
				}
			}
			m.cl.AllowRebalance()
			r.wantRemade()
			m.events.Lock()
			m.conf.Revoked = revoked
			m.events.Unlock()
		})
	}
}

// TestRecreatedBrokenOff: it is noticed that a stream was made anew, and what
// has to be asked then fails, or there is no time for it. The next look goes on
// with it.
func TestRecreatedBrokenOff(t *testing.T) {
	for at := range 3 {
		t.Run(fmt.Sprint("question ", at+2), func(t *testing.T) {
			cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(remadeShards, "s"))
			c := open(t, url(cluster.ListenAddrs(), "metadata_age=200ms"), Options{})
			r, m, now := readRemade(t, c, cluster, "")
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			n := 0
			cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				if n++; n == at+2 {
					cancel()
				}
				return nil, nil, false
			})
			if err := m.recreated(ctx, "s", now); err != nil {
				t.Fatal(err)
			}
			r.wantRemade()
		})
	}
}

// TestAssignedBrokenOff: what the core says of new shards is no reason to end
// the consumer where it had no time for it, since a Seek had ended the Fetch.
func TestAssignedBrokenOff(t *testing.T) {
	server := startProcess(t)
	server.create(t, "s", 1)
	c := open(t, url([]string{server.addr()}, "metadata_age=200ms"), Options{})
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	calls := 0
	k, err := c.Consumer(within(t), driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(within context.Context, at []driver.Position) (uint64, []driver.Position, error) {
			if calls++; calls == 2 {
				cancel()
				<-within.Done()
				return 0, nil, within.Err()
			} else if calls == 3 {
				cancel()
			}
			return uint64(calls), nil, nil
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close(context.Background())
	server.grow(t, "s", 2)
	if _, err := k.Fetch(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("the Fetch that ends: %v", err)
	}
	ctx, cancel = context.WithCancel(within(t))
	defer cancel()
	if _, err := k.Fetch(ctx, nil); !errors.Is(err, context.Canceled) || calls != 3 {
		t.Errorf("the next Fetch: %v; Assigned was called %d times, want 3", err, calls)
	}
}
