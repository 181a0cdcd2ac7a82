package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// memberPrefix begins the names that members of groups make up for
// themselves. Who finds one that has nothing pending and was not heard of for
// long may delete it.
const memberPrefix = "sea-"

// member is a consumer with a group: the server hands out messages, and keeps
// for each that is out who has it, since when, and how often it was delivered.
// Nothing is assigned, generations are 0, and there is no Seek.
//
// It has one lane on a server, and one per slot in a cluster
// (group_lane.go), each a goroutine that reads while somebody waits in Fetch,
// and one answer ahead of that where a shard is known to have more: what a
// member has and nobody wants it keeps from others. Another goroutine
// (group_tend.go) looks after what has to happen without that.
type member struct {
	c       *client
	conf    driver.ConsumerConfig
	budget  int
	name    string // of the consumer in the group
	named   bool   // by the option: it may have pending entries from before, and is not deleted
	cluster bool

	life    context.Context // of lanes
	end     context.CancelFunc
	running sync.WaitGroup
	closing chan struct{} // closed when Close begins
	once    sync.Once
	closed  chan struct{} // closed when it has ended
	arrived chan struct{} // one is pending where Fetch has something to look at
	tending chan struct{} // one is pending where tend has something to look at

	mu      sync.Mutex
	begun   bool // goroutines run, since the first Fetch
	wanted  bool // Fetch waits
	ahead   bool // Fetch returns something now: a lane with more may read it before it is asked for
	layouts map[string]*layout
	posts   map[driver.Shard]*post
	lanes   []*groupLane
	queue   []parcel
	renew   time.Time // when the first nack has to be renewed, see tend; zero is never
	err     error
}

var _ driver.Settler = (*member)(nil)

// A post is a shard that a member reads.
type post struct {
	m     *member
	shard driver.Shard
	key   string
	lane  *groupLane

	// The rest of this block belongs to the lane's goroutine.
	away    bool       // there is no such key: it was deleted
	unsure  bool       // we may have made its group anew: the answer was lost
	orphans bool       // a reply may have been lost: entries may be pending that nobody has seen
	again   time.Time  // when to look for orphans once more; zero is never
	full    bool       // the last read brought as much as it might
	checked time.Time  // when it was last looked at for holes, see group_gaps.go
	own     driver.Seq // the last entry that was read from here, not taken from somebody
	deleted driver.Seq // what XDEL has deleted up to here is not told, or was
	ahead   ahead      // of the read that is under way
	scan    driver.Seq // where a look at many pending entries goes on

	// Guarded by the member's mu.
	last    driver.Seq // the highest entry that was delivered, as far as is known
	held    []*delivery
	delayed map[driver.Seq]delay // nacked by us, and pending for us until somebody takes it
}

// A delay is that of a nack.
type delay struct {
	due   time.Time // when it may be delivered again
	renew time.Time // when its idle time has to be set again to last until then; zero is never
}

// A parcel is what Fetch returns next: a batch, or a gap.
type parcel struct {
	d   *delivery
	gap *driver.GapError
}

// openGroup opens a consumer with a group. It makes the group where that does
// not exist.
func (c *client) openGroup(ctx context.Context, conf driver.ConsumerConfig) (driver.Consumer, error) {
	rc, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	m := &member{c: c, conf: conf, budget: conf.MaxBytes, cluster: isCluster(rc), name: c.o.Consumer, named: c.o.Consumer != "",
		closing: make(chan struct{}), closed: make(chan struct{}), arrived: make(chan struct{}, 1), tending: make(chan struct{}, 1),
		layouts: map[string]*layout{}, posts: map[driver.Shard]*post{}}
	if m.budget <= 0 {
		m.budget = defaultAhead
	}
	if !m.named {
		m.name = memberName()
	}
	var fresh []*post
	for _, s := range conf.Streams {
		l, err := c.find(ctx, s)
		if err != nil {
			return nil, err
		}
		m.layouts[s] = &l
		for _, i := range l.shards {
			fresh = append(fresh, m.newPost(driver.Shard{Stream: s, Index: i}))
		}
	}
	ids, err := m.starts(ctx, fresh)
	if err != nil {
		return nil, err
	}
	results, err := m.createGroups(ctx, rc, fresh, ids)
	if err != nil {
		return nil, err
	}
	for i, p := range fresh {
		if err := results[i].err; isNoKey(err) {
			return nil, c.missing(p.shard.Stream) // deleted since it was found
		} else if err != nil {
			return nil, c.keyFailure("", p.shard, p.key, err)
		}
		p.begins(&results[i])
	}
	m.life, m.end = context.WithCancel(context.Background())
	m.mu.Lock()
	for _, p := range fresh {
		m.join(p)
	}
	m.mu.Unlock()
	return m, nil
}

