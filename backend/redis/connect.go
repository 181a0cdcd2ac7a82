package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// The ports where a node names none.
const (
	serverPort   = "6379"
	sentinelPort = "26379"
)

// address takes the nodes out of u, and what the scheme says.
func (c *client) address(u driver.URL) error {
	switch u.Scheme {
	case SchemeTLS:
		c.o.TLS = true
	case SchemeUnix:
		c.unix = true
	case SchemeSentinel:
		c.sentinel = true
	case SchemeSentinelTLS:
		c.sentinel, c.o.TLS = true, true
	case Scheme:
	default:
		return fmt.Errorf("scheme %q: %s, %s, %s, %s or %s is wanted", u.Scheme, Scheme, SchemeTLS, SchemeUnix, SchemeSentinel, SchemeSentinelTLS)
	}
	switch {
	case c.unix && len(u.Nodes) == 0:
		return errors.New("no socket is named: write redis+unix:///run/redis/redis.sock")
	case len(u.Nodes) == 0:
		return fmt.Errorf("no server is named: write %s://host", u.Scheme)
	case c.unix && c.o.TLS:
		return errors.New("a socket needs no TLS: leave out tls and its options")
	case c.sentinel && c.o.Master == "":
		return fmt.Errorf("sentinels know masters by name: add master=mymaster")
	case !c.sentinel && c.o.Master != "":
		return fmt.Errorf("master is for sentinels: write %s:// for their addresses, or leave it out", SchemeSentinel)
	case !c.sentinel && (c.o.SentinelUser != "" || c.o.SentinelPassword != "" || c.o.SentinelPasswordFile != ""):
		return fmt.Errorf("sentinel_user and sentinel_password_file are for %s://", SchemeSentinel)
	case c.o.DB != 0 && len(u.Nodes) > 1 && !c.sentinel:
		return errors.New("several servers are a cluster, which has no databases: leave out db, or all servers but one")
	case c.unix:
		c.nodes = u.Nodes
		return nil
	}
	port := serverPort
	if c.sentinel {
		port = sentinelPort
	}
	for _, n := range u.Nodes {
		host, p, err := net.SplitHostPort(n)
		if err != nil { // no port
			host, p = strings.Trim(n, "[]"), port
		}
		if host == "" {
			return fmt.Errorf("server %q has no host: write %s://host:%s", n, u.Scheme, port)
		}
		if i, err := net.LookupPort("tcp", p); err != nil || i == 0 {
			return fmt.Errorf("server %q: %q is not a port", n, p)
		}
		c.nodes = append(c.nodes, net.JoinHostPort(host, p))
	}
	return nil
}

// where is who was asked, for errors.
func (c *client) where() string { return strings.Join(c.nodes, ",") }

// pingEvery is how often rueidis asks a server on a connection where nothing
// comes in.
const pingEvery = time.Second

// options are rueidis's. It asks the first server whether it is a cluster, and
// becomes a client of that then.
func (c *client) options() rueidis.ClientOption {
	dialer := net.Dialer{Timeout: c.o.ConnectTimeout, KeepAlive: pingEvery}
	o := rueidis.ClientOption{
		InitAddress:       c.nodes,
		DialCtxFn:         c.dial,
		AuthCredentialsFn: c.credentials,
		SelectDB:          c.o.DB,
		ClientName:        c.o.ClientName,
		Dialer:            dialer,
		// An answer that has not come by then is given up with the connection.
		ConnWriteTimeout: c.o.RequestTimeout,
		// A write whose reply was lost must not be repeated.
		DisableRetry: true,
		DisableCache: true,
		// Without it a command that is alone on its connection closes it when
		// its context ends, under those that came after it.
		AlwaysPipelining: true,
		// Each connection has its own buffers, which are a megabyte and more by
		// default.
		ReadBufferEachConn:  128 << 10,
		WriteBufferEachConn: 32 << 10,
		RingScaleEachConn:   8,
		ForceSingleClient:   c.unix, // the other nodes of a cluster have no socket here
		ClusterOption: rueidis.ClusterOption{
			MaxMovedRedirections:  16, // a cluster that sends us in circles
			ShardsRefreshInterval: 15 * time.Second,
		},
	}
	if c.o.TLS {
		o.TLSConfig, _ = c.o.tls().For("") // by it rueidis chooses a cluster's ports; dial makes its own
	}
	if c.sentinel {
		o.Sentinel = rueidis.SentinelOption{
			Dialer: dialer, TLSConfig: sentinelMark, MasterSet: c.o.Master, ClientName: c.o.ClientName,
			// Sentinel says when it has chosen another master; who missed that
			// would stay with the old one for ever.
			TopologyRefreshInterval: 5 * time.Second,
		}
	}
	return o
}

// An attempt to connect, for which any number of callers wait.
type attempt struct {
	done chan struct{}
	err  error
}

// connect returns the rueidis client, making it where there is none yet. It
// fails within about the connect time-out where no server answers, and the
// next call tries again. With the client it has learnt what the server is.
func (c *client) connect(ctx context.Context) (rueidis.Client, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, errClosed
	}
	if rc := c.rc; rc != nil {
		c.mu.Unlock()
		return rc, nil
	}
	a := c.connecting
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		c.connecting = a
		c.work.Add(1)
		go c.attempt(a)
	}
	c.mu.Unlock()
	select {
	case <-a.done:
		if a.err != nil {
			return nil, c.failure("", driver.Shard{}, a.err)
		}
		return c.connect(ctx)
	case <-ctx.Done():
		return nil, c.failure("", driver.Shard{}, ctx.Err())
	}
}

func (c *client) attempt(a *attempt) {
	defer c.work.Done()
	defer close(a.done)
	rc, err := newClient(c.options())
	if err == nil {
		if err = c.greet(rc); err != nil {
			rc.Close()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connecting = nil
	if c.closed { // which may be why it has failed
		if err == nil {
			rc.Close()
		}
		a.err = errClosed
		return
	}
	if a.err = err; err != nil {
		return
	}
	c.rc = rc
	c.work.Add(1)
	go c.watch(rc)
}

// newClient is rueidis.NewClient behind the panic boundary.
func newClient(o rueidis.ClientOption) (rc rueidis.Client, err error) {
	defer recovered(func(e error) { rc, err = nil, e })
	made, err := rueidis.NewClient(o)
	if err != nil {
		if made != nil {
			made.Close()
		}
		return nil, err
	}
	return guarded{made}, nil
}

// ask sends commands and waits for the answers within ctx and the request
// time-out. It is for what is not asked often: rueidis lets a command wait for
// somebody else's connection attempt longer than the command's context allows,
// so that it gets a goroutine of its own. The first error of the way to a server
// is returned, beside the results, which have all errors of each.
func (c *client) ask(ctx context.Context, rc rueidis.Client, cmds ...rueidis.Completed) ([]rueidis.RedisResult, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.RequestTimeout)
	defer cancel()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, errClosed
	}
	c.work.Add(1)
	c.mu.Unlock()
	var answers []rueidis.RedisResult
	done := make(chan struct{})
	go func() {
		defer c.work.Done()
		defer close(done)
		answers = rc.DoMulti(ctx, cmds...)
	}()
	select {
	case <-done:
		for _, a := range answers {
			if err := a.NonRedisError(); err != nil {
				return answers, c.failure("", driver.Shard{}, err)
			}
		}
		return answers, nil
	case <-ctx.Done():
		return nil, c.failure("", driver.Shard{}, ctx.Err())
	}
}

var errPanic = errors.New("the Redis client panicked")
