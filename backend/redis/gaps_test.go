package redis

import (
	"errors"
	stdflag "flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func TestTrimmedBeforeItWasRead(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0", "2-0", "3-0", "4-0")
	r := consume(t, c, earliest) // it begins to read with the first Fetch
	s.Call(t, 1, "XTRIM", "k", "MINID", "3-0")
	r.wants("gap 1-0 3-0 trimmed", "3-0", "4-0")
	s.Call(t, 1, "XTRIM", "k", "MAXLEN", "0")
	addTo(t, s, "5-0")
	r.wants("5-0") // all that was trimmed was read
	s.Pipe(1, []string{"MULTI"}, []string{"XADD", "k", "6-0", "msg", "x"}, []string{"XADD", "k", "7-0", "msg", "x"}, []string{"XTRIM", "k", "MAXLEN", "1"}, []string{"EXEC"})
	r.wants("gap 5-1 7-0 trimmed", "7-0")
}

func TestTrimmedToNothing(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0", "2-0", "3-0")
	r := consume(t, c, earliest)
	s.Call(t, 1, "XTRIM", "k", "MAXLEN", "0")
	r.wants("gap 1-0 3-1 trimmed")
	addTo(t, s, "4-0")
	r.wants("4-0")
}

func TestTrimOnWriteUnderAReaderThatKeepsUp(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0")
	r := consume(t, c, earliest)
	r.wants("1-0")
	for i := 2; i < 50; i++ {
		s.Call(t, 1, "XADD", "k", "MAXLEN", "1", fmt.Sprintf("%d-0", i), "msg", "x")
		r.wants(fmt.Sprintf("%d-0", i))
	}
}

func TestDeletedByXDELIsAHole(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0", "2-0", "3-0", "4-0", "5-0")
	r := consume(t, c, earliest)
	s.Call(t, 1, "XDEL", "k", "3-0")
	r.wants("1-0", "2-0", "4-0", "5-0")
	s.Call(t, 1, "XDEL", "k", "5-0") // the witness
	addTo(t, s, "6-0")
	r.wants("6-0")
	s.Call(t, 1, "XDEL", "k", "1-0", "2-0", "4-0", "6-0") // as who deletes what is done with
	addTo(t, s, "7-0", "8-0")
	r.readTo("7-1")
	s.Call(t, 1, "XDEL", "k", "7-0")
	r.wants("7-0", "8-0")
}

func TestTheFirstIsDeletedBeforeItWasRead(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0", "2-0", "3-0")
	r := consume(t, c, earliest)
	s.Call(t, 1, "XDEL", "k", "1-0")
	r.wants("2-0", "3-0")
}

func TestRecreated(t *testing.T) {
	for name, ids := range map[string][]string{"with lower ids": {"1-5", "2-0"}, "with higher ids": {"8-0", "9-0"}} {
		t.Run(name, func(t *testing.T) {
			s, c := single(t)
			addTo(t, s, "5-0", "6-0", "7-0")
			r := consume(t, c, earliest)
			r.wants("5-0", "6-0", "7-0")
			r.quiet(20 * time.Millisecond)
			s.Pipe(1, []string{"MULTI"}, []string{"DEL", "k"}, []string{"XADD", "k", ids[0], "msg", "x"}, []string{"XADD", "k", ids[1], "msg", "x"}, []string{"EXEC"})
			r.wants("gap 7-1 "+ids[0]+" recreated", ids[0], ids[1])
			// With a new generation the core would drop what it has not delivered.
			if n := len(r.events); n != 1 {
				t.Errorf("events %q, want the first assignment alone", r.events)
			}
		})
	}
}

func TestDeletedForAWhile(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "5-0", "6-0")
	r := consume(t, c, earliest)
	r.wants("5-0", "6-0")
	s.Call(t, 1, "FLUSHALL")
	r.quiet(300 * time.Millisecond)
	addTo(t, s, "1-0")
	r.wants("gap 6-1 1-0 recreated", "1-0")
	addTo(t, s, "2-0")
	r.wants("2-0")
}

