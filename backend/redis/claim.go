package redis

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// A pending entry is what the server says of one that is out.
type pending struct {
	id       driver.Seq
	consumer string
	idle     time.Duration
	count    int64 // deliveries
}

// pendingOf reads what XPENDING lists.
func pendingOf(m rueidis.RedisMessage, err error) ([]pending, error) {
	if err != nil {
		return nil, err
	}
	list, err := m.ToArray()
	if err != nil {
		return nil, errReply
	}
	all := make([]pending, len(list))
	for i := range list {
		e, err := list[i].ToArray()
		if err != nil || len(e) != 4 {
			return nil, errReply
		}
		text, err0 := e[0].ToString()
		id, ok := parseID(text)
		name, err1 := e[1].ToString()
		idle, err2 := e[2].AsInt64()
		count, err3 := e[3].AsInt64()
		if !ok || err0 != nil || err1 != nil || err2 != nil || err3 != nil {
			return nil, errReply
		}
		all[i] = pending{id, name, time.Duration(idle) * time.Millisecond, count}
	}
	return all, nil
}

// recover takes what is pending for us and was never seen: by a member of our
// name that has gone, or because a connection broke under an answer. Nothing
// else is under way that could have entries for us meanwhile. What was idle
// for so long that others may take it is left to claim.
func (l *groupLane) recover(ctx context.Context) error {
	m := l.m
	var rc rueidis.Client
	for _, p := range l.present() {
		if !p.orphans && (p.again.IsZero() || time.Now().Before(p.again)) {
			continue
		}
		if !p.orphans {
			p.again = time.Time{}
			p.orphans = true
		}
		if rc == nil {
			var err error
			if rc, err = m.c.connect(ctx); err != nil {
				return err
			}
		}
		if err := l.notedGaps(ctx, rc, p); err != nil {
			return err
		}
		from := "-"
		for room := l.room(); ; {
			answers, err := m.c.ask(ctx, rc, rc.B().Xpending().Key(p.key).Group(m.conf.Group).Start(from).End("+").Count(1000).Consumer(m.name).Build())
			if err != nil {
				return err
			}
			own, err := pendingOf(answers[0].ToMessage())
			if err != nil {
				return l.failed(p, err)
			}
			now := time.Now()
			var take []pending
			m.mu.Lock()
			for _, e := range own {
				_, delayed := p.delayed[e.id]
				if d, _ := p.find(e.id); d == nil && !delayed && e.idle < m.c.o.AckTimeout && len(take) < room {
					take = append(take, e)
				}
			}
			m.mu.Unlock()
			if len(take) > 0 {
				if err := l.take(ctx, rc, p, take, now); err != nil || len(take) == room {
					return err // there may be more: it is looked at again
				}
				return nil
			}
			if len(own) < 1000 {
				p.orphans = false
				break
			}
			from = idText(own[len(own)-1].id.Succ())
		}
	}
	return nil
}

// takeDue takes what was nacked by us and may be delivered again now, as soon
// as that is so. Others find it in their own time.
func (l *groupLane) takeDue(ctx context.Context) error {
	m := l.m
	now := time.Now()
	due := map[*post][]driver.Seq{}
	m.mu.Lock()
	if l.due.IsZero() || now.Before(l.due) {
		m.mu.Unlock()
		return nil
	}
	l.due = time.Time{}
	for _, p := range l.posts {
		for id, d := range p.delayed {
			if !now.Before(d.due) && len(due[p]) < idsAtOnce && !p.away {
				due[p] = append(due[p], id)
			} else if l.due.IsZero() || d.due.Before(l.due) {
				l.due = d.due
			}
		}
	}
	m.mu.Unlock()
	if len(due) == 0 {
		return nil
	}
	rc, err := m.c.connect(ctx)
	if err != nil {
		return err
	}
	for p, ids := range due {
		slices.SortFunc(ids, driver.Seq.Compare)
		if err := l.takeNacked(ctx, rc, p, ids); err != nil {
			// What is left is still delayed, and tried again.
			m.mu.Lock()
			l.due = now
			m.mu.Unlock()
			return err
		}
	}
	return nil
}

