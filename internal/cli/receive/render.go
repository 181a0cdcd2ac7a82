package receive

import (
	"sync/atomic"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/codec"
	"github.com/seastreamer/seastreamer/internal/frame"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// A Renderer turns messages into bytes. It is for one goroutine, but for its
// counters.
type Renderer struct {
	io   *iostreams.Streams
	kind frame.Kind
	e    codec.Envelope

	warned     bool // about a payload with a delimiter in it
	Tombstones atomic.Int64
}

// Renderer is a renderer of the form that the options ask for.
func (o *Options) Renderer(io *iostreams.Streams) *Renderer {
	return &Renderer{io: io, kind: o.kind}
}

// JSON reports whether it writes lines of JSON.
func (r *Renderer) JSON() bool { return r.kind == frame.Envelope }

// Append writes m to the end of dst. It reports false, and writes nothing, for
// a tombstone where the form has no way to say it.
func (r *Renderer) Append(dst []byte, m ss.Message) ([]byte, bool) {
	if r.kind == frame.Envelope {
		return r.appendEnvelope(dst, m), true
	}
	v := m.Value()
	if v == nil {
		r.Tombstones.Add(1)
		return dst, false
	}
	if !r.warned && r.kind.Ambiguous(v) {
		r.warned = true
		what := "newlines"
		if r.kind == frame.Nul {
			what = "zero bytes"
		}
		r.io.Warn("there are messages with %s in them, which a reader takes for several: -o json or --frame len32be keeps them whole", what)
	}
	return r.kind.Append(dst, v), true
}

func (r *Renderer) appendEnvelope(dst []byte, m ss.Message) []byte {
	sh := m.Shard()
	e := &r.e
	e.Stream, e.Shard = sh.Stream, ss.On(sh.Index)
	e.Seq, e.HasSeq = m.Seq(), true
	e.Time, e.Key, e.Value = m.Time(), m.Key(), m.Value()
	e.Headers = e.Headers[:0]
	for k, v := range m.Headers() {
		e.Headers = append(e.Headers, ss.Header{Key: k, Value: v})
	}
	return append(e.Append(dst), '\n')
}

// Shown tells at the end what the form could not show.
func (r *Renderer) Shown() {
	if n := r.Tombstones.Load(); n > 0 {
		r.io.Notice("%d tombstones (records without a value) were left out: -o json shows them", n)
	}
}
