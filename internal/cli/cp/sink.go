package cp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// claims has a say where a Transactor's shards begin: it stands between the
// Transactor and the output's driver, where progress is claimed.
type claims struct {
	// starts are beginnings that no Start can express, for shards without
	// progress.
	starts ss.Checkpoint
	// restart moves the progress of each shard back to the beginning, once,
	// before anything of it is read.
	restart bool
	// claimed is told where shards would have begun and where they do.
	claimed func(begin, at []driver.Position)

	mu   sync.Mutex
	back map[ss.Shard]bool // moved by this run: a session that is opened anew goes on
}

// open makes a factory whose brokers c has its say in. It has no more of f than
// Open needs.
func (c *claims) open(f *factory.Factory) *factory.Factory {
	g := &factory.Factory{IO: f.IO, Registry: ss.Registry{}}
	for scheme, opener := range f.Registry {
		g.Registry[scheme] = driver.OpenerFunc(func(ctx context.Context, u driver.URL) (driver.Driver, error) {
			d, err := opener.Open(ctx, u)
			if err != nil {
				return nil, err
			}
			return sink{d, c}, nil
		})
	}
	return g
}

// sink is a driver whose owners tell claims. Whether it is an Atomic at all its
// Features say.
type sink struct {
	driver.Driver
	c *claims
}

func (s sink) As(target any) bool {
	a, ok := s.Driver.(interface{ As(any) bool })
	return ok && a.As(target)
}

func (s sink) Owner(ctx context.Context, oc driver.OwnerConfig) (driver.Owner, error) {
	a, ok := s.Driver.(driver.Atomic)
	if !ok {
		return nil, driver.Errorf(errors.ErrUnsupported, "", "%s cannot store records and progress in one step", s.Features().Backend)
	}
	o, err := a.Owner(ctx, oc)
	if err != nil {
		return nil, err
	}
	return s.c.owner(o), nil
}

func (s sink) Pair(ctx context.Context, in driver.Driver, oc driver.OwnerConfig) (driver.PairedOwner, error) {
	p, ok := s.Driver.(driver.Paired)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	o, err := p.Pair(ctx, in, oc)
	if err != nil {
		return nil, err
	}
	return paired{s.c.owner(o), o}, nil
}

type owner struct {
	driver.Owner
	c *claims
	// turn is held by whoever has a unit open: of that there is one at a time.
	// It is nil where only the Transactor has any.
	turn chan struct{}
}

func (c *claims) owner(o driver.Owner) owner {
	if !c.restart {
		return owner{o, c, nil}
	}
	return owner{o, c, make(chan struct{}, 1)}
}

type paired struct {
	owner
	in driver.PairedOwner
}

func (p paired) Consumer(ctx context.Context, c driver.ConsumerConfig) (driver.Consumer, error) {
	return p.in.Consumer(ctx, c)
}

// Claim claims, and moves the progress back where that is asked for. Moving
// back is a unit of its own: a process that dies before it has changed nothing,
// and one that dies after it has begun the new copy.
func (o owner) Claim(ctx context.Context, at []driver.Position) ([]driver.Position, error) {
	begin := slices.Clone(at)
	for i, p := range begin {
		if next, ok := o.c.starts[p.Shard]; ok {
			begin[i].Next = next
		}
	}
	got, err := o.Owner.Claim(ctx, slices.Clone(begin))
	if err != nil {
		return nil, err
	}
	if o.c.restart {
		if got, err = o.back(ctx, got, begin); err != nil {
			return nil, fmt.Errorf("move the progress back: %w", err)
		}
	}
	o.c.claimed(begin, got)
	return got, nil
}

// back moves shards from where they stand to where they began, but those that
// this run has moved already. It returns where they stand then.
func (o owner) back(ctx context.Context, stand, begin []driver.Position) ([]driver.Position, error) {
	c := o.c
	c.mu.Lock()
	defer c.mu.Unlock()
	stand = slices.Clone(stand)
	to := make(ss.Checkpoint, len(begin))
	for _, p := range begin {
		if !c.back[p.Shard] {
			to[p.Shard] = p.Next
		}
	}
	var moves []driver.Move
	for i, p := range stand {
		if next, ok := to[p.Shard]; ok && p.Next != next {
			moves = append(moves, driver.Move{Shard: p.Shard, From: p.Next, To: next})
			stand[i].Next = next
		}
	}
	if len(moves) > 0 {
		tx, err := o.Begin(ctx)
		if err != nil {
			return nil, err
		}
		if err := tx.Commit(ctx, moves); err != nil {
			return nil, err
		}
	}
	if c.back == nil {
		c.back = map[ss.Shard]bool{}
	}
	for sh := range to {
		c.back[sh] = true
	}
	return stand, nil
}

// Begin opens a unit. Shards that the input finds later are claimed, and so
// moved back, while the Transactor works on a unit: then that is waited for, and
// it does not wait for them, but ends by its time.
func (o owner) Begin(ctx context.Context) (driver.Tx, error) {
	if o.turn == nil {
		return o.Owner.Begin(ctx)
	}
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	tx, err := o.Owner.Begin(ctx)
	if err != nil {
		<-o.turn
		return nil, err
	}
	return &turn{Tx: tx, owner: o}, nil
}

// A turn is a unit that gives the owner's turn up when it ends.
type turn struct {
	driver.Tx
	owner owner
	ended sync.Once
}

func (t *turn) end() { t.ended.Do(func() { <-t.owner.turn }) }

func (t *turn) Commit(ctx context.Context, moves []driver.Move) error {
	defer t.end()
	return t.Tx.Commit(ctx, moves)
}

func (t *turn) Abort(ctx context.Context) error {
	defer t.end()
	return t.Tx.Abort(ctx)
}
