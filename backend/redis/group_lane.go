package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// A groupLane reads the shards of one slot of a cluster, or all of them where
// there is one server. What concerns its shards it does one after the other: it
// never looks at pending entries while a read is under way whose entries are
// pending for us and have not arrived.
type groupLane struct {
	m    *member
	slot int // −1 where there are none
	w    *waiter
	poke chan struct{} // ends a wait that is not at the server

	// The rest of this block belongs to run.
	pass    time.Time // when to look for entries that others have left
	turn    int       // which post is read first
	all     bool      // read from all posts next, though some are known to have more
	size    int       // of a message, about; zero is not known
	most    int       // messages in a read, until size is known well
	ended   time.Time // when the last read did
	toldErr time.Time // when err was set last
	blind   bool      // we may not look for what was trimmed
	brought bool      // this step has something for Fetch
	resting int       // failures in a row, other than the waiter's

	// Guarded by the member's mu.
	posts []*post
	due   time.Time // the earliest delay of a nack, about; zero is none
	more  bool      // the last read brought as much as it might from some shard
	until time.Time // when the command that waits at the server returns by itself
	err   error     // to be told by Fetch, once
}

const (
	// passEvery is how often a member looks for entries that others have left.
	// It is what a nacked or returned message of one member waits at most for
	// another one.
	passEvery = 900 * time.Millisecond
)

// wake ends whatever wait the lane is in.
func (l *groupLane) wake() {
	notify(l.poke)
	l.w.wake()
}

// expect says that a nacked entry may be delivered again at a time. It is
// called with the member's mu held.
func (l *groupLane) expect(due time.Time) {
	if l.due.IsZero() || due.Before(l.due) {
		l.due = due
		notify(l.poke)
		if due.Before(l.until) {
			l.w.wake()
		}
	}
}

// put queues what was found. It is called with the member's mu held.
func (l *groupLane) put(found []parcel) {
	if len(found) > 0 {
		l.brought = true
		l.m.put(found)
	}
}

// run reads for Fetch until the member is closed.
func (l *groupLane) run() {
	m := l.m
	for !m.isClosing() {
		m.mu.Lock()
		wanted := m.wanted || m.ahead && l.more
		m.mu.Unlock()
		if !wanted {
			select {
			case <-l.poke:
			case <-m.closing:
			}
			continue
		}
		err := l.work()
		if err == nil || errors.Is(err, errWoken) {
			l.resting = 0
			continue
		}
		if m.isClosing() || m.life.Err() != nil {
			return
		}
		if tooMuch(err) {
			l.most = max(l.most/4, 1)
		}
		l.tell(err)
		l.rest()
	}
}

// tell has Fetch return an error, about once a second where it stays.
func (l *groupLane) tell(err error) {
	if now := time.Now(); now.Sub(l.toldErr) > time.Second || !errors.Is(err, driver.ErrUnavailable) {
		l.toldErr = now
		l.m.mu.Lock()
		l.err = err
		notify(l.m.arrived)
		l.m.mu.Unlock()
	}
}

// rest keeps a lane from asking again and again what fails.
func (l *groupLane) rest() {
	most := 20 * time.Millisecond << min(l.resting, 6) // up to about a second
	l.resting++
	t := time.NewTimer(most/2 + rand.N(most/2)) //nolint:gosec // no secret
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.m.closing:
	}
}

// work is one step: what is ours already, then what others have left, then what
// is new. It ends as soon as there is something for Fetch.
func (l *groupLane) work() error {
	ctx := l.m.life
	l.brought = false
	for _, step := range []func(context.Context) error{l.recover, l.takeDue, l.claim} {
		if err := step(ctx); isNoGroup(err) {
			return l.repair(ctx)
		} else if err != nil {
			return err
		}
		if l.brought {
			return nil
		}
	}
	err := l.read(ctx)
	switch {
	case isNoGroup(err):
		return l.repair(ctx)
	case errors.Is(err, errWoken):
	case err != nil:
		// The answer may be on its way to nobody: what it has is pending for
		// us. And the server may go on for a while to answer a connection that
		// is dead for us.
		l.m.mu.Lock()
		for _, p := range l.posts {
			p.orphans, p.again = true, time.Now().Add(blockFor+time.Second)
		}
		l.m.mu.Unlock()
	}
	return err
}

// present are the posts whose keys exist.
func (l *groupLane) present() []*post {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	ps := make([]*post, 0, len(l.posts))
	for _, p := range l.posts {
		if !p.away {
			ps = append(ps, p)
		}
	}
	return ps
}

// room is how many messages a read may bring.
func (l *groupLane) room() int {
	if l.most == 0 {
		l.most = 64
	}
	if l.size == 0 {
		return l.most
	}
	l.m.mu.Lock()
	share := l.m.budget / min(len(l.m.lanes), mostLanes)
	l.m.mu.Unlock()
	return max(min(share/l.size, l.most), 1)
}

// learn takes the size of messages that came. What is next is more like the last
// of them than like the first.
func (l *groupLane) learn(b *batch) {
	if b.Len() == 0 {
		return
	}
	size := max(b.bytes/b.Len(), b.Size(b.Len()-1))
	if l.size == 0 || size > l.size {
		l.size = size
	} else {
		l.size += (size - l.size) / 4
	}
	l.most = min(4*l.most, mostMessages)
}

