package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// A lane reads the shards of one slot of a cluster, or all of them where there
// is one server, over one connection of its own. As long as something is known
// to be there it reads without waiting, a few shards at a time; then it waits
// for all of them together.
type lane struct {
	m    *reader
	slot int // −1 where there are none
	w    *waiter
	poke chan struct{} // ends a wait that is not at the server

	// The rest is guarded by the reader's mu.
	cursors []*cursor
	turn    int   // which cursor is looked at first
	size    int   // of a message, about; zero is not known
	most    int   // messages in a read, until size is known well
	waits   bool  // for room
	err     error // to be told by Fetch, once
}

// A task is one read of one cursor. It remembers the place: when the cursor has
// another by the time of the answer, that is void.
type task struct {
	cur   *cursor
	place *place
}

const (
	mostMessages = 1000 // in an answer; more do not make it faster
	fewMessages  = 8    // per shard, where not more are to be expected
	mostLooks    = 64   // at once
	mostLanes    = 32   // that read at once
)

// wake ends whatever wait the lane is in. It may be called with mu held.
func (l *lane) wake() {
	l.nudge()
	l.w.wake()
}

// nudge ends a wait that is not at the server.
func (l *lane) nudge() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// run reads until the consumer is closed.
func (l *lane) run() {
	m := l.m
	for !m.isClosing() {
		m.mu.Lock()
		looks, reads, n, wait := l.plan()
		room := m.queued < m.budget/2
		parallel := min(len(m.lanes), mostLanes)
		l.waits = !wait && (!room || m.reading >= parallel)
		if !l.waits && !wait {
			m.reading++
		}
		waits := l.waits
		m.mu.Unlock()
		var err error
		switch {
		case waits:
			select {
			case <-l.poke:
			case <-m.closing:
			}
			continue
		case wait:
			err = l.wait(reads, n)
		case len(looks) > 0:
			err = l.look(looks, n)
		default:
			err = l.read(reads, n)
		}
		m.mu.Lock()
		if !wait {
			if m.reading--; m.reading == mostLanes-1 {
				m.hungry()
			}
		}
		switch {
		case err == nil:
			l.err = nil
		case !errors.Is(err, errWoken) && !m.isClosing():
			l.err = err
			m.notify()
		}
		m.mu.Unlock()
		if err != nil && !errors.Is(err, errWoken) && !errors.Is(err, driver.ErrUnavailable) {
			l.rest() // the waiter rests by itself where it has failed
		}
	}
}

// rest keeps a lane from asking again and again what a server refuses.
func (l *lane) rest() {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.m.closing:
	}
}

// plan says what to do next: to look at places whose state is not known, or to
// read n messages from others, or to wait for all of them. It is called with mu
// held.
func (l *lane) plan() (looks, reads []task, n int, wait bool) {
	total := len(l.cursors)
	budget := l.share()
	size := max(l.size, 1)
	if l.most = min(max(l.most, 16), mostMessages); l.size == 0 {
		n = l.most
	} else {
		n = min(budget/size, l.most)
	}
	n = max(n, 1)
	each := min(n, fewMessages)
	for i := range total {
		cur := l.cursors[(l.turn+i)%total]
		p := cur.place
		if !cur.ready || p.tail && p.settled && !p.doubt {
			continue
		}
		if p.doubt || p.witness.IsZero() || p.tail {
			if looks = append(looks, task{cur, p}); len(looks) == min(mostLooks, max(n/each, 1)) {
				break
			}
			continue
		}
		// Those of which much is to be expected are read apart from those of
		// which it is not: COUNT is for all shards of a read.
		if len(reads) > 0 && reads[0].place.full != p.full {
			continue
		}
		if p.full {
			each = min(n, 64)
		}
		if reads = append(reads, task{cur, p}); len(reads) >= max(n/each, 1) {
			break
		}
	}
	if total > 0 {
		l.turn = (l.turn + len(reads) + len(looks)) % total
	}
	if len(looks) > 0 {
		return looks, nil, max(n/len(looks), 1), false
	}
	if len(reads) > 0 {
		return nil, reads, max(n/len(reads), 1), false
	}
	for _, cur := range l.cursors {
		if cur.ready {
			reads = append(reads, task{cur, cur.place})
		}
	}
	return nil, reads, n, true
}

// share is how many bytes a read of the lane may bring. It is called with mu
// held.
func (l *lane) share() int {
	return max(l.m.budget/2/min(len(l.m.lanes), mostLanes), 1)
}

// learn takes the size of messages that came. It is called with mu held.
func (l *lane) learn(b *batch) {
	if b.Len() == 0 {
		return
	}
	size := b.bytes / b.Len()
	if l.size == 0 || size > l.size {
		l.size = size
	} else {
		l.size += (size - l.size) / 4
	}
	l.most = min(4*l.most, mostMessages)
}