// TestTruncated: a server comes back from a crash without its last entries.
func TestTruncated(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{Directives: []string{"save 3600 1"}})
	c := open(t, s.URL(), Options{DiscoverEvery: 100 * time.Millisecond})
	addTo(t, s, "1-0", "2-0")
	s.Call(t, 1, "SAVE")
	addTo(t, s, "3-0", "4-0")
	r := consume(t, c, earliest)
	r.wants("1-0", "2-0", "3-0", "4-0")
	s.Kill(1)
	if err := s.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r.wants("gap 4-1 2-1 truncated")
	addTo(t, s, "2-5")
	r.wants("2-5")
}

// TestTruncatedFarBack: it comes back without more than the last reads, as a
// replica does that becomes the master.
func TestTruncatedFarBack(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{Directives: []string{"save 3600 1"}})
	c := open(t, s.URL(), Options{DiscoverEvery: 100 * time.Millisecond})
	addTo(t, s, "1-0")
	r := consume(t, c, earliest)
	r.wants("1-0")
	for i := 2; i <= 300; i++ {
		id := fmt.Sprintf("%d-0", i)
		addTo(t, s, id)
		r.wants(id)
		if i == 100 {
			s.Call(t, 1, "SAVE")
		}
	}
	s.Kill(1)
	if err := s.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	addTo(t, s, "301-0") // before the reader looks
	// 200 are lost, and a few more are read again, 98 to 100.
	again := []string{"gap 300-1 97-1 truncated"}
	for i := 98; i <= 100; i++ {
		again = append(again, fmt.Sprintf("%d-0", i))
	}
	r.wants(append(again, "301-0")...)
}

// TestProgressIsChecked: what Assigned says is somebody's progress.
func TestProgressIsChecked(t *testing.T) {
	for _, x := range []struct {
		name, from, trim string
		want             []string
	}{
		{"it is there", "3-0", "", []string{"3-0", "4-0"}},
		{"it was trimmed", "2-0", "4-0", []string{"gap 2-0 4-0 trimmed", "4-0"}},
		{"it is the end", "4-1", "9-0", nil},
		{"it is beyond the end", "9-0", "", []string{"gap 9-0 4-1 truncated"}},
		{"nothing was ever trimmed", "0-0", "", []string{"1-0", "2-0", "3-0", "4-0"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, c := single(t)
			addTo(t, s, "1-0", "2-0", "3-0", "4-0")
			if x.trim != "" {
				s.Call(t, 1, "XTRIM", "k", "MINID", x.trim)
			}
			r := &sink{t: t, gens: map[driver.Shard]uint64{}, next: map[driver.Shard]driver.Seq{}}
			r.from = func(driver.Position) (driver.Seq, bool) { return seqOf(t, x.from), true }
			r.open(c, driver.ConsumerConfig{Streams: []string{"k"}})
			r.wants(x.want...)
			addTo(t, s, "10-0")
			r.wants("10-0")
		})
	}
}

