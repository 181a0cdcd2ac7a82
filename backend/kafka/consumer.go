package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// consumer reads with a franz-go client of its own: with a group (group.go) or
// without (direct.go). franz-go fetches ahead, one answer per broker; Fetch
// takes what is there.
type consumer struct {
	c    *client
	cl   *kgo.Client
	conf driver.ConsumerConfig

	life context.Context // of the franz-go client
	end  context.CancelFunc

	closing   context.Context // ends when Close begins
	close     context.CancelFunc
	closeOnce sync.Once
	closed    chan struct{}   // closed when Close has done all it can
	last      context.Context // of Close, set before closing ends
	fetching  sync.Mutex      // held by Fetch and Seek

	events sync.Mutex   // Assigned and Revoked come one at a time
	owning sync.RWMutex // held to read while a commit is under way, to write when shards leave

	mu     sync.Mutex
	at     map[driver.Shard]*cursor
	gaps   []*driver.GapError     // to be returned by Fetch, in order
	err    error                  // what ended the consumer, if not Close
	starts map[driver.Shard]int64 // where Start is, of the shards there were when it was opened
	ids    map[string][16]byte
	remade map[driver.Shard]int64 // where it stood in shards of a stream that was made anew, until it has them again

	interrupt atomic.Pointer[context.CancelFunc] // of the poll under way

	// The rest belongs to the goroutine that fetches.
	begun    bool
	appetite appetite
	refresh  time.Time // when to look for new shards; without a group
	quiet    quiet
}

// cursor says where in a shard Fetch goes on.
type cursor struct {
	id    driver.Shard
	gen   uint64
	next  int64 // nothing below it is delivered
	ready bool  // false while Assigned runs: then the core may know of the shard already
	seen  bool  // franz-go has said something of it
}

// Consumer opens a consumer. It needs a broker to answer within the connect
// time-out.
func (c *client) Consumer(ctx context.Context, cc driver.ConsumerConfig) (driver.Consumer, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	open, cancel := c.within(ctx)
	defer cancel()
	ts, err := topics(open, c, c.cl, false, cc.Streams...)
	if err != nil {
		return nil, err
	}
	m := &consumer{c: c, conf: cc, at: map[driver.Shard]*cursor{}, ids: map[string][16]byte{}, remade: map[driver.Shard]int64{}, closed: make(chan struct{})}
	for name, t := range ts {
		m.ids[name] = t.id
	}
	if m.starts, err = m.c.resolve(open, c.cl, cc.Isolation, cc.Start, shardsOf(ts)); err != nil {
		return nil, err
	}
	m.life, m.end = context.WithCancel(c.life)
	m.closing, m.close = context.WithCancel(context.Background())
	m.appetite.budget = cc.MaxBytes
	if m.appetite.budget <= 0 {
		m.appetite.budget = defaultAhead
	}
	m.appetite.brokers = leaders(ts)
	if cc.Group != "" {
		m.quiet.stir()
		err = m.join()
		if err != nil {
			return nil, err
		}
		return &member{m}, nil
	}
	if err := m.readAll(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

func leaders(ts map[string]topic) int {
	m := map[int32]bool{}
	for _, t := range ts {
		for _, p := range t.partitions {
			m[p.leader] = true
		}
	}
	return len(m)
}

// options are what consumers have in common.
func (m *consumer) options(more ...kgo.Opt) []kgo.Opt {
	iso := kgo.ReadCommitted()
	if m.conf.Isolation == driver.Uncommitted {
		iso = kgo.ReadUncommitted()
	}
	fetch := m.appetite.fetch()
	opts := m.c.options(
		kgo.WithContext(m.life),
		kgo.AlwaysRetryEOF(),
		kgo.FetchIsolationLevel(iso),
		kgo.KeepControlRecords(), // hidden by us, so that Next moves over them
		kgo.FetchMaxBytes(fetch),
		kgo.FetchMaxPartitionBytes(fetch),
		kgo.FetchMinBytes(1),
		// Each broker wakes an idle consumer as often, and a shard that comes to
		// a broker where nothing else happens waits for it.
		kgo.FetchMaxWait(5*time.Second),
		kgo.MaxConcurrentFetches(-1), // one per broker; fetch has its share
		// An offset that the broker does not have is an error that we answer
		// with a gap, and never reset.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.WithHooks(&m.appetite),
	)
	return append(opts, more...)
}

// resolve says where start is in each of the shards.
func (c *client) resolve(ctx context.Context, cl *kgo.Client, iso driver.Isolation, start driver.Start, shards []driver.Shard) (map[driver.Shard]int64, error) {
	switch start.At {
	case driver.AtLatest:
		return listOffsets(ctx, c, cl, iso, each(shards, atEnd))
	case driver.AtTime:
		ms := start.Time.UnixMilli()
		if start.Time.After(time.UnixMilli(ms)) {
			ms++ // Kafka keeps milliseconds: the first at or after a part of one is the next
		}
		found, err := listOffsets(ctx, c, cl, iso, each(shards, max(ms, 0)))
		if err != nil {
			return nil, err
		}
		var none []driver.Shard
		for s, o := range found {
			if o < 0 {
				none = append(none, s)
			}
		}
		ends, err := listOffsets(ctx, c, cl, iso, each(none, atEnd))
		for s, o := range ends {
			found[s] = o
		}
		return found, err
	}
	found, err := listOffsets(ctx, c, cl, iso, each(shards, atStart))
	if err == nil && start.At == driver.AtSeq {
		for s, first := range found {
			found[s] = max(first, offset(start.Seq))
		}
	}
	return found, err
}

// Fetch returns what franz-go has, or waits for it.
func (m *consumer) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	m.fetching.Lock()
	defer m.fetching.Unlock()
	if !m.begun && m.conf.Group == "" {
		m.cl.ResumeFetchTopics(m.conf.Streams...)
	}
	m.begun = true
	had := len(into)
	for {
		poll, cancel := context.WithDeadline(ctx, m.nextLook())
		m.interrupt.Store(&cancel)
		stop := context.AfterFunc(m.closing, cancel)
		var err error
		into, err = m.fetch(ctx, poll, into)
		stop()
		cancel()
		if err != nil || len(into) > had {
			return into, err
		}
	}
}

// fetch is one turn of Fetch: it may return nothing.
func (m *consumer) fetch(ctx, poll context.Context, into []driver.Batch) ([]driver.Batch, error) {
	if m.closing.Err() != nil {
		return into, &driver.Error{Kind: driver.ErrClosed, Err: errors.New("the consumer is closed")}
	}
	if ctx.Err() != nil {
		return into, context.Cause(ctx)
	}
	if err := m.pending(); err != nil {
		return into, err
	}
	had := len(into)
	fetches := m.cl.PollFetches(poll)
	into, err := m.take(ctx, fetches, into)
	if m.conf.Group != "" {
		// The batches have their generation: from here on shards may leave.
		m.cl.AllowRebalance()
	}
	switch {
	case err != nil:
	case len(into) > had:
		m.appetite.adjust(m.cl)
	default:
		into, err = m.look(ctx, into)
	}
	return into, err
}

// pending is what Fetch has to say before it waits.
func (m *consumer) pending() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if len(m.gaps) > 0 {
		g := m.gaps[0]
		m.gaps = m.gaps[1:]
		return g
	}
	return nil
}

