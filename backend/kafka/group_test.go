package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A member that the group has given up is told so: its shards are revoked as
// lost, its commit is refused, and it gets them again with a new generation.
func TestGivenUpByTheGroup(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "s"))
	c := open(t, url(cluster.ListenAddrs(), "session_timeout=6s"), Options{})
	put(t, raw(t, cluster.ListenAddrs()), "a")

	var mu sync.Mutex
	var gens []uint64
	lost := make(chan []driver.Shard, 10)
	again := make(chan struct{}, 10)
	k, err := c.Consumer(within(t), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Earliest, Events: driver.Events{
		Assigned: func(_ context.Context, at []driver.Position) (uint64, []driver.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			gens = append(gens, uint64(len(gens)+1))
			again <- struct{}{}
			return gens[len(gens)-1], nil, nil
		},
		Revoked: func(_ context.Context, s []driver.Shard, isLost bool) {
			if isLost {
				lost <- s
			}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close(context.Background())
	ctx := within(t)
	batches, err := k.Fetch(ctx, nil)
	if err != nil || len(batches) == 0 || batches[0].Gen() != 1 {
		t.Fatalf("first Fetch: %d batches, %v, want one of generation 1", len(batches), err)
	}
	<-again

	refuse := func(key kmsg.Key, answer func(kmsg.Request) kmsg.Response) { // the next one
		cluster.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) { return answer(r), nil, true })
	}
	refuse(kmsg.OffsetCommit, func(r kmsg.Request) kmsg.Response {
		req := r.(*kmsg.OffsetCommitRequest)
		resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewOffsetCommitResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewOffsetCommitResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.IllegalGeneration.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp
	})
	at := []driver.Position{{Shard: shard("s", 0), Next: driver.SeqOf(1)}}
	if err := k.(driver.Committer).Commit(ctx, at); !errors.Is(err, driver.ErrFenced) {
		t.Errorf("a commit of a generation that is over: %v, want ErrFenced", err)
	}
	refuse(kmsg.Heartbeat, func(r kmsg.Request) kmsg.Response {
		resp := r.(*kmsg.HeartbeatRequest).ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.UnknownMemberID.Code
		return resp
	})
	stop := make(chan struct{})
	fetched := make(chan struct{})
	var last atomic.Uint64
	go func() { // the core's loop goes on meanwhile
		defer close(fetched)
		for {
			poll, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			got, _ := k.Fetch(poll, nil)
			cancel()
			for _, b := range got {
				last.Store(b.Gen())
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	select {
	case s := <-lost:
		slices.SortFunc(s, driver.Shard.Compare)
		if want := []driver.Shard{shard("s", 0), shard("s", 1)}; !slices.Equal(s, want) {
			t.Errorf("lost %v, want %v", s, want)
		}
	case <-ctx.Done():
		t.Fatal("nothing was revoked as lost")
	}
	select {
	case <-again:
	case <-ctx.Done():
		t.Fatal("the shards were not assigned again")
	}
	put(t, raw(t, cluster.ListenAddrs()), "b")
	for last.Load() < 2 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	<-fetched
	mu.Lock()
	defer mu.Unlock()
	if last.Load() != gens[len(gens)-1] {
		t.Errorf("batches are of generation %d, want %d", last.Load(), gens[len(gens)-1])
	}
}

// What the core says of Assigned ends the consumer.
func TestAssignedFails(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), "session_timeout=6s"), Options{})
	wrong := errors.New("wrong")
	events := driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { return 0, nil, wrong },
		Revoked:  func(context.Context, []driver.Shard, bool) {},
	}
	if _, err := c.Consumer(within(t), driver.ConsumerConfig{Streams: []string{"s"}, Events: events}); !errors.Is(err, wrong) {
		t.Errorf("without a group: Consumer returned %v, want the error of Assigned", err)
	}
	k, err := c.Consumer(within(t), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Events: events})
	if err == nil {
		_, err = k.Fetch(within(t), nil)
		defer k.Close(context.Background())
	}
	if !errors.Is(err, wrong) {
		t.Errorf("with a group: Fetch returned %v, want the error of Assigned", err)
	}
}

// Receipts say replicated where two copies are certain.
func TestClass(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(3))
	cl := raw(t, cluster.ListenAddrs())
	for _, test := range []struct {
		stream   string
		replicas int16
		inSync   string
		want     driver.Class
	}{
		{"one", 1, "1", driver.ClassProcess},
		{"three-1", 3, "1", driver.ClassProcess},
		{"three-2", 3, "2", driver.ClassReplicated},
	} {
		req := kmsg.NewPtrCreateTopicsRequest()
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = test.stream, 1, test.replicas
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = "min.insync.replicas", &test.inSync
		topic.Configs = append(topic.Configs, config)
		req.Topics = append(req.Topics, topic)
		resp, err := req.RequestWith(within(t), cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		}
		if err != nil {
			t.Fatal(err)
		}
		c := open(t, url(cluster.ListenAddrs(), ""), Options{})
		p := producerOf(t, c, driver.ProducerConfig{})
		if _, err := sendOne(t, p, driver.Record{Stream: test.stream}); err != nil {
			t.Fatal(err)
		}
		c.work.Wait() // the probe has ended
		r, err := sendOne(t, p, driver.Record{Stream: test.stream})
		if err != nil || r.Class != test.want {
			t.Errorf("%s: class %v, %v, want %v", test.stream, r.Class, err, test.want)
		}
		q := producerOf(t, c, driver.ProducerConfig{Durability: driver.AtMostOnce})
		if r, err := sendOne(t, q, driver.Record{Stream: test.stream}); err != nil || r.Class != driver.ClassNone {
			t.Errorf("%s, at most once: class %v, %v, want none", test.stream, r.Class, err)
		}
	}
}
