package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/conn"
)

// The schemes of this backend's URLs.
const (
	Scheme            = "redis"
	SchemeTLS         = "rediss"
	SchemeUnix        = "redis+unix"
	SchemeSentinel    = "redis+sentinel"
	SchemeSentinelTLS = "rediss+sentinel"
)

// Opener opens URLs such as redis://host:6379. It needs no initialisation.
type Opener struct{}

// Open opens the servers that u names, see [OpenDriver].
func (Opener) Open(ctx context.Context, u driver.URL) (driver.Driver, error) {
	return OpenDriver(ctx, u, Options{})
}

// Open opens the servers of a URL without streams, such as
// redis://localhost:6379/?db=1. What the query says goes before o. It does not
// need a live server, see the package's documentation.
func Open(ctx context.Context, url string, o Options) (*seastreamer.Streamer, error) {
	u, err := driver.ParseBroker(url)
	if err != nil {
		return nil, err
	}
	d, err := OpenDriver(ctx, u, o)
	if err != nil {
		return nil, err
	}
	return seastreamer.New(d, o.Options), nil
}

// OpenDriver opens the servers that u names. What the query of u says goes
// before o. It checks options and reads the files they name, and does not talk
// to a server.
//
// The driver is also an interface{ Ping(context.Context) error }, which says
// whether a server answers.
func OpenDriver(_ context.Context, u driver.URL, o Options) (driver.Driver, error) {
	op := "open " + u.Broker().String()
	o, err := o.merged(u)
	c := &client{o: o}
	if err == nil {
		err = c.address(u)
	}
	if c.log = o.Logger; c.log == nil {
		c.log = slog.Default()
	}
	if err == nil {
		err = c.readFiles(op)
	}
	if err != nil {
		return nil, &driver.Error{Op: op, Kind: driver.ErrInvalid, Err: err}
	}
	c.state.changed = make(chan struct{}, 1)
	c.life, c.end = context.WithCancel(context.Background())
	return c, nil
}

// readFiles finds out now what would fail at each connection.
func (c *client) readFiles(op string) error {
	if c.o.Insecure && c.o.TLSConfig == nil {
		c.log.Warn(op + ": insecure: whoever answers is believed to be the server")
	}
	if c.o.TLS {
		if _, err := c.o.tls().For(""); err != nil {
			return err
		}
	}
	for _, f := range []struct{ option, file string }{{"password_file", c.o.PasswordFile}, {"sentinel_password_file", c.o.SentinelPasswordFile}} {
		if f.file != "" {
			if _, err := conn.ReadPassword(f.option, f.file); err != nil {
				return err
			}
		}
	}
	return nil
}

// client is the driver. It has one rueidis client, which all consumers and
// producers share and which is made when somebody first needs it: opening does
// not need a live server.
type client struct {
	o        Options
	log      *slog.Logger
	nodes    []string // host:port, or one path
	unix     bool
	sentinel bool

	life context.Context // ends with Close
	end  context.CancelFunc
	open atomic.Int64   // connections
	work sync.WaitGroup // what goes on in the background, such as commands that were given up

	numeric  atomic.Bool // we have warned of a stream whose name is a number
	state    state
	lastDial atomic.Pointer[conn.Error] // why the last connection failed; nil where it did not
	// lastRefusal is who answered a greeting with an error last, as a conn.Error
	// names it: rueidis does not say.
	lastRefusal atomic.Pointer[string]

	mu         sync.Mutex
	closed     bool
	rc         rueidis.Client // nil until a server has answered
	connecting *attempt       // nil where nobody tries
}

