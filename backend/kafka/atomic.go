package kafka

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// How large a unit is where a Transactor does not say: larger ones are not
// faster, and take longer to do again.
const (
	unitMessages = 50_000
	unitBytes    = 16 << 20
)

var _ driver.Atomic = (*client)(nil)

// Owner opens an owner whose positions are records of __sea_position.
func (c *client) Owner(ctx context.Context, oc driver.OwnerConfig) (driver.Owner, error) {
	if oc.Shared {
		return nil, driver.Errorf(errors.ErrUnsupported, "", "owners of %q can only share an input of the same Kafka cluster, where a group fences those who no longer have a shard", oc.Name)
	}
	o, err := c.newOwner(ctx, oc)
	if err != nil {
		return nil, err
	}
	return o, nil
}

// owner is the newest of a name. It has two transactional ids, and claims both
// before anything else: that of the name for units, and another one for what
// Claim writes, which may be while a unit is open. Owners that share a name have
// ids of their own: there the group's generation fences, see group.
type owner struct {
	c      *client
	name   string
	me     string // random, in the records that this owner writes
	run    string // random, of this owner and those that it replaces
	who    string // host and process, for people
	again  bool   // it replaces one that was the newest
	shared bool   // there may be others, see group
	group  *group // whose offsets are the positions too, or nil
	units  *transactional
	claims *transactional
	log    driver.Shard // where the records of the name are

	claiming sync.Mutex // held by Claim
	claimed  bool       // both ids; under claiming
	marked   bool       // the owner's record is written; under claiming

	life    context.Context // ends with Close
	stop    context.CancelFunc
	streams sync.Map      // that were written to, see seal.go
	kept    chan struct{} // closed at the end of keep; nil where it was not begun

	mu      sync.Mutex
	last    uint64                 // one above the offset of its record in log, or of those that it replaces; zero where there is none
	at      map[driver.Shard]stand // what was claimed
	open    *unit
	nunits  uint64
	pause   pause
	sealing *sealing // of the last unit
	dead    error    // after an error that left open what became of a unit
}

func (c *client) newOwner(ctx context.Context, oc driver.OwnerConfig) (*owner, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	within, cancel := c.within(ctx)
	defer cancel()
	version, err := c.transactionVersion(within)
	if err != nil {
		return nil, err
	}
	if err := c.needPositions(within); err != nil {
		return nil, err
	}
	c.warnTransactions(version)
	host, _ := os.Hostname()
	o := &owner{c: c, name: oc.Name, me: rand.Text(), run: cmp.Or(oc.After.Run, rand.Text()), last: oc.After.Count, who: fmt.Sprintf("process %d on %s", os.Getpid(), host), log: positionShard(oc.Name), at: map[driver.Shard]stand{}, pause: newPause()}
	o.life, o.stop = context.WithCancel(c.life)
	id := oc.Name
	o.again = !oc.Shared && o.last > 0
	if o.shared = oc.Shared; o.shared {
		id += "+" + o.me
	}
	if o.units, err = c.transactional(id, version); err != nil {
		o.stop()
		return nil, err
	}
	if o.claims, err = c.transactional(id+"+claims", version); err != nil {
		o.stop()
		_ = o.units.Close(ctx)
		return nil, err
	}
	return o, nil
}

// Claim fences earlier owners, the first time; then it reads.
func (o *owner) Claim(ctx context.Context, at []driver.Position) ([]driver.Position, error) {
	o.claiming.Lock()
	defer o.claiming.Unlock()
	if err := o.alive(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.c.o.DeliveryTimeout)
	defer cancel()
	if err := o.claims.clear(ctx); err != nil {
		return nil, o.claimFailed(ctx, err)
	}
	if err := o.takeOver(ctx); err != nil {
		return nil, err
	}
	found, fresh, err := o.find(ctx, at)
	if err != nil {
		return nil, err
	}
	if len(fresh) > 0 {
		if err := o.start(ctx, fresh); err != nil {
			return nil, o.claimFailed(ctx, err)
		}
	}
	member := o.membership().id // it joins again only after this has returned
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range found {
		o.at[p.Shard] = stand{p.Next, member}
	}
	return found, nil
}

// A stand is where a claimed shard stands, and who claimed it.
type stand struct {
	next   driver.Seq
	member string // of the group; nobody where there is none
}

