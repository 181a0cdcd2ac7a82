package tap

import (
	"context"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/receive"
)

const (
	// lookEvery is how often somebody looks whether a session is over.
	lookEvery = 5 * time.Millisecond
	// handoutEvery is how often the group is asked how far it is.
	handoutEvery = 20 * time.Millisecond
	// handoutLooks is at how many looks nothing may come, of what the group has
	// handed out last, until it does not come at all. They are counted, and no
	// time is taken: in a process that was held up time goes by in which nothing
	// could come.
	handoutLooks = 40
)

// A handout finds out when a session with a group is over whose broker hands
// out messages, not shards: no position of ours says so, since any of the
// messages may have gone to another member. It is over when the group has
// handed out everything before the mark, and nothing of that is still on its
// way here, which only waiting can tell: the broker has sent it by then. What
// takes longer is not lost, the next reader gets it.
type handout struct {
	s         *ss.Streamer
	delivered func(context.Context) (map[ss.Shard]ss.Seq, error) // nil where the backend does not say

	asked time.Time // when the group was asked last
	quiet int       // looks since all was handed out, or came something later
	next  map[ss.Shard]ss.Seq
}

func newHandout(s *ss.Streamer, cfg *ss.ConsumerConfig) *handout {
	h := &handout{s: s}
	d, ok := ss.As[receive.Deliverer](s)
	if ok {
		h.delivered = func(ctx context.Context) (map[ss.Shard]ss.Seq, error) {
			return d.Delivered(ctx, cfg.Group, cfg.Streams)
		}
	}
	return h
}

// came notes that something has come.
func (h *handout) came() { h.quiet = 0 }

// over reports whether nothing before the mark is to come. It is asked again
// and again while nothing comes, lookEvery apart.
func (h *handout) over(ctx context.Context, mark ss.Checkpoint) bool {
	if !h.before(mark) && h.delivered != nil {
		if time.Since(h.asked) < handoutEvery {
			return false
		}
		next, err := h.delivered(ctx)
		h.asked = time.Now()
		if err != nil {
			return false // the consumer says it too, or it passes
		}
		if h.next = next; !h.before(mark) {
			return false
		}
		h.quiet = 0
	}
	h.quiet++
	return h.quiet > handoutLooks
}

// before reports whether the group is known to have handed out all before the
// mark.
func (h *handout) before(mark ss.Checkpoint) bool {
	for sh, end := range mark {
		if h.next[sh].Less(end) {
			return false
		}
	}
	return true
}
