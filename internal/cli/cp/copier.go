package cp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/receive"
	"github.com/seastreamer/seastreamer/internal/cli/send"
)

const (
	// memoryGoal is what the garbage collector aims to stay within: a unit of the
	// larger kind twice, as it was read and as it is sent, and what is read ahead.
	memoryGoal = 88 << 20
	// growth is by how many percent the heap grows between two collections. What
	// a copy needs at a time is a few MiB, which it fills anew a hundred times a
	// second: by 100 percent, as is the default, collecting took a sixth of it.
	growth = 400
	// openTime is how long a claim may take: another's open transactions are
	// waited for.
	openTime = 30 * time.Second
	// drainTime is how long what was sent may take to be acknowledged after a
	// signal.
	drainTime = 30 * time.Second
	// closeTime is how long ending in order may take.
	closeTime = 10 * time.Second
)

// errStopped is the cause of a context that ends since a signal said so, and
// errEnough since --count did.
var (
	errStopped = errors.New("stopped")
	errEnough  = errors.New("enough")
)

// A copier is one run of cp or mirror.
type copier struct {
	o        *Options
	p        *pair
	src, dst *ss.Streamer
	plan     *receive.Plan
	gaps     *receive.Gaps
	claims   claims
	tally    tally
	stopping atomic.Bool
	refused  ss.Message // by DST, last
}

func newCopier(o *Options, p *pair) *copier {
	c := &copier{o: o, p: p, gaps: receive.NewGaps(o.f.IO)}
	c.claims = claims{restart: o.Restart, claimed: c.tally.claimed}
	return c
}

// run copies until the end, or until ctx ends, which is the signals': then the
// unit in hand is still copied.
func (c *copier) run(ctx context.Context) (err error) {
	if c.src, err = c.o.f.Open(ctx, c.p.src, c.gaps.Observer()); err != nil {
		return err
	}
	defer closing(&err, c.src.Close)
	if err = c.begin(ctx); err != nil {
		return err
	}
	if c.dst, err = c.claims.open(c.o.f).Open(ctx, c.p.output(c.o), ss.Observer{Commit: c.committed}); err != nil {
		return err
	}
	defer closing(&err, c.dst.Close)
	if f := c.dst.Features(); c.o.Delivery == "exactly" && f.UnitMessages == 0 {
		return &ss.Error{Op: "copy to " + c.p.dst.String(), Kind: errors.ErrUnsupported, Err: fmt.Errorf("%s cannot store records and progress in one step", f.Backend)}
	}
	if err = c.target(ctx); err != nil {
		return err
	}
	if c.o.Count == 0 {
		return nil
	}
	c.o.f.IO.Detail("copying %v to %v, %s; the progress is called %s", c.p.src, c.p.dst, c.o.Delivery, c.p.name)
	r := c.startReports(ctx)
	if c.o.Delivery == "exactly" {
		err = c.exactly(ctx)
	} else {
		err = c.loosely(ctx)
	}
	r.end(err)
	return err
}

// closing closes a streamer, within closeTime, and keeps the first error.
func closing(err *error, shut func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if e := shut(ctx); *err == nil && e != nil {
		*err = &exit.Error{Code: exit.Incomplete, Msg: "end in order", Err: e}
	}
}

// begin finds out what is to be read.
func (c *copier) begin(ctx context.Context) (err error) {
	streams := c.p.src.Streams
	if c.plan, err = c.o.Receive.Plan(ctx, c.src, streams, ss.Earliest); err != nil {
		return err
	}
	cfg := &c.plan.Config
	if f := c.src.Features(); cfg.Isolation != ss.Committed && !f.Isolation {
		return exit.Usagef("leave it out: "+c.o.f.Program+" drivers shows what each backend can do", "--isolation uncommitted needs uncommitted messages, which %s does not have", f.Backend)
	}
	if cfg.Assigned != nil { // a beginning for each shard
		if c.claims.starts, err = cfg.Assigned(ctx, nil); err != nil {
			return err
		}
		cfg.Assigned = nil
	}
	if !c.plan.Before.IsZero() {
		if cfg.Until, err = c.endAt(ctx, c.plan.Before, cfg.Until); err != nil {
			return factory.Reader(err, streams)
		}
	}
	c.tally.until = cfg.Until
	return nil
}

// endAt is where a time is in each of the shards: the end of a copy until then.
func (c *copier) endAt(ctx context.Context, t time.Time, ends ss.Checkpoint) (ss.Checkpoint, error) {
	ids := false
	for _, next := range ends {
		ids = ids || next.Hi != 0
	}
	if ids { // which are times themselves
		at := ss.Checkpoint{}
		for sh, next := range ends {
			id := ss.Seq{Hi: uint64(max(t.UnixMilli(), 0))} //nolint:gosec // not negative
			if at[sh] = next; id.Less(next) {
				at[sh] = id
			}
		}
		return at, nil
	}
	ctx, cancel := context.WithTimeout(ctx, factory.ConnectTimeout)
	defer cancel()
	r, err := c.src.Consumer(ctx, ss.ConsumerConfig{Streams: c.p.src.Streams, Start: ss.Since(t), Until: ends, MaxBytes: 1 << 16})
	if err != nil {
		return nil, err
	}
	defer r.Close(ctx) //nolint:errcheck // it has stored nothing
	for len(r.Assignment()) < len(ends) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	all, err := r.Commit(ctx)
	at := ss.Checkpoint{}
	for sh := range ends {
		at[sh] = all[sh]
	}
	return at, err
}