func (l *groupLane) takeNacked(ctx context.Context, rc rueidis.Client, p *post, ids []driver.Seq) error {
	m := l.m
	cmds := make([]rueidis.Completed, len(ids))
	for i, id := range ids {
		text := idText(id)
		cmds[i] = rc.B().Xpending().Key(p.key).Group(m.conf.Group).Start(text).End(text).Count(1).Build()
	}
	answers, err := m.c.askAll(ctx, rc, cmds)
	if err != nil {
		return err
	}
	now := time.Now()
	timeout := m.c.o.AckTimeout
	var take []pending
	m.mu.Lock()
	for i, id := range ids {
		found, e := pendingOf(answers[i].ToMessage())
		switch {
		case e != nil:
			err = e
		case len(found) == 1 && found[0].idle >= timeout:
			take = append(take, found[0])
		case len(found) == 1 && found[0].consumer == m.name:
			// Clocks run differently, or an extension has come later.
			p.delayed[id] = delay{due: now.Add(timeout - found[0].idle)}
			l.expect(p.delayed[id].due)
		default:
			delete(p.delayed, id) // somebody has it, or has had it
		}
	}
	m.mu.Unlock()
	if err != nil {
		return l.failed(p, err)
	}
	return l.take(ctx, rc, p, take, now)
}

// failed is the error of a command about a post.
func (l *groupLane) failed(p *post, err error) error {
	if isNoGroup(err) {
		return err
	}
	return l.m.c.keyFailure("", p.shard, p.key, err)
}

