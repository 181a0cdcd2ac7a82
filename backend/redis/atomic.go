package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/seastreamer/seastreamer/driver"
)

// What bounds a unit. The first two are what a Transactor gets that asks for
// nothing else: larger ones are no faster, and the server does nothing else
// while it works on one.
const (
	unitMessages = 2000
	unitBytes    = 1 << 20
	maxUnitArgs  = 1 << 20 // Redis before 7.0 takes no more arguments
	maxUnitBytes = 256 << 20
	maxUnitField = 3500 // of one record: Lua unpacks less than 8,000 arguments
)

// Where progress is kept.
const (
	progressPrefix = "sea:progress:" // a hash, see owner
	shardsPrefix   = "sea:shards:"   // a set of the shards that have progress
)

// Owner opens what commits units under a name. It needs a server that answers.
func (c *client) Owner(ctx context.Context, oc driver.OwnerConfig) (driver.Owner, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := driver.CheckOwnerName(oc.Name); err != nil {
		return nil, &driver.Error{Kind: driver.ErrInvalid, Err: err}
	}
	rc, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	run := oc.After.Run
	if run == "" {
		run = producerID()
	}
	o := &owner{c: c, conf: oc, run: run, token: run + "." + producerID(), cluster: isCluster(rc),
		rules: &producer{c: c, o: &c.o, byKey: c.o.Partitioner == partitioners[0]},
		line:  make(chan struct{}, 1), held: map[driver.Shard]bool{}, streams: map[string]*stream{}, parts: map[*shard]*part{}}
	if err := o.rules.probe(); err != nil {
		return nil, err
	}
	o.progress, o.shards = progressKeys(c.o.UnitTag, oc.Name)
	o.slot = slot(o.progress)
	return o, nil
}

// progressKeys are the keys of the progress and of the list of shards. Their
// hash tag is the one that was asked for, or else the name.
func progressKeys(tag, name string) (progress, shards string) {
	at := "{" + name + "}"
	if tag != "" {
		at = "{" + tag + "}:" + name
	}
	return progressPrefix + at, shardsPrefix + at
}

// An owner commits units. Its progress is a hash with these fields, where a
// shard of the input is written as stream:index:
//
//	at:shard     where the shard stands, as two numbers with a dash
//	owner        the token of the sole owner
//	owner:shard  the token of the shard's owner, of several
//	epoch        how many claims there were
//
// A claim of a sole owner removes the tokens of others, and the other way
// round, so that a unit fails whose owner is not the newest. Tokens of owners
// that replaced each other begin with the same run and a dot: by that an owner
// that replaces another knows a claim of theirs, of which it may not have heard.
//
// It has one connection, on which one command is under way at a time.
type owner struct {
	c        *client
	conf     driver.OwnerConfig
	run      string
	token    string
	progress string // the keys
	shards   string
	slot     uint16
	cluster  bool
	rules    *producer // it sends nothing: it knows how records are encoded, and where they go

	line chan struct{} // has an element while somebody uses what follows
	wire *wire         // nil where there is no connection
	addr string        // of the node that has the slot; empty where that is not known

	mu      sync.Mutex // of what follows, and of the open unit
	closed  bool
	epoch   int64 // of the latest claim
	claimed bool  // there was one
	held    map[driver.Shard]bool
	open    *tx
	streams map[string]*stream
	parts   map[*shard]*part
	head    []byte // of the last unit's command, for the next one
}

// tag is the hash tag that outputs need in a cluster.
func (o *owner) tag() string {
	if t := o.c.o.UnitTag; t != "" {
		return t
	}
	return o.conf.Name
}

// field is how a shard of the input is written.
func field(s driver.Shard) string { return s.Stream + ":" + strconv.Itoa(int(s.Index)) }

// Claim makes this the owner of shards. It may be repeated when it has failed.
func (o *owner) Claim(ctx context.Context, at []driver.Position) ([]driver.Position, error) {
	at = slices.Clone(at) // the caller compares what it gave with what it gets
	for {
		o.mu.Lock()
		closed, mode, epoch := o.closed, "more", o.epoch
		switch {
		case o.conf.Shared && o.claimed:
			mode = "sharing"
		case o.conf.Shared:
			mode = "shared"
		case !o.claimed:
			mode = "first"
		}
		o.mu.Unlock()
		switch {
		case closed:
			return nil, errOwnerClosed
		case len(at) == 0:
			return nil, nil
		}
		said, _, err := o.call(ctx, o.claimCommand(mode, epoch, at), nil)
		switch {
		case err != nil: // to repeat it does no harm
			return nil, err
		case said.refused != "":
			return nil, o.refusal(said, fmt.Sprintf("keys %q and %q", o.progress, o.shards))
		case said.short != nil:
			return nil, &driver.Error{Kind: driver.ErrUnavailable, Err: said.short}
		}
		got, again, err := o.claimedAnswer(said.words, at)
		if !again {
			return got, err
		}
	}
}

