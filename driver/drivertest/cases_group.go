package drivertest

import (
	"fmt"
	"slices"

	"github.com/seastreamer/seastreamer/driver"
)

var groupCases = []Case{
	{
		Topic: "group", Name: "resumes at the position",
		Sentence: "A Position says how far a shard was processed: everything below Next is done.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b", "c")
			r := t.Consume(Group(g, s))
			r.Wants("a", "b", "c")
			r.Commit(s, 0, receipts[1].Seq)
			r.Stop()
			r = t.Consume(Group(g, s))
			Equal(t, "begin", r.Begin(s, 0), receipts[1].Seq)
			r.Wants("b", "c")
		},
	},
	{
		Topic: "group", Name: "start only without progress",
		Sentence: "where the group has no progress, or there is no group",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			c := Group(g, s)
			c.Start = driver.Latest
			r := t.Consume(c)
			Equal(t, "begin without progress", r.Begin(s, 0), t.Bound(s, 0).Next)
			r.Commit(s, 0, driver.Seq{})
			r.Stop()
			t.Consume(c).Wants("a", "b")
		},
	},
	{
		Topic: "group", Name: "what is not committed comes again",
		Sentence: "A Committer is a Consumer that keeps the progress of its group as one position per shard.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b", "c")
			for range 2 {
				r := t.Consume(Group(g, s))
				r.Wants("a", "b", "c")
				r.Stop()
			}
		},
	},
	{
		Topic: "group", Name: "zero is progress",
		Sentence: "The zero Next says that nothing is.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			c := Group(g, s)
			c.Start = driver.Latest
			r := t.Consume(c)
			r.Shards(1)
			r.Commit(s, 0, driver.Seq{}) // the end of an empty shard
			r.Stop()
			t.Send(s, "a")
			t.Consume(c).Wants("a")
		},
	},
	{
		Topic: "group", Name: "the end is a position",
		Sentence: "It may lie past the last message.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			r := t.Consume(Group(g, s))
			r.Wants("a", "b")
			r.Commit(s, 0, t.Bound(s, 0).Next)
			r.Stop()
			r = t.Consume(Group(g, s))
			r.Shards(1)
			t.Send(s, "c")
			r.Wants("c")
		},
	},
	{
		Topic: "group", Name: "goes back",
		Sentence: "All of at is stored, or an error says that some of it may not be.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b", "c")
			r := t.Consume(Group(g, s))
			r.Shards(1)
			r.Commit(s, 0, receipts[2].Seq)
			r.Commit(s, 0, receipts[1].Seq)
			r.Stop()
			t.Consume(Group(g, s)).Wants("b", "c")
		},
	},
	{
		Topic: "group", Name: "commits every shard",
		Sentence: "A Committer is a Consumer that keeps the progress of its group as one position per shard.",
		Needs:    all(needsGroups, needsShards),
		Run: func(t *T) {
			s, g := t.Stream(2), t.Name()
			receipts := t.Writer().Send(
				driver.Record{Stream: s, Shard: driver.On(0), Value: []byte("zero")},
				driver.Record{Stream: s, Shard: driver.On(1), Value: []byte("one")},
			)
			r := t.Consume(Group(g, s))
			r.Shards(2)
			var at []driver.Position
			for _, rc := range receipts {
				at = append(at, driver.Position{Shard: rc.Shard, Next: rc.Seq.Succ()})
			}
			if err := r.Consumer.(driver.Committer).Commit(t.Ctx(), at); err != nil {
				t.Fatalf("Commit(%v): %v", at, err)
			}
			r.Stop()
			r = t.Consume(Group(g, s))
			for _, p := range at {
				Equal(t, p.Shard.String(), r.Begin(s, p.Index), p.Next)
			}
		},
	},
	{
		Topic: "group", Name: "groups do not know each other",
		Sentence: "where the group has no progress, or there is no group",
		Needs:    needsGroups,
		Run: func(t *T) {
			s := t.Stream(1)
			receipts := t.Send(s, "a", "b")
			r := t.Consume(Group(t.Name(), s))
			r.Wants("a", "b")
			r.Commit(s, 0, receipts[1].Seq.Succ())
			t.Consume(Group(t.Name(), s)).Wants("a", "b")
			t.Consume(Streams(s)).Wants("a", "b")
		},
	},
	{
		Topic: "group", Name: "members share the shards",
		Sentence: "Events are the calls by which a driver tells the core which shards it reads, with a group and without.",
		Needs:    all(needsGroups, needsShards),
		Run: func(t *T) {
			s, g := t.Stream(4), t.Name()
			a := t.Consume(Group(g, s))
			a.Shards(4)
			b := t.Reader(nil, nil).Open(t.Open(), Group(g, s))
			got := slices.Concat(a.Shards(2), b.Shards(2))
			slices.Sort(got)
			Equal(t, "shards of both members", fmt.Sprint(got), "[0 1 2 3]")
			b.Stop()
			a.Shards(4)
		},
	},
	{
		Topic: "group", Name: "more members than shards",
		Sentence: "Assigned says that the consumer now also reads these shards and where it would begin.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			rc := t.Send(s, "a", "b")[0]
			a := t.Consume(Group(g, s))
			a.Wants("a", "b")
			a.Commit(s, 0, rc.Seq.Succ())
			b := t.Reader(nil, nil).Open(t.Open(), Group(g, s))
			a.Stop()
			Equal(t, "the other member begins", b.Begin(s, 0), rc.Seq.Succ())
		},
	},
	{
		Topic: "group", Name: "the last commit on revoke",
		Sentence: "While it runs the driver still commits for them, unless lost says that it is too late for that.",
		Needs:    all(needsGroups, needsShards),
		Run: func(t *T) {
			s, g := t.Stream(2), t.Name()
			receipts := t.Writer().Send(
				driver.Record{Stream: s, Shard: driver.On(0), Value: []byte("zero")},
				driver.Record{Stream: s, Shard: driver.On(1), Value: []byte("one")},
			)
			var a *Reader
			a = t.Reader(nil, func(shards []driver.Shard, lost bool) {
				if lost {
					t.Errorf("%v are lost, although the other member only joined", shards)
				}
				for _, sh := range shards {
					if err := a.TryCommit(s, sh.Index, receipts[sh.Index].Seq.Succ()); err != nil {
						t.Errorf("commit while Revoked runs: %v", err)
					}
				}
			}).Open(t.Driver(), Group(g, s))
			a.Read(2)
			b := t.Reader(nil, nil).Open(t.Open(), Group(g, s))
			moved := b.Shards(1)[0]
			a.Shards(1)
			Equal(t, "the new member begins", b.Begin(s, moved), receipts[moved].Seq.Succ())
		},
	},
	{
		Topic: "group", Name: "a position that is not one's own",
		Sentence: "Commits for shards that are not assigned (any more) fail with ErrFenced.",
		Needs:    all(needsGroups, needsShards),
		Run: func(t *T) {
			s, g := t.Stream(2), t.Name()
			receipts := t.Writer().Send(
				driver.Record{Stream: s, Shard: driver.On(0), Value: []byte("zero")},
				driver.Record{Stream: s, Shard: driver.On(1), Value: []byte("one")},
			)
			a := t.Consume(Group(g, s))
			a.Shards(2)
			b := t.Reader(nil, nil).Open(t.Open(), Group(g, s))
			moved := b.Shards(1)[0]
			a.Shards(1)
			t.Is("commit of a revoked shard", a.TryCommit(s, moved, receipts[moved].Seq.Succ()), driver.ErrFenced)
			t.Is("commit of a shard that there is not", a.TryCommit(s, 9, receipts[0].Seq), driver.ErrFenced)
			b.Stop()
			a.Shards(2)
			Equal(t, "the shard that came back begins", a.Begin(s, moved), receipts[moved].Seq)
		},
	},
	{
		Topic: "group", Name: "nothing is lost when members come and go",
		Sentence: "Revoked says that the consumer no longer reads these shards.",
		Needs:    all(needsGroups, needsShards),
		Run: func(t *T) {
			s, g := t.Stream(3), t.Name()
			const n = 300
			seen := new(tally)
			member := func(d driver.Driver) *Reader { return t.counting(d, Group(g, s), seen) }
			var values []string
			recs := make([]driver.Record, n)
			for i := range recs {
				recs[i] = driver.Record{Stream: s, Shard: driver.On(int32(i % 3)), Value: fmt.Appendf(nil, "%d", i)}
				values = append(values, fmt.Sprint(i))
			}
			a := member(t.Driver())
			a.Shards(3)
			t.Writer().Send(recs[:100]...)
			b := member(t.Open())
			b.Await("the second member has a shard", func() bool { return len(b.gens) > 0 })
			t.Writer().Send(recs[100:200]...)
			a.Stop()
			b.Shards(3)
			t.Writer().Send(recs[200:]...)
			for sh := range int32(3) {
				b.Next(s, sh, t.Bound(s, sh).Next)
			}
			b.Stop()
			seen.each(t, values)
		},
	},
	{
		Topic: "group", Name: "progress survives the clients",
		Sentence: "A Committer is a Consumer that keeps the progress of its group as one position per shard.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b")
			d := t.H.Open(t.TB)
			r := t.Reader(nil, nil).Open(d, Group(g, s))
			r.Wants("a", "b")
			r.Commit(s, 0, receipts[0].Seq.Succ())
			r.Stop()
			if err := d.Close(t.Ctx()); err != nil {
				t.Fatalf("close the driver: %v", err)
			}
			t.Consume(Group(g, s)).Wants("b")
		},
	},
}
