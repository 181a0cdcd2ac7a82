package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// An owner commits units under a name. The lock of the name's record is what
// makes a claim and a commit exclude each other, in all processes.
type owner struct {
	d   *fileDriver
	cfg driver.OwnerConfig
	dir string
	to  *router

	// What follows is read and changed with the lock of u, but for u itself,
	// which is there from the first claim on.
	number uint64 // zero before the first claim
	synced time.Time

	claiming sync.Mutex // one claim at a time

	mu      sync.Mutex
	u       *unitFile
	claimed bool
	last    uint64 // number of this owner or of those that it replaces, also where that may not have been stored
	held    map[driver.Shard]bool
	open    *tx
	spare   []*part // of units that have ended
	closed  bool
}

var errNewer = driver.Errorf(driver.ErrFenced, "", "another owner of the name has opened since")

// Owner implements [driver.Atomic]. Nothing is on the disk before the first
// claim.
func (d *fileDriver) Owner(ctx context.Context, c driver.OwnerConfig) (driver.Owner, error) {
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	o := &owner{d: d, cfg: c, dir: unitsDir(c.Name), to: newRouter(d), last: c.After.Count, held: make(map[driver.Shard]bool)}
	if closed {
		return nil, o.wrap("own", driver.ErrClosed)
	}
	if err := driver.CheckOwnerName(c.Name); err != nil {
		return nil, o.wrap("own", driver.Errorf(driver.ErrInvalid, "", "%w", err))
	}
	return o, nil
}

func (o *owner) wrap(op string, err error) error {
	return wrap(op+" "+o.cfg.Name, driver.Shard{}, err)
}

// Claim implements [driver.Owner].
func (o *owner) Claim(ctx context.Context, at []driver.Position) ([]driver.Position, error) {
	got, err := o.claim(ctx, at)
	return got, o.wrap("claim the shards of", err)
}

