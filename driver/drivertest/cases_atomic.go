package drivertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

func needsAtomic(f driver.Features, _ Harness) string {
	return lacks(f.UnitMessages > 0, "records and progress in one step")
}

func needsSharedUnits(f driver.Features, h Harness) string {
	return lacks(f.UnitShared && !h.UnitsByGroup, "owners that share a name without a group")
}

func needsLostPositions(_ driver.Features, h Harness) string {
	return lacks(h.LosePositions != nil, "Harness.LosePositions")
}

// input is a shard that is somebody else's: what is committed for it is only a
// number to the backend under test.
func input(i int32) driver.Shard { return driver.Shard{Stream: "input", Index: i} }

func seq(n uint64) driver.Seq { return driver.SeqOf(n) }

// An Owner is a driver's owner whose calls have to succeed.
type Owner struct {
	t *T
	driver.Owner
}

// OwnerName is the name of this case's owners, the same each time.
func (t *T) OwnerName() string {
	if t.ownerName == "" {
		t.ownerName = t.Name()
	}
	return t.ownerName
}

// Owner opens an owner on a client of its own.
func (t *T) Owner(c driver.OwnerConfig) *Owner {
	t.Helper()
	var o driver.Owner
	t.Within("Owner", func() {
		var err error
		if o, err = t.Open().(driver.Atomic).Owner(t.Ctx(), c); err != nil {
			t.Fatalf("Owner: %v", err)
		}
	})
	t.closeAtEnd("the owner", o.Close)
	return &Owner{t, o}
}

// Sole is an owner of a name that is this case's own, with one shard claimed
// which begins at from.
func (t *T) Sole(from uint64) *Owner {
	t.Helper()
	o := t.Owner(driver.OwnerConfig{Name: t.OwnerName()})
	o.Claims(driver.Position{Shard: input(0), Next: seq(from)})
	return o
}

// Claims claims shards and returns where they stand.
func (o *Owner) Claims(at ...driver.Position) []driver.Position {
	o.t.Helper()
	asked := slices.Clone(at)
	given := slices.Clone(at)
	got, err := o.Claim(o.t.Ctx(), at)
	if err != nil {
		o.t.Fatalf("Claim: %v", err)
	}
	if !slices.Equal(at, given) {
		o.t.Errorf("Claim has changed what it was given: %v, it was %v", at, given)
	}
	if len(got) != len(at) {
		o.t.Fatalf("Claim of %v returned %v", at, got)
	}
	if !slices.Equal(at, asked) {
		o.t.Fatalf("Claim changed what it was given, %v, to %v: the caller still needs it", asked, at)
	}
	return got
}

// Stands fails unless a new owner finds the case's first shard there.
func (t *T) Stands(want uint64) {
	t.Helper()
	got := t.Owner(driver.OwnerConfig{Name: t.OwnerName()}).Claims(driver.Position{Shard: input(0), Next: seq(999)})
	Equal(t, "where the next owner finds the shard", got[0], driver.Position{Shard: input(0), Next: seq(want)})
}

// Unit begins a unit and produces values to a stream.
func (o *Owner) Unit(stream string, values ...string) driver.Tx {
	o.t.Helper()
	tx, err := o.Begin(o.t.Ctx())
	if err != nil {
		o.t.Fatalf("Begin: %v", err)
	}
	for _, v := range values {
		if err := tx.Produce(o.t.Ctx(), driver.Record{Stream: stream, Value: []byte(v)}); err != nil {
			o.t.Fatalf("Produce: %v", err)
		}
	}
	return tx
}

// Commits commits a unit that moves the first shard.
func (o *Owner) Commits(tx driver.Tx, from, to uint64) {
	o.t.Helper()
	if err := tx.Commit(o.t.Ctx(), move(from, to)); err != nil {
		o.t.Fatalf("Commit: %v", err)
	}
}

func move(from, to uint64) []driver.Move {
	return []driver.Move{{Shard: input(0), From: seq(from), To: seq(to)}}
}

// Holds fails unless a stream holds these values and no others, to a reader
// that reads what is committed.
func (t *T) Holds(stream string, want ...string) {
	t.Helper()
	t.Send(stream, "end")
	c := Streams(stream)
	c.Start = driver.Earliest
	t.Consume(c).Wants(append(slices.Clone(want), "end")...)
}

