package drivertest

import (
	"errors"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// admins are the interfaces of administration that a driver implements.
type admins struct{ streams, groups, pending bool }

func adminsOf(d driver.Driver) (a admins) {
	_, a.streams = d.(driver.StreamAdmin)
	_, a.groups = d.(driver.GroupAdmin)
	_, a.pending = d.(driver.PendingAdmin)
	return a
}

func needsStreamAdmin(_ driver.Features, h Harness) string {
	return lacks(h.admins.streams, "administration of streams")
}
func needsGroupAdmin(_ driver.Features, h Harness) string {
	return lacks(h.admins.groups && h.admins.streams, "administration of groups")
}
func needsPendingAdmin(_ driver.Features, h Harness) string {
	return lacks(h.admins.pending, "pending messages")
}

func (t *T) admin() driver.StreamAdmin { return t.Driver().(driver.StreamAdmin) }

// names are the streams that are listed, of those given.
func (t *T) names(of ...string) []string {
	t.Helper()
	var got []string
	for n, err := range t.admin().StreamNames(t.Ctx()) {
		if err != nil {
			t.Fatalf("StreamNames: %v", err)
		}
		if slices.Contains(of, n) {
			got = append(got, n)
		}
	}
	slices.Sort(got)
	return got
}

// describe is one stream.
func (t *T) describe(stream string, d driver.Detail) driver.StreamInfo {
	t.Helper()
	infos, err := t.admin().DescribeStreams(t.Ctx(), []string{stream}, d)
	if err != nil || len(infos) != 1 {
		t.Fatalf("DescribeStreams: %d of 1, %v", len(infos), err)
	}
	return infos[0]
}

func (t *T) equal(what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// unsupported reports whether err says that the backend cannot do it, which is
// allowed where the sentence of a case says so.
func (t *T) unsupported(what string, err error) bool {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Logf("%s: %v", what, err)
		return true
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return false
}

func position(stream string, index int32, next driver.Seq) driver.Position {
	return driver.Position{Shard: driver.Shard{Stream: stream, Index: index}, Next: next}
}

var adminCases = []Case{
	{
		Topic: "admin", Name: "names once",
		Sentence: "StreamNames yields the name of every stream once, in no order",
		Needs:    needsStreamAdmin,
		Run: func(t *T) {
			a, b := t.Stream(2), t.Stream(1)
			t.Send(a, "x")
			want := []string{a, b}
			slices.Sort(want)
			t.equal("names", t.names(a, b), want)
			for range t.admin().StreamNames(t.Ctx()) {
				break // a caller may stop
			}
		},
	},
	{
		Topic: "admin", Name: "looking makes nothing",
		Sentence: "looking makes no stream, no group, no commit and no member.",
		Needs:    needsGroupAdmin,
		Run: func(t *T) {
			none, s := t.Name(), t.Stream(1)
			t.Is("describe a stream that is not there", t.describe(none, driver.DetailBounds|driver.DetailTimes).Err, driver.ErrNotFound)
			_, err := t.admin().Resolve(t.Ctx(), none, driver.Earliest)
			t.Is("resolve", err, driver.ErrNotFound)
			t.Is("describe a group that is not there", t.group(none).Err, driver.ErrNotFound)
			t.Is("delete a stream that is not there", t.admin().DeleteStream(t.Ctx(), none), driver.ErrNotFound)
			t.Is("delete a group that is not there", t.groups().DeleteGroup(t.Ctx(), none), driver.ErrNotFound)
			t.equal("streams", t.names(none, s), []string{s})
			t.equal("groups", t.groupNames(nil, none), nil)
			t.equal("groups of the stream", t.groupNames([]string{s}), nil)
		},
	},
	{
		Topic: "admin", Name: "describe",
		Sentence: "DescribeStreams describes the streams named, in that order, with as much detail as d asks for.",
		Needs:    needsStreamAdmin,
		Run: func(t *T) {
			a, b := t.Stream(1), t.Stream(1)
			at := time.Now().Add(-time.Hour).Truncate(time.Second)
			recs := make([]driver.Record, 5)
			for i := range recs {
				recs[i] = driver.Record{Stream: b, Value: []byte("v")}
				if t.F.Timestamps {
					recs[i].Time = at.Add(time.Duration(i) * time.Second)
				}
			}
			receipts := t.Writer().Send(recs...)
			d := driver.DetailBounds | driver.DetailTimes | driver.DetailBytes | driver.DetailSettings | driver.DetailReplicas
			infos, err := t.admin().DescribeStreams(t.Ctx(), []string{b, a, b}, d)
			if err != nil || len(infos) != 3 {
				t.Fatalf("%d of 3: %v", len(infos), err)
			}
			t.equal("order", []string{infos[0].Name, infos[1].Name, infos[2].Name}, []string{b, a, b})
			for _, in := range infos {
				if in.Err != nil || len(in.Shards) != 1 || in.Internal {
					t.Fatalf("%+v: want one shard and no error", in)
				}
				Equal(t, "bound", in.Shards[0].Bound, t.Bound(in.Name, 0))
			}
			full, empty := infos[0].Shards[0], infos[1].Shards[0]
			Equal(t, "messages", full.Messages.N, 5)
			Equal(t, "messages of an empty stream", empty.Messages.N, 0)
			Equal(t, "time of the first", full.FirstTime.UnixMilli(), receipts[0].Time.UnixMilli())
			Equal(t, "time of the last", full.LastTime.UnixMilli(), receipts[4].Time.UnixMilli())
			Equal(t, "times of an empty stream", [2]bool{empty.FirstTime.IsZero(), empty.LastTime.IsZero()}, [2]bool{true, true})
		},
	},
	{
		Topic: "admin", Name: "one of many is missing",
		Sentence: "One that does not exist, or cannot be described, has its Err set",
		Needs:    needsStreamAdmin,
		Run: func(t *T) {
			s, none := t.Stream(1), t.Name()
			infos, err := t.admin().DescribeStreams(t.Ctx(), []string{s, none, s}, driver.DetailBounds)
			if err != nil || len(infos) != 3 {
				t.Fatalf("%d of 3: %v", len(infos), err)
			}
			t.Is("the one that is missing", infos[1].Err, driver.ErrNotFound)
			Equal(t, "errors of the others", [2]error{infos[0].Err, infos[2].Err}, [2]error{})
		},
	},
	{
		Topic: "admin", Name: "create",
		Sentence: "CreateStream makes a stream without messages. One that exists is ErrExists.",
		Needs:    needsStreamAdmin,
		Run: func(t *T) {
			s := t.Name()
			if t.unsupported("create", t.admin().CreateStream(t.Ctx(), driver.StreamSpec{Name: s, Shards: 2})) {
				return
			}
			Equal(t, "shards", len(t.describe(s, driver.DetailBounds).Shards), 2)
			t.Is("create it again", t.admin().CreateStream(t.Ctx(), driver.StreamSpec{Name: s, Shards: 2}), driver.ErrExists)
			t.Eventually("it takes messages", func() bool {
				return t.Writer().Try(driver.Record{Stream: s, Shard: driver.On(1), Value: []byte("a")})[0].Err == nil
			})
			r := t.Consume(Streams(s))
			r.Wants("a")
			t.equal("names", t.names(s), []string{s})
		},
	},
	{
		Topic: "admin", Name: "delete",
		Sentence: "DeleteStream removes a stream with all its messages",
		Needs:    needsStreamAdmin,
		Run: func(t *T) {
			s, other := t.Stream(2), t.Stream(1)
			t.Send(s, "a", "b")
			t.Send(other, "c")
			if t.unsupported("delete", t.admin().DeleteStream(t.Ctx(), s)) {
				return
			}
			t.Eventually("it is gone", func() bool {
				_, err := t.Open().Bounds(t.Ctx(), []string{s})
				return errors.Is(err, driver.ErrNotFound)
			})
			t.equal("names", t.names(s, other), []string{other})
			t.H.Create(t.TB, s, 1)
			t.Eventually("one of the same name is empty", func() bool {
				in := t.describe(s, driver.DetailBounds)
				return in.Err == nil && len(in.Shards) == 1 && in.Shards[0].Messages.N == 0
			})
			t.Consume(Streams(other)).Wants("c")
		},
	},
	{
		Topic: "admin", Name: "add shards",
		Sentence: "AddShards gives a stream more shards, so that it has total. Fewer than it has is ErrInvalid.",
		Needs:    all(needsStreamAdmin, needsShards),
		Run: func(t *T) {
			s := t.Stream(2)
			t.Send(s, "a")
			t.Is("fewer", t.admin().AddShards(t.Ctx(), s, 1), driver.ErrInvalid)
			if t.unsupported("add shards", t.admin().AddShards(t.Ctx(), s, 4)) {
				return
			}
			t.Eventually("it has four", func() bool { return len(t.describe(s, driver.DetailBounds).Shards) == 4 })
			w, err := t.Open().Producer(t.Ctx(), driver.ProducerConfig{})
			if err != nil {
				t.Fatal(err)
			}
			t.closeAtEnd("producer", w.Close)
			(&Writer{w, t}).Send(driver.Record{Stream: s, Shard: driver.On(3), Value: []byte("b")})
			r := t.Consume(Streams(s))
			got := values(r.Read(2))
			slices.Sort(got)
			t.equal("values", got, []string{"a", "b"})
		},
	},
	{
		Topic: "admin", Name: "trim",
		Sentence: "it may keep some of those, and never removes others.",
		Needs:    needsStreamAdmin,
		Run: func(t *T) {
			s := t.Stream(1)
			r := t.Send(s, "a", "b", "c", "d")
			first, err := t.admin().Trim(t.Ctx(), []driver.Position{position(s, 0, r[2].Seq)})
			if t.unsupported("trim", err) {
				return
			}
			b := t.Bound(s, 0)
			Equal(t, "first, as it says", first[0], position(s, 0, b.First))
			if r[2].Seq.Less(b.First) {
				t.Errorf("the first message is %v: a message at or after %v was removed", b.First, r[2].Seq)
			}
			got := values(t.Consume(Streams(s)).Read(int(t.describe(s, driver.DetailBounds).Shards[0].Messages.N)))
			if len(got) < 2 || !slices.Equal(got[len(got)-2:], []string{"c", "d"}) {
				t.Errorf("%q is left, want it to end with c, d", got)
			}
		},
	},
	{
		Topic: "admin", Name: "resolve",
		Sentence: "Resolve is where reading from start would begin: one position for each shard of the stream, in order.",
		Needs:    all(needsStreamAdmin, needsSeekTime, needsSeekSeq),
		Run: func(t *T) {
			s := t.Stream(2)
			at := time.Now().Add(-time.Hour).Truncate(time.Second)
			var recs []driver.Record
			for i := range 6 {
				recs = append(recs, driver.Record{Stream: s, Shard: driver.On(0), Value: []byte("v"), Time: at.Add(time.Duration(i) * time.Second)})
			}
			r := t.Writer().Send(recs...)
			end := t.Bound(s, 0).Next
			for _, c := range []struct {
				what  string
				start driver.Start
				want  driver.Seq
			}{
				{"earliest", driver.Earliest, r[0].Seq},
				{"latest", driver.Latest, end},
				{"a sequence", driver.From(r[3].Seq), r[3].Seq},
				{"a time", driver.Since(at.Add(2 * time.Second)), r[2].Seq},
				{"a time before all", driver.Since(at.Add(-time.Hour)), r[0].Seq},
				{"a time behind all", driver.Since(at.Add(30 * time.Minute)), end},
			} {
				got, err := t.admin().Resolve(t.Ctx(), s, c.start)
				if err != nil || len(got) != 2 {
					t.Fatalf("%s: %d of 2 positions, %v", c.what, len(got), err)
				}
				Equal(t, c.what, got[0], position(s, 0, c.want))
				Equal(t, c.what+" on an empty shard", got[1].Shard, driver.Shard{Stream: s, Index: 1})
			}
		},
	},
	{
		Topic: "admin", Name: "times",
		Sentence: "Times is the timestamp of the first message at or after each position, in the same order; the zero time where there is none.",
		Needs:    needsStreamAdmin,
		Run: func(t *T) {
			s, empty := t.Stream(1), t.Stream(1)
			r := t.Send(s, "a", "b", "c")
			at := []driver.Position{position(s, 0, r[2].Seq), position(empty, 0, driver.Seq{}), position(s, 0, driver.Seq{}), position(s, 0, r[2].Seq.Succ())}
			got, err := t.admin().Times(t.Ctx(), at)
			if err != nil || len(got) != 4 {
				t.Fatalf("%d of 4: %v", len(got), err)
			}
			Equal(t, "of the last", got[0].UnixMilli(), r[2].Time.UnixMilli())
			Equal(t, "of the first", got[2].UnixMilli(), r[0].Time.UnixMilli())
			Equal(t, "of an empty stream, and behind the end", [2]bool{got[1].IsZero(), got[3].IsZero()}, [2]bool{true, true})
		},
	},
	{
		Topic: "admin", Name: "count",
		Sentence: "Count is how many messages each range holds, in the same order, without reading them.",
		Needs:    needsStreamAdmin,
		Run: func(t *T) {
			s := t.Stream(1)
			r := t.Send(s, "a", "b", "c", "d")
			sh := driver.Shard{Stream: s}
			got, err := t.admin().Count(t.Ctx(), []driver.Range{
				{Shard: sh, From: r[1].Seq, To: r[3].Seq},
				{Shard: sh, From: r[0].Seq, To: t.Bound(s, 0).Next},
				{Shard: sh, From: r[2].Seq, To: r[2].Seq},
			})
			if err != nil || len(got) != 3 {
				t.Fatalf("%d of 3: %v", len(got), err)
			}
			for i, want := range []int64{2, 4, 0} {
				if !got[i].Estimated {
					Equal(t, "count", got[i].N, want)
				}
			}
		},
	},
}