// poke makes a Fetch that waits look at pending.
func (m *consumer) poke() {
	if cancel := m.interrupt.Load(); cancel != nil {
		(*cancel)()
	}
}

// take turns what franz-go fetched into batches and stamps them with their
// generation. No shard can leave or come while it runs: with a group, because
// AllowRebalance is called after it, and without one because only the fetching
// goroutine adds shards.
func (m *consumer) take(ctx context.Context, fetches kgo.Fetches, into []driver.Batch) ([]driver.Batch, error) {
	failed := m.failures(ctx, fetches) // first: it may move cursors back
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range fetches {
		for j := range fetches[i].Topics {
			t := &fetches[i].Topics[j]
			for k := range t.Partitions {
				p := &t.Partitions[k]
				if len(p.Records) == 0 {
					continue
				}
				s := driver.Shard{Stream: t.Topic, Index: p.Partition}
				cur := m.at[s]
				if cur == nil {
					continue
				}
				cur.seen = true
				next := max(cur.next, p.Records[len(p.Records)-1].Offset+1)
				if next > cur.next {
					into = append(into, newBatch(s, cur.gen, p.Records, cur.next, next))
					cur.next = next
				}
				m.quiet.stir()
			}
		}
	}
	return into, failed
}

// nextLook is when Fetch has to do something else than wait.
func (m *consumer) nextLook() time.Time {
	t := m.refresh
	if q := m.quiet.at; !q.IsZero() && (t.IsZero() || q.Before(t)) {
		t = q
	}
	if t.IsZero() {
		t = time.Now().Add(time.Hour)
	}
	return t
}

// look does what is due when nothing comes: it looks for new shards, and for
// holes at the end of quiet ones.
func (m *consumer) look(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	within, cancel := m.c.within(ctx)
	defer cancel()
	stop := context.AfterFunc(m.closing, cancel)
	defer stop()
	now := time.Now()
	if !m.refresh.IsZero() && !now.Before(m.refresh) {
		m.refresh = now.Add(m.c.o.MetadataAge)
		if err := m.findShards(within); err != nil {
			return into, err
		}
	}
	if q := m.quiet.at; !q.IsZero() && !now.Before(q) {
		return m.skipHoles(within, into), nil
	}
	return into, nil
}

