package redis

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

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
		if err := answers[0].err(); err != nil {
			return l.refused(tasks, err)
		}
		return l.took(tasks, n, answers[1])
	}
	if err := answers[0].err(); err != nil {
		return l.refused(tasks, err)
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	next := 0
	return l.broken(answers[0].eachStream(func(key string, _ value) error {
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
func (l *lane) took(tasks []task, n int, reply value) error {
	if err := reply.err(); err != nil {
		return l.refused(tasks, err)
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	seen := make([]bool, len(tasks))
	next := 0
	err := reply.eachStream(func(key string, entries value) error {
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
func (l *lane) looked(t task, n int, answers []value) error {
	for i := range answers {
		if err := answers[i].err(); err != nil {
			return l.refused([]task{t}, err)
		}
	}
	both, err := answers[2].list()
	if err != nil || len(both) != 2 {
		return l.broken(errReply)
	}
	s, err := sightOf(both[0])
	if err == nil {
		err = both[1].err()
	}
	if _, ok := answer(err); ok {
		return l.refused([]task{t}, err)
	}
	b := &batch{o: &l.m.c.o, shard: t.cur.shard, next: driver.Seq{}.Succ()}
	if err == nil {
		err = both[1].eachStream(func(_ string, entries value) (err error) {
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
	f := p.judge(&s)
	if f != nil && f.cause == driver.GapRecreated {
		kept, err := l.kept(t, &s)
		if err != nil {
			p.doubt = true // ask again
			return err
		}
		f = p.goesOn(f, &s, kept, behind)
	}
	if f != nil {
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
		if len(p.marks) == 0 && s.length > 0 {
			p.mark(s.last) // which was before where reading began
		}
	}
	return nil
}

// kept is the highest entry that was read at a place, or was before where reading
// began, and that the stream s still has; zero is none. It is called with mu held,
// and gives it up while it asks.
func (l *lane) kept(t task, s *sight) (driver.Seq, error) {
	known, first := t.place.known(), t.place.first
	l.m.mu.Unlock()
	defer l.m.mu.Lock()
	var id driver.Seq
	for len(known) > 0 {
		up := idText(known[len(known)-1])
		answers, err := l.w.do(l.m.life, l.within(), func(b rueidis.Builder) []rueidis.Completed {
			return []rueidis.Completed{b.Xrevrange().Key(t.cur.key).End(up).Start("-").Count(1).Build()}
		})
		if err != nil {
			return driver.Seq{}, err
		}
		if err := answers[0].err(); err != nil {
			return driver.Seq{}, l.refused([]task{t}, err)
		}
		b, _, err := newBatch(&l.m.c.o, t.cur.shard, answers[0])
		if err != nil {
			return driver.Seq{}, l.broken(err)
		}
		if b.Len() == 0 {
			return driver.Seq{}, nil
		}
		id = b.Seq(0)
		at, read := slices.BinarySearchFunc(known, id, driver.Seq.Compare)
		if read {
			return id, nil
		}
		known = known[:at]
	}
	if s.first != first { // by which it would be the same all the same
		return driver.Seq{}, nil
	}
	return id, nil
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
