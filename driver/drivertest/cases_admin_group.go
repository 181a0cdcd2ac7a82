package drivertest

import (
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

func (t *T) groups() driver.GroupAdmin { return t.Driver().(driver.GroupAdmin) }

// groupNames are the groups that are listed; with names only those.
func (t *T) groupNames(streams []string, of ...string) []string {
	t.Helper()
	var got []string
	for n, err := range t.groups().GroupNames(t.Ctx(), streams) {
		if err != nil {
			t.Fatalf("GroupNames: %v", err)
		}
		if len(of) == 0 || slices.Contains(of, n) {
			got = append(got, n)
		}
	}
	slices.Sort(got)
	return got
}

func (t *T) group(name string) driver.GroupInfo {
	t.Helper()
	infos, err := t.groups().DescribeGroups(t.Ctx(), []string{name})
	if err != nil || len(infos) != 1 {
		t.Fatalf("DescribeGroups: %d of 1, %v", len(infos), err)
	}
	return infos[0]
}

// at is where a group stands on shard 0 of a stream.
func (t *T) at(group, stream string) (driver.GroupPosition, bool) {
	t.Helper()
	for _, p := range t.group(group).Positions {
		if p.Stream == stream && p.Index == 0 {
			return p, true
		}
	}
	return driver.GroupPosition{}, false
}

// read reads the first n messages with a group, says that they are done, and
// leaves.
func (t *T) read(group, stream string, n int) {
	t.Helper()
	r := t.Consume(Group(group, stream))
	t.done(r, stream, r.Read(n))
	r.Stop()
}

func (t *T) done(r *Reader, stream string, msgs []Msg) {
	t.Helper()
	if t.F.Ack == driver.AckMessage {
		r.Settle(driver.VerdictAck, 0, msgs...)
	} else {
		r.Commit(stream, 0, msgs[len(msgs)-1].Seq.Succ())
	}
}

var adminGroupCases = []Case{
	{
		Topic: "admin", Name: "groups",
		Sentence: "with streams only of groups that know one of them.",
		Needs:    all(needsGroupAdmin, needsAnyGroup),
		Run: func(t *T) {
			s, other, g := t.Stream(1), t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			t.read(g, s, 2)
			t.equal("all", t.groupNames(nil, g), []string{g})
			t.equal("of the stream", t.groupNames([]string{s}), []string{g})
			t.equal("of another one", t.groupNames([]string{other}), nil)
			in := t.group(g)
			Equal(t, "members", len(in.Members), 0)
			Equal(t, "state", in.State, "empty")
			p, ok := t.at(g, s)
			if end := t.Bound(s, 0).Next; !ok || p.Next != end {
				t.Errorf("position %v, want %v", p.Next, end)
			}
		},
	},
	{
		Topic: "admin", Name: "members",
		Sentence: "DescribeGroups describes the groups named, in that order: members and positions.",
		Needs:    all(needsGroupAdmin, needsAnyGroup),
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			r := t.Consume(Group(g, s))
			m := r.Read(2)
			t.Eventually("the member is seen", func() bool {
				in := t.group(g)
				return len(in.Members) == 1 && in.Members[0].ID != "" &&
					(t.F.Ack == driver.AckMessage || slices.Equal(in.Members[0].Shards, []driver.Shard{{Stream: s}}))
			})
			if p, _ := t.at(g, s); t.F.Ack == driver.AckMessage {
				Equal(t, "pending", p.Pending, 2)
			}
			t.done(r, s, m)
		},
	},
	{
		Topic: "admin", Name: "move a group",
		Sentence: "SetPositions puts a group at positions, and makes it where it does not exist.",
		Needs:    all(needsGroupAdmin, needsAnyGroup),
		Run: func(t *T) {
			s, g, fresh := t.Stream(1), t.Name(), t.Name()
			r := t.Send(s, "a", "b", "c")
			t.read(g, s, 3)
			for _, name := range []string{g, fresh} {
				if err := t.groups().SetPositions(t.Ctx(), name, []driver.Position{position(s, 0, r[1].Seq)}); err != nil {
					t.Fatalf("SetPositions: %v", err)
				}
				p, _ := t.at(name, s)
				if first := p.Next; r[1].Seq.Less(first) || !r[0].Seq.Less(first) {
					t.Errorf("position %v, want one behind %v and not behind %v", first, r[0].Seq, r[1].Seq)
				}
				t.Consume(Group(name, s)).Wants("b", "c")
			}
		},
	},
	{
		Topic: "admin", Name: "no move under members",
		Sentence: "A group whose members are at work is ErrFenced where its members would overwrite it.",
		Needs:    all(needsGroupAdmin, needsGroups),
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			r := t.Consume(Group(g, s))
			r.Wants("a", "b")
			t.Is("move", t.groups().SetPositions(t.Ctx(), g, []driver.Position{position(s, 0, driver.Seq{})}), driver.ErrFenced)
			r.Commit(s, 0, t.Bound(s, 0).Next) // it was not disturbed
		},
	},
	{
		Topic: "admin", Name: "delete a group",
		Sentence: "DeleteGroup removes a group on all streams. One with members is ErrFenced.",
		Needs:    all(needsGroupAdmin, needsAnyGroup),
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			r := t.Consume(Group(g, s))
			m := r.Wants("a", "b")
			t.Is("while a member reads", t.groups().DeleteGroup(t.Ctx(), g), driver.ErrFenced)
			t.done(r, s, m)
			r.Stop()
			t.Eventually("it is deleted", func() bool { return t.groups().DeleteGroup(t.Ctx(), g) == nil })
			t.equal("groups", t.groupNames(nil, g), nil)
			t.Consume(Group(g, s)).Wants("a", "b")
		},
	},
	{
		Topic: "admin", Name: "forget positions",
		Sentence: "DeletePositions makes a group forget shards.",
		Needs:    all(needsGroupAdmin, needsAnyGroup),
		Run: func(t *T) {
			s, other, g := t.Stream(1), t.Stream(1), t.Name()
			t.Send(s, "a")
			t.Send(other, "b")
			t.read(g, s, 1)
			t.read(g, other, 1)
			t.Eventually("it forgets", func() bool { return t.groups().DeletePositions(t.Ctx(), g, []driver.Shard{{Stream: s}}) == nil })
			_, had := t.at(g, s)
			_, has := t.at(g, other)
			Equal(t, "positions on both streams", [2]bool{had, has}, [2]bool{false, true})
		},
	},
	{
		Topic: "admin", Name: "pending",
		Sentence: "Pending yields the messages of a group on a stream that were delivered and have no verdict yet, by shard and sequence.",
		Needs:    all(needsPendingAdmin, needsVerdicts),
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b", "c")
			r, m := t.holder(g, s, 3)
			r.Settle(driver.VerdictAck, 0, m[1])
			p := t.pending(s, g, driver.PendingFilter{})
			t.equal("pending", ids(p), []string{m[0].Seq.String(), m[2].Seq.String()})
			if len(p) == 2 && (p[0].Member == "" || p[0].Attempts != 1) {
				t.Errorf("%+v: want a member and one attempt", p[0])
			}
			t.equal("of a member", ids(t.pending(s, g, driver.PendingFilter{Member: p[0].Member})), ids(p))
			t.equal("of nobody", ids(t.pending(s, g, driver.PendingFilter{Member: "nobody"})), nil)
			t.equal("idle for an hour", ids(t.pending(s, g, driver.PendingFilter{MinIdle: time.Hour})), nil)
		},
	},
	{
		Topic: "admin", Name: "settle from outside",
		Sentence: "SettlePending gives messages a verdict: VerdictAck, or VerdictNack which has them delivered again at once. It says how many of them were pending.",
		Needs:    all(needsPendingAdmin, needsVerdicts),
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			_, m := t.holder(g, s, 2)
			id := func(m Msg) driver.MessageID { return driver.MessageID{Shard: m.Shard, Seq: m.Seq} }
			settle := func(v driver.Verdict, want int, ids ...driver.MessageID) {
				t.Helper()
				n, err := t.pendings().SettlePending(t.Ctx(), g, ids, v)
				if err != nil || n != want {
					t.Errorf("%v: %d, %v, want %d", v, n, err, want)
				}
			}
			settle(driver.VerdictAck, 1, id(m[0]))
			settle(driver.VerdictAck, 0, id(m[0]))
			settle(driver.VerdictNack, 1, id(m[1]))
			t.Consume(Group(g, s)).Wants("b")
		},
	},
	{
		Topic: "admin", Name: "claim for another",
		Sentence: "ClaimPending hands messages that have waited for at least minIdle to another member, and says how many.",
		Needs:    all(needsPendingAdmin, needsVerdicts),
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a")
			_, m := t.holder(g, s, 1)
			id := []driver.MessageID{{Shard: m[0].Shard, Seq: m[0].Seq}}
			for _, c := range []struct {
				idle time.Duration
				want int
			}{{time.Hour, 0}, {0, 1}} {
				n, err := t.pendings().ClaimPending(t.Ctx(), g, "another", c.idle, id)
				if err != nil || n != c.want {
					t.Errorf("claim what is idle for %v: %d, %v, want %d", c.idle, n, err, c.want)
				}
			}
			t.equal("of another", ids(t.pending(s, g, driver.PendingFilter{Member: "another"})), []string{m[0].Seq.String()})
		},
	},
}

func (t *T) pendings() driver.PendingAdmin { return t.Driver().(driver.PendingAdmin) }

func (t *T) pending(stream, group string, f driver.PendingFilter) []driver.PendingMessage {
	t.Helper()
	var all []driver.PendingMessage
	for m, err := range t.pendings().Pending(t.Ctx(), stream, group, f) {
		if err != nil {
			t.Fatalf("Pending: %v", err)
		}
		all = append(all, m)
	}
	return all
}

func ids(p []driver.PendingMessage) []string {
	var s []string
	for _, m := range p {
		s = append(s, m.Seq.String())
	}
	return s
}
