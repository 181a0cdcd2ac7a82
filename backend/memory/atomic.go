package memory

import (
	"context"
	"errors"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

var errLostPosition = errors.New("it had a position once, and that is gone: what was done cannot be told any more")

var errDeleted = errors.New("its stream was deleted while the unit was made")

// progress is what a store knows of one owner's name.
type progress struct {
	at     map[driver.Shard]driver.Seq // where the input's shards stand
	listed map[driver.Shard]bool       // the shards that have a position
	owners map[driver.Shard]*owner     // who may move them
	claims uint64                      // owners that have claimed, which numbers them
	fence  uint64                      // owners of a lower number have lost the name
}

// owner is one owner of a name. All owners of a store exclude each other for
// as long as a call takes: nothing here waits.
type owner struct {
	d      *client
	c      driver.OwnerConfig
	closed bool   // the rest under the store's units lock
	number uint64 // zero before the first claim
	after  uint64 // the number of the owner that this one replaces, or zero
}

// Owner opens an owner of a name. Progress lives as long as the store.
func (d *client) Owner(ctx context.Context, c driver.OwnerConfig) (driver.Owner, error) {
	if err := d.check(ctx, "open an owner"); err != nil {
		return nil, err
	}
	return &owner{d: d, c: c, after: c.After.Count}, nil
}

// progress is what is known of the owner's name. Under the units lock.
func (o *owner) progress() *progress {
	s := o.d.store
	p := s.units[o.c.Name]
	if p == nil {
		p = &progress{at: map[driver.Shard]driver.Seq{}, listed: map[driver.Shard]bool{}, owners: map[driver.Shard]*owner{}}
		if s.units == nil {
			s.units = map[string]*progress{}
		}
		s.units[o.c.Name] = p
	}
	return p
}

func (o *owner) check(ctx context.Context, op string) error {
	if err := o.d.check(ctx, op); err != nil {
		return err
	}
	if o.closed {
		return driver.Errorf(driver.ErrClosed, op, "the owner is closed")
	}
	return nil
}

func (o *owner) Claim(ctx context.Context, at []driver.Position) ([]driver.Position, error) {
	const op = "claim shards"
	o.d.store.unitsMu.Lock()
	defer o.d.store.unitsMu.Unlock()
	if err := o.check(ctx, op); err != nil {
		return nil, err
	}
	p := o.progress()
	for _, a := range at {
		if _, ok := p.at[a.Shard]; !ok && p.listed[a.Shard] {
			return nil, &driver.Error{Op: op, Shard: a.Shard, Kind: driver.ErrLost, Err: errLostPosition}
		}
	}
	switch {
	case o.number == 0 && o.after != 0 && !o.c.Shared && p.claims > o.after:
		return nil, driver.Errorf(driver.ErrFenced, op, "another owner of %s has claimed since", o.c.Name)
	case o.number == 0:
		p.claims++
		o.number = p.claims
		if !o.c.Shared {
			p.fence = o.number
		}
	case o.number < p.fence:
		return nil, driver.Errorf(driver.ErrFenced, op, "another owner of %s has claimed since", o.c.Name)
	}
	got := make([]driver.Position, len(at))
	for i, a := range at {
		if _, ok := p.at[a.Shard]; !ok {
			p.at[a.Shard] = a.Next
			p.listed[a.Shard] = true
		}
		p.owners[a.Shard] = o
		got[i] = driver.Position{Shard: a.Shard, Next: p.at[a.Shard]}
	}
	return got, nil
}

func (o *owner) Release(_ context.Context, shards []driver.Shard) error {
	o.d.store.unitsMu.Lock()
	defer o.d.store.unitsMu.Unlock()
	p := o.progress()
	for _, s := range shards {
		if p.owners[s] == o {
			delete(p.owners, s)
		}
	}
	return nil
}

func (o *owner) Begin(ctx context.Context) (driver.Tx, error) {
	o.d.store.unitsMu.Lock()
	defer o.d.store.unitsMu.Unlock()
	if err := o.check(ctx, "begin a unit"); err != nil {
		return nil, err
	}
	return &unit{o: o}, nil
}

func (o *owner) Claimed() driver.Claimed {
	o.d.store.unitsMu.Lock()
	defer o.d.store.unitsMu.Unlock()
	return driver.Claimed{Count: max(o.number, o.after)}
}

func (o *owner) Close(context.Context) error {
	o.d.store.unitsMu.Lock()
	defer o.d.store.unitsMu.Unlock()
	o.closed = true
	return nil
}

// unit buffers records until Commit.
type unit struct {
	o *owner

	mu      sync.Mutex
	records []item
	ended   bool
}

func (u *unit) Produce(ctx context.Context, rec driver.Record) error {
	op := "send to " + rec.Stream
	if err := u.o.d.check(ctx, op); err != nil {
		return err
	}
	it, err := u.o.d.take(rec)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return driver.Errorf(driver.ErrClosed, op, "the unit has ended")
	}
	u.records = append(u.records, it)
	return nil
}

func (u *unit) Commit(ctx context.Context, moves []driver.Move) error {
	const op = "commit a unit"
	u.mu.Lock()
	defer u.mu.Unlock()
	o := u.o
	o.d.store.unitsMu.Lock()
	defer o.d.store.unitsMu.Unlock()
	if err := o.check(ctx, op); err != nil {
		return err
	}
	if u.ended {
		return driver.Errorf(driver.ErrClosed, op, "the unit has ended")
	}
	u.ended = true
	p := o.progress()
	if o.number < p.fence {
		return driver.Errorf(driver.ErrFenced, op, "another owner of %s has claimed since", o.c.Name)
	}
	for _, m := range moves {
		if p.owners[m.Shard] != o {
			return driver.Errorf(driver.ErrFenced, op, "another owner of %s has %v", o.c.Name, m.Shard)
		}
		if p.at[m.Shard] != m.From {
			return driver.Errorf(driver.ErrUnknown, op, "%v stands at %v and not at %v", m.Shard, p.at[m.Shard], m.From)
		}
	}
	for i := range u.records {
		if sh := u.records[i].sh; sh.gone.Load() {
			return &driver.Error{Op: op, Shard: sh.id, Kind: driver.ErrAborted, Err: errDeleted}
		}
	}
	for i := range u.records {
		it := &u.records[i]
		it.stamp()
		it.sh.append(&it.rec)
	}
	for _, m := range moves {
		p.at[m.Shard] = m.To
	}
	u.records = nil
	return nil
}

func (u *unit) Abort(context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	u.records = nil
	return nil
}

// LosePositions forgets where the shards of an owner's name stand, and nothing
// else, as a damaged store would. It is for tests.
func (s *Store) LosePositions(name string) {
	s.unitsMu.Lock()
	defer s.unitsMu.Unlock()
	if p := s.units[name]; p != nil {
		clear(p.at)
	}
}
