package drivertest

import (
	"context"
	"errors"

	"github.com/seastreamer/seastreamer/driver"
)

// Owner makes the calls of units fail as planned, on a driver that has them.
func (d *faulty) Owner(ctx context.Context, c driver.OwnerConfig) (driver.Owner, error) {
	a, ok := d.Driver.(driver.Atomic)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	var o driver.Owner
	err := d.do(ctx, OpOwner, func() (err error) { o, err = a.Owner(ctx, c); return err })
	if err != nil {
		return nil, err
	}
	return &faultyOwner{o, d}, nil
}

type faultyOwner struct {
	driver.Owner
	d *faulty
}

func (o *faultyOwner) Claim(ctx context.Context, at []driver.Position) (got []driver.Position, err error) {
	err = o.d.do(ctx, OpClaim, func() (err error) { got, err = o.Owner.Claim(ctx, at); return err })
	return got, err
}

func (o *faultyOwner) Begin(ctx context.Context) (tx driver.Tx, err error) {
	err = o.d.do(ctx, OpBegin, func() (err error) { tx, err = o.Owner.Begin(ctx); return err })
	return &faultyTx{tx, o.d}, err
}

type faultyTx struct {
	driver.Tx
	d *faulty
}

func (t *faultyTx) Produce(ctx context.Context, rec driver.Record) error {
	return t.d.do(ctx, OpSend, func() error { return t.Tx.Produce(ctx, rec) })
}

// Commit that fails without being late aborts the unit, as the contract says
// of every error but ErrUnknown.
func (t *faultyTx) Commit(ctx context.Context, moves []driver.Move) error {
	committed := false
	err := t.d.do(ctx, OpUnit, func() error { committed = true; return t.Tx.Commit(ctx, moves) })
	if err != nil && !committed {
		_ = t.Abort(ctx)
	}
	return err
}

func (t *faultyTx) Abort(ctx context.Context) error {
	return t.d.do(ctx, OpAbort, func() error { return t.Tx.Abort(ctx) })
}
