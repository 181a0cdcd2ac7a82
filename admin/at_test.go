package admin_test

import (
	"errors"
	"testing"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
)

// Positions of single shards are moved to and trimmed at, and the other shards
// stay.
func TestAtPositions(t *testing.T) {
	s, c := open(t)
	apply(t, c, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "news", Shards: 2}})
	send(t, s, "news", 0, 10, time.Now())
	send(t, s, "news", 1, 10, time.Now())
	one := []ss.Position{{Shard: ss.Shard{Stream: "news", Index: 1}, Next: ss.SeqOf(3)}}

	p := apply(t, c, admin.SeekGroup{Group: "g", At: one})
	if p.Change != "seek-group" || p.String() != "move news[1]: 3\n" || p.Destructive {
		t.Errorf("%+v", p)
	}
	if p = apply(t, c, admin.SeekGroup{Group: "g", To: new(ss.Latest)}); !p.Destructive {
		t.Error("moving a group that others rely on destroys nothing")
	}
	if _, err := c.Plan(t.Context(), admin.SeekGroup{Group: "g", At: one, Shift: 1}); !errors.Is(err, ss.ErrInvalid) {
		t.Errorf("two ways at once: %v", err)
	}
	if p = apply(t, c, admin.Trim{Stream: "news", At: one}); p.String() != "trim news[1]: 0 → 3 (3 messages)\n" {
		t.Errorf("%v", p)
	}
	if _, err := c.Plan(t.Context(), admin.Trim{Stream: "news", At: one, Shards: []int32{0}}); !errors.Is(err, ss.ErrNotFound) {
		t.Errorf("a shard without a position: %v", err)
	}
}

// Each of several groups can be had back for itself.
func TestUndosOfMany(t *testing.T) {
	_, c := open(t)
	apply(t, c, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "news"}})
	for _, g := range []string{"a", "b"} {
		apply(t, c, admin.SeekGroup{Group: g, Streams: []string{"news"}, To: new(ss.Earliest)})
	}
	p := apply(t, c, admin.DeleteGroup{Groups: []string{"a", "b"}})
	if _, ok := p.Undo(); ok {
		t.Error("one change is the undo of two")
	}
	for _, u := range p.Undos() {
		apply(t, c, u.Change)
		if _, err := c.DescribeGroups(t.Context(), u.Target); err != nil {
			t.Error(err)
		}
	}
	for g, err := range c.GroupsMatching(t.Context(), "b*") {
		if err != nil || g.Name != "b" {
			t.Errorf("%s, %v", g.Name, err)
		}
	}
}
