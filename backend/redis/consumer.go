package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// defaultAhead is how many bytes a consumer reads ahead. More is slower: what
// waits for long leaves the processor's cache.
const defaultAhead = 1 << 20

// reader is the consumer without a group. It has one lane on a server, and one
// per slot in a cluster (lane.go), which read ahead into a queue; Fetch takes
// what is there. Another goroutine looks for new shards and at idle ones
// (watch.go).
type reader struct {
	c       *client
	conf    driver.ConsumerConfig
	budget  int
	cluster bool

	life    context.Context // of lanes and watch
	end     context.CancelFunc
	running sync.WaitGroup
	closing chan struct{} // closed when Close begins
	once    sync.Once
	closed  chan struct{} // closed when it has ended

	events  sync.Mutex    // Assigned and Revoked come one at a time
	arrived chan struct{} // one is pending where Fetch has something to look at

	mu      sync.Mutex
	begun   bool // lanes run, since the first Fetch
	layouts map[string]*layout
	at      map[driver.Shard]*cursor
	lanes   []*lane
	queue   []item
	queued  int // bytes in queue
	reading int // lanes that read, other than those that wait
	err     error
}

// cursor is a shard that is read.
type cursor struct {
	shard driver.Shard
	key   string
	lane  *lane
	gen   uint64
	place *place // replaced, not changed, when reading goes on elsewhere
	idle  bool   // nothing came since watch has last looked
	// ready is false while Assigned runs: then the core may know of the shard
	// already, and seek it, which sought says.
	ready, sought bool
}

// item is what Fetch returns next: a batch, or a finding. It is void where the
// cursor has another place by then.
type item struct {
	cur     *cursor
	place   *place // that it came from
	batch   *batch
	finding *finding
	from    driver.Seq // of a finding
	moved   *place     // where reading goes on behind it
}

// openReader opens a consumer without a group.
func (c *client) openReader(ctx context.Context, conf driver.ConsumerConfig) (driver.Consumer, error) {
	rc, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	m := &reader{c: c, conf: conf, budget: conf.MaxBytes, cluster: isCluster(rc),
		closing: make(chan struct{}), closed: make(chan struct{}), arrived: make(chan struct{}, 1),
		layouts: map[string]*layout{}, at: map[driver.Shard]*cursor{}}
	if m.budget <= 0 {
		m.budget = defaultAhead
	}
	layouts, err := c.findAll(ctx, conf.Streams)
	if err != nil {
		return nil, err
	}
	var shards []driver.Shard
	for i := range layouts {
		l := &layouts[i]
		m.layouts[l.stream] = l
		for _, i := range l.shards {
			shards = append(shards, driver.Shard{Stream: l.stream, Index: i})
		}
	}
	m.life, m.end = context.WithCancel(context.Background())
	if err := m.add(ctx, shards, conf.Start); err != nil {
		m.end()
		return nil, err
	}
	return m, nil
}

// begin starts the goroutines. It is called with mu held.
func (m *reader) begin() {
	if m.begun || m.isClosing() {
		return
	}
	m.begun = true
	for _, l := range m.lanes {
		m.running.Go(l.run)
	}
	m.running.Go(m.watch)
}

func (m *reader) isClosing() bool {
	select {
	case <-m.closing:
		return true
	default:
		return false
	}
}

// notify makes Fetch look.
func (m *reader) notify() {
	select {
	case m.arrived <- struct{}{}:
	default:
	}
}

var errReaderClosed = &driver.Error{Kind: driver.ErrClosed, Err: errors.New("the consumer is closed")}

// Fetch returns what lanes have read, or waits for it.
func (m *reader) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	had := len(into)
	for {
		if m.isClosing() {
			return into, errReaderClosed
		}
		if ctx.Err() != nil {
			return into, context.Cause(ctx)
		}
		var found *item
		var err error
		m.mu.Lock()
		m.begin()
		into, found, err = m.take(into)
		m.mu.Unlock()
		if found != nil {
			err = found.tell()
		}
		if err != nil || len(into) > had {
			return into, err
		}
		select {
		case <-m.arrived:
		case <-ctx.Done():
		case <-m.closing:
		}
	}
}

