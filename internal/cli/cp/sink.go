package cp

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	// restart moves the progress back to the beginning, once, before anything
	// is read.
	restart bool
	// claimed is told where shards would have begun and where they do.
	claimed func(begin, at []driver.Position)
}

// open is f with brokers that c has its say in.
func (c *claims) open(f *factory.Factory) *factory.Factory {
	g := *f
	g.Registry = ss.Registry{}
	for scheme, opener := range f.Registry {
		g.Registry[scheme] = driver.OpenerFunc(func(ctx context.Context, u driver.URL) (driver.Driver, error) {
			d, err := opener.Open(ctx, u)
			if err != nil {
				return nil, err
			}
			return sink{d, c}, nil
		})
	}
	return &g
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
	return owner{o, s.c}, nil
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
	return paired{owner{o, s.c}, o}, nil
}

type owner struct {
	driver.Owner
	c *claims
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
		if err := o.back(ctx, got, begin); err != nil {
			return nil, fmt.Errorf("move the progress back: %w", err)
		}
		o.c.restart = false
		got = slices.Clone(begin)
	}
	o.c.claimed(begin, got)
	return got, nil
}

// back moves shards from where they stand to where they began.
func (o owner) back(ctx context.Context, stand, begin []driver.Position) error {
	to := make(ss.Checkpoint, len(begin))
	for _, p := range begin {
		to[p.Shard] = p.Next
	}
	var moves []driver.Move
	for _, p := range stand {
		if p.Next != to[p.Shard] {
			moves = append(moves, driver.Move{Shard: p.Shard, From: p.Next, To: to[p.Shard]})
		}
	}
	if len(moves) == 0 {
		return nil
	}
	tx, err := o.Begin(ctx)
	if err != nil {
		return err
	}
	return tx.Commit(ctx, moves)
}