// read reads what is new. Where nothing is known to be there it waits for it at
// the server until there is something else to do.
func (l *groupLane) read(ctx context.Context) error {
	posts, count, wait := l.plan()
	if len(posts) == 0 {
		return l.await(ctx)
	}
	check := l.unchecked(posts)
	// What was full has more: there is no need to wait, and what does not wait
	// is read in one breath with the look at holes.
	wait = wait && !posts[0].full
	block := time.Duration(0)
	l.m.mu.Lock()
	wait = wait && l.m.wanted
	if wait {
		until := l.pass
		if !l.due.IsZero() && l.due.Before(until) {
			until = l.due
		}
		block = min(max(time.Until(until), time.Millisecond), blockFor)
		l.until = time.Now().Add(block)
	}
	l.m.mu.Unlock()
	began := time.Now()
	within := max(deadAfter, l.m.c.o.RequestTimeout)
	if wait {
		within = block + deadAfter
	}
	answers, err := l.w.do(ctx, within, func(b rueidis.Builder) []rueidis.Completed {
		return l.commands(b, check, l.readCommand(b, posts, count, block), wait)
	})
	l.m.mu.Lock()
	l.until = time.Time{}
	l.m.mu.Unlock()
	if err != nil {
		return err
	}
	l.ended = time.Now()
	for _, p := range check {
		p.checked = began
	}
	seen, reply, err := l.answers(answers, len(check) > 0, wait)
	if err != nil {
		return err
	}
	found := l.holes(check, seen)
	if len(found) > 0 {
		l.told(found)
	}
	if err := reply.err(); err != nil {
		l.m.mu.Lock()
		l.put(found)
		l.m.mu.Unlock()
		if isNoGroup(err) {
			return err
		}
		return l.refused(posts, err)
	}
	return l.took(posts, count, reply, found)
}

// plan says which posts to read, how many messages from each, and whether to
// wait for them. COUNT is for all shards of a read: those that are known to
// have more are read by themselves, in turn with all of them, so that neither
// keeps the others waiting.
func (l *groupLane) plan() (posts []*post, count int, wait bool) {
	all := l.present()
	n := l.room()
	if len(all) == 0 {
		return nil, 0, false
	}
	if len(all) == 1 {
		return all, n, true
	}
	var full []*post
	for i := range all {
		if p := all[(l.turn+i)%len(all)]; p.full {
			full = append(full, p)
		}
	}
	if l.all || len(full) == 0 {
		l.all = false
		return all, max(n/len(all), 1), len(full) == 0
	}
	l.all = true
	full = full[:min(len(full), max(n/fewMessages, 1))]
	l.turn = (l.turn + len(full)) % len(all)
	return full, max(n/len(full), 1), false
}

func (l *groupLane) readCommand(b rueidis.Builder, posts []*post, count int, block time.Duration) rueidis.Completed {
	keys, ids := make([]string, len(posts)), make([]string, len(posts))
	for i, p := range posts {
		keys[i], ids[i] = p.key, ">"
	}
	c := b.Xreadgroup().Group(l.m.conf.Group, l.m.name).Count(int64(count))
	if block > 0 {
		return c.Block(block.Milliseconds()).Streams().Key(keys...).Id(ids...).Build()
	}
	return c.Streams().Key(keys...).Id(ids...).Build()
}

// took delivers the answer of a read, behind what was found before it.
func (l *groupLane) took(posts []*post, count int, reply value, found []parcel) error {
	m := l.m
	for _, p := range posts {
		p.full = false
	}
	now := time.Now()
	next := 0
	m.mu.Lock()
	defer m.mu.Unlock()
	l.more = false
	err := reply.eachStream(func(key string, entries value) error {
		n := 0
		for posts[(next+n)%len(posts)].key != key {
			if n++; n == len(posts) {
				return errReply
			}
		}
		next = (next + n) % len(posts)
		p := posts[next]
		b, gone, err := newBatch(&m.c.o, p.shard, entries)
		if err != nil {
			return err
		}
		came := b.Len() + len(gone)
		if gap := p.passed(b.ids, came < count); gap != nil {
			found = append(found, parcel{gap: gap})
		}
		p.full = came >= count
		l.more = l.more || p.full
		for _, id := range gone {
			found = append(found, parcel{gap: &driver.GapError{Shard: p.shard, From: id, To: id.Succ(), Cause: driver.GapTrimmed}})
		}
		if b.Len() == 0 {
			return nil
		}
		l.learn(b)
		if !p.last.Less(b.ids[0]) {
			// The server has gone back, by a restart that lost its last second
			// or because somebody has moved the group: what we have in hand is
			// ours again, and is not delivered twice.
			b.only(func(i int) bool { return !p.busy(b.ids[i], now) })
			for _, id := range b.ids {
				p.let(id)
			}
		}
		if b.Len() == 0 {
			return nil
		}
		p.own = b.ids[b.Len()-1]
		if p.last.Less(p.own) {
			p.last = p.own
		}
		found = append(found, parcel{d: p.hold(b, now)})
		return nil
	})
	l.put(found)
	if err != nil {
		return &driver.Error{Kind: driver.ErrInvalid, Err: err}
	}
	return nil
}

// await waits where no key exists, until it is time to look again.
func (l *groupLane) await(ctx context.Context) error {
	t := time.NewTimer(time.Until(l.pass))
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.poke:
	case <-l.m.closing:
	case <-ctx.Done():
	}
	return nil
}

// refused is the error of a command that a server has refused. Where a key
// holds something else than a stream, it finds out which.
func (l *groupLane) refused(posts []*post, err error) error {
	p := &post{}
	if r, ok := answer(err); ok && code(r) == "WRONGTYPE" {
		ctx, cancel := context.WithTimeout(l.m.life, l.m.c.o.RequestTimeout)
		defer cancel()
		for _, o := range posts {
			if _, err := l.m.c.lookAt(ctx, []driver.Shard{o.shard}, []string{o.key}); errors.Is(err, driver.ErrInvalid) {
				p = o
				break
			}
		}
	}
	return l.m.c.keyFailure("", p.shard, p.key, err)
}