// target makes sure that DST can be written to.
func (c *copier) target(ctx context.Context) error {
	if !c.o.KeepShard {
		return send.Check(ctx, c.o.f, c.dst, c.p.to())
	}
	ctx, cancel := context.WithTimeout(ctx, factory.ConnectTimeout)
	defer cancel()
	from, err := c.src.Bounds(ctx, c.p.from())
	if err != nil {
		return err
	}
	need := int32(0)
	for sh := range from {
		need = max(need, sh.Index+1)
	}
	to, err := c.dst.Bounds(ctx, c.p.to())
	if errors.Is(err, ss.ErrNotFound) && need == 1 {
		return send.Check(ctx, c.o.f, c.dst, c.p.to())
	}
	if errors.Is(err, ss.ErrNotFound) {
		hint := fmt.Sprintf("create it with %d", need)
		if c.p.dst.Scheme != "kafka" {
			if n := c.p.dst.Query.Get("shards"); n == fmt.Sprint(need) {
				return send.Check(ctx, c.o.f, c.dst, c.p.to())
			}
			hint = fmt.Sprintf("a URL that ends in ?shards=%d creates it with as many", need)
		}
		return &exit.Error{Code: exit.NotFound, Item: c.p.to(), Hint: hint,
			Msg: fmt.Sprintf("--keep-shard: stream %q does not exist, and %q has %d shards", c.p.to(), c.p.from(), need)}
	}
	if err != nil {
		return err
	}
	if have := int32(len(to)); have < need { //nolint:gosec // a number of shards
		return exit.Usagef("leave out --keep-shard, or add shards to it", "--keep-shard: stream %q has %d shards, and %q has %d", c.p.to(), have, c.p.from(), need)
	}
	return nil
}

// A recorder makes records of messages. Their headers are borrowed from it
// until it is reset.
type recorder struct {
	headers []ss.Header
	// add takes a header, and is bound once: a loop over Headers would allocate
	// its body, and what that shares with the loop, for each message.
	add func(key string, value []byte) bool
}

func (r *recorder) reset() {
	clear(r.headers)
	r.headers = r.headers[:0]
}

// record is a message as what is sent.
func (c *copier) record(r *recorder, m ss.Message) ss.Record {
	rec := ss.Record{Stream: c.p.to(), Key: m.Key(), Value: m.Value(), Time: m.Time()}
	if c.o.KeepShard {
		rec.Shard = ss.On(m.Shard().Index)
	}
	if r.add == nil {
		r.add = func(key string, value []byte) bool {
			r.headers = append(r.headers, ss.Header{Key: key, Value: value})
			return true
		}
	}
	had := len(r.headers)
	if m.Headers()(r.add); len(r.headers) > had {
		rec.Headers = slices.Clip(r.headers[had:])
	}
	return rec
}

// about is an error that ends the copy, with the message that DST refused.
func (c *copier) about(err error) error {
	if !errors.Is(err, ss.ErrTooLarge) || c.refused == (ss.Message{}) {
		return err
	}
	return fmt.Errorf("message %v %v: %w", c.refused.Shard(), c.refused.Seq(), err)
}

// size is what a record counts as.
func size(r *ss.Record) int64 { return int64(len(r.Key) + len(r.Value)) }

// describe says what to do about an error of a copy.
func describe(err error, o *Options) error {
	if errors.As(err, new(*exit.Error)) {
		return err
	}
	e := *exit.From(err)
	var gap *ss.GapError
	switch {
	case errors.Is(err, ss.ErrFenced):
		e.Code, e.Hint = exit.Conflict, "the same copy was started elsewhere and goes on there: run one of them, or give each a --name"
	case errors.As(err, &gap):
		e.Code, e.Hint = exit.NotFound, "--on-gap warn goes on behind what is missing"
	case errors.Is(err, ss.ErrLost):
		e.Code, e.Hint = exit.NotFound, "another --name begins anew, with --from where it should"
	case errors.Is(err, ss.ErrTooLarge):
		e.Hint = "raise the limit of DST: the same command goes on with this message"
	case errors.Is(err, errors.ErrUnsupported) && o.Delivery == "exactly":
		e.Code, e.Hint = exit.Usage, "--delivery at-least copies this pair, with repeats after a fault"
	case errors.Is(err, ss.ErrNotFound) && e.Hint == "":
		return factory.Reader(err, nil)
	}
	return &e
}
