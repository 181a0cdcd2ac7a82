package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// TestLossOfNothing: a broker that comes back with a shorter log has lost
// nothing of a reader's when all that was delivered is still there: franz-go
// stood past it only because of a marker or of aborted records.
func TestLossOfNothing(t *testing.T) {
	s := driver.Shard{Stream: "orders", Index: 3}
	for _, to := range []int64{226, 227} {
		m := &consumer{at: map[driver.Shard]*cursor{s: {id: s, next: 226}}}
		err := m.failure(t.Context(), s, &kgo.ErrDataLoss{Topic: s.Stream, Partition: s.Index, ConsumedTo: 228, ResetTo: to})
		if err != nil || len(m.gaps) != 0 || m.at[s].next != 226 {
			t.Errorf("reset to %d of what was delivered up to 226: error %v, gaps %v, next %d; want no error, no gap, 226",
				to, err, m.gaps, m.at[s].next)
		}
	}
}