// readCommand reads from the tasks' shards, each from where from says.
func readCommand(b rueidis.Builder, tasks []task, n int, from func(p *place) driver.Seq) rueidis.Completed {
	keys, ids := lists(tasks, from)
	return b.Xread().Count(int64(n)).Streams().Key(keys...).Id(ids...).Build()
}

func lists(tasks []task, from func(p *place) driver.Seq) (keys, ids []string) {
	keys, ids = make([]string, len(tasks)), make([]string, len(tasks))
	for i, t := range tasks {
		keys[i], ids[i] = t.cur.key, idText(from(t.place))
	}
	return keys, ids
}

// behindNext reads what is behind a place.
func behindNext(p *place) driver.Seq { return p.next.Prev() }

// atWitness reads from a place's witness on.
func atWitness(p *place) driver.Seq { return p.witness.Prev() }

// within is how long an answer may take that waits for nothing.
func (l *lane) within() time.Duration { return max(l.m.c.o.RequestTimeout, deadAfter) }

// read reads without waiting.
func (l *lane) read(tasks []task, n int) error {
	answers, err := l.w.do(l.m.life, l.within(), func(b rueidis.Builder) []rueidis.Completed {
		return []rueidis.Completed{readCommand(b, tasks, n+1, atWitness)}
	})
	if err != nil {
		return err
	}
	return l.took(tasks, n, answers[0])
}

// wait waits until there is something behind one of the places. Where there is
// just one it reads it in the same breath.
func (l *lane) wait(tasks []task, n int) error {
	if len(tasks) == 0 {
		select {
		case <-l.poke:
		case <-l.m.closing:
		}
		return nil
	}
	l.m.mu.Lock()
	alone := len(tasks) == 1 && !tasks[0].place.witness.IsZero() && len(l.m.lanes) <= mostLanes && l.m.queued < l.m.budget/2
	l.m.mu.Unlock()
	answers, err := l.w.do(l.m.life, blockFor+deadAfter, func(b rueidis.Builder) []rueidis.Completed {
		keys, ids := lists(tasks, behindNext)
		cmds := []rueidis.Completed{b.Xread().Count(1).Block(blockFor.Milliseconds()).Streams().Key(keys...).Id(ids...).Build()}
		if alone {
			cmds = append(cmds, readCommand(b, tasks, n+1, atWitness))
		}
		return cmds
	})
	if err != nil {
		return err
	}
	if alone {
		if err := answers[0].Error(); err != nil && !rueidis.IsRedisNil(err) {
			return l.refused(tasks, err)
		}
		return l.took(tasks, n, answers[1])
	}
	m, err := answers[0].ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		return l.refused(tasks, err)
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	next := 0
	return l.broken(eachStream(m, func(key string, _ []rueidis.RedisMessage) error {
		i, err := find(tasks, next, key)
		if err != nil {
			return err
		}
		next = i + 1
		tasks[i].place.tail, tasks[i].place.full = false, false
		return nil
	}))
}

// find is the task of a key in an answer, whose streams come in the order of
// the command.
func find(tasks []task, from int, key string) (int, error) {
	for i := range tasks {
		if i = (from + i) % len(tasks); tasks[i].cur.key == key {
			return i, nil
		}
	}
	return 0, errReply
}

// took takes the answer of a read that began at the witnesses.
func (l *lane) took(tasks []task, n int, r rueidis.RedisResult) error {
	reply, err := r.ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		return l.refused(tasks, err)
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	seen := make([]bool, len(tasks))
	next := 0
	err = eachStream(reply, func(key string, entries []rueidis.RedisMessage) error {
		i, err := find(tasks, next, key)
		if err != nil {
			return err
		}
		next, seen[i] = i+1, true
		t := tasks[i]
		b, _, err := newBatch(&l.m.c.o, t.cur.shard, entries)
		if err != nil {
			return err
		}
		p := t.place
		if b.Len() == 0 || b.Seq(0) != p.witness {
			p.doubt, p.gone = true, true
			return nil
		}
		l.learn(b)
		p.full = b.Len() > n
		p.tail = !p.full
		if p.witness.Less(p.next) {
			b.drop(1)
		}
		l.deliver(t, b)
		return nil
	})
	for i := range tasks {
		if !seen[i] {
			tasks[i].place.doubt, tasks[i].place.gone = true, true
		}
	}
	return l.broken(err)
}

// broken is the error of an answer that cannot be read.
func (l *lane) broken(err error) error {
	if err == nil {
		return nil
	}
	return &driver.Error{Kind: driver.ErrInvalid, Err: err}
}