// Features says what Redis can do. What the servers keep is known when one has
// answered: before that, receipts may be of any class.
func (c *client) Features() driver.Features {
	f := driver.Features{
		Backend: Scheme, Ack: driver.AckMessage, AckTimeout: c.o.AckTimeout,
		SeekSeq: true, SeekTime: true, Shards: true, Keys: true, Headers: true, Tombstones: true,
		Timestamps: true, TimeUnit: time.Nanosecond,
		Durabilities: []driver.Durability{driver.AtLeastOnce, driver.AtMostOnce, driver.ExactlyOnce},
		Classes:      []driver.Class{driver.ClassNone, driver.ClassMemory},
		Dedup:        driver.Dedup{Retry: true},
		UnitMessages: unitMessages, UnitBytes: unitBytes, UnitShared: true,
		MaxRecord:  c.o.MaxRecord,
		Autocreate: !c.o.NoAutocreate,
		Needs:      "Redis from 6.2 (from 7.0 for exact gaps, 7.2 for WAITAOF, 8.6 for IDMP)",
	}
	i := c.server()
	if i.idmp {
		f.Dedup.Window = idmpWindow // else until the stream is trimmed, see explicit.go
	}
	if !i.known || i.class >= driver.ClassProcess {
		f.Classes = append(f.Classes, driver.ClassProcess)
	}
	if !i.known || i.class >= driver.ClassSynced || c.o.Synced {
		f.Classes = append(f.Classes, driver.ClassSynced)
	}
	if !i.known || c.o.Replicas > 0 {
		f.Classes = append(f.Classes, driver.ClassReplicated)
	}
	return f
}

// Consumer begins to read.
func (c *client) Consumer(ctx context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	for _, s := range cfg.Streams {
		if err := c.checkName(s); err != nil {
			return nil, err
		}
	}
	if cfg.Group != "" {
		return c.openGroup(ctx, cfg)
	}
	return c.openReader(ctx, cfg)
}

// Producer opens a producer.
func (c *client) Producer(ctx context.Context, cfg driver.ProducerConfig) (driver.Producer, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.openProducer(ctx, cfg)
}

// As gives the rueidis.Client underneath, for commands of your own, once a
// server has answered, an interface{ Ping(context.Context) error }, or one with
// Delivered.
func (c *client) As(target any) bool {
	switch t := target.(type) {
	case *rueidis.Client:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.rc == nil {
			return false
		}
		*t = c.rc
	case *interface{ Ping(context.Context) error }:
		*t = c
	case *interface {
		Delivered(context.Context, string, []string) (map[driver.Shard]driver.Seq, error)
	}:
		*t = c
	default:
		return false
	}
	return true
}

// Close ends the connections.
func (c *client) Close(ctx context.Context) error {
	c.mu.Lock()
	closed, rc := c.closed, c.rc
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.hangUp(rc)
		c.work.Wait()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// closeGrace is how long connections have to end in order. A server that
// answers takes a round trip.
const closeGrace = time.Second

// hangUp ends all connections: first in order, so that rueidis does not take
// the end of one for a loss and look for the rest of a cluster, and after
// closeGrace whatever is left. rueidis closes those of a cluster in the
// background, hence the count.
func (c *client) hangUp(rc rueidis.Client) {
	defer c.end()
	if rc == nil {
		return
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		rc.Close()
		for c.open.Load() > 0 && c.life.Err() == nil {
			time.Sleep(time.Millisecond) // they say nothing when they end
		}
	}()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-closed:
	case <-grace.C:
		c.end() // closes what is left, so that rueidis ends, too
		<-closed
	}
}

var errClosed = &driver.Error{Kind: driver.ErrClosed, Err: errors.New("the connection is closed")}

// check refuses what comes after Close.
func (c *client) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	return nil
}

// checkName refuses what cannot name a stream, and warns of what was perhaps
// meant to be something else. It is called when a stream is first used.
func (c *client) checkName(stream string) error {
	if err := driver.CheckStream(stream); err != nil {
		return driver.Errorf(driver.ErrInvalid, "", "stream %q: %w", stream, err)
	}
	if isShard(stream) && c.numeric.CompareAndSwap(false, true) {
		c.log.Warn(fmt.Sprintf("stream %q is a key of database %d: a database is written ?db=%s", stream, c.o.DB, stream))
	}
	return nil
}
