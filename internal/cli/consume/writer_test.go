package consume

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/receive"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// reader takes so many lines and goes, as head does, before the write returns.
type reader struct {
	lines int
	late  bool // who fetches has found the end by then
	goes  func()
}

func (r *reader) Write(b []byte) (int, error) {
	if r.lines -= bytes.Count(b, []byte("\n")); r.lines <= 0 {
		if r.late {
			synctest.Wait()
		}
		r.goes()
	}
	return len(b), nil
}

// A reader that goes when it has all that was asked for is none that has gone.
func TestReaderThatHasAll(t *testing.T) {
	const all = 20
	for _, c := range []struct {
		name  string
		lines int // that the reader takes
		count int64
		until bool
		code  int
	}{
		{"-n", 10, 10, false, exit.OK},
		{"-n, of all", all, all, true, exit.OK},
		{"--until end", all, -1, true, exit.OK},
		{"to be followed", all, -1, false, exit.BrokenPipe},
	} {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := ss.New(memory.NewStore().Driver(memory.Options{}), ss.Options{})
				defer s.Close(context.Background())
				p, err := s.Producer(t.Context(), ss.ProducerConfig{Stream: "s"})
				if err != nil {
					t.Fatal(err)
				}
				for i := range all {
					if _, err := p.Send(t.Context(), ss.Record{Value: fmt.Append(nil, i)}); err != nil {
						t.Fatal(err)
					}
				}
				cfg := ss.ConsumerConfig{Streams: []string{"s"}, Start: ss.Earliest, Ack: ss.AckExplicit}
				if c.until {
					if cfg.Until, err = s.End(t.Context(), "s"); err != nil {
						t.Fatal(err)
					}
				}
				k, err := s.Consumer(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancelCause(t.Context())
				out := &reader{c.lines, late, func() { stop(errReaderGone) }}
				o := &Options{f: &factory.Factory{IO: &iostreams.Streams{Out: out}}, Count: c.count}
				w := newWriter(o, &receive.Plan{Config: cfg}, o.Receive.Renderer(o.f.IO))
				err = w.run(ctx, stop, new(factory.Signals), k)
				code := exit.OK
				if e := exit.From(err); e != nil {
					code = e.Code
				}
				if code != c.code || ctx.Err() == nil {
					t.Errorf("%s: exit code %d, want %d: %v", c.name, code, c.code, err)
				}
			})
		}
	}
}
