package redis

import (
	"context"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

const (
	// deadMember is how long a member of ours was not heard of whose name is
	// deleted if it has nothing pending. Who lives is heard of every two
	// seconds while somebody waits for it, and is there again by itself.
	deadMember = time.Hour
	cleanEvery = time.Hour
)

// tend looks for new shards, keeps up nacks that last longer than the time-out,
// hands back what was read and nobody asks for, and forgets dead members.
func (m *member) tend() {
	discover := time.NewTicker(m.c.o.DiscoverEvery)
	defer discover.Stop()
	third := time.NewTicker(m.c.o.AckTimeout / 3)
	defer third.Stop()
	clean := time.NewTimer(0)
	defer clean.Stop()
	renew := time.NewTimer(time.Hour)
	defer renew.Stop()
	for {
		m.mu.Lock()
		if !m.renew.IsZero() {
			renew.Reset(time.Until(m.renew))
		}
		m.mu.Unlock()
		do := func(context.Context) {}
		select {
		case <-m.tending:
		case <-discover.C:
			do = m.findShards
		case <-third.C:
			do = m.unwanted
		case <-renew.C:
			do = m.renewNacks
		case <-clean.C:
			do = m.clean
			clean.Reset(cleanEvery)
		case <-m.closing:
			return
		}
		ctx, cancel := context.WithTimeout(m.life, m.c.o.RequestTimeout)
		do(ctx)
		cancel()
	}
}

// findShards reads shards that are new from their start, for what they have is
// new to the group. What fails is tried again next time.
func (m *member) findShards(ctx context.Context) {
	rc, err := m.c.connect(ctx)
	if err != nil {
		return
	}
	for _, stream := range m.conf.Streams {
		m.mu.Lock()
		known := *m.layouts[stream]
		m.mu.Unlock()
		l, err := m.c.discover(ctx, stream)
		if err != nil || !l.exists() || l.sharded != known.sharded {
			continue
		}
		var fresh []*post
		for _, i := range l.shards {
			if !slices.Contains(known.shards, i) {
				fresh = append(fresh, m.newPost(driver.Shard{Stream: stream, Index: i}))
			}
		}
		ids := slices.Repeat([]string{"0"}, len(fresh))
		results, err := m.createGroups(ctx, rc, fresh, ids)
		if err != nil {
			continue
		}
		m.mu.Lock()
		for i, p := range fresh {
			if r := results[i]; r.err == nil && !m.isClosing() {
				p.begins(&r)
				m.layouts[stream].shards = append(m.layouts[stream].shards, p.shard.Index)
				m.join(p)
			}
		}
		m.mu.Unlock()
	}
}

// unwanted hands back what lanes have read when nobody waited for it any more,
// and nobody has asked for since: others could have it.
func (m *member) unwanted(ctx context.Context) {
	then := time.Now().Add(-m.c.o.AckTimeout / 4)
	var all []driver.Settlement
	m.mu.Lock()
	if !m.wanted {
		m.queue = slices.DeleteFunc(m.queue, func(it parcel) bool {
			if it.d == nil || it.d.since.After(then) {
				return false
			}
			all = append(all, driver.Settlement{Batch: it.d, To: it.d.Len(), Verdict: driver.VerdictReturn})
			return true
		})
	}
	m.mu.Unlock()
	// What could not be handed back is taken again when the time-out has
	// passed, by others or by us.
	_ = m.settle(ctx, all)
}

// handBackLost hands back what is pending for a member that has stopped reading
// and has never got it: Close gives up what a server does not answer soon, and
// answers may have been lost before. As nobody knows what a member of the same
// name had seen, this counts as an attempt.
func (m *member) handBackLost(ctx context.Context, posts []*post) error {
	m.mu.Lock()
	begun := m.begun
	m.mu.Unlock()
	if !begun {
		return nil
	}
	rc, err := m.c.connect(ctx)
	if err != nil {
		return err
	}
	timeout := m.c.o.AckTimeout
	for _, p := range posts {
		if !p.orphans && p.again.IsZero() {
			continue
		}
		for from := "-"; from != ""; {
			answers, err := m.c.ask(ctx, rc, rc.B().Xpending().Key(p.key).Group(m.conf.Group).Start(from).End("+").Count(idsAtOnce).Consumer(m.name).Build())
			if err != nil {
				return err
			}
			own, err := pendingOf(answers[0].ToMessage())
			if err != nil {
				break // there is no such group any more, perhaps: the next one may be there
			}
			o := &order{post: p, verdict: driver.VerdictNack, idle: millis(timeout)}
			m.mu.Lock()
			for _, e := range own {
				if _, delayed := p.delayed[e.id]; !delayed && e.idle < timeout {
					o.ids = append(o.ids, idText(e.id))
				}
			}
			m.mu.Unlock()
			if len(o.ids) > 0 {
				if err := m.carryOut(ctx, []*order{o}); err != nil {
					return err
				}
			}
			if from = ""; len(own) == idsAtOnce {
				from = idText(own[idsAtOnce-1].id.Succ())
			}
		}
	}
	return nil
}

// renewNacks sets the idle time of entries anew whose delay is longer than the
// time-out: Redis can say of an entry that it was touched long ago, and not
// that it will be. A delay lasts no longer than the time-out when its member is
// gone.
func (m *member) renewNacks(ctx context.Context) {
	now := time.Now()
	timeout := m.c.o.AckTimeout
	var orders []*order
	m.mu.Lock()
	m.renew = time.Time{}
	for _, p := range m.posts {
		open := map[time.Duration]*order{}
		for id, d := range p.delayed {
			if d.renew.IsZero() {
				continue
			}
			if now.Before(d.renew) {
				m.renewAt(d.renew)
				continue
			}
			left := (d.due.Sub(now) + time.Millisecond).Round(time.Millisecond)
			d.renew = time.Time{}
			if left > timeout {
				left, d.renew = timeout, now.Add(timeout/2)
				m.renewAt(d.renew)
			}
			o := open[left]
			if o == nil || len(o.ids) == idsAtOnce {
				o = &order{post: p, verdict: driver.VerdictNack, idle: millis(max(timeout-left, 0))}
				orders, open[left] = append(orders, o), o
			}
			o.ids = append(o.ids, idText(id))
			p.delayed[id] = d
		}
	}
	m.mu.Unlock()
	if len(orders) == 0 {
		return
	}
	if err := m.carryOut(ctx, orders); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		// They are tried again soon. Where that comes too late an entry is
		// delivered early, as when its member has gone.
		soon := time.Now().Add(timeout / 10)
		for _, o := range orders {
			for _, text := range o.ids {
				if id, ok := parseID(text); ok {
					if d, has := o.post.delayed[id]; has {
						d.renew = soon
						o.post.delayed[id] = d
					}
				}
			}
		}
		m.renewAt(soon)
	}
}

