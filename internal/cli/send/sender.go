package send

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/codec"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/frame"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// A Sender cuts what it reads into records and sends them. Its blocks are
// borrowed by the producer until the receipts, see [frame.Block]: a line is
// neither copied nor allocates anything.
type Sender struct {
	io       *iostreams.Streams
	p        *ss.Producer
	o        *Options
	features ss.Features
	pool     *frame.Pool

	sent, acked, failed, unknown, bad atomic.Int64
	bytes                             atomic.Int64 // of the records sent
	class                             atomic.Int32 // the least of the receipts' classes, plus 1; 0 is none yet

	over context.Context // ended by a record that failed, where the policy is to fail
	end  func()

	mu    sync.Mutex
	first error // what made the first record fail

	left frame.Stats // of the readers that have ended

	again repeats // with at-least-once delivery
}

// New makes a sender.
func New(io *iostreams.Streams, p *ss.Producer, f ss.Features, o *Options) *Sender {
	s := &Sender{io: io, p: p, o: o, features: f}
	s.over, s.end = context.WithCancel(context.Background())
	s.again.life, s.again.end = context.WithCancel(context.Background())
	s.pool = frame.NewPool(func(b *frame.Block) {
		// Once per block: the callback of every record in it.
		b.Done = func(r ss.Receipt, err error) {
			if err == nil {
				s.written(r)
			} else {
				s.fail(err)
			}
			b.Release()
		}
	})
	return s
}

// written notes a receipt. The least of what records survive is what may be
// said of them all; a backend seldom changes its mind, so this only loads.
func (s *Sender) written(r ss.Receipt) {
	s.acked.Add(1)
	for c := int32(r.Class) + 1; ; {
		had := s.class.Load()
		if had != 0 && had <= c || s.class.CompareAndSwap(had, c) {
			return
		}
	}
}

// survives is what the acknowledged records survive, in brackets.
func (s *Sender) survives() string {
	c := s.class.Load()
	if c == 0 {
		return ""
	}
	return " (" + ss.Class(c-1).String() + ")" //nolint:gosec // from a Class
}

// fail notes that a record was not written, or may not have been.
func (s *Sender) fail(err error) {
	if errors.Is(err, ss.ErrUnknown) {
		s.unknown.Add(1)
	} else {
		s.failed.Add(1)
	}
	s.mu.Lock()
	first := s.first == nil
	if first {
		s.first = err
	}
	s.mu.Unlock()
	if s.o.OnError == "fail" {
		s.end()
	} else if first {
		s.io.Warn("a record is left out: %v", err)
	}
}

// Over ends when a record fails and the policy is to fail. Whoever calls Run has
// its reader return then: Run itself would notice with the next message.
func (s *Sender) Over() context.Context { return s.over }

// Count is how much was sent so far.
func (s *Sender) Count() iostreams.Count {
	return iostreams.Count{Records: s.sent.Load(), Bytes: s.bytes.Load()}
}

// Pending is how many records have no receipt yet.
func (s *Sender) Pending() int64 {
	return s.sent.Load() - s.acked.Load() - s.failed.Load() - s.unknown.Load()
}