func TestJudge(t *testing.T) {
	q := func(hi uint64) driver.Seq { return driver.Seq{Hi: hi} }
	var none driver.Seq
	// Ten entries, 1 to 10, of which five were read.
	half := place{gone: true, next: q(5).Succ(), witness: q(5), before: 5, counted: true, top: q(10), added: 10, first: q(1)}
	all := place{gone: true, next: q(10).Succ(), witness: q(10), before: 10, counted: true, top: q(10), added: 10, first: q(1)}
	started := half // somewhere, not at the front
	started.counted = false
	gone := half
	gone.vanished = true
	// Nothing was left, and that is known.
	empty := place{next: q(10).Succ(), before: 10, counted: true, top: q(10), added: 10, first: q(10).Succ()}
	for _, x := range []struct {
		name string
		p    place
		s    sight
		want *finding
		kept driver.Seq // the highest that was read and is still there
	}{
		{"the key is gone", half, sight{}, nil, none},
		{"it was gone", gone, sight{exists: true, counts: true, length: 1, added: 1, first: q(20), last: q(20), top: q(20)}, &finding{driver.GapRecreated, q(20), true}, none},
		{"just what was read is trimmed", half, sight{exists: true, counts: true, length: 5, added: 10, first: q(6), last: q(10), top: q(10)}, nil, none},
		{"one more is trimmed", half, sight{exists: true, counts: true, length: 4, added: 10, first: q(7), last: q(10), top: q(10)}, &finding{driver.GapTrimmed, q(7), false}, none},
		{"one more is deleted", half, sight{exists: true, counts: true, length: 4, added: 10, first: q(7), last: q(10), top: q(10), deleted: q(6)}, nil, none},
		{"one further on is deleted", half, sight{exists: true, counts: true, length: 4, added: 10, first: q(6), last: q(10), top: q(10), deleted: q(8)}, nil, none},
		{"some are deleted, it may be trimmed too", half, sight{exists: true, counts: true, length: 3, added: 10, first: q(7), last: q(10), top: q(10), deleted: q(8)}, &finding{driver.GapTrimmed, q(7), false}, none},
		{"the witness is deleted", half, sight{exists: true, counts: true, length: 9, added: 10, first: q(1), last: q(10), top: q(10), deleted: q(5)}, nil, none},
		{"everything is trimmed", half, sight{exists: true, counts: true, added: 10, top: q(10)}, &finding{driver.GapTrimmed, q(10).Succ(), false}, none},
		{"everything is trimmed, it was read", all, sight{exists: true, counts: true, added: 10, top: q(10)}, nil, none},
		{"the count is not known", started, sight{exists: true, counts: true, length: 4, added: 10, first: q(7), last: q(10), top: q(10)}, &finding{driver.GapTrimmed, q(7), false}, none},
		{"Redis 6.2 does not count", half, sight{exists: true, length: 4, first: q(7), last: q(10), top: q(10)}, &finding{driver.GapTrimmed, q(7), false}, none},
		{"Redis 6.2, the front is before us", half, sight{exists: true, length: 4, first: q(2), last: q(10), top: q(10)}, nil, none},
		{"the end went back", all, sight{exists: true, counts: true, length: 8, added: 8, first: q(1), last: q(8), top: q(8)}, &finding{driver.GapTruncated, q(8).Succ(), true}, q(8)},
		{"the end went back ahead of us", half, sight{exists: true, counts: true, length: 8, added: 8, first: q(1), last: q(8), top: q(8)}, nil, q(5)},
		{"the end went back and on", all, sight{exists: true, counts: true, length: 9, added: 9, first: q(1), last: q(12), top: q(12)}, &finding{driver.GapTruncated, q(8).Succ(), true}, q(8)},
		{"the end went back and on, ahead of us", half, sight{exists: true, counts: true, length: 6, added: 6, first: q(1), last: q(12), top: q(12)}, &finding{driver.GapTruncated, q(12), false}, q(5)},
		{"anew with lower ids, but more than there were", all, sight{exists: true, counts: true, length: 2, added: 9, first: q(3), last: q(7), top: q(7)}, &finding{driver.GapRecreated, q(3), true}, none},
		{"anew with lower ids, but fewer than there were", all, sight{exists: true, counts: true, length: 2, added: 3, first: q(3), last: q(9), top: q(9)}, &finding{driver.GapRecreated, q(3), true}, none},
		{"anew with lower ids", all, sight{exists: true, counts: true, length: 2, added: 2, first: q(3), last: q(4), top: q(4)}, &finding{driver.GapRecreated, q(3), true}, none},
		{"anew with higher ids", all, sight{exists: true, counts: true, length: 2, added: 2, first: q(13), last: q(14), top: q(14)}, &finding{driver.GapRecreated, q(13), true}, none},
		{"anew with higher ids and more of them", all, sight{exists: true, counts: true, length: 12, added: 12, first: q(13), last: q(24), top: q(24)}, &finding{driver.GapRecreated, q(13), true}, none},
		{"anew around us", all, sight{exists: true, counts: true, length: 12, added: 12, first: q(3), last: q(14), top: q(14)}, &finding{driver.GapRecreated, q(3), true}, none},
		{"anew, below all that we know of, and trimmed", all, sight{exists: true, counts: true, added: 1, top: q(7)}, &finding{driver.GapRecreated, q(7).Succ(), true}, none},
		{"anew around us, where nothing was left", empty, sight{exists: true, counts: true, length: 12, added: 12, first: q(3), last: q(14), top: q(14)}, &finding{driver.GapRecreated, q(3), true}, none},
		{"it goes on, where nothing was left", empty, sight{exists: true, counts: true, length: 2, added: 12, first: q(13), last: q(14), top: q(14)}, nil, none},
		{"anew and empty", all, sight{exists: true, counts: true}, &finding{driver.GapRecreated, q(0), true}, none},
	} {
		t.Run(x.name, func(t *testing.T) {
			behind := driver.Seq{}
			if x.p.next.Less(x.s.last) {
				behind = x.s.last // just for the one case that asks
			}
			got := x.p.judge(&x.s)
			if got != nil && got.cause == driver.GapRecreated {
				got = x.p.goesOn(got, &x.s, x.kept, behind)
			}
			if (got == nil) != (x.want == nil) || got != nil && *got != *x.want {
				t.Errorf("got %+v, want %+v", got, x.want)
			}
		})
	}
}