// membership is what the group knows the owner as.
func (o *owner) membership() membership {
	if o.group == nil {
		return nobody
	}
	return o.group.member()
}

// takeOver makes this owner the newest.
func (o *owner) takeOver(ctx context.Context) error {
	if !o.claimed {
		// One that begins anew leaves alone who has the name by now.
		if o.again {
			if err := o.unchanged(ctx, driver.Committed); err != nil {
				return err
			}
		}
		if err := o.claims.claim(ctx); err != nil {
			return err
		}
		// The record comes before what fences an owner that is at work: that looks
		// who it was, and without the record would take the name back.
		if !o.again {
			if err := o.mark(ctx); err != nil {
				return err
			}
		}
		if err := o.fence(ctx); err != nil {
			return err
		}
		o.claimed = true
	}
	// Somebody may have written the record after the first look. Now nobody can.
	if o.again && !o.marked {
		if err := o.unchanged(ctx, driver.Uncommitted); err != nil {
			return err
		}
	}
	return o.mark(ctx)
}

// fence aborts what earlier owners left open, and nothing of theirs can be
// committed any more. Were a position read before, one that was being committed
// might still change it.
func (o *owner) fence(ctx context.Context) error {
	if err := o.units.claim(ctx); err != nil {
		return err
	}
	if o.shared { // and an owner that had the name alone
		for _, id := range []string{o.name, o.name + "+claims"} {
			t, err := o.c.transactional(id, o.units.version)
			if err == nil {
				err = t.claim(ctx)
				_ = t.Close(ctx)
			}
			if err != nil {
				return err
			}
		}
	}
	return o.units.sealed(ctx, o.notes(ctx))
}

// mark writes, once, the record that tells a fenced owner by whom.
func (o *owner) mark(ctx context.Context) error {
	if o.marked {
		return nil
	}
	rec := o.record(ownerKey(o.name), positionValue{Owner: o.me, Run: o.run, Who: o.who})
	if err := o.claims.run(ctx, []driver.Shard{o.log}, []*kgo.Record{rec}, nil); err != nil {
		return o.claimFailed(ctx, err)
	}
	o.marked = true
	o.mu.Lock()
	o.last = max(o.last, uint64(rec.Offset+1)) //nolint:gosec // -1 where a broker does not say
	o.mu.Unlock()
	return nil
}

// unchanged fails where somebody else has become the newest owner since one that
// this one replaces was. An older record does not say so: it is what can be seen
// of the log, or what a broker that has lost the end of it still has.
func (o *owner) unchanged(ctx context.Context, iso driver.Isolation) error {
	st, err := o.c.readStanding(ctx, o.name, "", iso)
	if err == nil && st.owner.Run != o.run && st.marked > o.last {
		err = o.taken(st)
	}
	return err
}

// Claimed is the run, and where its latest record is.
func (o *owner) Claimed() driver.Claimed {
	o.mu.Lock()
	defer o.mu.Unlock()
	return driver.Claimed{Run: o.run, Count: o.last}
}

// find says where shards stand, and which of them have no position and get the
// one given.
func (o *owner) find(ctx context.Context, at []driver.Position) (found, fresh []driver.Position, err error) {
	if o.group != nil {
		if err := o.group.learn(ctx, at); err != nil {
			return nil, nil, err
		}
	}
	if o.shared {
		select {
		case <-o.group.opened:
		case <-ctx.Done():
			return nil, nil, &driver.Error{Kind: driver.ErrUnavailable, Err: context.Cause(ctx)}
		}
	}
	st, err := o.c.readStanding(ctx, o.name, "", driver.Uncommitted)
	if err != nil {
		return nil, nil, err
	}
	if !o.shared && st.owner.Owner != o.me {
		return nil, nil, o.taken(st)
	}
	for _, p := range at {
		v, ok := st.position(p.Shard)
		_, listed := st.listed(p.Shard)
		switch {
		case ok:
			p.Next = v.Next
		case listed:
			return nil, nil, &driver.Error{Shard: p.Shard, Kind: driver.ErrLost, Err: fmt.Errorf(
				"%q has read it before and its position is gone: put it back, or delete the record with the key %q from %v to begin anew",
				o.name, hasKey(o.name, p.Shard), o.log)}
		default:
			fresh = append(fresh, p)
		}
		found = append(found, p)
	}
	return found, fresh, nil
}

