package redis

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// How a reader notices that entries are missing.
//
// Redis answers a read behind an id with what there is behind it, and says
// nothing of what was there. Entries go in two ways: trimming takes them from
// the front, and XDEL takes single ones, which is a hole and no gap.
//
// As trimming goes from the front, an entry that is still there is a witness
// that nothing behind it was trimmed. So a read begins one id earlier than it
// would have to, at the last entry delivered: when that comes first in the
// answer, all is well, and that costs one entry per read and no round trip.
//
// When the witness is gone, a look (MULTI, XINFO STREAM, XREAD, EXEC: at one
// moment) decides. From Redis 7.0 a stream counts the entries that were ever
// added, so that added − length is how many were removed. If nothing before
// the position is left, then as many as were before it are removed, and if
// more are, these were not read. How many were before it is known at the end
// (all that were added) and at the front (all that were removed), and grows
// with each entry read.
//
// A stream that has gone back has lost its end, as a fail-over does to it, or is
// another one of the same name. It is the same where it still has an entry that
// was read: lane.kept looks for the highest, and reading goes on behind that.
//
// What cannot be told is not told: a stream that is deleted and made anew with
// an entry of the very id that was read last, or before anything was read of
// it and with more entries than it had.

// A sight is what XINFO STREAM says at one moment.
type sight struct {
	exists  bool
	length  uint64
	added   uint64     // how many were ever added, if counts
	deleted driver.Seq // the highest that XDEL has deleted, if counts
	counts  bool       // from Redis 7.0
	first   driver.Seq // the lowest there is; zero where length is
	last    driver.Seq // the highest there is; zero where length is
	top     driver.Seq // the highest there ever was; zero where there was none
}

// end is where a reader stands that has read everything.
func (s *sight) end() driver.Seq {
	if s.top.IsZero() {
		return s.top
	}
	return s.top.Succ()
}

// front is where reading can begin.
func (s *sight) front() driver.Seq {
	if s.length == 0 {
		return s.end()
	}
	return s.first
}

func (s *sight) removed() uint64 { return s.added - s.length }

// noSuchKey reports whether a server said that there is no such key.
func noSuchKey(err error) bool {
	r, ok := answer(err)
	return ok && strings.HasSuffix(r.Error(), "no such key")
}

// sightOf reads the answer of XINFO STREAM.
func sightOf(m value) (s sight, err error) {
	if err := m.err(); err != nil {
		if noSuchKey(err) {
			return sight{}, nil
		}
		return s, err
	}
	info, err := m.table()
	if err != nil {
		return s, fmt.Errorf("%w: XINFO STREAM: %w", errReply, err)
	}
	s.exists = true
	number := func(name string) (n uint64, has bool) {
		m, has := info[name]
		if !has {
			return 0, false
		}
		i, e := m.number()
		if e != nil || i < 0 {
			err = fmt.Errorf("%w: XINFO STREAM: %s", errReply, name)
		}
		return uint64(i), true //nolint:gosec // not negative
	}
	id := func(name string, m value) driver.Seq {
		text, e := m.text()
		q, ok := parseID(text)
		if e != nil || !ok {
			err = fmt.Errorf("%w: XINFO STREAM: %s", errReply, name)
		}
		return q
	}
	entry := func(name string) driver.Seq {
		m := info[name]
		if m.isNil() {
			return driver.Seq{}
		}
		pair, e := m.list()
		if e != nil || len(pair) == 0 {
			err = fmt.Errorf("%w: XINFO STREAM: %s", errReply, name)
			return driver.Seq{}
		}
		return id(name, pair[0])
	}
	s.length, _ = number("length")
	s.added, s.counts = number("entries-added")
	s.top = id("last-generated-id", info["last-generated-id"])
	if s.counts {
		s.deleted = id("max-deleted-entry-id", info["max-deleted-entry-id"])
	}
	s.first, s.last = entry("first-entry"), entry("last-entry")
	return s, err
}

// A place is where in a stream a reader reads on, and what it knows of what is
// before that.
type place struct {
	next driver.Seq // nothing below it is wanted
	// floor is where it begins to deliver, where a start lies beyond the end:
	// what comes before it is read, so that nothing goes unnoticed, and dropped.
	floor driver.Seq
	// witness is an entry that comes first in a read that begins at it, as long
	// as it exists: the last one read, or the first one to read. Zero is none.
	witness driver.Seq

	// before is how many entries would be removed if all before next were, and
	// nothing behind it since the counting began. It is not known where reading
	// began in the middle, until the end is reached.
	before  uint64
	counted bool
	since   driver.Seq   // where next was when the counting began
	deleted driver.Seq   // the highest deleted by XDEL then
	marks   []mark       // entries that were read, the older the fewer
	read    uint64       // how many
	recent  []driver.Seq // the last that were read

	top      driver.Seq // the highest entry that was known to exist
	added    uint64     // how many had been added when last looked at
	first    driver.Seq // the lowest there could be then
	vanished bool       // there was no key at some time

	tail    bool // there was nothing behind next at the last read
	full    bool // the last read was cut off by its COUNT
	settled bool // it was looked at since it came to the end
	doubt   bool // it has to be looked at
	gone    bool // the witness is gone
}

// mostRecent is how many ids of recent count.
const mostRecent = 64