// TestAnewWhereNothingWasLeft: a stream of which nothing was left is made anew
// from lower ids on, and has more than the old one ever had before anybody looks.
func TestAnewWhereNothingWasLeft(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0", "2-0", "3-0")
	r := consume(t, c, earliest)
	r.wants("1-0", "2-0", "3-0")
	addTo(t, s, "4-0")
	r.wants("4-0")
	if _, err := s.Pipe(1, []string{"XADD", "k", "MAXLEN", "0", "5-0", "msg", "x"}); err != nil {
		t.Fatal(err)
	}
	r.wants("gap 4-1 5-1 trimmed")
	cmds := [][]string{{"MULTI"}, {"DEL", "k"}}
	for _, id := range []string{"1-1", "2-1", "3-1", "4-1", "5-1", "6-1"} {
		cmds = append(cmds, []string{"XADD", "k", id, "msg", "x"})
	}
	if _, err := s.Pipe(1, append(cmds, []string{"EXEC"})...); err != nil {
		t.Fatal(err)
	}
	r.wants("gap 5-1 1-1 recreated", "1-1", "2-1", "3-1", "4-1", "5-1", "6-1")
}

// TestLostEndRandom reads while the stream goes back to what it was some time
// before and goes on from there, as with fail-overs, with higher ids or, where the
// new master's clock is behind, with lower ones. Everything that it has in the end
// was read.
func TestLostEndRandom(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{DiscoverEvery: 100 * time.Millisecond})
	seed := rand.Uint64()
	for round := range (*gapRounds + 2) / 3 {
		if lostEndRound(t, s, c, rand.New(rand.NewPCG(seed+uint64(round), 2))); t.Failed() { //nolint:gosec // not negative
			t.Fatalf("seed %d, round %d", seed, round)
		}
	}
}

func lostEndRound(t *testing.T, s *redistest.Servers, c *client, rnd *rand.Rand) {
	id, saved, era := 0, 0, 0
	write := func() {
		for range 1 + rnd.IntN(300) {
			id++
			s.Call(t, 1, "XADD", "k", fmt.Sprintf("%d-%d", id, era), "msg", "x")
		}
	}
	s.Call(t, 1, "DEL", "k", "saved")
	write()
	r := consume(t, c, earliest)
	for range 30 {
		switch rnd.IntN(6) {
		case 0:
			write()
		case 1:
			if saved = id; rnd.IntN(3) == 0 {
				s.Call(t, 1, "XTRIM", "k", "MAXLEN", "400")
			}
			s.Call(t, 1, "COPY", "k", "saved", "REPLACE")
		case 2:
			if saved == 0 {
				break
			}
			s.Call(t, 1, "RENAME", "saved", "k")
			if era++; rnd.IntN(2) == 0 {
				id = saved
			}
			saved = 0
			if rnd.IntN(2) == 0 {
				write()
			}
		default:
			_ = r.fetch(time.Duration(rnd.IntN(4)) * time.Millisecond)
		}
	}
	write()
	last := fmt.Sprintf("%d-%d", id, era)
	var has []string
	for _, line := range strings.Split(s.Call(t, 1, "XRANGE", "k", "-", "+"), "\n") {
		if strings.Contains(line, "-") {
			has = append(has, line)
		}
	}
	missing := func() []string {
		return slices.DeleteFunc(slices.Clone(has), func(id string) bool { return slices.Contains(r.got, id) })
	}
	for end := time.Now().Add(time.Minute); !slices.Contains(r.got, last) || len(missing()) > 0; {
		if _ = r.fetch(time.Second); time.Now().After(end) {
			t.Errorf("%d entries were not read, of %d: %.200q", len(missing()), len(has), missing())
			break
		}
	}
	if err := r.cons.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

var gapRounds = stdflag.Int("gap-rounds", 30, "rounds of the random test of gaps")

// TestGapsRandom reads while others trim, delete and make anew, and compares
// what is read and what is missing with a model of the stream.
func TestGapsRandom(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{DiscoverEvery: 100 * time.Millisecond})
	seed := rand.Uint64()
	for round := range *gapRounds {
		if gapRound(t, s, c, seed+uint64(round)); t.Failed() { //nolint:gosec // not negative
			t.Fatalf("seed %d, round %d", seed, round)
		}
	}
}

