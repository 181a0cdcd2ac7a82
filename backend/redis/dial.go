package redis

import (
	"context"
	"crypto/tls"
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
	defaultPort  = "6379"
	sentinelPort = "26379"
)

// address takes the nodes out of u.
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
		return fmt.Errorf("scheme %q: %s, %s, %s or %s is wanted", u.Scheme, Scheme, SchemeTLS, SchemeUnix, SchemeSentinel)
	}
	if len(u.Nodes) == 0 {
		return fmt.Errorf("no server is named: write %s://host:6379", u.Scheme)
	}
	if c.unix {
		c.nodes = u.Nodes
		return nil
	}
	port := defaultPort
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

// options are rueidis's, all that matter set.
func (c *client) options() rueidis.ClientOption {
	return rueidis.ClientOption{
		InitAddress: c.nodes,
		DialCtxFn:   c.dial,
		Username:    c.o.User,
		Password:    c.o.Password,
		SelectDB:    c.o.DB,
		ClientName:  c.o.ClientName,
		Dialer:      net.Dialer{Timeout: c.o.ConnectTimeout, KeepAlive: pingEvery},
		// An answer that has not come by then is given up with the connection.
		ConnWriteTimeout: c.o.RequestTimeout,
		// A write whose reply was lost must not be repeated.
		DisableRetry: true,
		DisableCache: true,
		// Without it a command alone on its connection closes the connection
		// when its context ends, under those that came after it.
		AlwaysPipelining:  true,
		ForceSingleClient: c.unix,
		ClusterOption: rueidis.ClusterOption{
			MaxMovedRedirections:  16,
			ShardsRefreshInterval: 15 * time.Second,
		},
	}
}

// pingEvery is how often rueidis asks a server on a connection where nothing
// comes in.
const pingEvery = time.Second

func (c *client) dial(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
	network := "tcp"
	if c.unix {
		network = "unix"
	}
	return (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, network, addr)
}

// An attempt to connect, for which any number of callers wait.
type attempt struct {
	done chan struct{}
	rc   rueidis.Client
	err  error
}

// connect returns the rueidis client, making it where there is none yet. It
// fails within the connect time-out where no server answers, and the next call
// tries again.
func (c *client) connect(ctx context.Context) (rueidis.Client, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, errClosed
	}
	if c.rc != nil {
		defer c.mu.Unlock()
		return c.rc, nil
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
		return a.rc, nil
	case <-ctx.Done():
		return nil, c.failure("", driver.Shard{}, ctx.Err())
	}
}

func (c *client) attempt(a *attempt) {
	defer c.work.Done()
	defer close(a.done)
	rc, err := newClient(c.options())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connecting = nil
	if err == nil && c.closed {
		rc.Close()
		rc, err = nil, errClosed
	}
	if a.rc, a.err = rc, err; err == nil {
		c.rc = rc
	}
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
// so that it gets a goroutine of its own. Errors of the way to the server are
// returned, those that a server answered are in the results.
func (c *client) ask(ctx context.Context, rc rueidis.Client, cmds ...rueidis.Completed) ([]rueidis.RedisResult, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.RequestTimeout)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		cancel()
		return nil, errClosed
	}
	c.work.Add(1)
	c.mu.Unlock()
	var answers []rueidis.RedisResult
	done := make(chan struct{})
	go func() {
		defer c.work.Done()
		defer cancel()
		defer close(done)
		answers = rc.DoMulti(ctx, cmds...)
	}()
	select {
	case <-done:
		for _, a := range answers {
			if err := a.NonRedisError(); err != nil {
				return nil, c.failure("", driver.Shard{}, err)
			}
		}
		return answers, nil
	case <-ctx.Done():
		return nil, c.failure("", driver.Shard{}, ctx.Err())
	}
}

var errPanic = errors.New("the Redis client panicked")