func (m *member) newPost(s driver.Shard) *post {
	// What was pending before is ours if we have our name from before.
	return &post{m: m, shard: s, key: m.c.key(m.layouts[s.Stream], s.Index), orphans: m.named}
}

// memberName is a name that no other member has.
func memberName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "host"
	}
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, host)
	return fmt.Sprintf("%s%.64s-%d-%012x", memberPrefix, host, os.Getpid(), rand.Uint64()>>16) //nolint:gosec // no secret
}

// starts are the ids behind which new groups begin. A group that exists keeps
// its place.
func (m *member) starts(ctx context.Context, posts []*post) ([]string, error) {
	ids := make([]string, len(posts))
	switch how := m.conf.Start; how.At {
	case driver.AtEarliest:
		for i := range ids {
			ids[i] = "0"
		}
	case driver.AtLatest:
		for i := range ids {
			ids[i] = "$"
		}
	default:
		shards, keys := make([]driver.Shard, len(posts)), make([]string, len(posts))
		for i, p := range posts {
			shards[i], keys[i] = p.shard, p.key
		}
		found, err := m.c.resolve(ctx, how, shards, keys)
		if err != nil {
			return nil, err
		}
		for i := range found {
			ids[i] = idText(found[i].at.Prev())
		}
	}
	return ids, nil
}

// created is what createGroup answered for a post.
type created struct {
	made  bool
	front driver.Seq // where reading begins, if made
	last  driver.Seq // what was delivered last, if not
	del   driver.Seq // the highest that XDEL has deleted
	err   error
}

// createGroups makes the group in all posts where it is missing.
func (m *member) createGroups(ctx context.Context, rc rueidis.Client, posts []*post, ids []string) ([]created, error) {
	cmds := make([]rueidis.Completed, len(posts))
	for i, p := range posts {
		cmds[i] = createGroup.build(rc.B(), p.key, m.conf.Group, ids[i])
	}
	answers, err := m.c.askAll(ctx, rc, cmds)
	if err != nil {
		return nil, err
	}
	results := make([]created, len(posts))
	for i, a := range answers {
		results[i] = createdBy(a.ToMessage())
	}
	return results, nil
}

func createdBy(m rueidis.RedisMessage, err error) (r created) {
	if err != nil {
		return created{err: err}
	}
	bad := created{err: errReply}
	list, err := m.ToArray()
	if err != nil || len(list) < 3 {
		return bad
	}
	made, err := list[0].AsInt64()
	if err != nil {
		return bad
	}
	id := func(i int) (q driver.Seq, has bool) {
		text, _ := list[i].ToString()
		if text == "" {
			return q, false
		}
		q, ok := parseID(text)
		if !ok {
			err = errReply
		}
		return q, true
	}
	r.del, _ = id(len(list) - 1)
	if made == 0 {
		var has bool
		if r.last, has = id(1); !has || err != nil {
			return bad
		}
		return r
	}
	if len(list) < 4 {
		return bad
	}
	end, has := id(2)
	if !has {
		return bad
	}
	r.made = true
	if r.front, has = id(1); !has && !end.IsZero() {
		r.front = end.Succ()
	}
	if err != nil {
		return bad
	}
	return r
}

// begins is where a post begins in a group that was found or made. What XDEL
// has deleted before that is not missed by us.
func (p *post) begins(r *created) {
	p.last, p.own, p.deleted = r.last, driver.Seq{}, r.del
}

// join gives a post to its lane. It is called with mu held.
func (m *member) join(p *post) {
	n := -1
	if m.cluster {
		n = int(slot(p.key))
	}
	m.posts[p.shard] = p
	for _, l := range m.lanes {
		if l.slot == n {
			p.lane = l
			l.posts = append(l.posts, p)
			l.wake()
			return
		}
	}
	l := &groupLane{m: m, slot: n, w: m.c.newWaiter(p.key), poke: make(chan struct{}, 1), posts: []*post{p}}
	l.w.name = m.c.o.memberConn(m.conf.Group, m.name)
	p.lane = l
	m.lanes = append(m.lanes, l)
	if m.begun {
		m.running.Go(l.run)
	}
}

// begin starts the goroutines. It is called with mu held.
func (m *member) begin() {
	if m.begun || m.isClosing() {
		return
	}
	m.begun = true
	for _, l := range m.lanes {
		m.running.Go(l.run)
	}
	m.running.Go(m.tend)
}