// modelled is an entry of the model. Ids do not come again when the stream is
// made anew: a reader whose last entry is there again would take it for the
// same stream.
type modelled struct {
	id      driver.Seq
	trimmed bool
	deleted bool // by XDEL
	era     int  // how often the stream was made anew before
}

func gapRound(t *testing.T, s *redistest.Servers, c *client, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var all []*modelled
	var steps []string
	era, id, anew := 0, uint64(0), false
	live := func() (l []*modelled) {
		for _, e := range all {
			if e.era == era && !e.trimmed && !e.deleted {
				l = append(l, e)
			}
		}
		return l
	}
	cut := func(l []*modelled) {
		for _, e := range l {
			e.trimmed = true
		}
	}
	call := func(args ...string) {
		steps = append(steps, strings.Join(args, " "))
		s.Call(t, 1, args...)
	}
	write := func(n int) {
		for range n {
			id += uint64(1 + rnd.IntN(3))                                     //nolint:gosec // small
			e := &modelled{id: driver.Seq{Hi: id, Lo: uint64(era)}, era: era} //nolint:gosec // small
			args := []string{"XADD", "k"}
			limit := -1
			if rnd.IntN(8) == 0 {
				limit = rnd.IntN(6)
				args = append(args, "MAXLEN", fmt.Sprint(limit))
			}
			call(append(args, idText(e.id), "msg", "x")...)
			all = append(all, e)
			if l := live(); limit >= 0 && len(l) > limit {
				cut(l[:len(l)-limit])
			}
		}
	}
	s.Call(t, 1, "DEL", "k")
	write(1 + rnd.IntN(20))
	if len(live()) == 0 && rnd.IntN(2) == 0 {
		write(3)
	}
	r := consume(t, c, earliest)
	began := r.next[driver.Shard{Stream: "k"}]
	for range 5 + rnd.IntN(30) {
		l := live()
		switch rnd.IntN(10) {
		case 0, 1, 2:
			write(1 + rnd.IntN(12))
		case 3:
			n := rnd.IntN(len(l) + 1)
			call("XTRIM", "k", "MAXLEN", fmt.Sprint(len(l)-n))
			cut(l[:n])
		case 4:
			if len(l) > 0 {
				n := rnd.IntN(len(l))
				call("XTRIM", "k", "MINID", idText(l[n].id))
				cut(l[:n])
			}
		case 5:
			if len(l) > 0 {
				e := l[rnd.IntN(len(l))]
				call("XDEL", "k", idText(e.id))
				e.deleted = true
			}
		case 6:
			if rnd.IntN(6) == 0 {
				// Whoever has read nothing of the old one cannot know of it.
				_ = r.fetch(20 * time.Millisecond)
				call("DEL", "k")
				cut(l)
				era++
				anew = true
				if rnd.IntN(2) == 0 {
					id = uint64(rnd.IntN(int(id) + 1)) //nolint:gosec // small
				}
				write(1 + rnd.IntN(5))
				if len(live()) == 0 {
					addLast(&id, &all, era, call)
				}
			}
		default:
			for range rnd.IntN(3) {
				_ = r.fetch(time.Duration(rnd.IntN(4)) * time.Millisecond)
			}
		}
	}
	addLast(&id, &all, era, call)
	top := driver.Seq{Hi: id, Lo: uint64(era)} //nolint:gosec // small
	last := idText(top)
	for end := time.Now().Add(time.Minute); !slices.Contains(r.got, last) || r.next[driver.Shard{Stream: "k"}] != top.Succ(); {
		if err := r.fetch(time.Second); err != nil && !errors.Is(err, driver.ErrUnavailable) && r.t.Context().Err() == nil && time.Now().After(end) {
			t.Errorf("%s did not come: %v", last, err)
			break
		}
	}
	if err := r.cons.Close(t.Context()); err != nil {
		t.Error(err)
	}
	check(t, all, r.got, began, anew)
	if t.Failed() {
		t.Logf("steps:\n%s\ngot %q\nevents %q", strings.Join(steps, "\n"), r.got, r.events)
	}
}

