package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A tx is one unit: the arguments of one script, which Produce appends to the
// buffer of the shard that they go to, so that Commit has but to write them.
// Everything is under the owner's mutex.
type tx struct {
	o     *owner
	began time.Time
	ended bool
	doom  error // why it will not be committed
	order []*part
	last  *part
	n     int // arguments
	bytes int
}

// A part of a unit goes to one shard. Its owner keeps the buffer for the units
// that come.
type part struct {
	*shard
	alone bool // the only one of its stream
	unit  *tx  // the one that uses it
	buf   []byte
	runs  []streak
}

// A streak of records that have the same number of arguments.
type streak struct{ args, n int }

// keepBuffer is how large the buffers of an owner may be, all together, to be
// used again.
const keepBuffer = 4 << 20

// Begin opens a unit.
func (o *owner) Begin(context.Context) (driver.Tx, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return nil, errOwnerClosed
	case o.open != nil:
		return nil, driver.Errorf(driver.ErrInvalid, "", "a unit is open already")
	}
	o.open = &tx{o: o, began: time.Now()}
	return o.open, nil
}

// Produce encodes the record. It asks the server only for the shards of a
// stream that it does not know, or has not asked about for a while.
func (t *tx) Produce(ctx context.Context, rec driver.Record) error {
	o := t.o
	size, n := size(&rec), fields(&rec)
	switch {
	case size > o.c.o.MaxRecord:
		return driver.Errorf(driver.ErrTooLarge, "", "the record has %d bytes and max_record is %d", size, o.c.o.MaxRecord)
	case n > maxUnitField:
		return driver.Errorf(driver.ErrTooLarge, "", "the record has %d headers: in a unit %d are allowed", len(rec.Headers), maxUnitField)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p := t.last
	if t.ended {
		return errUnitEnded
	}
	if p == nil || !p.alone || p.Stream != rec.Stream || rec.Shard != 0 && rec.Shard != driver.On(p.Index) {
		var err error
		if p, err = t.find(ctx, &rec); err != nil {
			return err
		}
		if t.doom != nil {
			return nil // Commit says so
		}
		t.last = p
	}
	plain := rec.Value != nil && n == 1
	if n *= 2; plain {
		n = 1
	}
	if t.n+n > maxUnitArgs || t.bytes+size > maxUnitBytes {
		return driver.Errorf(driver.ErrTooLarge, "", "the unit is full: it has %d fields and %d bytes", t.n, t.bytes)
	}
	t.n += n
	t.bytes += size
	if k := len(p.runs) - 1; k >= 0 && p.runs[k].args == n {
		p.runs[k].n++
	} else {
		p.runs = append(p.runs, streak{n, 1})
	}
	if plain {
		p.buf = appendBulk(p.buf, rec.Value)
	} else {
		p.buf = appendRecord(p.buf, &o.c.o, &rec)
	}
	return nil
}

// find is the part that a record belongs to. Under mu, which it gives up while
// it asks for shards.
func (t *tx) find(ctx context.Context, rec *driver.Record) (*part, error) {
	o := t.o
	st, err := t.layout(ctx, rec.Stream, t.began.Add(-o.c.o.DiscoverEvery))
	if err != nil || t.doom != nil {
		return nil, err
	}
	s, err := st.choose(o.rules, rec)
	if err != nil && st.recheck(o.rules) {
		// Its shard may have been added just now.
		if st, err = t.layout(ctx, rec.Stream, time.Now()); err != nil || t.doom != nil {
			return nil, err
		}
		s, err = st.choose(o.rules, rec)
	}
	if err != nil {
		return nil, err
	}
	if o.cluster && s.slot != o.slot {
		return nil, o.otherSlot(s, st.sharded)
	}
	p := o.parts[s]
	if p == nil {
		p = &part{shard: s}
		o.parts[s] = p
	}
	if p.unit != t {
		p.unit, p.buf, p.runs, p.alone = t, p.buf[:0], p.runs[:0], len(st.shards) == 1
		t.order = append(t.order, p)
	}
	return p, nil
}

// otherSlot is why a record cannot be in a unit.
func (o *owner) otherSlot(s *shard, sharded bool) error {
	hint := fmt.Sprintf("its key needs the hash tag {%s}", o.tag())
	from, to, _ := hashTag(s.key)
	switch _, _, own := hashTag(s.Stream); {
	case sharded && !own && o.c.o.HashTag != hashTags[1]:
		hint = fmt.Sprintf("set hash_tag=stream and unit_tag=%s", s.Stream)
	case !strings.ContainsAny(s.key[from:to], "{}"):
		hint = fmt.Sprintf("set unit_tag=%s", s.key[from:to])
	}
	return &driver.Error{Shard: s.Shard, Kind: errors.ErrUnsupported, Err: fmt.Errorf(
		"in a cluster a unit is in one slot: key %q is in slot %d and the progress of %q (key %q) in slot %d: %s",
		s.key, s.slot, o.conf.Name, o.progress, o.slot, hint)}
}

// layout is a stream whose shards were asked for since then. A server that
// cannot say dooms the unit. Under mu, which it gives up while it asks.
func (t *tx) layout(ctx context.Context, name string, since time.Time) (*stream, error) {
	o := t.o
	st := o.streams[name]
	l, fixed := o.rules.fixed(name)
	if st != nil && (fixed || !st.checked.Before(since)) {
		return st, nil
	}
	if st == nil {
		if err := o.c.checkName(name); err != nil {
			return nil, err
		}
	}
	if !fixed {
		o.mu.Unlock()
		var err error
		l, err = o.c.discover(ctx, name)
		o.mu.Lock()
		switch {
		case t.ended:
			return nil, errUnitEnded
		case err != nil && ctx.Err() == nil && errors.Is(err, driver.ErrUnavailable):
			t.doom = err
			return nil, nil
		case err != nil:
			return nil, o.c.failure("", driver.Shard{}, err)
		}
	}
	if st = o.streams[name]; st == nil {
		st = &stream{name: name}
		o.streams[name] = st
	}
	if len(l.shards) >= len(st.shards) || l.sharded != st.sharded {
		o.lay(st, l)
	}
	st.checked = time.Now() // a key that was deleted comes back with its next record
	return st, nil
}

// lay makes the shards of a stream, keeping those it has. Under mu.
func (o *owner) lay(st *stream, l layout) {
	if !l.exists() {
		l.shards = []int32{0} // producing creates it
	}
	known := map[string]*shard{}
	for _, s := range st.shards {
		known[s.key] = s
	}
	st.sharded, st.shards = l.sharded, nil
	for _, i := range l.shards {
		key := o.c.key(&l, i)
		s := known[key]
		if s == nil {
			s = &shard{Shard: driver.Shard{Stream: st.name, Index: i}, key: key, slot: slot(key)}
		}
		delete(known, key)
		st.shards = append(st.shards, s)
	}
	for _, s := range known {
		if p := o.parts[s]; p != nil && p.unit != o.open {
			delete(o.parts, s)
		}
	}
}

var errUnitEnded = &driver.Error{Kind: driver.ErrClosed, Err: errors.New("the unit has ended")}

// Abort drops the unit: the server knows nothing of it.
func (t *tx) Abort(context.Context) error {
	t.o.mu.Lock()
	defer t.o.mu.Unlock()
	if !t.ended { // else its buffers may be on their way
		t.end()
	}
	return nil
}

// end closes the unit to records. Under mu.
func (t *tx) end() {
	t.ended = true
	if t.o.open == t {
		t.o.open = nil
	}
	for _, p := range t.order {
		if cap(p.buf) > keepBuffer/len(t.o.parts) {
			p.buf = nil
		}
	}
}

// Commit runs the unit's script. The unit stays open for the owner until it
// returns, so that no other one uses its buffers.
func (t *tx) Commit(ctx context.Context, moves []driver.Move) error {
	o := t.o
	o.mu.Lock()
	if t.ended {
		o.mu.Unlock()
		return errUnitEnded
	}
	t.ended = true
	head, body, err := t.command(moves)
	o.mu.Unlock()
	var said ownerAnswer
	var maybe bool
	if err == nil {
		said, maybe, err = o.call(ctx, head, body)
		err = t.outcome(moves, said, maybe, err)
	}
	o.mu.Lock()
	t.end()
	o.mu.Unlock()
	return err
}

// command is the unit as one command, in two parts. Under mu.
func (t *tx) command(moves []driver.Move) (head, body []byte, err error) {
	o := t.o
	if t.doom != nil {
		return nil, nil, aborted(t.doom)
	}
	for i := range moves {
		if !o.held[moves[i].Shard] {
			return nil, nil, &driver.Error{Shard: moves[i].Shard, Kind: driver.ErrFenced, Err: fmt.Errorf("this owner of %q does not hold it", o.conf.Name)}
		}
	}
	mode := "sole"
	if o.conf.Shared {
		mode = "shared"
	} else if !o.claimed {
		mode = "none"
	}
	runs := 0
	for _, p := range t.order {
		runs += len(p.runs)
	}
	b := appendHeader(o.head[:0], '*', 3+1+len(t.order)+9+3*len(moves)+3*runs+t.n)
	b = appendBulk(appendBulk(b, "EVAL"), commitScript.text(o.c.server().version))
	b = appendBulk(b, strconv.Itoa(1+len(t.order)))
	b = appendBulk(b, o.progress)
	for _, p := range t.order {
		b = appendBulk(b, p.key)
	}
	b = appendBulk(appendBulk(b, o.token), strconv.FormatInt(o.epoch, 10))
	b = appendBulk(appendBulk(b, mode), flag(o.c.o.NoAutocreate))
	switch {
	case o.c.o.MaxLen > 0:
		b = appendBulk(appendBulk(b, "MAXLEN"), strconv.FormatInt(o.c.o.MaxLen, 10))
	case o.c.o.MaxAge > 0:
		b = appendBulk(appendBulk(b, "MINID"), o.rules.minID(time.Now()))
	default:
		b = appendBulk(appendBulk(b, ""), "")
	}
	b = appendBulk(b, o.c.o.Field)
	b = appendBulk(appendBulk(b, strconv.Itoa(len(moves))), strconv.Itoa(runs))
	for i := range moves {
		m := &moves[i]
		b = appendBulk(appendBulk(appendBulk(b, field(m.Shard)), idText(m.From)), idText(m.To))
	}
	for i, p := range t.order {
		for _, r := range p.runs {
			b = appendBulk(b, strconv.Itoa(i+2))
			b = appendBulk(appendBulk(b, strconv.Itoa(r.args)), strconv.Itoa(r.n))
		}
	}
	if len(t.order) == 1 {
		body = t.order[0].buf
	} else {
		for _, p := range t.order {
			b = append(b, p.buf...)
		}
	}
	if cap(b) <= keepBuffer {
		o.head = b
	}
	return b, body, nil
}