// deliver queues a batch that was read behind a place, unless that is void by
// now. It is called with mu held.
func (l *lane) deliver(t task, b *batch) {
	p := t.place
	if n := b.Len(); n > 0 {
		p.next, p.witness = b.next, b.Seq(n-1)
		p.before += uint64(n) //nolint:gosec // a length
		p.took(b.ids)
		if p.top.Less(p.witness) {
			p.top = p.witness
		}
		t.cur.idle = false
		below := 0
		for below < n && b.Seq(below).Less(p.floor) {
			below++
		}
		b.drop(below)
	} else if p.next.Less(b.next) {
		p.next = b.next // past a hole
	} else {
		return
	}
	if b.next = p.next; b.next.Less(p.floor) || t.cur.place != p {
		return
	}
	l.m.queue = append(l.m.queue, item{cur: t.cur, place: p, batch: b})
	l.m.queued += b.bytes
	l.m.notify()
}

// look finds out how places stand that have no witness, whose witness is gone,
// or that have come to the end for the first time.
func (l *lane) look(tasks []task, n int) error {
	answers, err := l.w.do(l.m.life, l.within(), func(b rueidis.Builder) []rueidis.Completed {
		// The first command is one that can be redirected: MULTI is not.
		cmds := append(make([]rueidis.Completed, 0, 1+4*len(tasks)), b.Exists().Key(tasks[0].cur.key).Build())
		for i := range tasks {
			cmds = append(cmds, b.Multi().Build(), b.XinfoStream().Key(tasks[i].cur.key).Build(),
				readCommand(b, tasks[i:i+1], n, behindNext), b.Exec().Build())
		}
		return cmds
	})
	if err != nil {
		return err
	}
	var failed error
	for i, t := range tasks {
		if err := l.looked(t, n, answers[4*i+2:4*i+5]); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// looked takes the answers to XINFO STREAM and XREAD, which were queued, and
// EXEC.
func (l *lane) looked(t task, n int, answers []rueidis.RedisResult) error {
	for i := range answers {
		if err := answers[i].Error(); err != nil {
			return l.refused([]task{t}, err)
		}
	}
	both, err := answers[2].ToArray()
	if err != nil || len(both) != 2 {
		return l.broken(errReply)
	}
	s, err := sightOf(both[0])
	if err == nil && !both[1].IsNil() {
		err = both[1].Error()
	}
	if _, ok := answer(err); ok {
		return l.refused([]task{t}, err)
	}
	b, _, _ := newBatch(&l.m.c.o, t.cur.shard, nil)
	if err == nil {
		err = eachStream(both[1], func(_ string, entries []rueidis.RedisMessage) (err error) {
			b, _, err = newBatch(&l.m.c.o, t.cur.shard, entries)
			return err
		})
	}
	if err != nil {
		return l.broken(err)
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	p := t.place
	p.doubt, p.settled = false, true
	if !s.exists { // watch sees when it is back, and so does a read
		p.vanished, p.tail, p.witness = true, true, driver.Seq{}
		return nil
	}
	var behind driver.Seq
	if b.Len() > 0 {
		behind = b.Seq(0)
	}
	if f := p.judge(&s, behind); f != nil {
		l.found(t, f, &s)
		return nil
	}
	p.saw(&s)
	p.gone = false
	if s.front() == p.next || !s.first.Less(p.next) {
		p.count(&s, s.removed())
	}
	l.learn(b)
	p.full = b.Len() == n
	p.tail = !p.full
	if p.tail {
		b.next = s.end() // there is nothing up to there
	}
	l.deliver(t, b)
	if p.tail {
		p.count(&s, s.added)
	}
	return nil
}

// found moves a cursor to where reading goes on, and queues what Fetch has to
// tell. It is called with mu held.
func (l *lane) found(t task, f *finding, s *sight) {
	if t.cur.place != t.place {
		return
	}
	from := t.place.next
	if from.Less(t.place.floor) {
		from = t.place.floor
	}
	moved := f.move(t.place, s)
	// What was read before is still to be returned: it goes on to the new place.
	for i := range l.m.queue {
		if it := &l.m.queue[i]; it.cur == t.cur && it.place == t.place {
			it.place = moved
		}
	}
	t.cur.place = moved
	if from == f.to || !f.anew && f.to.Less(from) {
		return // nothing that was wanted
	}
	l.m.queue = append(l.m.queue, item{cur: t.cur, place: moved, finding: f, from: from, moved: moved})
	l.m.notify()
}

// refused is the error of a command that a server has refused. Where a key
// holds something else than a stream, it finds out which.
func (l *lane) refused(tasks []task, err error) error {
	shard, key := driver.Shard{}, ""
	if r, ok := answer(err); ok && code(r) == "WRONGTYPE" {
		ctx, cancel := context.WithTimeout(l.m.life, l.within())
		defer cancel()
		for _, t := range tasks {
			if _, err := l.m.c.lookAt(ctx, []driver.Shard{t.cur.shard}, []string{t.cur.key}); errors.Is(err, driver.ErrInvalid) {
				shard, key = t.cur.shard, t.cur.key
				break
			}
		}
	}
	return l.m.c.keyFailure("", shard, key, err)
}