// Run reads src to its end, or until it is stopped, and sends what it reads. It waits only for room,
// within ctx. It returns early, with an error, when a record cannot be cut or
// decoded, or is refused, and the policy is to fail; records sent before are
// still under way. Acknowledgements are waited for by Finish.
func (s *Sender) Run(ctx context.Context, src io.Reader) error {
	cutting := s.o.limit(s.features)
	cutting.Notice = func(text string) { s.io.Warn("%s", text) }
	r := frame.NewReader(src, s.pool, cutting)
	defer func() {
		s.addStats(r.Stats())
		r.Close()
	}()
	rec := ss.Record{Headers: s.o.headers}
	if s.o.KeySet {
		rec.Key = []byte(s.o.Key)
	}
	if s.o.ToShard >= 0 {
		rec.Shard = ss.On(int32(s.o.ToShard)) //nolint:gosec // checked by Options.Check
	}
	envelope := cutting.Kind == frame.Envelope
	check := s.o.CheckJSON != ""
	repeats := s.o.durable == ss.AtLeastOnce
	var e codec.Envelope
	for s.over.Err() == nil {
		m, err := r.Next()
		switch {
		case err == nil:
		case s.over.Err() != nil: // Finish says why
			return nil
		case errors.Is(err, frame.ErrSessionEnd):
			continue
		case errors.Is(err, io.EOF), errors.Is(err, frame.ErrStopped):
			return nil
		default:
			return badData(err)
		}
		b := r.Block()
		rec.Value = m
		if envelope {
			if err := s.decode(&e, m, b, &rec); err != nil {
				if err := s.undecoded(r.Number(), err, "lines are what consume -o json writes"); err != nil {
					return err
				}
				continue
			}
		}
		if check && !json.Valid(rec.Value) {
			if err := s.undecoded(r.Number(), errNotJSON, "several writers of one pipe tear lines above 4096 bytes"); err != nil {
				return err
			}
			continue
		}
		if s.again.busy.Load() {
			if err := s.again.quiet(ctx); err != nil {
				return &exit.Error{Code: exit.Incomplete, Msg: "the broker took no more records in time", Err: err}
			}
		}
		b.Hold()
		done := b.Done
		if repeats {
			done = s.flight(&rec, b).done
		}
		if err := s.p.Enqueue(ctx, rec, done); err != nil {
			b.Release()
			if ctx.Err() != nil {
				return &exit.Error{Code: exit.Incomplete, Msg: "the broker took no more records in time", Err: err}
			}
			s.sent.Add(1)
			s.fail(err)
			continue
		}
		s.sent.Add(1)
		s.bytes.Add(int64(len(rec.Value)))
	}
	return nil
}

var errNotJSON = errors.New("the payload is not JSON")

// undecoded is what becomes of a message that cannot be read: an error, or it
// is left out, counted and, the first time, told.
func (s *Sender) undecoded(number int64, err error, hint string) error {
	if s.o.OnError == "fail" {
		return &exit.Error{Code: exit.BadData, Msg: fmt.Sprintf("message %d", number), Err: err, Hint: hint + "; --on-error skip leaves others out"}
	}
	if s.bad.Add(1) == 1 {
		s.io.Warn("message %d is left out: %v", number, err)
	}
	return nil
}

// decode reads an envelope into rec. What is decoded lives as long as the
// block.
func (s *Sender) decode(e *codec.Envelope, line []byte, b *frame.Block, rec *ss.Record) (err error) {
	e.Headers = nil // they are borrowed too
	if b.Scratch, err = e.Decode(line, b.Scratch); err != nil {
		return err
	}
	rec.Key, rec.Value, rec.Headers, rec.Time = e.Key, e.Value, e.Headers, e.Time
	rec.Stream = ""
	if s.o.StreamFromEnvelope {
		if rec.Stream = e.Stream; rec.Stream == "" {
			return errors.New("the envelope names no stream, and neither does the command")
		}
	}
	return nil
}

func badData(err error) error {
	var o *frame.OversizeError
	if errors.As(err, &o) {
		return &exit.Error{Code: exit.BadData, Err: err, Hint: "--max-message SIZE allows longer ones where the backend does, --oversize skip or truncate goes on"}
	}
	var p *frame.PartialError
	if errors.As(err, &p) {
		return &exit.Error{Code: exit.BadData, Err: err, Hint: "--partial send or drop goes on"}
	}
	return err
}

func (s *Sender) addStats(st frame.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left.Bytes += st.Bytes
	s.left.Blank += st.Blank
	s.left.Oversize += st.Oversize
	s.left.Partial += st.Partial
}

