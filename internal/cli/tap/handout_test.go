package tap

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	ss "github.com/seastreamer/seastreamer"
)

// What was handed out has so many looks to come, however much time a process that
// is held up lets go by between them.
func TestHandoutCountsLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sh := ss.Shard{Stream: "s"}
		mark := ss.Checkpoint{sh: ss.SeqOf(5)}
		next, asks := ss.SeqOf(3), 0
		h := &handout{delivered: func(context.Context) (map[ss.Shard]ss.Seq, error) {
			asks++
			return map[ss.Shard]ss.Seq{sh: next}, nil
		}}
		looks := func() (n int) {
			for n = 1; !h.over(t.Context(), mark); n++ {
				if n == 1 {
					time.Sleep(time.Minute) // held up
				}
				time.Sleep(lookEvery)
			}
			return n
		}
		if h.over(t.Context(), mark) || asks != 1 {
			t.Errorf("it is over before all is handed out, or %d questions are not one", asks)
		}
		time.Sleep(handoutEvery)
		next = ss.SeqOf(5)
		if n := looks(); n != handoutLooks+1 || asks != 2 {
			t.Errorf("over at look %d after %d questions, want %d and 2", n, asks, handoutLooks+1)
		}
		h.came()
		if n := looks(); n != handoutLooks+1 {
			t.Errorf("over at look %d after something came, want %d", n, handoutLooks+1)
		}
		if !h.over(t.Context(), mark) || asks != 2 {
			t.Errorf("a session in which nothing is new is not over, or asks: %d", asks)
		}
	})
}
