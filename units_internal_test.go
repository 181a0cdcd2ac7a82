package seastreamer

import (
	"context"
	"errors"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

type holesBatch struct{ driver.Batch }

func (holesBatch) Shard() Shard { return Shard{Stream: "s"} }

type quietOwner struct{ driver.Owner }

func (quietOwner) Release(context.Context, []Shard) error { return nil }

// A shard that is lost after the unit was looked at, and before its moves are
// put together, must not leave a unit that is committed without the shard's
// move: what was sent for its messages would be there, and be sent again. Nor
// may the shard's next claim give the unit another beginning.
func TestAUnitIsNotCommittedWithoutAShardThatIsLost(t *testing.T) {
	sh := Shard{Stream: "s"}
	s := &session{t: &Transactor{}, c: &Consumer{}, o: quietOwner{}, at: map[Shard]Seq{sh: driver.SeqOf(5)}}
	tx := newTx(t.Context(), s)
	s.tx = tx
	tx.parts = []*Batch{{d: holesBatch{}, to: 3, next: driver.SeqOf(8)}}
	if moves, err := tx.moves(); err != nil || len(moves) != 1 {
		t.Fatalf("the unit moves %v (%v)", moves, err)
	}
	s.leave(t.Context(), []Shard{sh}, true)
	for range 2 {
		if moves, err := tx.moves(); !errors.Is(err, ErrAborted) {
			t.Errorf("the unit moves %v (%v), want an error that is ErrAborted", moves, err)
		}
		s.at[sh] = driver.SeqOf(6)
	}
}

// midCommit is a unit during whose commit something happens.
type midCommit struct {
	driver.Tx
	happens func()
}

func (m midCommit) Commit(context.Context, []driver.Move) error { m.happens(); return nil }

// standing is an owner that finds shards where the test says.
type standing struct {
	quietOwner
	at Seq
}

func (o standing) Claim(_ context.Context, at []driver.Position) ([]driver.Position, error) {
	for i := range at {
		at[i].Next = o.at
	}
	return at, nil
}

// A shard that is lost while its unit is committed may come back at once. Where
// its claim has found the position of before the commit, the input is read from
// there again: the session must not go on, or the messages of the unit would be
// processed twice.
func TestAShardThatComesBackWhileItsUnitIsCommitted(t *testing.T) {
	sh := Shard{Stream: "s"}
	for _, c := range []struct {
		name  string
		found uint64
		goes  bool // the session goes on
	}{{"from before the unit", 5, false}, {"from behind the unit", 8, true}, {"from where another member has brought it", 9, true}} {
		s := &session{t: &Transactor{to: &Streamer{mon: newMonitor(Options{})}}, c: &Consumer{}, o: standing{at: driver.SeqOf(c.found)}, at: map[Shard]Seq{sh: driver.SeqOf(5)}}
		tx := newTx(t.Context(), s)
		s.tx = tx
		tx.reading = true
		tx.parts = []*Batch{{w: newWindow(s.c, Position{Shard: sh}, 1), d: holesBatch{}, src: new(source), to: 3, next: driver.SeqOf(8)}}
		tx.d = midCommit{happens: func() {
			s.leave(t.Context(), []Shard{sh}, true)
			if _, err := s.claim(t.Context(), []Position{{Shard: sh}}); err != nil {
				t.Error(err)
			}
		}}
		if err := tx.finish(); c.goes != (err == nil) || !c.goes && !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: the unit ended with %v", c.name, err)
		}
		if at := s.at[sh]; at != driver.SeqOf(c.found) {
			t.Errorf("%s: the session believes that the shard stands at %v", c.name, at)
		}
	}
}

// While nothing but batches without messages comes, a unit keeps the newest of
// each shard.
func TestAUnitKeepsOneBatchWithoutMessages(t *testing.T) {
	tx := newTx(t.Context(), &session{t: &Transactor{}, c: &Consumer{}})
	a, b := new(window), new(window)
	for i := range uint64(100) {
		tx.pass(&Batch{w: a, next: driver.SeqOf(i)})
		tx.pass(&Batch{w: b, next: driver.SeqOf(i)})
	}
	if len(tx.parts) != 2 || tx.parts[0].next != driver.SeqOf(99) || tx.parts[1].next != driver.SeqOf(99) {
		t.Errorf("the unit keeps %d batches", len(tx.parts))
	}
}

type nowhere struct{ driver.Tx }

func (nowhere) Produce(context.Context, driver.Record) error { return nil }

// Sending in a unit allocates nothing for a record.
func TestSendInAUnitAllocations(t *testing.T) {
	tx := newTx(t.Context(), &session{t: &Transactor{}, c: &Consumer{}})
	tx.d = nowhere{}
	if n := testing.AllocsPerRun(100, func() {
		if err := tx.Send(Record{Stream: "s"}); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a record, want none", n)
	}
}
