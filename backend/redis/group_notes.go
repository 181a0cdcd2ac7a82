package redis

import (
	"context"
	"strings"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// The answer of a read that crossed a hole may be lost with its connection. What
// the read has taken is pending and is found again, but the look has moved the
// group, and where it stood before is nowhere: other members may have read up
// to the hole meanwhile. So the look (passHoles) leaves a note in the same
// moment: a consumer of the group that has nothing, whose name is
// sea-gap:member:from:to, ids of which the gap is what lies between them, the
// last one included. Nothing but a consumer can be kept with a group, by a user
// who has no right to other keys, in the same slot. The member deletes it when
// it has the answer, and looks for notes where an answer was lost. A member's
// note that dies is deleted with members that are dead (dropConsumers).
const gapNote = memberPrefix + "gap:"

// notes is how the names of the member's notes begin.
func (m *member) notes() string { return gapNote + m.name + ":" }

// told deletes the notes of gaps. One that stays may be told once more, after
// another answer is lost.
func (l *groupLane) told(found []parcel) {
	rc, err := l.m.c.connect(l.m.life)
	if err != nil {
		return
	}
	cmds := make([]rueidis.Completed, len(found))
	l.m.mu.Lock()
	for i := range found {
		g := found[i].gap
		note := l.m.notes() + idText(g.From.Prev()) + ":" + idText(g.To.Prev())
		cmds[i] = rc.B().XgroupDelconsumer().Key(l.m.posts[g.Shard].key).Group(l.m.conf.Group).Consumername(note).Build()
	}
	l.m.mu.Unlock()
	_, _ = l.m.c.askAll(l.m.life, rc, cmds)
}

// notedGaps tells the gaps whose answer was lost.
func (l *groupLane) notedGaps(ctx context.Context, rc rueidis.Client, p *post) error {
	answers, err := l.m.c.ask(ctx, rc, rc.B().XinfoConsumers().Key(p.key).Group(l.m.conf.Group).Build())
	if err != nil {
		return err
	}
	consumers, err := answers[0].ToArray()
	if err != nil {
		return nil //nolint:nilerr // what is pending says so, too
	}
	var found []parcel
	for _, c := range consumers {
		fields, err := c.AsStrMap()
		if err != nil {
			continue
		}
		span, ours := strings.CutPrefix(fields["name"], l.m.notes())
		from, to, _ := strings.Cut(span, ":")
		first, ok1 := parseID(from)
		last, ok2 := parseID(to)
		if ours && ok1 && ok2 {
			found = append(found, parcel{gap: &driver.GapError{Shard: p.shard, From: first.Succ(), To: last.Succ(), Cause: driver.GapTrimmed}})
		}
	}
	if len(found) > 0 {
		l.told(found)
		l.m.mu.Lock()
		l.put(found)
		l.m.mu.Unlock()
	}
	return nil
}