// take appends what is queued, up to a finding or an error. Where that comes
// first it returns it. It is called with mu held.
func (m *reader) take(into []driver.Batch) ([]driver.Batch, *item, error) {
	if m.err != nil {
		return into, nil, m.err
	}
	had := len(into)
	for i := range m.queue {
		it := &m.queue[i]
		if it.batch != nil {
			m.queued -= it.batch.bytes
		}
		if it.cur.place != it.place {
			continue
		}
		if it.batch != nil {
			it.batch.gen = it.cur.gen
			into = append(into, it.batch)
			continue
		}
		if len(into) > had { // telling may begin another generation: these come before
			clear(m.queue[:i])
			m.queue = m.queue[i:]
			m.notify()
			m.hungry()
			return into, nil, nil
		}
		found := *it
		clear(m.queue[:i+1])
		m.queue = m.queue[i+1:]
		m.notify()
		m.hungry()
		return into, &found, nil
	}
	clear(m.queue)
	m.queue = m.queue[:0]
	m.hungry()
	if len(into) > had {
		return into, nil, nil
	}
	for _, l := range m.lanes {
		if err := l.err; err != nil {
			l.err = nil
			m.notify() // there may be others
			return into, nil, err
		}
	}
	return into, nil, nil
}

// hungry lets lanes go on that wait for room. It is called with mu held.
func (m *reader) hungry() {
	for _, l := range m.lanes {
		if l.waits {
			l.nudge()
		}
	}
}

// tell turns a finding into the gap that Fetch returns. Also where a stream's
// numbers come again it stays in its generation: with a new one the core would
// drop what it has fetched and not delivered yet, which lies before the gap.
func (it *item) tell() error {
	return &driver.GapError{Shard: it.cur.shard, From: it.from, To: it.finding.to, Cause: it.finding.cause}
}

// fail ends the consumer.
func (m *reader) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
	}
	m.notify()
}

// Seek moves shards, all of them or none. Those that are not read are left out.
func (m *reader) Seek(ctx context.Context, gen uint64, to map[driver.Shard]driver.Start) ([]driver.Position, error) {
	if m.isClosing() {
		return nil, errReaderClosed
	}
	var at []driver.Position
	byStart := map[driver.Start][]*cursor{}
	m.mu.Lock()
	for s, how := range to {
		if cur := m.at[s]; cur != nil && cur.gen <= gen {
			byStart[how] = append(byStart[how], cur)
		}
	}
	m.mu.Unlock()
	found := map[*cursor]start{}
	for how, cursors := range byStart {
		shards, keys := make([]driver.Shard, len(cursors)), make([]string, len(cursors))
		for i, cur := range cursors {
			shards[i], keys[i] = cur.shard, cur.key
		}
		starts, err := m.c.resolve(ctx, how, shards, keys)
		if err != nil {
			return nil, err
		}
		for i, cur := range cursors {
			found[cur] = starts[i]
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for cur, st := range found {
		if m.at[cur.shard] != cur || cur.gen > gen {
			continue
		}
		cur.place, cur.gen, cur.sought = st.place, gen, true
		at = append(at, driver.Position{Shard: cur.shard, Next: st.at})
		if cur.lane != nil {
			cur.lane.wake()
		}
	}
	return at, nil
}

// Close wakes what waits, at the server too, and ends the goroutines. A read
// whose server does not answer is cut off: without a group nothing is lost by
// that.
func (m *reader) Close(ctx context.Context) error {
	m.once.Do(func() {
		close(m.closing)
		m.mu.Lock()
		lanes := m.lanes
		m.mu.Unlock()
		m.c.background(func() { m.finish(ctx, lanes) })
	})
	select {
	case <-m.closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// patience is how long Close lets a server answer.
const patience = 50 * time.Millisecond

func (m *reader) finish(ctx context.Context, lanes []*lane) {
	defer close(m.closed)
	for _, l := range lanes {
		l.wake()
	}
	cut := time.AfterFunc(patience, func() {
		m.end()
		for _, l := range lanes {
			l.w.cut()
		}
	})
	m.running.Wait()
	cut.Stop()
	m.end()
	for _, l := range lanes {
		l.w.close()
	}
	m.events.Lock()
	defer m.events.Unlock()
	m.mu.Lock()
	shards := make([]driver.Shard, 0, len(m.at))
	for s := range m.at {
		shards = append(shards, s)
	}
	clear(m.at)
	m.queue = nil
	m.mu.Unlock()
	if len(shards) > 0 {
		m.conf.Revoked(ctx, shards, false)
	}
}