// Seek moves shards. Those that are not assigned (any more) are left out, and
// so are those that were assigned since the core gave the Seek its generation.
func (m *consumer) Seek(ctx context.Context, gen uint64, to map[driver.Shard]driver.Start) ([]driver.Position, error) {
	m.fetching.Lock()
	defer m.fetching.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.closing, cancel)()
	at, err := m.seek(ctx, gen, to)
	if m.closing.Err() != nil {
		return nil, &driver.Error{Kind: driver.ErrClosed, Err: errors.New("the consumer is closed")}
	}
	return at, err
}

// seek finds out all that it has to before it moves anything: where it fails
// everything is as it was.
func (m *consumer) seek(ctx context.Context, gen uint64, to map[driver.Shard]driver.Start) ([]driver.Position, error) {
	starts := map[driver.Start][]driver.Shard{}
	var curs []*cursor
	m.mu.Lock()
	for s, start := range to {
		if cur := m.at[s]; cur != nil {
			starts[start] = append(starts[start], s)
			curs = append(curs, cur)
		}
	}
	m.mu.Unlock()
	if m.conf.Group != "" {
		for _, cur := range curs {
			if err := m.waitAssigned(ctx, cur); err != nil {
				return nil, err
			}
		}
	}
	found, ends := map[driver.Shard]int64{}, map[driver.Shard]int64{}
	for start, shards := range starts {
		some, err := m.c.resolve(ctx, m.cl, m.conf.Isolation, start, shards)
		if err != nil {
			return nil, err
		}
		maps.Copy(found, some)
		some, err = listOffsets(ctx, m.c, m.cl, driver.Uncommitted, each(shards, atEnd))
		if err != nil {
			return nil, err
		}
		maps.Copy(ends, some)
	}
	var at []driver.Position
	goTo := map[*cursor]int64{}
	m.mu.Lock()
	for s, o := range found {
		cur := m.at[s]
		if cur == nil || !cur.ready || cur.gen > gen {
			continue
		}
		cur.next, cur.gen = o, gen
		goTo[cur] = min(o, ends[s]) // franz-go waits at the end, we for what lies beyond it
		at = append(at, driver.Position{Shard: s, Next: seq(o)})
	}
	m.gaps = slices.DeleteFunc(m.gaps, func(g *driver.GapError) bool { // nobody reads there any more
		_, moved := goTo[m.at[g.Shard]]
		return moved
	})
	m.mu.Unlock()
	m.quiet.stir()
	m.move(goTo)
	return at, nil
}

// Close leaves the group, if there is one, and ends the client. What ctx does
// not leave time for is left to the session time-out.
func (m *consumer) Close(ctx context.Context) error {
	m.closeOnce.Do(func() {
		m.last = ctx
		m.close()       // Fetch returns
		m.c.work.Add(1) // the client is not closed before its consumers are
		go m.finish(ctx)
	})
	select {
	case <-m.closed:
		return nil
	case <-ctx.Done():
	}
	m.end() // finish has no reason to wait any longer
	return context.Cause(ctx)
}

func (m *consumer) finish(ctx context.Context) {
	defer m.c.work.Done()
	defer close(m.closed)
	m.fetching.Lock()
	m.fetching.Unlock() //nolint:staticcheck // the last Fetch has ended
	if m.conf.Group != "" {
		_ = m.cl.LeaveGroupContext(ctx) // calls revoked, which commits
	}
	m.revoke(ctx, m.assigned(), m.conf.Group != "") // without a group, or where leaving did not get there
	m.end()
	m.cl.Close()
}

// assigned lists the shards that are read.
func (m *consumer) assigned() []driver.Shard {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := make([]driver.Shard, 0, len(m.at))
	for id := range m.at {
		s = append(s, id)
	}
	return s
}

// revoke tells the core that shards leave, and then lets no commit for them
// through: one that is under way is waited for.
func (m *consumer) revoke(ctx context.Context, shards []driver.Shard, lost bool) {
	m.events.Lock()
	defer m.events.Unlock()
	m.mu.Lock()
	mine := shards[:0]
	for _, s := range shards {
		if m.at[s] != nil {
			mine = append(mine, s)
		}
	}
	m.mu.Unlock()
	if len(mine) == 0 {
		return
	}
	m.conf.Revoked(ctx, mine, lost)
	m.owning.Lock()
	defer m.owning.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range mine {
		delete(m.at, s)
	}
	kept := m.gaps[:0]
	for _, g := range m.gaps {
		if m.at[g.Shard] != nil {
			kept = append(kept, g)
		}
	}
	m.gaps = kept
}