func (o *owner) claim(ctx context.Context, at []driver.Position) ([]driver.Position, error) {
	o.claiming.Lock()
	defer o.claiming.Unlock()
	o.mu.Lock()
	closed, last := o.closed, o.last
	o.mu.Unlock()
	if closed {
		return nil, driver.ErrClosed
	}
	root, err := o.d.store.open(true)
	if err != nil {
		return nil, err
	}
	u, err := o.lock(ctx, root, at)
	if err != nil {
		return nil, err
	}
	defer u.key.unlock()
	rec, err := u.load(true)
	if err != nil {
		return nil, err
	}
	switch {
	case o.number != 0 && o.number < rec.fence:
		return nil, errNewer
	case o.number == 0 && !o.cfg.Shared && last != 0 && last < rec.claims:
		return nil, errNewer // than the one that this one replaces
	}
	if err := o.finish(ctx, rec); err != nil {
		return nil, err
	}
	job, err := readJob(root, o.dir)
	next, got := rec.clone(), slices.Clone(at)
	number := o.number
	if number == 0 {
		next.claims++
		number = next.claims
		if !o.cfg.Shared {
			next.fence = number
		}
	}
	list := false
	for k, p := range at {
		i, ok := next.input(p.Shard)
		switch {
		case ok:
			got[k].Next = next.inputs[i].next
		case err != nil:
			return nil, err // who can say whether it ever had a position?
		case job.lists(p.Shard):
			return nil, o.lost(p.Shard)
		default:
			next.inputs = slices.Insert(next.inputs, i, unitInput{shard: p.Shard, next: p.Next})
		}
		next.inputs[i].owner = number
		if !job.lists(p.Shard) {
			job.Shards = append(job.Shards, jobShard{p.Stream, p.Index})
			list = true
		}
	}
	// The position first: a shard that is listed has had one.
	if err = u.publish(next, true); err == nil || errors.Is(err, driver.ErrUnknown) {
		o.mu.Lock()
		o.last = number
		o.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	o.number = number
	if list {
		job.Version, job.Name = version, o.cfg.Name
		if err := writeJob(root, o.dir, job); err != nil {
			return nil, err
		}
	}
	o.mu.Lock()
	o.claimed = true
	for _, p := range at {
		o.held[p.Shard] = true
	}
	o.mu.Unlock()
	return got, nil
}

func (o *owner) lost(sh driver.Shard) error {
	return driver.Errorf(driver.ErrLost, "", "%s has had a position in %s and it is gone: %s/record does not have it", o.cfg.Name, sh, o.dir)
}

// lock takes the lock of the name's record, which it makes where there is none
// and should be none.
func (o *owner) lock(ctx context.Context, root *os.Root, at []driver.Position) (*unitFile, error) {
	for missing := false; ; {
		o.mu.Lock()
		u := o.u
		o.mu.Unlock()
		var err error
		if u == nil {
			u, err = openUnits(root, o.dir, &o.d.env)
		}
		if errors.Is(err, fs.ErrNotExist) {
			job, err := readJob(root, o.dir)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(at, func(p driver.Position) bool { return job.lists(p.Shard) })
			if i >= 0 && missing {
				return nil, o.lost(at[i].Shard)
			}
			if missing = i >= 0; missing {
				continue // another owner may have made both between the two looks
			}
			if err := createUnits(root, o.dir, o.d.env.boot); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		if o.closed {
			if o.u != u { // else it is Close's, and a commit may be at work on it
				u.f.Close()
			}
			o.mu.Unlock()
			return nil, driver.ErrClosed
		}
		o.u = u
		o.mu.Unlock()
		if err := u.key.lock(ctx, o.d.env.patience); err != nil {
			return nil, err
		}
		if !u.deleted() {
			return u, nil
		}
		first := o.number == 0
		u.key.unlock()
		if !first {
			return nil, o.removed()
		}
		o.mu.Lock()
		o.u = nil
		o.mu.Unlock()
		u.f.Close()
	}
}

func (o *owner) removed() error {
	return driver.Errorf(driver.ErrLost, "", "%s/record was removed while it was used", o.dir)
}

// finish publishes what committers of this name have written and did not get to
// publish. Where owners share the name that need not be its last unit: another
// member may have committed since. Nobody is between a commit and its
// publication while the record is locked, so that a shard that is not marked
// now has nothing to be finished. What a committer has not committed is left to
// who writes to those shards next: it is not visible.
func (o *owner) finish(ctx context.Context, rec *unitRecord) error {
	for _, out := range rec.outputs {
		if err := o.d.settleShard(ctx, out.shard, out.unit == rec.last); err != nil && !errors.Is(err, driver.ErrNotFound) {
			return wrap("finish a unit in", out.shard, err)
		}
	}
	return nil
}

// settleShard takes and gives back the lock of a shard that is there, and so
// finishes whatever was left in it. Unless it is told to it does so only where
// a unit is marked.
func (d *fileDriver) settleShard(ctx context.Context, sh driver.Shard, always bool) error {
	_, m, err := d.meta(sh.Stream)
	if err != nil {
		return err
	}
	if int(sh.Index) >= m.Shards {
		return driver.ErrNotFound
	}
	s, err := d.writerOf(sh.Stream)
	if err != nil {
		return err
	}
	l, err := s.lane(sh.Index)
	if err != nil {
		return err
	}
	if end, err := (&tail{l: l.w.l}).load(); err == nil && end.flags&flagPending == 0 && !always {
		return nil
	}
	if err := l.w.key.lock(ctx, d.env.patience); err != nil {
		return err
	}
	defer l.w.unlock()
	err = l.w.begin()
	if errors.Is(err, errDeleted) {
		l.gone()
	}
	return err
}

// Release implements [driver.Owner].
func (o *owner) Release(_ context.Context, shards []driver.Shard) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, sh := range shards {
		delete(o.held, sh)
	}
	return nil
}

// Begin implements [driver.Owner].
func (o *owner) Begin(context.Context) (driver.Tx, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return nil, o.wrap("begin a unit of", driver.ErrClosed)
	case !o.claimed:
		return nil, o.wrap("begin a unit of", driver.Errorf(driver.ErrInvalid, "", "nothing was claimed"))
	case o.open != nil:
		return nil, o.wrap("begin a unit of", driver.Errorf(driver.ErrInvalid, "", "there is a unit that has not ended"))
	}
	o.open = &tx{o: o, parts: make(map[*lane]*part)}
	return o.open, nil
}

// Claimed implements [driver.Owner].
func (o *owner) Claimed() driver.Claimed {
	o.mu.Lock()
	defer o.mu.Unlock()
	return driver.Claimed{Count: o.last}
}

// Close implements [driver.Owner]. A commit that is still going on is left
// behind when ctx ends.
func (o *owner) Close(ctx context.Context) error {
	o.mu.Lock()
	u, t, done := o.u, o.open, o.closed
	o.closed = true
	o.mu.Unlock()
	if done {
		return nil
	}
	if t != nil {
		_ = t.Abort(ctx)
	}
	if u == nil {
		return nil
	}
	ended := make(chan error, 1)
	go func() {
		u.key.held <- struct{}{}
		var err error
		if o.d.opts.Sync == SyncInterval && !o.synced.IsZero() {
			err = o.d.env.sync(u.f)
		}
		u.f.Close()
		ended <- err
	}()
	select {
	case err := <-ended:
		return o.wrap("close", err)
	case <-ctx.Done():
		return o.wrap("close", context.Cause(ctx))
	}
}