// Finish closes the producer, waiting for receipts within ctx, and says how
// it all ended: nil when every record was acknowledged and none was left out or
// cut short.
func (s *Sender) Finish(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.again.end)
	err := s.settle(ctx)
	stop()
	s.again.end()
	if e := s.p.Close(ctx); err == nil {
		err = e
	}
	if n := s.again.n.Load(); n > 0 {
		hint := ""
		if s.features.Dedup.Retry {
			hint = " (--delivery exactly removes such repeats)"
		}
		s.io.Warn("sent again %s, as an outcome was not known: records may be there twice%s", describe(n, "time", "times"), hint)
	}
	s.mu.Lock()
	first, oversize := s.first, s.left.Oversize
	s.mu.Unlock()
	lost := s.sent.Load() - s.acked.Load()
	switch {
	case lost > 0 && first != nil:
		e := exit.From(first)
		return &exit.Error{Code: s.code(e.Code, lost), Msg: s.incomplete(lost), Err: first, Hint: e.Hint, Item: e.Item}
	case lost > 0:
		return &exit.Error{Code: exit.Incomplete, Msg: s.incomplete(lost), Err: err}
	case err != nil && s.sent.Load() > 0:
		return &exit.Error{Code: exit.Incomplete, Err: err}
	case s.bad.Load() > 0:
		return &exit.Error{Code: exit.Partial, Msg: describe(s.bad.Load(), "message", "messages") + " could not be decoded: left out"}
	case oversize > 0 && s.o.Oversize != "fail":
		what := map[string]string{"skip": "left out", "truncate": "cut"}[s.o.Oversize]
		return &exit.Error{Code: exit.Partial, Msg: describe(oversize, "message was", "messages were") + " too long: " + what}
	}
	return nil
}

// code is the exit code where lost records are not acknowledged, the first of
// them for a reason with the code given.
func (s *Sender) code(first int, lost int64) int {
	switch {
	case s.failed.Load() < lost:
		return exit.Incomplete
	case s.o.OnError == "skip":
		return exit.Partial // refused, and left out since that was asked for
	case first == exit.Usage, first == exit.BadData, first == exit.Denied, first == exit.NotFound:
		return first
	}
	return exit.Incomplete
}

func (s *Sender) incomplete(lost int64) string {
	msg := describe(lost, "record", "records") + fmt.Sprintf(" of %d not acknowledged", s.sent.Load())
	if n := s.unknown.Load(); n > 0 {
		msg += fmt.Sprintf(" (%d may have been written)", n)
	}
	return msg
}

// Summary says what was read, sent and left out, in one line.
func (s *Sender) Summary() string {
	s.mu.Lock()
	st := s.left
	s.mu.Unlock()
	parts := []string{fmt.Sprintf("%s sent, %s acknowledged%s, %s", iostreams.Thousands(s.sent.Load()), iostreams.Thousands(s.acked.Load()), s.survives(), iostreams.Bytes(s.bytes.Load()))}
	for _, p := range []struct {
		n    int64
		text string
	}{
		{s.again.n.Load(), "sent again"},
		{s.failed.Load(), "refused"},
		{s.unknown.Load(), "with unknown outcome"},
		{s.bad.Load(), "not decoded"},
		{st.Blank, "blank"},
		{st.Oversize, "too long"},
		{st.Partial, "without an end"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", iostreams.Thousands(p.n), p.text))
		}
	}
	return strings.Join(parts, ", ")
}

// Check finds out whether the broker answers and says it when the stream is
// missing: the backend may create it, or it is an error.
func Check(ctx context.Context, f *factory.Factory, s *ss.Streamer, stream string) error {
	_, err := factory.Bounds(ctx, s, stream)
	if !errors.Is(err, ss.ErrNotFound) {
		return err
	}
	if !s.Features().Autocreate {
		return err
	}
	f.IO.Notice("stream %s does not exist: the first record creates it", stream)
	return nil
}

// Flush waits until everything that was sent so far is acknowledged, or says
// what was not.
func (s *Sender) Flush(ctx context.Context) error {
	err := s.settle(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.first, err)
}

// Resolve is the URL of the broker and stream that are meant. Where no stream is
// named and lines are envelopes, each of them names its own.
func Resolve(f *factory.Factory, t factory.Target, o *Options, operands ...string) (ss.URL, error) {
	u, err := f.Resolve(t, operands...)
	if errors.Is(err, factory.ErrNoStream) && o.Cutting.Kind == frame.Envelope {
		o.StreamFromEnvelope = true
		u, err = f.ResolveBroker(t)
	}
	if err != nil {
		return u, err
	}
	return o.Compressed(u)
}
