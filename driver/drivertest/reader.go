package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A Msg is a copy of a message.
type Msg struct {
	Shard      driver.Shard
	Seq        driver.Seq
	Time       time.Time
	Key, Value []byte
	Headers    []driver.Header
	Gen        uint64
	Attempt    int

	of driver.Batch // for a verdict
	at int
}

// A Reader reads through one consumer as the core does: a goroutine of its own
// fetches all the time, and batches of an old generation are dropped.
type Reader struct {
	driver.Consumer
	t        *T
	assigned func(at []driver.Position) ([]driver.Position, error) // nil overrides nothing
	revoked  func(shards []driver.Shard, lost bool)                // may be nil

	ctx  context.Context
	stop context.CancelFunc
	once sync.Once
	pump sync.WaitGroup // the goroutine that fetches

	mu      sync.Mutex
	changed chan struct{} // closed and renewed when something below changes
	gen     uint64
	gens    map[driver.Shard]uint64     // of the shards it has
	begin   map[driver.Shard]driver.Seq // where Assigned began last
	next    map[driver.Shard]driver.Seq // the last Batch.Next
	events  []string
	msgs    []Msg
	gaps    []*driver.GapError
	err     error              // what ended the goroutine
	call    func()             // to be run by the goroutine between two fetches
	cancel  context.CancelFunc // of the fetch that runs
}

// Streams is a configuration that reads streams from their start, without a
// group.
func Streams(streams ...string) driver.ConsumerConfig {
	return driver.ConsumerConfig{Streams: streams, Start: driver.Earliest}
}

// Group is a configuration that reads streams with a group, from their start
// where it has no progress.
func Group(group string, streams ...string) driver.ConsumerConfig {
	return driver.ConsumerConfig{Streams: streams, Group: group, Start: driver.Earliest}
}

// Consume opens a consumer and begins to fetch. Its streams exist; where the
// client does not know them yet it is given time.
func (t *T) Consume(c driver.ConsumerConfig) *Reader {
	t.Helper()
	return t.Reader(nil, nil).Open(t.Driver(), c)
}

