package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// Scheme is the scheme of this backend's URLs.
const Scheme = "kafka"

// Opener opens URLs such as kafka://host:9092. It needs no initialisation.
type Opener struct{}

// Open opens the brokers that u names, see [OpenDriver].
func (Opener) Open(ctx context.Context, u driver.URL) (driver.Driver, error) {
	return OpenDriver(ctx, u, Options{})
}

// Open opens the brokers of a URL without streams, such as
// kafka://h1:9092,h2:9092?tls. What the query says goes before o. It does not
// need a live broker, see the package's documentation.
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

// OpenDriver opens the brokers that u names. What the query of u says goes
// before o. It checks options and reads the files they name, and does not talk
// to a broker.
//
// The driver is also an interface{ Ping(context.Context) error }, which says
// whether a broker answers.
func OpenDriver(_ context.Context, u driver.URL, o Options) (driver.Driver, error) {
	op := "open " + u.Broker().String()
	seeds, err := seeds(u.Nodes)
	if err == nil {
		o, err = o.merged(u)
	}
	if err == nil {
		err = o.readFiles(op)
	}
	if err != nil {
		return nil, &driver.Error{Op: op, Kind: driver.ErrInvalid, Err: err}
	}
	c := &client{o: o, seeds: seeds, classes: map[string]*streamClass{}}
	c.dialer.o = &c.o
	c.life, c.end = context.WithCancel(context.Background())
	if c.cl, err = kgo.NewClient(c.options()...); err != nil {
		c.end()
		return nil, &driver.Error{Op: op, Kind: driver.ErrInvalid, Err: err}
	}
	return c, nil
}

// readFiles finds out now what would fail at each connection.
func (o *Options) readFiles(op string) error {
	log := o.Logger
	if log == nil {
		log = slog.Default()
	}
	if o.Insecure && o.TLSConfig == nil {
		log.Warn(op + ": insecure: whoever answers is believed to be the broker")
	}
	if o.PlainWithoutTLS && o.SASL == "plain" && !o.TLS {
		log.Warn(op + ": plain_without_tls: the password is sent in the clear")
	}
	if o.TLS {
		if _, err := o.tls().For(""); err != nil {
			return err
		}
	}
	if o.SASL != "" {
		_, err := o.password()
		return err
	}
	return nil
}

func seeds(nodes []string) ([]string, error) {
	if len(nodes) == 0 {
		return nil, errors.New("no broker is named: write kafka://host:9092")
	}
	var s []string
	for _, n := range nodes {
		host, port, err := net.SplitHostPort(n)
		if err != nil { // no port
			host, port = strings.Trim(n, "[]"), "9092"
		}
		if host == "" {
			return nil, fmt.Errorf("broker %q has no host: write kafka://host:9092", n)
		}
		if p, err := net.LookupPort("tcp", port); err != nil || p == 0 {
			return nil, fmt.Errorf("broker %q: %q is not a port", n, port)
		}
		s = append(s, net.JoinHostPort(host, port))
	}
	return s, nil
}

// client is the driver. Its own franz-go client asks for metadata and bounds;
// each consumer and each producer has one of its own, since franz-go's options
// are a client's.
type client struct {
	o      Options
	seeds  []string
	dialer dialer
	cl     *kgo.Client

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup // background probes

	mu      sync.Mutex
	closed  bool
	classes map[string]*streamClass

	warned  sync.Once   // see warnTransactions
	reached atomic.Bool // see reach
	offsets atomic.Bool // see groupless
	blind   sync.Once   // see seen
}

