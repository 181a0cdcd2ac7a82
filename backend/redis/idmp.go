package redis

// Exactly once with IDMP, from Redis 8.6: XADD key IDMP <producer> <number> …
// adds a record once, however often it comes; a repeat answers with the id of
// the first. The server remembers the latest 100 numbers of a producer in each
// stream, for 100 s, unless XCFGSET or its configuration say otherwise: no more
// than 100 records of a shard are in flight at once, and repeating ends before
// the 100 s do. Not run against such a server, which is not to be had here:
// the tests have a scripted one.
// https://redis.io/docs/latest/develop/data-types/streams/idempotency/

import "time"

const (
	idmpRecords = 100
	idmpWindow  = 100 * time.Second
)

// launchIDMP sends the next records of a shard of which nothing is in flight.
// Under mu.
func (p *producer) launchIDMP(s *shard) {
	n := min(len(s.held), idmpRecords)
	l := s.link
	for i := range s.held[:n] {
		h := &s.held[i]
		c := l.room(len(h.cmd) + 32)
		if s.asking {
			c.ask()
		}
		c.buf = append(c.buf, h.cmd...)
		c.entries = append(c.entries, entry{send: h.send, s: s, maybe: h.maybe, end: len(c.buf)})
		s.last = c.n
	}
	s.held = s.held[:copy(s.held, s.held[n:])]
	if n > 0 {
		l.watch(s)
		l.poke()
	}
}