func (o *owner) claimCommand(mode string, epoch int64, at []driver.Position) []byte {
	b := appendHeader(make([]byte, 0, 4096), '*', 8+2*len(at))
	b = appendBulk(appendBulk(b, "EVAL"), claimScript.text(o.c.server().version))
	b = appendBulk(appendBulk(appendBulk(b, "2"), o.progress), o.shards)
	b = appendBulk(appendBulk(b, o.token), mode)
	b = appendBulk(b, strconv.FormatInt(epoch, 10))
	for i := range at {
		b = appendBulk(appendBulk(b, field(at[i].Shard)), idText(at[i].Next))
	}
	return b
}

// claimedAnswer reads the answer to a claim of at: the positions, or whether to
// claim again. It leaves at alone: the caller compares.
func (o *owner) claimedAnswer(words []string, at []driver.Position) (got []driver.Position, again bool, err error) {
	word, arg := "", ""
	if len(words) > 0 {
		word = words[0]
	}
	if len(words) > 1 {
		arg = words[1]
	}
	n, numErr := strconv.ParseInt(arg, 10, 64)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case word == "OK" && numErr == nil && len(words) == 2+len(at):
		got = make([]driver.Position, len(at))
		for i, w := range words[2:] {
			next, ok := parseID(w)
			if !ok {
				return nil, false, driver.Errorf(driver.ErrInvalid, "", "%s: key %q has %q as the position of %v: two numbers with a dash are wanted", o.name(), o.progress, printable(w), at[i].Shard)
			}
			got[i] = driver.Position{Shard: at[i].Shard, Next: next}
		}
		for i := range at {
			o.held[at[i].Shard] = true
		}
		o.epoch, o.claimed = n, true
		return got, false, nil
	case word == "AGAIN" && numErr == nil && len(words) == 3:
		// One that has been told of more claims asks a server that has forgotten.
		if after := o.conf.After.Count; !o.conf.Shared && after > 0 && n >= int64(after) && !strings.HasPrefix(words[2], o.run+".") { //nolint:gosec // it was an int64
			return nil, false, o.fenced()
		}
		o.epoch = n
		return nil, true, nil
	case word == "FENCED":
		return nil, false, o.fenced()
	case word == "BEHIND":
		return nil, false, o.behind()
	case word == "LOST" && numErr == nil && n >= 0 && n < int64(len(at)):
		return nil, false, &driver.Error{Shard: at[n].Shard, Kind: driver.ErrLost, Err: fmt.Errorf(
			"%s: key %q says that %q has progress, and key %q has none: to begin anew delete both", o.name(), o.shards, o.conf.Name, o.progress)}
	case word == "TYPE":
		key, want := o.progress, "hash"
		if arg == "2" {
			key, want = o.shards, "set"
		}
		return nil, false, driver.Errorf(driver.ErrInvalid, "", "%s: key %q is no %s: somebody else uses it", o.name(), key, want)
	}
	return nil, false, driver.Errorf(driver.ErrInvalid, "", "%s: unexpected answer to a claim: %q", o.name(), words)
}

func (o *owner) fenced() error {
	return driver.Errorf(driver.ErrFenced, "", "progress of %q", o.conf.Name)
}

// behind is the error where the server does not know of what it has told us.
func (o *owner) behind() error {
	return driver.Errorf(driver.ErrUnknown, "", "%s has forgotten a claim of %q, as a fail-over or a loss of data may do", o.name(), o.conf.Name)
}

// Release gives shards up. Whoever claims them next fences this owner anyway,
// so that there is nothing to tell the server.
func (o *owner) Release(_ context.Context, shards []driver.Shard) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range shards {
		delete(o.held, s)
	}
	return nil
}

// Claimed is the run and the latest epoch of it that is known.
func (o *owner) Claimed() driver.Claimed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.claimed {
		return driver.Claimed{Run: o.run, Count: o.conf.After.Count}
	}
	return driver.Claimed{Run: o.run, Count: uint64(o.epoch)} //nolint:gosec // not negative
}

// Close ends the owner. Its tokens stay until somebody claims.
func (o *owner) Close(ctx context.Context) error {
	o.mu.Lock()
	closed := o.closed
	o.closed = true
	if o.open != nil {
		o.open.ended, o.open = true, nil
	}
	o.mu.Unlock()
	if closed {
		return nil
	}
	select {
	case o.line <- struct{}{}: // whether there is time or not
		o.release()
		return nil
	default:
	}
	select {
	case o.line <- struct{}{}:
		o.release()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx) // whoever uses it hangs up
	}
}

var errOwnerClosed = &driver.Error{Kind: driver.ErrClosed, Err: fmt.Errorf("the owner is closed")}