// took notes ids that were read.
func (p *place) took(ids []driver.Seq) {
	if len(p.recent)+len(ids) > 2*mostRecent {
		p.recent = append(p.recent[:0], p.recent[max(0, len(p.recent)-mostRecent):]...)
	}
	p.recent = append(p.recent, ids[max(0, len(ids)-mostRecent):]...)
	p.read += uint64(len(ids))
	p.mark(ids[len(ids)-1])
}

// A mark is an entry that was read, and how many were up to there.
type mark struct {
	id   driver.Seq
	read uint64
}

// mostMarks is how many marks a place has at most.
const mostMarks = 32

// mark notes an entry. When there is no room that one goes without which going back
// behind it would be longer by the smallest part: so a stream that has lost its end
// is known again however much that was, and a little more than that is read again.
func (p *place) mark(id driver.Seq) {
	m := p.marks
	if len(m) == mostMarks {
		drop, least := 1, math.Inf(1)
		for i := 1; i < len(m)-1; i++ {
			longer := float64(m[i+1].read-m[i-1].read) / float64(p.read-m[i-1].read+1)
			if longer < least {
				drop, least = i, longer
			}
		}
		m = slices.Delete(m, drop, drop+1)
	}
	p.marks = append(m, mark{id, p.read})
}

// known are entries that were read, ascending.
func (p *place) known() []driver.Seq {
	ids := slices.Clone(p.recent)
	for _, m := range p.marks {
		ids = append(ids, m.id)
	}
	slices.SortFunc(ids, driver.Seq.Compare)
	return ids
}

// count begins to count anew at next, where n entries were removed before it.
func (p *place) count(s *sight, n uint64) {
	p.before, p.counted = n, s.counts
	p.since, p.deleted = p.next, s.deleted
}

// saw notes what a look has seen.
func (p *place) saw(s *sight) {
	p.added, p.first, p.vanished = s.added, s.front(), false
	if p.top.Less(s.top) {
		p.top = s.top
	}
}

// A finding is what became of entries that a place has not read.
type finding struct {
	cause driver.GapCause
	to    driver.Seq
	anew  bool // the stream is another: its numbers may come again, below from
}

// judge says what is missing at a place whose witness may be gone, by what was seen
// at the same moment as the entries from behind its next. Nil is nothing: what is
// gone was read, or was deleted by XDEL. That the stream is another one is not yet
// the last word, see goesOn.
func (p *place) judge(s *sight) *finding {
	switch {
	case !s.exists:
		return nil // it may come back
	case p.vanished, s.top.Less(p.top), p.witness.IsZero() && s.front().Less(p.first),
		s.counts && (s.added < p.added || p.counted && s.added < p.before):
		return p.recreated(s)
	case p.gone && s.counts && s.length > 0 && s.first.Less(p.witness) && s.deleted.Less(p.witness):
		return p.recreated(s) // in that one the witness was neither trimmed nor deleted
	case s.length > 0 && s.first.Less(p.next):
		return nil // the front has not come to here: the witness was deleted by XDEL
	case !p.next.Less(s.front()):
		return nil // nothing could be missing
	}
	gap := &finding{cause: driver.GapTrimmed, to: s.front()}
	if !s.counts || !p.counted {
		return gap // nobody counts, so it may be one
	}
	removed := s.removed()
	switch {
	case removed < p.before:
		return p.recreated(s)
	case removed == p.before:
		return nil // all that is removed was read
	case s.deleted.Less(p.since):
		return gap // nothing since was deleted by XDEL
	case removed == p.before+1 && s.deleted != p.deleted && !s.deleted.Less(p.next):
		return nil // that one was deleted by XDEL
	}
	// Some were deleted by XDEL. How many Redis does not say.
	return gap
}

// goesOn is what the finding that the stream is another one comes to where it still
// has the entry kept, which was read, and behind is the first one behind next. Zero
// is none.
func (p *place) goesOn(f *finding, s *sight, kept, behind driver.Seq) *finding {
	switch {
	case kept.IsZero():
		return f
	case kept.Succ().Less(p.next):
		return &finding{cause: driver.GapTruncated, to: kept.Succ(), anew: true}
	case !s.top.Less(p.top) && p.next.Less(behind):
		return &finding{cause: driver.GapTruncated, to: behind} // it lost its end there, and got another
	}
	// What it has lost lay ahead.
	p.top, p.counted = s.top, p.counted && p.before <= s.added
	return nil
}

func (p *place) recreated(s *sight) *finding {
	return &finding{cause: driver.GapRecreated, to: s.front(), anew: true}
}

// move is the place where reading goes on behind a finding.
func (f *finding) move(p *place, s *sight) *place {
	n := &place{next: f.to, floor: p.floor}
	if f.anew {
		n.floor = driver.Seq{}
	}
	if f.cause != driver.GapRecreated { // there may be another fail-over soon
		n.marks = slices.DeleteFunc(slices.Clone(p.marks), func(m mark) bool { return !m.id.Less(f.to) })
		n.read = p.read
	}
	n.saw(s)
	switch {
	case f.to == s.end():
		n.count(s, s.added)
	case f.to == s.front():
		n.count(s, s.removed())
	}
	if f.to == s.first {
		n.witness = f.to
	}
	return n
}