// Reader is a reader that calls the functions (which may be nil) when shards
// are assigned and revoked. It has to be opened.
func (t *T) Reader(assigned func([]driver.Position) ([]driver.Position, error), revoked func([]driver.Shard, bool)) *Reader {
	r := &Reader{t: t, assigned: assigned, revoked: revoked, changed: make(chan struct{}),
		gens: make(map[driver.Shard]uint64), begin: make(map[driver.Shard]driver.Seq), next: make(map[driver.Shard]driver.Seq)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Open opens the consumer on d and begins to fetch.
func (r *Reader) Open(d driver.Driver, c driver.ConsumerConfig) *Reader {
	r.t.Helper()
	r.Prepare(d, c)
	r.pump.Go(r.fetch)
	return r
}

// Prepare opens the consumer and leaves fetching to the case.
func (r *Reader) Prepare(d driver.Driver, c driver.ConsumerConfig) *Reader {
	r.t.Helper()
	c.Events = driver.Events{Assigned: r.onAssigned, Revoked: r.onRevoked}
	var err error
	r.t.Eventually("the streams "+fmt.Sprint(c.Streams)+" are found", func() bool {
		r.Consumer, err = d.Consumer(r.t.Ctx(), c)
		return !errors.Is(err, driver.ErrNotFound)
	})
	if err != nil {
		r.t.Fatalf("Consumer(%+v): %v", c, err)
	}
	r.t.end(func() { r.Stop() })
	return r
}

// Stop closes the consumer and waits for the goroutine that fetches.
func (r *Reader) Stop() {
	r.t.Helper()
	r.once.Do(func() {
		if err := r.Close(r.t.Ctx()); err != nil {
			r.t.Errorf("close the consumer: %v", err)
		}
		r.t.Within("the end of Fetch after Close", r.pump.Wait)
		r.stop()
	})
}

func (r *Reader) onAssigned(_ context.Context, at []driver.Position) (uint64, []driver.Position, error) {
	var from []driver.Position
	var err error
	if r.assigned != nil {
		from, err = r.assigned(at)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gen++
	for _, p := range at {
		next := p.Next
		for _, o := range from {
			if o.Shard == p.Shard {
				next = o.Next
			}
		}
		r.events = append(r.events, fmt.Sprintf("assigned %d at %v", p.Index, p.Next))
		if err == nil {
			r.gens[p.Shard], r.begin[p.Shard], r.next[p.Shard] = r.gen, next, next
		}
	}
	r.broadcast()
	return r.gen, from, err
}

func (r *Reader) onRevoked(_ context.Context, shards []driver.Shard, lost bool) {
	r.mu.Lock()
	shards = slices.DeleteFunc(slices.Clone(shards), func(s driver.Shard) bool { _, ok := r.gens[s]; return !ok })
	for _, s := range shards {
		delete(r.gens, s) // nothing of it is taken any more
	}
	r.mu.Unlock()
	if r.revoked != nil {
		r.revoked(shards, lost)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range shards {
		r.events = append(r.events, fmt.Sprintf("revoked %d", s.Index))
	}
	r.broadcast()
}

// broadcast is called with mu held.
func (r *Reader) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// fetch fetches until the consumer is closed or fails.
func (r *Reader) fetch() {
	for r.ctx.Err() == nil {
		r.mu.Lock()
		if call := r.call; call != nil {
			r.call = nil
			r.mu.Unlock()
			call()
			continue
		}
		ctx, cancel := context.WithCancel(r.ctx)
		r.cancel = cancel
		r.mu.Unlock()
		batches, err := r.Fetch(ctx, nil)
		cut := ctx.Err() != nil
		cancel()
		if !r.take(batches, err, cut) {
			return
		}
	}
}

// Fetch is that of the consumer, again and again while that is temporary trouble, as
// the core does it.
func (r *Reader) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	had := len(into)
	for {
		var err error
		if into, err = r.Consumer.Fetch(ctx, into); !errors.Is(err, driver.ErrUnavailable) {
			return into, err
		}
		if len(into) > had {
			return into, nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return into, err
		}
	}
}

// take keeps what a Fetch has returned and says whether to go on. cut says that
// the reader itself has ended the Fetch.
func (r *Reader) take(batches []driver.Batch, err error, cut bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range batches {
		if b.Gen() != r.gens[b.Shard()] {
			continue
		}
		r.msgs = append(r.msgs, Copy(b)...)
		r.next[b.Shard()] = b.Next()
	}
	r.broadcast()
	gap := (*driver.GapError)(nil)
	switch {
	case errors.As(err, &gap):
		r.gaps = append(r.gaps, gap)
	case err == nil || cut:
	default:
		r.err = err
		return false
	}
	return true
}

// Copy copies the messages of a batch.
func Copy(b driver.Batch) []Msg {
	msgs := make([]Msg, b.Len())
	for i := range msgs {
		m := Msg{of: b, at: i, Shard: b.Shard(), Seq: b.Seq(i), Time: b.Time(i), Gen: b.Gen(), Attempt: b.Attempt(i),
			Key: bytes.Clone(b.Key(i)), Value: bytes.Clone(b.Value(i))}
		for k, v := range b.Headers(i) {
			m.Headers = append(m.Headers, driver.Header{Key: k, Value: bytes.Clone(v)})
		}
		msgs[i] = m
	}
	return msgs
}

// Await waits until ok, which is called with the reader's lock held.
func (r *Reader) Await(what string, ok func() bool) {
	r.t.Helper()
	patience := time.After(r.t.H.Patience)
	r.mu.Lock()
	defer r.mu.Unlock()
	for !ok() {
		if r.err != nil {
			r.t.Fatalf("%s: the consumer ended: %v", what, r.err)
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
			r.mu.Lock()
		case <-patience:
			r.mu.Lock()
			r.t.Fatalf("%s: did not come within %v; events %q, %d messages %q, gaps %v", what, r.t.H.Patience, r.events, len(r.msgs), short(values(r.msgs)), r.gaps)
		}
	}
}

// Read is the next n messages.
func (r *Reader) Read(n int) []Msg {
	r.t.Helper()
	r.Await(fmt.Sprintf("%d messages", n), func() bool { return len(r.msgs) >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	msgs := r.msgs[:n:n]
	r.msgs = r.msgs[n:]
	return msgs
}

// Wants reads as many messages as there are values and fails unless they have
// these values, in any order of shards and this order within each.
func (r *Reader) Wants(want ...string) []Msg {
	r.t.Helper()
	msgs := r.Read(len(want))
	got := values(msgs)
	if !slices.Equal(got, want) {
		r.t.Fatalf("read %q, want %q", short(got), short(want))
	}
	return msgs
}

// Gap waits for the next gap.
func (r *Reader) Gap() *driver.GapError {
	r.t.Helper()
	r.Await("a gap", func() bool { return len(r.gaps) > 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.gaps[0]
	r.gaps = r.gaps[1:]
	return g
}

// Gaps are the gaps that were seen and not asked for.
func (r *Reader) Gaps() []*driver.GapError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gaps
}

// Shards waits until the consumer has n shards and returns their indexes.
func (r *Reader) Shards(n int) []int32 {
	r.t.Helper()
	r.Await(fmt.Sprintf("%d shards", n), func() bool { return len(r.gens) == n })
	r.mu.Lock()
	defer r.mu.Unlock()
	var s []int32
	for sh := range r.gens {
		s = append(s, sh.Index)
	}
	slices.Sort(s)
	return s
}

// Begin is where the consumer began to read a shard that it has.
func (r *Reader) Begin(stream string, index int32) driver.Seq {
	r.t.Helper()
	s := driver.Shard{Stream: stream, Index: index}
	r.Await(s.String()+" assigned", func() bool { _, ok := r.gens[s]; return ok })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begin[s]
}

// Next waits until the consumer stands at next in a shard.
func (r *Reader) Next(stream string, index int32, next driver.Seq) {
	r.t.Helper()
	s := driver.Shard{Stream: stream, Index: index}
	r.Await(fmt.Sprintf("%v at %v", s, next), func() bool { return !r.next[s].Less(next) })
}

// Events are the assignments and revocations so far.
func (r *Reader) Events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Seek moves shards in a new generation, between two fetches, and forgets what
// was read of them before.
func (r *Reader) Seek(to map[driver.Shard]driver.Start) []driver.Position {
	r.t.Helper()
	var at []driver.Position
	var err error
	ended := make(chan struct{})
	r.mu.Lock()
	r.gen++
	gen := r.gen
	for s := range to {
		r.gens[s] = gen
	}
	r.msgs = slices.DeleteFunc(r.msgs, func(m Msg) bool { _, ok := to[m.Shard]; return ok })
	r.call = func() {
		defer close(ended)
		at, err = r.Consumer.Seek(r.t.Ctx(), gen, to)
		r.mu.Lock()
		for _, p := range at {
			r.next[p.Shard] = p.Next
		}
		r.mu.Unlock()
	}
	if r.cancel != nil {
		r.cancel()
	}
	r.mu.Unlock()
	r.t.Within("seek", func() { <-ended })
	if err != nil {
		r.t.Fatalf("Seek(%v): %v", to, err)
	}
	return at
}

// TryCommit commits a position.
func (r *Reader) TryCommit(stream string, index int32, next driver.Seq) error {
	r.t.Helper()
	c, ok := r.Consumer.(driver.Committer)
	if !ok {
		r.t.Fatalf("Features.Ack is %v, but %T is no driver.Committer", r.t.F.Ack, r.Consumer)
	}
	return c.Commit(r.t.Ctx(), []driver.Position{{Shard: driver.Shard{Stream: stream, Index: index}, Next: next}})
}

// Commit commits a position that can be committed.
func (r *Reader) Commit(stream string, index int32, next driver.Seq) {
	r.t.Helper()
	if err := r.TryCommit(stream, index, next); err != nil {
		r.t.Fatalf("commit %s[%d] at %v: %v", stream, index, next, err)
	}
}

// TrySettle gives a verdict on each message.
func (r *Reader) TrySettle(v driver.Verdict, after time.Duration, msgs ...Msg) error {
	r.t.Helper()
	c, ok := r.Consumer.(driver.Settler)
	if !ok {
		r.t.Fatalf("Features.Ack is %v, but %T is no driver.Settler", r.t.F.Ack, r.Consumer)
	}
	s := make([]driver.Settlement, len(msgs))
	for i, m := range msgs {
		s[i] = driver.Settlement{Batch: m.of, From: m.at, To: m.at + 1, Verdict: v, After: after}
	}
	return c.Settle(r.t.Ctx(), s)
}

// Settle gives a verdict that can be given.
func (r *Reader) Settle(v driver.Verdict, after time.Duration, msgs ...Msg) {
	r.t.Helper()
	if err := r.TrySettle(v, after, msgs...); err != nil {
		r.t.Fatalf("%v of %q: %v", v, short(values(msgs)), err)
	}
}

func values(msgs []Msg) []string {
	v := make([]string, len(msgs))
	for i, m := range msgs {
		v[i] = string(m.Value)
	}
	return v
}

// short is enough of a list to show in a failure.
func short(v []string) []string {
	var s []string
	for i, t := range v {
		if i == 30 {
			return append(s, fmt.Sprintf("… %d more", len(v)-30))
		}
		if len(t) > 40 {
			t = fmt.Sprintf("%s… (%d bytes)", t[:40], len(t))
		}
		s = append(s, t)
	}
	return s
}