var atomicCases = []Case{
	{
		Topic: "atomic", Name: "records and position together",
		Sentence: "A unit's records and its moves become visible together",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(5)
			o.Commits(o.Unit(s, "a", "b"), 5, 7)
			o.Commits(o.Unit(s, "c"), 7, 8)
			t.Stands(8)
			t.Holds(s, "a", "b", "c")
		},
	},
	{
		Topic: "atomic", Name: "nothing before commit",
		Sentence: "Nothing of a unit is visible before it is committed.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			c := Streams(s)
			c.Start = driver.Earliest
			r := t.Consume(c)
			t.Send(s, "before")
			o := t.Sole(0)
			tx := o.Unit(s, "a", "b")
			r.Wants("before")
			o.Commits(tx, 0, 1)
			r.Wants("a", "b")
		},
	},
	{
		Topic: "atomic", Name: "abort",
		Sentence: "A unit that is aborted leaves no trace, and the owner goes on",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(0)
			if err := o.Unit(s, "a", "b").Abort(t.Ctx()); err != nil {
				t.Fatalf("Abort: %v", err)
			}
			if err := o.Unit(s).Abort(t.Ctx()); err != nil {
				t.Fatalf("Abort of nothing: %v", err)
			}
			o.Commits(o.Unit(s, "c"), 0, 1)
			t.Stands(1)
			t.Holds(s, "c")
		},
	},
	{
		Topic: "atomic", Name: "close aborts",
		Sentence: "Closing an owner aborts the unit that is open.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(3)
			o.Unit(s, "a")
			if err := o.Close(t.Ctx()); err != nil {
				t.Fatalf("Close: %v", err)
			}
			t.Stands(3)
			t.Holds(s)
		},
	},
	{
		Topic: "atomic", Name: "a start is kept",
		Sentence: "A shard without a position gets the one that the claim gives, stored before anything is processed.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			t.Sole(42)
			t.Stands(42)
		},
	},
	{
		Topic: "atomic", Name: "claims add",
		Sentence: "A claim adds to what is owned, also while a unit is open.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(1)
			tx := o.Unit(s, "a")
			got := o.Claims(driver.Position{Shard: input(1), Next: seq(10)}, driver.Position{Shard: input(0), Next: seq(99)})
			Equal(t, "the new shard's position", got[0].Next, seq(10))
			Equal(t, "the old shard's position", got[1].Next, seq(1))
			o.Commits(tx, 1, 2)
			tx = o.Unit(s, "b")
			if err := tx.Commit(t.Ctx(), append(move(2, 3), driver.Move{Shard: input(1), From: seq(10), To: seq(11)})); err != nil {
				t.Fatalf("Commit: %v", err)
			}
			got = t.Owner(driver.OwnerConfig{Name: t.OwnerName()}).Claims(driver.Position{Shard: input(0)}, driver.Position{Shard: input(1)})
			Equal(t, "the first shard's position", got[0].Next, seq(3))
			Equal(t, "the second shard's position", got[1].Next, seq(11))
			t.Holds(s, "a", "b")
		},
	},
	{
		Topic: "atomic", Name: "a fenced owner changes nothing",
		Sentence: "After another owner of the name has claimed, a unit of the first is ErrFenced and leaves nothing.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			old := t.Sole(0)
			old.Commits(old.Unit(s, "a"), 0, 1)
			tx := old.Unit(s, "from the old")
			heir := t.Owner(driver.OwnerConfig{Name: t.OwnerName()})
			Equal(t, "where the heir begins", heir.Claims(driver.Position{Shard: input(0)})[0].Next, seq(1))
			t.Is("Commit of a unit that was open", tx.Commit(t.Ctx(), move(1, 2)), driver.ErrFenced)
			heir.Commits(heir.Unit(s, "b"), 1, 2)
			t.Stands(2)
			t.Holds(s, "a", "b")
		},
	},
	{
		Topic: "atomic", Name: "a fenced owner cannot begin again",
		Sentence: "After another owner of the name has claimed, a unit of the first is ErrFenced and leaves nothing.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			old := t.Sole(0)
			heir := t.Sole(0)
			tx, err := old.Begin(t.Ctx())
			if err == nil {
				if err = tx.Produce(t.Ctx(), driver.Record{Stream: s, Value: []byte("from the old")}); err == nil {
					err = tx.Commit(t.Ctx(), move(0, 1))
				}
			}
			t.Is("a unit of the old owner", err, driver.ErrFenced)
			heir.Commits(heir.Unit(s, "a"), 0, 1)
			t.Stands(1)
			t.Holds(s, "a")
		},
	},
	{
		Topic: "atomic", Name: "moves only",
		Sentence: "A unit may move positions without records",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(0)
			for i := range uint64(3) {
				o.Commits(o.Unit(s), i, i+1)
			}
			t.Stands(3)
			t.Holds(s)
		},
	},
	{
		Topic: "atomic", Name: "records only",
		Sentence: "A unit may move positions without records, and it may hold records without moves.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(7)
			if err := o.Unit(s, "a").Commit(t.Ctx(), nil); err != nil {
				t.Fatalf("Commit: %v", err)
			}
			t.Stands(7)
			t.Holds(s, "a")
		},
	},
	{
		Topic: "atomic", Name: "several shards",
		Sentence: "The records of a unit may go to several shards",
		Needs:    all(needsAtomic, needsShards, needsUnitStreams),
		Run: func(t *T) {
			s := t.Stream(3)
			o := t.Sole(0)
			for unit := range uint64(3) {
				tx := o.Unit(s)
				for i := range int32(3) {
					if err := tx.Produce(t.Ctx(), driver.Record{Stream: s, Shard: driver.On(i), Value: fmt.Appendf(nil, "%d/%d", unit, i)}); err != nil {
						t.Fatalf("Produce: %v", err)
					}
				}
				o.Commits(tx, unit, unit+1)
			}
			t.Stands(3)
			c := Streams(s)
			c.Start = driver.Earliest
			got := values(t.Consume(c).Read(9))
			slices.Sort(got)
			Equal(t, "what the shards hold", fmt.Sprint(got), "[0/0 0/1 0/2 1/0 1/1 1/2 2/0 2/1 2/2]")
		},
	},
	{
		Topic: "atomic", Name: "several streams",
		Sentence: "The records of a unit may go to several shards, and to several streams",
		Needs:    all(needsAtomic, needsUnitStreams),
		Run: func(t *T) {
			a, b := t.Stream(1), t.Stream(1)
			o := t.Sole(0)
			tx := o.Unit(a, "a")
			if err := tx.Produce(t.Ctx(), driver.Record{Stream: b, Value: []byte("b")}); err != nil {
				t.Fatalf("Produce: %v", err)
			}
			o.Commits(tx, 0, 1)
			t.Holds(a, "a")
			t.Holds(b, "b")
		},
	},
	{
		Topic: "atomic", Name: "bytes survive",
		Sentence: "A record in a unit is the record that a producer would write.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			rec := driver.Record{Stream: s, Value: []byte("v\x00\xff")}
			if t.F.Keys {
				rec.Key = []byte("k")
			}
			if t.F.Headers {
				rec.Headers = []driver.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}}
			}
			if t.F.Timestamps {
				rec.Time = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
			}
			o := t.Sole(0)
			tx := o.Unit(s)
			if err := tx.Produce(t.Ctx(), rec); err != nil {
				t.Fatalf("Produce: %v", err)
			}
			o.Commits(tx, 0, 1)
			t.Writer().Send(rec)
			c := Streams(s)
			c.Start = driver.Earliest
			got := t.Consume(c).Read(2)
			Equal(t, "the record of the unit", said(got[0], t.F), said(got[1], t.F))
		},
	},
	{
		Topic: "atomic", Name: "a full unit",
		Sentence: "A unit of UnitMessages records commits as a whole, in order.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(0)
			want := make([]string, min(t.F.UnitMessages, 5000))
			for i := range want {
				want[i] = fmt.Sprint("a message of the unit, number ", i)
			}
			o.Commits(o.Unit(s, want...), 0, uint64(len(want)))
			t.Stands(uint64(len(want)))
			t.Holds(s, want...)
		},
	},
	{
		Topic: "atomic", Name: "many goroutines",
		Sentence: "Any number of goroutines may produce into a unit.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(0)
			tx := o.Unit(s)
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					for j := range 20 {
						if err := tx.Produce(t.Ctx(), driver.Record{Stream: s, Value: fmt.Appendf(nil, "%d/%02d", i, j)}); err != nil {
							t.Errorf("Produce: %v", err)
						}
					}
				})
			}
			t.Within("Produce", wg.Wait)
			o.Commits(tx, 0, 1)
			c := Streams(s)
			c.Start = driver.Earliest
			got := values(t.Consume(c).Read(160))
			slices.Sort(got)
			Equal(t, "how many different messages there are", len(slices.Compact(got)), 160)
		},
	},
	{
		Topic: "atomic", Name: "an owner that replaces one that was fenced",
		Sentence: "A claim of an owner that replaces another is ErrFenced where somebody else has claimed since, and then changes nothing.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			old := t.Sole(0)
			old.Commits(old.Unit(s, "a"), 0, 1)
			heir := t.Sole(0)
			heir.Commits(heir.Unit(s, "b"), 1, 2)
			tx := heir.Unit(s, "c")
			for range 2 { // the second replaces one that has claimed nothing
				if err := old.Close(t.Ctx()); err != nil {
					t.Fatalf("Close: %v", err)
				}
				old = t.Owner(driver.OwnerConfig{Name: t.OwnerName(), After: old.Claimed()})
				_, err := old.Claim(t.Ctx(), []driver.Position{{Shard: input(0)}})
				t.Is("Claim", err, driver.ErrFenced)
			}
			heir.Commits(tx, 2, 3)
			t.Stands(3)
			t.Holds(s, "a", "b", "c")
		},
	},
	{
		Topic: "atomic", Name: "an owner that replaces the newest",
		Sentence: "After is what the owner said that this one replaces",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Owner(driver.OwnerConfig{Name: t.OwnerName()})
			t.Sole(0)
			for i := range uint64(4) { // the first replaces one that has claimed nothing
				var tx driver.Tx
				if i > 0 {
					tx = o.Unit(s, "from the one before")
				}
				o = t.Owner(driver.OwnerConfig{Name: t.OwnerName(), After: o.Claimed()})
				Equal(t, "where it begins", o.Claims(driver.Position{Shard: input(0)})[0].Next, seq(i))
				if i > 0 {
					t.Is("Commit of the one before", tx.Commit(t.Ctx(), move(i, i+1)), driver.ErrFenced)
				}
				o.Commits(o.Unit(s, fmt.Sprint(i)), i, i+1)
			}
			t.Stands(4)
			t.Holds(s, "0", "1", "2", "3")
		},
	},
	{
		Topic: "atomic", Name: "names do not know each other",
		Sentence: "Owners of different names neither fence each other nor share positions.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			a := t.Owner(driver.OwnerConfig{Name: t.OwnerName() + ".a"})
			b := t.Owner(driver.OwnerConfig{Name: t.OwnerName() + ".b"})
			at := driver.Position{Shard: input(0)}
			a.Claims(at)
			Equal(t, "b's position", b.Claims(driver.Position{Shard: input(0), Next: seq(4)})[0].Next, seq(4))
			a.Commits(a.Unit(s, "a"), 0, 1)
			b.Commits(b.Unit(s, "b"), 4, 5)
			a.Commits(a.Unit(s, "c"), 1, 2)
			Equal(t, "a's position", t.Owner(driver.OwnerConfig{Name: t.OwnerName() + ".a"}).Claims(at)[0].Next, seq(2))
			t.Holds(s, "a", "b", "c")
		},
	},
	{
		Topic: "atomic", Name: "a lost position",
		Sentence: "a shard that is listed without a position has lost it, Claim is ErrLost",
		Needs:    all(needsAtomic, needsLostPositions),
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(0)
			o.Commits(o.Unit(s, "a"), 0, 1)
			if err := o.Close(t.Ctx()); err != nil {
				t.Fatal(err)
			}
			t.H.LosePositions(t, t.OwnerName())
			heir := t.Owner(driver.OwnerConfig{Name: t.OwnerName()})
			_, err := heir.Claim(t.Ctx(), []driver.Position{{Shard: input(0)}})
			t.Is("Claim", err, driver.ErrLost)
		},
	},
	{
		Topic: "atomic", Name: "shared",
		Sentence: "Owners that share a name each move the shards they have claimed, and a claim fences the one before.",
		Needs:    all(needsAtomic, needsSharedUnits),
		Run: func(t *T) {
			s := t.Stream(1)
			shared := driver.OwnerConfig{Name: t.OwnerName(), Shared: true}
			a, b := t.Owner(shared), t.Owner(shared)
			a.Claims(driver.Position{Shard: input(0)}, driver.Position{Shard: input(1)})
			a.Commits(a.Unit(s, "a"), 0, 1)
			if err := a.Release(t.Ctx(), []driver.Shard{input(1)}); err != nil {
				t.Fatalf("Release: %v", err)
			}
			b.Claims(driver.Position{Shard: input(1)})
			a.Commits(a.Unit(s, "b"), 1, 2)
			if err := b.Unit(s, "c").Commit(t.Ctx(), []driver.Move{{Shard: input(1), To: seq(1)}}); err != nil {
				t.Fatalf("Commit of the second: %v", err)
			}
			Equal(t, "where the second finds the first's shard", b.Claims(driver.Position{Shard: input(0)})[0].Next, seq(2))
			t.Is("Commit of the first", a.Unit(s, "from the old").Commit(t.Ctx(), move(2, 3)), driver.ErrFenced)
			b.Commits(b.Unit(s, "d"), 2, 3)
			t.Holds(s, "a", "b", "c", "d")
		},
	},
	{
		Topic: "atomic", Name: "a sole owner after shared ones",
		Sentence: "After another owner of the name has claimed, a unit of the first is ErrFenced and leaves nothing.",
		Needs:    all(needsAtomic, needsSharedUnits),
		Run: func(t *T) {
			s := t.Stream(1)
			old := t.Owner(driver.OwnerConfig{Name: t.OwnerName(), Shared: true})
			old.Claims(driver.Position{Shard: input(0)})
			sole := t.Owner(driver.OwnerConfig{Name: t.OwnerName()})
			sole.Claims(driver.Position{Shard: input(0)})
			_, err := old.Claim(t.Ctx(), []driver.Position{{Shard: input(1)}})
			t.Is("a claim of the old one", err, driver.ErrFenced)
			sole.Commits(sole.Unit(s, "a"), 0, 1)
			t.Stands(1)
			t.Holds(s, "a")
		},
	},
	{
		Topic: "atomic", Name: "back",
		Sentence: "A move may go back",
		Needs:    needsAtomic,
		Run: func(t *T) {
			s := t.Stream(1)
			o := t.Sole(5)
			o.Commits(o.Unit(s, "a"), 5, 9)
			o.Commits(o.Unit(s), 9, 2)
			t.Stands(2)
			t.Holds(s, "a")
		},
	},
	{
		Topic: "atomic", Name: "after close",
		Sentence: "After Close an owner begins no unit.",
		Needs:    needsAtomic,
		Run: func(t *T) {
			o := t.Sole(0)
			if err := o.Close(context.Background()); err != nil {
				t.Fatalf("Close: %v", err)
			}
			if _, err := o.Begin(t.Ctx()); err == nil {
				t.Error("Begin of a closed owner succeeded")
			}
			if err := o.Close(context.Background()); err != nil {
				t.Errorf("a second Close: %v", err)
			}
		},
	},
}

// needsUnitStreams asks for units whose records may leave one shard.
func needsUnitStreams(_ driver.Features, h Harness) string {
	return lacks(!h.UnitsStay, "units that go to several shards")
}

// said is a message in words, its place aside.
func said(m Msg, f driver.Features) string {
	t := m.Time
	if !f.Timestamps {
		t = time.Time{}
	}
	return fmt.Sprintf("%q %q %v %v", m.Key, m.Value, m.Headers, t.UTC())
}
