package drivertest

import (
	"fmt"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

var seekCases = []Case{
	{
		Topic: "seek", Name: "start from a sequence",
		Sentence: "From starts at the first message whose sequence number is at or above s.",
		Needs:    needsSeekSeq,
		Run: func(t *T) {
			s := t.Stream(1)
			receipts := t.Send(s, "a", "b", "c")
			for i := range receipts {
				c := Streams(s)
				c.Start = driver.From(receipts[i].Seq)
				t.Consume(c).Wants([]string{"a", "b", "c"}[i:]...)
			}
		},
	},
	{
		Topic: "seek", Name: "start from a sequence to come",
		Sentence: "From starts at the first message whose sequence number is at or above s.",
		Needs:    needsSeekSeq,
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a")
			c := Streams(s)
			c.Start = driver.From(t.Bound(s, 0).Next)
			r := t.Consume(c)
			r.Shards(1)
			t.Send(s, "b")
			r.Wants("b")
		},
	},
	{
		Topic: "seek", Name: "start since a time",
		Sentence: "Since starts at the first message whose timestamp is at or after t.",
		Needs:    needsSeekTime,
		Run: func(t *T) {
			s := t.Stream(1)
			day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
			var recs []driver.Record
			for i, minute := range []int{0, 10, 10, 20} { // two have the same timestamp
				recs = append(recs, driver.Record{Stream: s, Value: fmt.Appendf(nil, "%d", i), Time: day.Add(time.Duration(minute) * time.Minute)})
			}
			t.Writer().Send(recs...)
			for minute, want := range map[int]string{-5: "0", 0: "0", 5: "1", 10: "1", 11: "3", 20: "3"} {
				c := Streams(s)
				c.Start = driver.Since(day.Add(time.Duration(minute) * time.Minute))
				if got := string(t.Consume(c).Read(1)[0].Value); got != want {
					t.Errorf("since minute %d begins with message %s, want %s", minute, got, want)
				}
			}
		},
	},
	{
		Topic: "seek", Name: "start since a time to come",
		Sentence: "Since starts at the first message whose timestamp is at or after t.",
		Needs:    needsSeekTime,
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "now")
			c := Streams(s)
			c.Start = driver.Since(time.Now().Add(time.Hour))
			r := t.Consume(c)
			r.Shards(1)
			Equal(t, "begin", r.Begin(s, 0), t.Bound(s, 0).Next)
			t.Writer().Send(driver.Record{Stream: s, Value: []byte("then"), Time: time.Now().Add(2 * time.Hour)})
			r.Wants("then")
		},
	},
	{
		Topic: "seek", Name: "moves and says where",
		Sentence: "Seek moves shards that are assigned and returns where they now stand, as numbers. Batches of them carry gen from now on.",
		Needs:    needsSeekSeq,
		Run: func(t *T) {
			s := t.Stream(1)
			receipts := t.Send(s, "a", "b", "c")
			r := t.Consume(Streams(s))
			r.Wants("a", "b", "c")
			shard := driver.Shard{Stream: s}
			for _, step := range []struct {
				to   driver.Start
				at   driver.Seq
				want []string
			}{
				{driver.From(receipts[1].Seq), receipts[1].Seq, []string{"b", "c"}},
				{driver.Earliest, receipts[0].Seq, []string{"a", "b", "c"}},
				{driver.Latest, t.Bound(s, 0).Next, nil},
			} {
				at := r.Seek(map[driver.Shard]driver.Start{shard: step.to})
				if len(at) != 1 || at[0] != (driver.Position{Shard: shard, Next: step.at}) {
					t.Errorf("seek to %v returned %v, want %v at %v", step.to, at, shard, step.at)
				}
				r.Wants(step.want...)
			}
			t.Send(s, "d")
			r.Wants("d")
		},
	},
	{
		Topic: "seek", Name: "older than the assignment",
		Sentence: "A shard that Assigned has given a later generation is left out",
		Needs:    needsSeekSeq,
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b")
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			next := func() (values []string) {
				for len(values) == 0 {
					for _, b := range fetch(t, r) {
						Equal(t, "generation", b.Gen(), r.gen)
						for i := range b.Len() {
							values = append(values, string(b.Value(i)))
						}
					}
				}
				return values
			}
			for n := 0; n < 2; {
				n += len(next())
			}
			at, err := r.Consumer.Seek(t.Ctx(), r.gen-1, map[driver.Shard]driver.Start{{Stream: s}: driver.Earliest})
			if err != nil || len(at) != 0 {
				t.Errorf("the seek returned %v and %v, want nothing", at, err)
			}
			t.Send(s, "c")
			Equal(t, "what comes next", next()[0], "c")
		},
	},
	{
		Topic: "seek", Name: "by time",
		Sentence: "Since starts at the first message whose timestamp is at or after t.",
		Needs:    needsSeekTime,
		Run: func(t *T) {
			s := t.Stream(1)
			at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
			t.Writer().Send(
				driver.Record{Stream: s, Value: []byte("a"), Time: at},
				driver.Record{Stream: s, Value: []byte("b"), Time: at.Add(time.Second)},
			)
			r := t.Consume(Streams(s))
			r.Wants("a", "b")
			r.Seek(map[driver.Shard]driver.Start{{Stream: s}: driver.Since(at.Add(time.Millisecond))})
			r.Wants("b")
		},
	},
	{
		Topic: "seek", Name: "one shard of many",
		Sentence: "Seek moves shards that are assigned",
		Needs:    all(needsShards, needsSeekSeq),
		Run: func(t *T) {
			s := t.Stream(2)
			t.Writer().Send(
				driver.Record{Stream: s, Shard: driver.On(0), Value: []byte("zero")},
				driver.Record{Stream: s, Shard: driver.On(1), Value: []byte("one")},
			)
			r := t.Consume(Streams(s))
			r.Read(2)
			r.Seek(map[driver.Shard]driver.Start{{Stream: s, Index: 1}: driver.Earliest})
			r.Wants("one")
			t.Writer().Send(driver.Record{Stream: s, Shard: driver.On(0), Value: []byte("more")})
			r.Wants("more")
		},
	},
	{
		Topic: "seek", Name: "while messages come",
		Sentence: "Every batch carries the generation it was fetched under.",
		Needs:    needsSeekSeq,
		Run: func(t *T) {
			s := t.Stream(1)
			recs, want := numbered(s, 300)
			first := t.Writer().Send(recs[:200]...)[0].Seq
			r := t.Consume(Streams(s))
			for i := range 10 {
				r.Read(7)
				r.Seek(map[driver.Shard]driver.Start{{Stream: s}: driver.From(first)})
				t.Writer().Send(recs[200+i*10 : 210+i*10]...)
			}
			r.Wants(want...)
		},
	},
	{
		Topic: "seek", Name: "what was fetched before",
		Sentence: "Every batch carries the generation it was fetched under.",
		Needs:    needsSeekSeq,
		Run: func(t *T) {
			s := t.Stream(1)
			recs, _ := numbered(s, 500)
			receipts := t.Writer().Send(recs...)
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			fetch(t, r)
			for gen := uint64(100); gen < 110; gen++ {
				to := receipts[gen*7%500].Seq
				_, err := r.Consumer.Seek(t.Ctx(), gen, map[driver.Shard]driver.Start{{Stream: s}: driver.From(to)})
				if err != nil {
					t.Fatalf("Seek: %v", err)
				}
				for found := false; !found; {
					for _, b := range fetch(t, r) {
						if b.Gen() == gen && b.Len() > 0 {
							Equal(t, "the first message after a seek", b.Seq(0), to)
							found = true
							break
						}
					}
				}
			}
		},
	},
}
