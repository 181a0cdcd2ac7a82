package redis

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

func isCluster(rc rueidis.Client) bool { return rc.Mode() == rueidis.ClientModeCluster }

// watch looks for new shards, and at shards where nothing comes: a stream that
// was made anew, or has lost its end, has no entries behind those that we have
// read, and no read says so.
func (m *reader) watch() {
	t := time.NewTicker(m.c.o.DiscoverEvery)
	defer t.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-t.C:
		case <-m.closing:
			return
		}
		ctx, cancel := context.WithTimeout(m.life, m.c.o.RequestTimeout)
		stop := context.AfterFunc(m.life, cancel)
		if err := m.findShards(ctx); err != nil {
			m.fail(err)
		}
		m.lookAtIdle(ctx, turn)
		stop()
		cancel()
	}
}

// refusedError is what Assigned returned: it ends the consumer.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// findShards reads new shards from their start. What fails otherwise than by
// the core's will is tried again next time.
func (m *reader) findShards(ctx context.Context) error {
	for _, stream := range m.conf.Streams {
		m.mu.Lock()
		known := *m.layouts[stream]
		m.mu.Unlock()
		l, err := m.c.discover(ctx, stream)
		if err != nil || !l.exists() {
			continue
		}
		if l.sharded != known.sharded {
			continue
		}
		var fresh []driver.Shard
		for _, i := range l.shards {
			if !slices.Contains(known.shards, i) {
				fresh = append(fresh, driver.Shard{Stream: stream, Index: i})
			}
		}
		if len(fresh) == 0 {
			continue
		}
		// Not ctx: each request has its own time, and who is told may have to ask
		// somebody else, for longer than ours take.
		err = m.add(m.life, fresh, driver.Earliest)
		var fatal *refusedError
		if errors.As(err, &fatal) {
			return fatal.err
		}
		if err == nil {
			m.mu.Lock()
			m.layouts[stream].shards = l.shards
			m.mu.Unlock()
		}
	}
	return nil
}

// mostIdle bounds the bytes that a look at idle shards brings, about: each
// answer has the first and the last entry.
const mostIdle = 4 << 20

// lookAtIdle looks at shards where nothing came since the last time, some of
// them where they are many and large.
func (m *reader) lookAtIdle(ctx context.Context, turn int) {
	var idle []task
	bytes := 0
	m.mu.Lock()
	all := make([]*cursor, 0, len(m.at))
	for _, cur := range m.at {
		if cur.idle && cur.ready && cur.place.tail {
			all = append(all, cur)
		}
		cur.idle = true
	}
	slices.SortFunc(all, func(a, b *cursor) int { return a.shard.Compare(b.shard) })
	for i := range all {
		cur := all[(turn*len(all)/7+i)%len(all)] // another part each time
		idle = append(idle, task{cur, cur.place})
		if bytes += 200 + 2*cur.lane.size; bytes > mostIdle {
			break
		}
	}
	m.mu.Unlock()
	if len(idle) == 0 {
		return
	}
	shards, keys := make([]driver.Shard, len(idle)), make([]string, len(idle))
	for i, t := range idle {
		shards[i], keys[i] = t.cur.shard, t.cur.key
	}
	sights, err := m.c.lookAt(ctx, shards, keys)
	if err != nil {
		return // the lanes say what is wrong
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, t := range idle {
		p, s := t.place, &sights[i]
		switch {
		case t.cur.place != p || !t.cur.idle:
		case !s.exists:
			p.vanished = true
		case p.vanished, s.top.Less(p.top), s.counts && s.added < p.added, p.next.Less(s.end()):
			p.doubt = true
			t.cur.lane.wake()
		}
	}
}