// take makes entries ours and delivers them. It takes none that was touched
// since it was listed: its idle time is less then. Between being listed and
// taken is one round trip, so that what was idle for less than that, which only
// our own are, is not protected by this.
//
// What is not taken may not exist any more, or somebody else may have taken,
// acknowledged and deleted it. So right before, in the same pipeline, the server
// is asked once more what is still pending and idle.
func (l *groupLane) take(ctx context.Context, rc rueidis.Client, p *post, entries []pending, now time.Time) error {
	m := l.m
	if len(entries) == 0 || m.isClosing() {
		return nil
	}
	idle := entries[0].idle
	ids := make([]string, len(entries))
	for i, e := range entries {
		idle = min(idle, e.idle)
		ids[i] = idText(e.id)
	}
	cmds := make([]rueidis.Completed, 0, len(ids)+1)
	for _, id := range ids {
		cmds = append(cmds, rc.B().Xpending().Key(p.key).Group(m.conf.Group).Idle(idle.Milliseconds()).Start(id).End(id).Count(1).Build())
	}
	cmds = append(cmds, rc.B().Xclaim().Key(p.key).Group(m.conf.Group).Consumer(m.name).MinIdleTime(millis(idle)).Id(ids...).Build())
	answers, err := m.c.ask(ctx, rc, cmds...)
	if err != nil {
		p.lose(entries) // it may have been done
		return err
	}
	list, err := answers[len(ids)].ToMessage()
	if err != nil {
		return l.failed(p, err)
	}
	b, _, err := newBatch(&m.c.o, p.shard, valueOf(list))
	if err != nil {
		p.lose(entries)
		return &driver.Error{Shard: p.shard, Kind: driver.ErrInvalid, Err: err}
	}
	b.attempts = make([]int32, b.Len())
	var missing []driver.Seq
	n := 0
	for i, e := range entries {
		if n < b.Len() && b.ids[n] == e.id {
			b.attempts[n] = int32(min(e.count+1, 1<<31-1)) //nolint:gosec // bounded
			n++
		} else if still, err := pendingOf(answers[i].ToMessage()); err != nil || len(still) > 0 {
			missing = append(missing, e.id)
		}
	}
	l.learn(b)
	var found []parcel
	if len(missing) > 0 {
		if found, err = l.lost(ctx, rc, p, missing); err != nil {
			p.orphans = true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		p.let(e.id)
	}
	if b.Len() > 0 {
		found = append(found, parcel{d: p.hold(b, now)})
	}
	l.put(found)
	return nil
}

// lose has entries looked for that may be ours now without our having them. Those
// that we had nacked wait for nothing any more: if they were not taken, they are
// idle for as long as before.
func (p *post) lose(entries []pending) {
	p.orphans = true
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	for _, e := range entries {
		delete(p.delayed, e.id)
	}
}

// lost finds out about entries that were pending right before and could not be
// taken. Others may have taken some all the same; the rest does not exist any
// more. Those Redis forgets when somebody wants to take them; before 7.0 it
// does not, and they are acknowledged here.
func (l *groupLane) lost(ctx context.Context, rc rueidis.Client, p *post, ids []driver.Seq) ([]parcel, error) {
	m := l.m
	cmds := make([]rueidis.Completed, 0, 2*len(ids))
	for _, id := range ids {
		text := idText(id)
		cmds = append(cmds,
			rc.B().Xrange().Key(p.key).Start(text).End(text).Count(1).Build(),
			rc.B().Xpending().Key(p.key).Group(m.conf.Group).Start(text).End(text).Count(1).Build())
	}
	answers, err := m.c.askAll(ctx, rc, cmds)
	if err != nil {
		return nil, err
	}
	var gone []driver.Seq
	var left []string
	for i, id := range ids {
		list, err := answers[2*i].ToArray()
		if err != nil {
			return nil, err
		}
		has, err := pendingOf(answers[2*i+1].ToMessage())
		if err != nil {
			return nil, err
		}
		if len(list) > 0 || len(has) > 0 && has[0].consumer != m.name {
			continue
		}
		gone = append(gone, id)
		if len(has) > 0 {
			left = append(left, idText(id))
		}
	}
	if len(left) > 0 {
		if _, err := m.c.ask(ctx, rc, rc.B().Xack().Key(p.key).Group(m.conf.Group).Id(left...).Build()); err != nil {
			return nil, err
		}
	}
	return m.gaps(ctx, rc, p, gone), nil
}

// claim looks, when it is time to, for entries that were not settled within the
// time-out, and takes them: others have died, or nacked or returned them.
func (l *groupLane) claim(ctx context.Context) error {
	if time.Now().Before(l.pass) {
		return nil
	}
	m := l.m
	if err := l.comeBack(ctx); err != nil {
		return err
	}
	// Members that began together do not stay together.
	every := min(passEvery, max(m.c.o.AckTimeout/2, 50*time.Millisecond))
	l.pass = time.Now().Add(every*3/4 + rand.N(every/4)) //nolint:gosec // no secret
	posts := l.present()
	if len(posts) == 0 {
		return nil
	}
	rc, err := m.c.connect(ctx)
	if err != nil {
		return err
	}
	cmds := make([]rueidis.Completed, len(posts))
	for i, p := range posts {
		cmds[i] = rc.B().Xpending().Key(p.key).Group(m.conf.Group).Build()
	}
	answers, err := m.c.askAll(ctx, rc, cmds)
	if err != nil {
		return err
	}
	// Most posts have nothing pending, or nothing but what is in hand here.
	var looks []look
	now := time.Now()
	for i, p := range posts {
		s, err := summaryOf(answers[i].ToMessage())
		if err != nil {
			return l.failed(p, err)
		}
		m.mu.Lock()
		holding := int64(p.holding(now))
		m.mu.Unlock()
		if own := s.of[m.name]; s.count > own || own > holding {
			looks = append(looks, p.looks(&s)...)
		}
	}
	return l.lookAt(ctx, rc, looks)
}

// A summary is what XPENDING says of a group.
type summary struct {
	count     int64
	low, high driver.Seq
	of        map[string]int64 // those of each consumer that has any
}

func summaryOf(m rueidis.RedisMessage, err error) (s summary, _ error) {
	if err != nil {
		return s, err
	}
	list, err := m.ToArray()
	if err != nil || len(list) != 4 {
		return s, errReply
	}
	if s.count, err = list[0].AsInt64(); err != nil || s.count < 0 {
		return s, errReply
	}
	if s.count == 0 {
		return s, nil
	}
	low, _ := list[1].ToString()
	high, _ := list[2].ToString()
	var ok1, ok2 bool
	s.low, ok1 = parseID(low)
	s.high, ok2 = parseID(high)
	all, err := list[3].ToArray()
	if err != nil || !ok1 || !ok2 {
		return s, errReply
	}
	if len(all) == 0 || s.high.Less(s.low) {
		return s, errReply
	}
	s.of = make(map[string]int64, len(all))
	for i := range all {
		c, err := all[i].ToArray()
		if err != nil || len(c) != 2 {
			return s, errReply
		}
		who, err1 := c[0].ToString()
		n, err2 := c[1].AsInt64()
		if err1 != nil || err2 != nil {
			return s, errReply
		}
		s.of[who] = n
	}
	return s, nil
}

// A look is at the pending entries of a post between two ids.
type look struct {
	post     *post
	from, to string
}

// The server looks at all entries in between, 350 ns each, to find those that
// are idle. So a member looks at some ten thousand each time, or fewer where
// there are many members, who look at different ones: at half of them at the
// front, where those are whom somebody dead has left, and at the other half in
// turn.
const (
	mostLooked  = 10_000
	allLooked   = 200_000 // by all members together
	leastLooked = 1000
)

func (p *post) looks(s *summary) []look {
	most := min(mostLooked, max(allLooked/int64(len(s.of)), leastLooked))
	if s.count <= most {
		return []look{{p, "-", "+"}}
	}
	span := s.high.Hi - s.low.Hi
	width := span/uint64(s.count)*uint64(most/2) + 1 //nolint:gosec // counts
	front := driver.Seq{Hi: s.low.Hi + width}
	if p.scan.Less(front) || s.high.Less(p.scan) {
		if p.scan.IsZero() { // each member begins elsewhere
			p.scan = driver.Seq{Hi: front.Hi + rand.Uint64N(span+1)} //nolint:gosec // no secret
		} else {
			p.scan = front
		}
	}
	second := look{p, idText(p.scan), idText(driver.Seq{Hi: p.scan.Hi + width})}
	p.scan.Hi += width
	return []look{{p, "-", idText(front)}, second}
}

// lookAt takes what is idle.
func (l *groupLane) lookAt(ctx context.Context, rc rueidis.Client, looks []look) error {
	if len(looks) == 0 {
		return nil
	}
	m := l.m
	timeout := m.c.o.AckTimeout
	most := max(l.room()/len(looks), 1)
	cmds := make([]rueidis.Completed, len(looks))
	for i, k := range looks {
		cmds[i] = rc.B().Xpending().Key(k.post.key).Group(m.conf.Group).Idle(timeout.Milliseconds()).Start(k.from).End(k.to).Count(int64(most)).Build()
	}
	answers, err := m.c.askAll(ctx, rc, cmds)
	if err != nil {
		return err
	}
	now := time.Now()
	for i, k := range looks {
		idle, err := pendingOf(answers[i].ToMessage())
		if err != nil {
			return l.failed(k.post, err)
		}
		if len(idle) == most {
			l.pass = now // there may be more
		}
		m.mu.Lock()
		idle = slices.DeleteFunc(idle, func(e pending) bool {
			d, delayed := k.post.delayed[e.id]
			return e.consumer == m.name && (k.post.busy(e.id, now) || delayed && now.Before(d.due))
		})
		m.mu.Unlock()
		if err := l.take(ctx, rc, k.post, idle, now); err != nil {
			return err
		}
	}
	return nil
}
