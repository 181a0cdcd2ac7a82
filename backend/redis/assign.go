package redis

import (
	"context"
	"slices"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

// findAll is find for many streams, several at once: rueidis sends together
// what comes together. It returns the first error by the order of the streams.
func (c *client) findAll(ctx context.Context, streams []string) ([]layout, error) {
	layouts, errs := make([]layout, len(streams)), make([]error, len(streams))
	var all sync.WaitGroup
	const atOnce = 32
	for first := range min(atOnce, len(streams)) {
		all.Go(func() {
			for i := first; i < len(streams); i += atOnce {
				if layouts[i], errs[i] = c.find(ctx, streams[i]); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return layouts, nil
}

// add begins to read shards.
func (m *reader) add(ctx context.Context, shards []driver.Shard, how driver.Start) error {
	keys := make([]string, len(shards))
	for i, s := range shards {
		keys[i] = m.c.key(m.layouts[s.Stream], s.Index)
	}
	starts, err := m.c.resolve(ctx, how, shards, keys)
	if err != nil {
		return err
	}
	fresh := make([]*cursor, len(shards))
	at := make([]driver.Position, len(shards))
	for i, s := range shards {
		fresh[i] = &cursor{shard: s, key: keys[i], place: starts[i].place}
		at[i] = driver.Position{Shard: s, Next: starts[i].at}
	}
	m.events.Lock()
	defer m.events.Unlock()
	m.mu.Lock()
	if m.isClosing() {
		m.mu.Unlock()
		return nil
	}
	for _, cur := range fresh {
		m.at[cur.shard] = cur
	}
	m.mu.Unlock()
	gen, from, err := m.conf.Assigned(ctx, at)
	if err != nil {
		m.mu.Lock()
		for _, cur := range fresh {
			delete(m.at, cur.shard)
		}
		m.mu.Unlock()
		return &refusedError{err}
	}
	if err := m.override(ctx, gen, from); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cur := range fresh {
		if !cur.sought {
			cur.gen = gen
		}
		cur.ready = true
		m.join(cur)
	}
	return nil
}

// override goes on where the core says, which is somebody's progress.
func (m *reader) override(ctx context.Context, gen uint64, from []driver.Position) error {
	for _, p := range from {
		m.mu.Lock()
		cur := m.at[p.Shard]
		void := cur == nil || cur.sought
		m.mu.Unlock()
		if void {
			continue
		}
		st, err := m.c.resume(ctx, cur.shard, cur.key, p.Next)
		if err != nil {
			return err
		}
		m.mu.Lock()
		if !cur.sought {
			cur.gen, cur.place = gen, st.place
			if st.gap != nil {
				m.queue = append(m.queue, item{cur: cur, place: st.place, finding: st.gap, from: p.Next, moved: st.place})
				m.notify()
			}
		}
		m.mu.Unlock()
	}
	return nil
}

// join gives a cursor to its lane. It is called with mu held.
func (m *reader) join(cur *cursor) {
	n := -1
	if m.cluster {
		n = int(slot(cur.key))
	}
	i := slices.IndexFunc(m.lanes, func(l *lane) bool { return l.slot == n })
	if i < 0 {
		i = len(m.lanes)
		l := &lane{m: m, slot: n, w: m.c.newWaiter(cur.key), poke: make(chan struct{}, 1), most: firstMessages}
		l.w.losable = true // nothing is lost by a read without a group
		m.lanes = append(m.lanes, l)
		if m.begun {
			m.running.Go(l.run)
		}
	}
	cur.lane = m.lanes[i]
	cur.lane.cursors = append(cur.lane.cursors, cur)
	cur.lane.wake()
}