// addLast adds an entry that stays.
func addLast(id *uint64, all *[]*modelled, era int, call func(...string)) {
	*id++
	e := &modelled{id: driver.Seq{Hi: *id, Lo: uint64(era)}, era: era} //nolint:gosec // small
	call("XADD", "k", idText(e.id), "msg", "x")
	*all = append(*all, e)
}

// check compares what came with the model: each entry was read, or lies in a
// gap, or was deleted by XDEL, or was of a stream that was made anew; and each
// gap has something that was trimmed, or several that were deleted.
func check(t *testing.T, all []*modelled, got []string, began driver.Seq, anew bool) {
	t.Helper()
	last := all[len(all)-1].era
	read := map[driver.Seq]bool{}
	next := began
	type gap struct{ from, to driver.Seq }
	var gaps []gap
	for _, g := range got {
		var from, to, cause string
		if n, _ := fmt.Sscanf(g, "gap %s %s %s", &from, &to, &cause); n == 3 {
			f, u := seqOf(t, from), seqOf(t, to)
			if f != next && !f.IsZero() && cause == "trimmed" && f.Less(next) {
				t.Errorf("%s: it was at %s", g, idText(next))
			}
			if cause == "recreated" {
				if !anew {
					t.Errorf("%s: it was not", g)
				}
				clear(read)
				gaps = nil
			} else if cause != "trimmed" {
				t.Errorf("%s: nothing of that happened", g)
			} else {
				gaps = append(gaps, gap{f, u})
			}
			next = u
			continue
		}
		q := seqOf(t, g)
		if read[q] {
			t.Errorf("%s is read twice", g)
		}
		read[q], next = true, q.Succ()
	}
	for _, e := range all {
		if e.era != last || anew && last == 0 || e.id.Less(began) && !anew {
			continue
		}
		in := slices.ContainsFunc(gaps, func(g gap) bool { return !e.id.Less(g.from) && e.id.Less(g.to) })
		switch {
		case read[e.id] && in:
			t.Errorf("%s is read and in a gap", idText(e.id))
		case !read[e.id] && !in && !e.deleted && (!e.trimmed || !anew):
			t.Errorf("%s is neither read nor in a gap (trimmed %v)", idText(e.id), e.trimmed)
		}
	}
	for _, g := range gaps {
		trimmed, deleted, bound := 0, 0, anew
		for _, e := range all {
			if e.era != last {
				continue
			}
			if e.deleted {
				deleted++
			}
			bound = bound || g.to == e.id || g.to == e.id.Succ()
			if e.id.Less(g.from) || !e.id.Less(g.to) {
				continue
			}
			if e.trimmed {
				trimmed++
			} else if !e.deleted {
				t.Errorf("gap %s to %s: %s is there", idText(g.from), idText(g.to), idText(e.id))
			}
		}
		if trimmed == 0 && deleted == 0 && !anew {
			t.Errorf("gap %s to %s: nothing was trimmed", idText(g.from), idText(g.to))
		}
		if !bound {
			t.Errorf("gap %s to %s ends at no entry", idText(g.from), idText(g.to))
		}
	}
}