// options are what all clients have in common. Every limit of franz-go that
// matters is set here or where the client is made.
func (c *client) options(more ...kgo.Opt) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.seeds...),
		kgo.ClientID(c.o.ClientID),
		kgo.SoftwareNameAndVersion("sea-streamer", "1"),
		kgo.WithContext(c.life),
		kgo.Dialer(c.dialer.dial),
		kgo.RequestTimeoutOverhead(c.o.RequestTimeout),
		kgo.ConnIdleTimeout(3 * time.Minute), // brokers close after ten; an idle client should not connect anew all the time
		kgo.RequestRetries(10),
		kgo.RetryTimeout(30 * time.Second),
		kgo.RetryBackoffFn(retryBackoff),
		kgo.BrokerMaxReadBytes(int32(max(maxAnswer, 2*c.o.MaxRecord))),                //nolint:gosec // at most 1 GiB
		kgo.BrokerMaxWriteBytes(int32(max(maxAnswer, c.o.MaxRecord+2*batchOverhead))), //nolint:gosec // at most 1 GiB
		kgo.FetchMaxBytes(maxFetch),
		kgo.FetchMaxPartitionBytes(maxFetch),
		kgo.MaxDecompressBatchBytes(c.o.MaxBatch),
		// Groups look for new shards by it, see join, and other consumers by
		// themselves. The rest learns of changes from the errors of brokers, so
		// that an idle client sleeps: five minutes, as Kafka's own clients.
		kgo.MetadataMaxAge(min(20*c.o.MetadataAge, 5*time.Minute)),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.ConsiderMissingTopicDeletedAfter(15 * time.Second),
		kgo.DisableClientMetrics(),
	}
	if m := c.o.mechanism(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return append(opts, more...)
}

// retryBackoff doubles from 50 ms to 2 s: soon back after a restart, and no
// hot loop where a broker refuses.
func retryBackoff(tries int) time.Duration {
	return min(50*time.Millisecond<<min(tries, 10), 2*time.Second)
}

// Features says what Kafka can do. Whether the broker creates missing streams
// is its own setting.
func (c *client) Features() driver.Features {
	return driver.Features{
		Backend: Scheme, Ack: driver.AckPosition,
		SeekSeq: true, SeekTime: true, Shards: true, Keys: true, Headers: true, Tombstones: true,
		Timestamps: true, TimeUnit: time.Millisecond, Isolation: true,
		Durabilities: []driver.Durability{driver.AtLeastOnce, driver.AtMostOnce, driver.ExactlyOnce},
		Classes:      []driver.Class{driver.ClassNone, driver.ClassProcess, driver.ClassReplicated},
		Dedup:        driver.Dedup{Retry: true},
		UnitMessages: unitMessages, UnitBytes: unitBytes, UnitShared: true,
		MaxRecord:  c.o.MaxRecord,
		Autocreate: !c.o.NoAutocreate,
		Needs:      "Apache Kafka from 2.1 or Redpanda: Produce 3, Fetch 4, ListOffsets 2, Metadata 4, InitProducerId, and the classic group protocol; as output of a Transactor from 2.5, with transaction.version 2 (Kafka 4.0) for the full promise",
	}
}

// Ping asks for metadata and returns ErrUnavailable, or ErrDenied, within the
// connect time-out when no broker answers.
func (c *client) Ping(ctx context.Context) error {
	_, err := c.Bounds(ctx, nil)
	return err
}

// within bounds a conversation that begins with a connection.
func (c *client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.o.ConnectTimeout)
}

// As gives the *kgo.Client that asks for metadata, for requests of your own,
// or an interface{ Ping(context.Context) error }.
func (c *client) As(target any) bool {
	switch t := target.(type) {
	case **kgo.Client:
		*t = c.cl
	case *interface{ Ping(context.Context) error }:
		*t = c
	default:
		return false
	}
	return true
}

// ask runs f, which asks a broker, and waits for it within ctx. franz-go lets
// a request wait for a connection on which the server says nothing longer than
// the request's context allows. What f sets may be read when ask returns nil;
// else f goes on for a while.
func (c *client) ask(ctx context.Context, f func()) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return errClosed
	}
	c.work.Add(1)
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer c.work.Done()
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the connections.
func (c *client) Close(ctx context.Context) error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.end()
		c.cl.Close()
		c.work.Wait()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
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

func (c *client) nodes() string { return strings.Join(c.seeds, ",") }