// start stores where shards begin, and lists them, in one transaction.
func (o *owner) start(ctx context.Context, fresh []driver.Position) error {
	var recs []*kgo.Record
	for _, p := range fresh {
		v := positionValue{Owner: o.me, Next: p.Next}
		recs = append(recs, o.record(atKey(o.name, p.Shard), v), o.record(hasKey(o.name, p.Shard), v))
	}
	return o.claims.run(ctx, o.notes(ctx), recs, func(ctx context.Context) error {
		if o.group == nil {
			return nil
		}
		return o.group.commit(ctx, o.claims, o.group.member(), fresh)
	})
}

// record is one of the name's records.
func (o *owner) record(key string, v positionValue) *kgo.Record {
	return &kgo.Record{Topic: o.log.Stream, Partition: explicit(o.log.Index), Key: []byte(key), Value: v.encode()}
}

// claimFailed is the error of a Claim whose transaction failed. What became of
// it does not matter: it may be done again.
func (o *owner) claimFailed(ctx context.Context, err error) error {
	if isFence(err) {
		o.kill(err)
		return o.fenced(ctx, err)
	}
	kind, text := o.c.describe(err, positionTopic)
	switch kind {
	case driver.ErrDenied, driver.ErrInvalid, driver.ErrNotFound, errors.ErrUnsupported:
	default:
		kind = driver.ErrUnavailable
	}
	return &driver.Error{Op: "claim " + o.name, Kind: kind, Err: text}
}

// fenced finds out what a broker means that refuses the session: another owner
// has claimed the name, or the transaction was too long and was aborted. It is
// the former where the owner's record is another's. A claim under way writes
// that a moment after it has fenced, so fenced looks again for a while.
func (o *owner) fenced(ctx context.Context, err error) error {
	for until := time.Now().Add(5 * time.Second); ; {
		st, failed := o.c.readStanding(ctx, o.name, o.me, driver.Uncommitted)
		if failed == nil && st.owner.Owner != o.me && !o.shared {
			return o.taken(st)
		}
		if failed != nil || o.shared || time.Now().After(until) || !pausing(ctx, 20*time.Millisecond) {
			return &driver.Error{Kind: driver.ErrUnknown, Err: fmt.Errorf("the broker has ended this transaction, perhaps since it took longer than transaction_timeout (%v): %w", o.c.o.TransactionTimeout, text(err))}
		}
	}
}

// taken is the error of an owner that is not the newest.
func (o *owner) taken(st *standing) error {
	who := st.owner.Who
	if who == "" {
		who = "its record is gone from " + o.log.String()
	}
	return &driver.Error{Kind: driver.ErrFenced, Err: fmt.Errorf("the newest owner of %q is another: %s", o.name, who)}
}

// Release forgets shards. Nobody but a newer owner could claim them.
func (o *owner) Release(_ context.Context, shards []driver.Shard) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range shards {
		delete(o.at, s)
	}
	return nil
}

// alive says why nothing more is done.
func (o *owner) alive() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended()
}

// ended is alive under mu.
func (o *owner) ended() error {
	if o.dead != nil {
		return &driver.Error{Kind: driver.ErrClosed, Err: fmt.Errorf("the owner has ended: %w", o.dead)}
	}
	return nil
}

func (o *owner) kill(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead == nil {
		o.dead = err
	}
}

// closing bounds how long Close waits for a broker to mark the end of a unit.
const closing = 5 * time.Second

// Close aborts the open unit, and what a Claim has left open that was broken
// off. Where that fails, or ctx does not leave time for it, the next owner does
// it, or the broker after the transaction's time-out.
func (o *owner) Close(ctx context.Context) error {
	o.mu.Lock()
	u, dead := o.open, o.dead
	o.open = nil
	if dead == nil {
		o.dead = errors.New("closed")
	}
	o.mu.Unlock()
	if u != nil && dead == nil && o.units.abort(ctx) == nil {
		o.sealLater(u.written())
	}
	within, enough := context.WithTimeout(ctx, closing)
	if dead == nil && o.claiming.TryLock() { // else a Claim is under way
		_ = o.claims.clear(within)
		o.claiming.Unlock()
	}
	_ = o.lastSealed(within)
	enough()
	o.stop()
	if o.kept != nil {
		<-o.kept
	}
	// What is in flight has nobody to wait for it.
	now, cancel := context.WithCancel(ctx)
	cancel()
	_ = o.units.Close(now)
	_ = o.claims.Close(now)
	return nil
}