func (m *member) isClosing() bool {
	select {
	case <-m.closing:
		return true
	default:
		return false
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Fetch returns what lanes have read, or has them read and waits for it.
func (m *member) Fetch(ctx context.Context, into []driver.Batch) ([]driver.Batch, error) {
	had := len(into)
	for {
		if m.isClosing() {
			return into, errReaderClosed
		}
		if ctx.Err() != nil {
			return into, context.Cause(ctx)
		}
		var err error
		m.mu.Lock()
		m.begin()
		into, err = m.take(into)
		m.wanted = err == nil && len(into) == had
		wanted, lanes := m.wanted, m.lanes
		if m.ahead = len(into) > had; m.ahead {
			for _, l := range lanes {
				if l.more {
					notify(l.poke)
				}
			}
		}
		m.mu.Unlock()
		if !wanted {
			return into, err
		}
		for _, l := range lanes {
			notify(l.poke)
		}
		select {
		case <-m.arrived:
		case <-m.closing:
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // whatever has ended the wait
			m.mu.Lock()
			m.wanted = false
			m.mu.Unlock()
			for _, l := range lanes {
				l.w.wake() // what it would still read would wait for the next Fetch
			}
		}
	}
}

// take appends what is queued up to a gap, which it returns. Where nothing is
// it returns what is wrong with a lane. It is called with mu held.
func (m *member) take(into []driver.Batch) ([]driver.Batch, error) {
	had := len(into)
	for i := range m.queue {
		it := &m.queue[i]
		if it.d != nil {
			into = append(into, it.d)
			continue
		}
		gap := it.gap
		clear(m.queue[:i+1])
		m.queue = m.queue[i+1:]
		notify(m.arrived)
		return into, gap
	}
	clear(m.queue)
	m.queue = m.queue[:0]
	if len(into) > had {
		return into, nil
	}
	if m.err != nil {
		return into, m.err
	}
	for _, l := range m.lanes {
		if err := l.err; err != nil {
			l.err = nil
			notify(m.arrived) // there may be others
			return into, err
		}
	}
	return into, nil
}

// put queues what was read. It is called with mu held.
func (m *member) put(ps []parcel) {
	m.queue = append(m.queue, ps...)
	m.wanted, m.ahead = false, m.wanted // who waits takes this, and may have the next on its way meanwhile
	notify(m.arrived)
}

// Seek is not for members: where a group stands is not one of them's to say.
func (m *member) Seek(context.Context, uint64, map[driver.Shard]driver.Start) ([]driver.Position, error) {
	return nil, driver.Errorf(errors.ErrUnsupported, "", "a group on Redis is moved for all its members together, which is administration: XGROUP SETID")
}

// Close hands back what is held, so that others get it at once, and leaves the
// group. Where the server does not answer it gives up when ctx ends, and others
// get what was held when the time-out has passed.
func (m *member) Close(ctx context.Context) error {
	m.once.Do(func() {
		close(m.closing)
		m.c.background(func() { m.finish(ctx) })
	})
	select {
	case <-m.closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *member) finish(ctx context.Context) {
	defer close(m.closed)
	m.mu.Lock()
	lanes := m.lanes
	m.mu.Unlock()
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
	for _, l := range lanes {
		if l.w.revoke(ctx) != nil {
			break // nobody answers, and there is no time to ask for each
		}
	}
	m.leave(ctx)
}

// leave hands everything back and deletes the consumer, which fails where it
// still has entries that others have not taken yet: then they clean up later.
func (m *member) leave(ctx context.Context) {
	m.mu.Lock()
	unseen := m.queue
	m.queue = nil
	fetched := map[*delivery]bool{}
	var all []driver.Settlement
	for _, it := range unseen {
		if it.d != nil {
			fetched[it.d] = true
			all = append(all, driver.Settlement{Batch: it.d, To: it.d.Len(), Verdict: driver.VerdictReturn})
		}
	}
	var posts []*post
	for _, p := range m.posts {
		posts = append(posts, p)
		for _, d := range p.held {
			if !fetched[d] && d.open > 0 {
				all = append(all, driver.Settlement{Batch: d, To: d.Len(), Verdict: driver.VerdictNack})
			}
		}
	}
	m.mu.Unlock()
	if err := m.settle(ctx, all); err != nil {
		return
	}
	if err := m.handBackLost(ctx, posts); err != nil {
		return
	}
	if !m.named {
		_ = m.dropConsumers(ctx, posts, m.name)
	}
}
