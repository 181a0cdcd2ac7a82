package redis

import (
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// How a group notices that entries were removed before any member has read
// them.
//
// A read of a group goes on at the first entry behind the last delivered one,
// and says nothing of what was in between. So each read is sent together with a
// look (passHoles): between MULTI and EXEC where it does not wait, so that
// nobody comes in between, and right before it where it does. The look finds
// what was trimmed by counting: Redis knows how many entries were ever added,
// how many there are, and how many the group has read. The member whose read
// goes across the hole tells it, and no other one sees it.
//
// The look moves the group behind the hole, and its answer may be lost, of which
// nothing would be left but a note (group_notes.go).
//
// A read that waits finds nothing and is served when an entry is added, before
// anybody can trim that. Only who adds and trims in one transaction, or one
// script, removes something unseen.
//
// XDEL ahead of the group makes holes anywhere, and Redis keeps no more of them
// than the id of the highest one and the count of all that was removed. So
//   - where the next read goes to the end, or nothing is left before it, it is
//     known how many are missing: one is the highest, and its gap has its bounds;
//     several are a gap from the place of the group to the highest, and what is
//     delivered from inside that is not missing;
//   - else the gap goes from the entry before the highest one to the entry
//     behind it, when the group comes there. Others that XDEL has deleted among
//     what was read before are not told: nothing shows them.
//
// From XDEL ahead of the group until the group comes to the end, and where a
// group was made or moved into the middle of a stream, Redis has lost count of
// what it has read. Then what lies between the last delivered entry and the
// first that there is may be missing, and is told, where that entry is known to
// have been delivered: by this member, or because it is pending. Where another
// member has read and acknowledged it, the group may have been moved there as
// well, and nothing is told.

const (
	// lookedAt is how many shards are looked at with each read of them. A look
	// costs the server some 10 µs and 5 µs for each further shard: where a read
	// is of more, they are looked at as often as checkEvery says.
	lookedAt = 16
	// checkEvery is how often a shard of many is looked at, if it has more than
	// is read at once.
	checkEvery = 100 * time.Millisecond
)

// ahead is what a look says of entries ahead of the group that XDEL has
// deleted.
type ahead struct {
	last    driver.Seq // delivered before the read
	deleted driver.Seq // the highest; zero is none
	due     int64      // how many were ever added behind last; −1 is not known
	missing int64      // how many of them do not exist; −1 is not known
}

// unchecked are the posts to be looked at with the next read.
func (l *groupLane) unchecked(posts []*post) (check []*post) {
	if l.blind {
		return nil
	}
	if len(posts) <= lookedAt {
		return posts
	}
	now := time.Now()
	every := max(checkEvery, time.Duration(len(posts))*time.Millisecond)
	idle := now.Sub(l.ended) > every
	for _, p := range posts {
		if (p.full || idle) && now.Sub(p.checked) > every {
			check = append(check, p)
		}
	}
	return check
}

// commands are those of a read, with a look at some posts before it.
func (l *groupLane) commands(b rueidis.Builder, check []*post, read rueidis.Completed, wait bool) []rueidis.Completed {
	if len(check) == 0 {
		return []rueidis.Completed{read}
	}
	keys, args := make([]string, len(check)), make([]string, 2+len(check))
	args[0], args[1] = l.m.conf.Group, l.m.notes()
	for i, p := range check {
		keys[i] = p.key
		if !p.own.IsZero() {
			args[i+2] = idText(p.own)
		}
	}
	look := passHoles.buildFor(b, keys, args...)
	if wait { // between MULTI and EXEC it would not
		return []rueidis.Completed{look, read}
	}
	return []rueidis.Completed{b.Multi().Build(), look, read, b.Exec().Build()}
}

// answers picks what the look and the read have answered from the answers to
// commands.
func (l *groupLane) answers(all []value, looked, wait bool) (look, read value, err error) {
	switch {
	case !looked:
		return nil, all[0], nil
	case wait:
		return all[0], all[1], nil
	}
	for i := range all[:3] { // what is refused here is not carried out
		if err := all[i].err(); err != nil {
			if i == 1 && l.unseeing(err) {
				return nil, nil, errWoken // without a look, then
			}
			return nil, nil, l.m.c.keyFailure("", driver.Shard{}, "", err)
		}
	}
	both, err := all[3].list()
	if r, ok := answer(err); ok {
		return nil, nil, l.m.c.keyFailure("", driver.Shard{}, "", r)
	}
	if err != nil || len(both) != 2 {
		return nil, nil, &driver.Error{Kind: driver.ErrInvalid, Err: errReply}
	}
	return both[0], both[1], nil
}

// unseeing reports whether looks are refused for good, and says so once.
func (l *groupLane) unseeing(err error) bool {
	r, ok := answer(err)
	if !ok || code(r) != "NOPERM" && code(r) != "ERR" {
		return false
	}
	if !l.blind {
		l.blind = true
		l.m.c.log.Warn(l.m.c.where() + ": entries that were trimmed before group " + l.m.conf.Group + " has read them will not be noticed: " + rest(r))
	}
	return true
}

// holes reads the answer of a look at posts: the gaps before what was read, and
// for each post what XDEL has deleted ahead of it.
func (l *groupLane) holes(check []*post, look value) (found []parcel) {
	for _, p := range check {
		p.ahead = ahead{}
	}
	if len(check) == 0 {
		return nil
	}
	list, err := look.list()
	if err != nil {
		l.unseeing(err)
		return nil
	}
	for i := range list {
		hole, err := list[i].list()
		if err != nil || len(hole) != 6 {
			continue
		}
		n, err := hole[0].number()
		if err != nil || n < 1 || n > int64(len(check)) {
			continue
		}
		p := check[n-1]
		id := func(i int) (q driver.Seq) {
			text, _ := hole[i].text()
			q, _ = parseID(text)
			return q
		}
		a := ahead{last: id(1), deleted: id(3)}
		a.due, _ = hole[4].number()
		a.missing, _ = hole[5].number()
		to := id(2)
		if !to.IsZero() {
			found = append(found, parcel{gap: &driver.GapError{Shard: p.shard, From: a.last.Succ(), To: to.Succ(), Cause: driver.GapTrimmed}})
		}
		switch {
		case a.deleted.IsZero() || !p.deleted.Less(a.deleted):
		case a.last.Less(p.last) || !to.Less(a.deleted):
			p.deleted = a.deleted // somebody has moved the group back, or it is told
		default:
			p.ahead = a
		}
	}
	return found
}

// passed is the gap around the highest entry that XDEL has deleted ahead of the
// group, where a read of ids has come past that. It is nil where there is none.
// End says that the read has come to the end.
func (p *post) passed(ids []driver.Seq, end bool) *driver.GapError {
	a := p.ahead
	at, _ := slices.BinarySearchFunc(ids, a.deleted, driver.Seq.Compare)
	if a.deleted.IsZero() || at == len(ids) {
		return nil
	}
	p.ahead, p.deleted = ahead{}, a.deleted
	missing := a.missing
	if end && a.due >= 0 {
		missing = a.due - int64(len(ids))
	}
	gap := &driver.GapError{Shard: p.shard, From: a.last.Succ(), To: a.deleted.Succ(), Cause: driver.GapTrimmed}
	switch {
	case missing == 1:
		gap.From = a.deleted
	case missing > 1:
	default:
		if gap.To = ids[at]; at > 0 {
			gap.From = ids[at-1].Succ()
		}
	}
	return gap
}
