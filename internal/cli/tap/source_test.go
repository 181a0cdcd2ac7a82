package tap

import (
	"sync"
	"testing"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/internal/cli/receive"
	"github.com/seastreamer/seastreamer/internal/pipe"
)

// A stream may get shards just while a session goes back to the beginning. (That is
// for the race detector to see.)
func TestRestartWhileAShardComes(t *testing.T) {
	s := ss.New(memory.NewStore().Driver(memory.Options{}), ss.Options{})
	defer s.Close(t.Context())
	p, err := s.Producer(t.Context(), ss.ProducerConfig{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), ss.Record{Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	plan := &receive.Plan{Config: ss.ConsumerConfig{Streams: []string{"s"}, Start: ss.Earliest, Ack: ss.AckExplicit}}
	c, err := s.Consumer(t.Context(), plan.Config)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(100) {
		src := newSource(nil, s, c, plan, nil)
		src.assigned([]ss.Position{{Shard: ss.Shard{Stream: "s"}}})
		var both sync.WaitGroup
		both.Go(func() { src.assigned([]ss.Position{{Shard: ss.Shard{Stream: "s", Index: 1 + i}}}) })
		_ = src.Seek(t.Context(), pipe.Restart) // where it comes after the shard, that is none of this consumer's
		both.Wait()
	}
}
