package memory

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// Options are the settings of one driver, which are also the query of a URL.
// The zero value works.
type Options struct {
	seastreamer.Options // observer and logger of what Open returns

	Shards int // of streams that this driver creates; zero is 1
	Retain int // messages that a shard of such a stream keeps; zero keeps all
	// AckTimeout, where it is not zero, makes groups keep a verdict per message
	// in place of a position per shard: what has none for so long is delivered
	// again.
	AckTimeout time.Duration
	MaxRecord  int // bytes of key, value and headers; zero is 1 MiB
}

func (o Options) withDefaults() Options {
	if o.Shards <= 0 {
		o.Shards = 1
	}
	if o.MaxRecord <= 0 {
		o.MaxRecord = 1 << 20
	}
	return o
}

// named are the stores that URLs name. They live as long as the process, since
// what one client has sent another may want to read later.
var named struct {
	sync.Mutex
	stores map[string]*Store
}

// Named is the store that URLs call name, the same for the whole process.
func Named(name string) *Store {
	named.Lock()
	defer named.Unlock()
	s, ok := named.stores[name]
	if !ok {
		s = NewStore()
		if named.stores == nil {
			named.stores = make(map[string]*Store)
		}
		named.stores[name] = s
	}
	return s
}

// Opener opens URLs such as memory://name?shards=4. It needs no
// initialisation.
type Opener struct{}

// Open opens the store that u names, see [OpenDriver].
func (Opener) Open(ctx context.Context, u driver.URL) (driver.Driver, error) {
	return OpenDriver(ctx, u, Options{})
}

// OpenDriver opens the store that u names, or a new one where u names none.
// What the query of u says (shards, retain, ack_timeout, max_record) goes before o.
func OpenDriver(_ context.Context, u driver.URL, o Options) (driver.Driver, error) {
	op := "open " + u.Broker().String()
	if u.User != nil || len(u.Nodes) > 1 {
		return nil, driver.Errorf(driver.ErrInvalid, op, "write memory://NAME, without a user and with one name at most")
	}
	q := u.Options()
	o.Shards = q.Int("shards", o.Shards)
	o.Retain = q.Int("retain", o.Retain)
	o.AckTimeout = q.Duration("ack_timeout", o.AckTimeout)
	o.MaxRecord = int(q.Size("max_record", int64(o.MaxRecord)))
	if err := q.Err(); err != nil {
		return nil, &driver.Error{Op: op, Kind: driver.ErrInvalid, Err: err}
	}
	if len(u.Nodes) == 0 {
		return NewStore().Driver(o), nil
	}
	return Named(u.Nodes[0]).Driver(o), nil
}

// client is a driver on a store.
type client struct {
	store  *Store
	o      Options
	closed atomic.Bool
}

// Driver is a new client of the store.
func (s *Store) Driver(o Options) driver.Driver { return &client{store: s, o: o.withDefaults()} }

// As gives a **Store the store underneath.
func (d *client) As(target any) bool {
	s, ok := target.(**Store)
	if ok {
		*s = d.store
	}
	return ok
}

func (d *client) Features() driver.Features {
	ack := driver.AckPosition
	if d.o.AckTimeout > 0 {
		ack = driver.AckMessage
	}
	return driver.Features{
		Backend:      "memory",
		Ack:          ack,
		AckTimeout:   d.o.AckTimeout,
		SeekSeq:      true,
		SeekTime:     true,
		Shards:       true,
		Keys:         true,
		Headers:      true,
		Tombstones:   true,
		Timestamps:   true,
		TimeUnit:     time.Nanosecond,
		Durabilities: []driver.Durability{driver.AtLeastOnce, driver.AtMostOnce, driver.ExactlyOnce},
		Classes:      []driver.Class{driver.ClassMemory},
		Dedup:        driver.Dedup{Retry: true}, // no send ever has to be repeated
		UnitMessages: 10_000,
		UnitBytes:    16 << 20,
		UnitShared:   true,
		MaxRecord:    d.o.MaxRecord,
		Autocreate:   true,
		Needs:        "nothing; streams end with the process",
	}
}

func (d *client) Bounds(ctx context.Context, streams []string) (map[driver.Shard]driver.Bound, error) {
	if err := d.check(ctx, "bounds"); err != nil {
		return nil, err
	}
	shards, err := d.store.shards(streams)
	if err != nil {
		return nil, err
	}
	bounds := make(map[driver.Shard]driver.Bound, len(shards))
	for _, sh := range shards {
		first, next := sh.bounds()
		bounds[sh.id] = driver.Bound{First: driver.SeqOf(first), Next: driver.SeqOf(next)}
	}
	return bounds, nil
}

func (d *client) Close(context.Context) error {
	d.closed.Store(true)
	return nil
}

// check refuses calls on a closed driver and calls that are too late.
func (d *client) check(ctx context.Context, op string) error {
	if d.closed.Load() {
		return driver.Errorf(driver.ErrClosed, op, "the driver is closed")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
