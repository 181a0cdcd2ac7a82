package receive

import (
	"errors"
	"sync/atomic"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// Gaps tells of messages that are missing, and remembers that there were some.
type Gaps struct {
	io *iostreams.Streams
	n  atomic.Int64
}

// NewGaps tells io.
func NewGaps(io *iostreams.Streams) *Gaps { return &Gaps{io: io} }

// Observer is what hears of gaps that the consumer goes on behind.
func (g *Gaps) Observer() ss.Observer {
	return ss.Observer{Gap: func(e *ss.GapError) {
		g.n.Add(1)
		g.io.Warn("%v", e)
	}}
}

// Err is nil, or what ends a command that went on behind gaps.
func (g *Gaps) Err() error {
	if g.n.Load() == 0 {
		return nil
	}
	return &exit.Error{Code: exit.Partial, Err: errors.New("messages were missing, see above")}
}