// renewAt is called with mu held.
func (m *member) renewAt(t time.Time) {
	if m.renew.IsZero() || t.Before(m.renew) {
		m.renew = t
	}
}

// clean forgets members that are dead and have nothing pending.
func (m *member) clean(ctx context.Context) {
	m.mu.Lock()
	posts := make([]*post, 0, len(m.posts))
	for _, p := range m.posts {
		posts = append(posts, p)
	}
	m.mu.Unlock()
	_ = m.dropConsumers(ctx, posts, "") // next time, then
}

// comeBack looks for keys that were deleted, and goes on with those that are
// there again. It also finds out whether a group was made anew where the answer
// to that was lost.
func (l *groupLane) comeBack(ctx context.Context) error {
	l.m.mu.Lock()
	var away []*post
	for _, p := range l.posts {
		if p.away || p.unsure {
			away = append(away, p)
		}
	}
	l.m.mu.Unlock()
	_, err := l.mend(ctx, away)
	return err
}

// repair is what happens where the server says that there is no group: somebody
// has destroyed it or deleted the stream, or the server has lost it, as a
// replica may that has become the master. The group is made anew at the first
// entry there is, never at the end: messages come twice rather than not at all.
// Where the stream is gone, too, it is waited for.
func (l *groupLane) repair(ctx context.Context) error {
	mended, err := l.mend(ctx, l.present())
	if err == nil && !mended {
		err = driver.Errorf(driver.ErrUnavailable, "", "%s: group %s is there and is not: nodes do not agree yet", l.m.c.where(), l.m.conf.Group)
	}
	return err
}

// mend makes the group in posts where it is missing, and reports whether
// anything was.
func (l *groupLane) mend(ctx context.Context, posts []*post) (mended bool, err error) {
	if len(posts) == 0 {
		return false, nil
	}
	m := l.m
	rc, err := m.c.connect(ctx)
	if err != nil {
		return false, err
	}
	results, err := m.createGroups(ctx, rc, posts, slices.Repeat([]string{"0"}, len(posts)))
	if err != nil {
		for _, p := range posts {
			p.unsure = true
		}
		l.pass = time.Time{} // before anything is read from there
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range posts {
		r := results[i]
		if r.err != nil && !isNoKey(r.err) {
			return mended, m.c.keyFailure("", p.shard, p.key, r.err)
		}
		unsure := p.unsure
		p.unsure = false
		switch {
		case r.err != nil:
			mended = mended || !p.away
			p.away = true
			p.forget()
		case r.made:
			mended = true
			l.put([]parcel{{gap: &driver.GapError{Shard: p.shard, From: p.last.Succ(), To: r.front, Cause: driver.GapRecreated}}})
			p.away = false
			p.begins(&r)
			p.forget()
		case p.away || r.last.Less(p.last): // another member has made it
			mended = true
			if unsure { // or we have: rather said by two than by nobody
				l.put([]parcel{{gap: &driver.GapError{Shard: p.shard, From: p.last.Succ(), To: r.last.Succ(), Cause: driver.GapRecreated}}})
			}
			p.away = false
			p.begins(&r)
			p.forget()
		}
	}
	return mended, nil
}

// forget lets go of what was held in a group that does not exist any more: ids
// may come again that mean something else now.
func (p *post) forget() {
	for _, d := range p.held {
		d.open, d.front = 0, d.Len()
	}
	p.held = nil
	clear(p.delayed)
}
