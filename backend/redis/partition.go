package redis

import (
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A stream is what a producer knows of one: its shards, or that it has to be
// asked for them. All fields are guarded by the producer's mutex.
type stream struct {
	name    string
	pending bool // its shards are not known; records wait
	waiting []postponed
	shards  []*shard // ascending by index
	sharded bool
	turn    uint32
	used    bool      // since it was looked at
	checked time.Time // when its shards were asked for
}

// A postponed record waits for the shards of its stream. Its bytes are
// borrowed until its outcome is known, as is all that Produce takes.
type postponed struct {
	send
	rec driver.Record
}

// A shard is where records of one key go, in their order. All fields are
// guarded by the producer's mutex, but holding, which the reader of its link
// also reads without: it is changed by that reader, or while nothing of the
// shard is in flight.
type shard struct {
	driver.Shard
	key               string
	slot              uint16
	head, trim, plain []byte // see prepare
	nhead             int

	link   *link
	asking bool   // its slot is on its way to link, which has to be told
	last   uint64 // the chunk of link with its latest record
	seq    uint64 // of its latest record

	// When something was refused:
	holding  bool // records are kept here
	held     []held
	watched  bool // its link says when nothing is in flight
	probing  bool // one of the held records is in flight
	proved   bool // it was accepted
	redirect bool // the refusal named another server
	tries    int
	retry    time.Time
	resent   time.Time
	why      error // what was said
	next     *link // where to go from here; nil for where the slot is
	askNext  bool

	pendingBatch *bundle    // of explicit ids, to be sent again
	top          driver.Seq // the highest explicit id
}

// choose says where a record goes: to the shard that it names; with a key to
// shard FNV-1a(key) mod the number of shards; else to one after the other.
// Round robin costs nothing here, as all shards of a server share chunks.
func (st *stream) choose(p *producer, rec *driver.Record) (*shard, error) {
	n := uint32(len(st.shards)) //nolint:gosec // a small number
	if i, ok := rec.Shard.Index(); ok {
		if uint32(i) < n && st.shards[i].Index == i { //nolint:gosec // not negative
			return st.shards[i], nil
		}
		for _, s := range st.shards { // found by scan, they may have gaps
			if s.Index == i {
				return s, nil
			}
		}
		return nil, driver.Errorf(driver.ErrNotFound, "", "stream %q has no shard %d: it has %d", st.name, i, n)
	}
	if rec.Shard < 0 {
		return nil, driver.Errorf(driver.ErrInvalid, "", "the shard is negative")
	}
	switch {
	case n == 1:
		return st.shards[0], nil
	case rec.Key != nil && p.byKey:
		return st.shards[hash(rec.Key)%n], nil
	}
	st.turn++
	return st.shards[st.turn%n], nil
}

// hash is FNV-1a with 32 bits, by which keys find their shards. It must stay
// as it is: records of one key would change their shard.
// http://www.isthe.com/chongo/tech/comp/fnv/
func hash(key []byte) uint32 {
	h := uint32(2166136261)
	for _, b := range key {
		h = (h ^ uint32(b)) * 16777619
	}
	return h
}

// fixed reports whether the shards of the stream are known without asking, and
// how many they are.
func (p *producer) fixed(name string) (layout, bool) {
	l := layout{stream: name}
	if _, _, one := cutShard(name); one {
		l.shards = []int32{0}
		return l, true
	}
	if n := p.o.Shards; n > 0 {
		l.sharded = true
		for i := range n {
			l.shards = append(l.shards, int32(i)) //nolint:gosec // checked with the options
		}
		return l, true
	}
	return l, false
}

// stream is what is known of a stream. Under mu.
func (p *producer) stream(name string) (*stream, error) {
	st := p.streams[name]
	if st == nil {
		if err := p.c.checkName(name); err != nil {
			return nil, err
		}
		st = &stream{name: name, pending: true}
		p.streams[name] = st
		if l, ok := p.fixed(name); ok && p.ready {
			p.lay(st, l)
		}
	}
	p.last = st
	return st, nil
}

// lay makes the shards of a stream, keeping those it has. Under mu.
func (p *producer) lay(st *stream, l layout) {
	if !l.exists() {
		l.shards = []int32{0} // producing creates it
	}
	if st.sharded != l.sharded {
		st.shards = nil // other keys
	}
	st.sharded = l.sharded
	old := st.shards
	st.shards = make([]*shard, 0, len(l.shards))
	for _, i := range l.shards {
		for len(old) > 0 && old[0].Index < i {
			old = old[1:]
		}
		if len(old) > 0 && old[0].Index == i {
			st.shards = append(st.shards, old[0])
			continue
		}
		s := &shard{Shard: driver.Shard{Stream: st.name, Index: i}, key: p.c.key(&l, i)}
		s.slot = slot(s.key)
		s.prepare(p)
		if p.slots != nil {
			s.link = p.slots[s.slot]
		}
		if s.link == nil {
			s.link = p.anyLink()
		}
		st.shards = append(st.shards, s)
	}
	st.pending, st.checked = false, time.Now()
}

// anyLink is a link for a shard whose server is not known: it will say who it
// is. Under mu.
func (p *producer) anyLink() *link {
	if p.slots == nil {
		return p.newLink("")
	}
	return p.newLink(p.c.nodes[0])
}

// recheck reports whether it is worth asking again which shards there are. It
// was not asked within the last second.
func (st *stream) recheck(p *producer) bool {
	if _, ok := p.fixed(st.name); ok {
		return false
	}
	return time.Since(st.checked) > time.Second
}
