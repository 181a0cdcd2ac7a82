package kafka

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/seastreamer/seastreamer/driver"
)

// fake starts a kfake cluster for the test.
func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// url is the broker URL of addresses, with a query. What it does not say of the
// connect time-out, within which a broker has to answer, is ample.
func url(addrs []string, query string) driver.URL {
	if !strings.Contains(query, "connect_timeout=") {
		query = ample + "&" + query
	}
	s := "kafka://"
	for i, a := range addrs {
		if i > 0 {
			s += ","
		}
		s += a
	}
	u, err := driver.ParseBroker(s + "?" + query)
	if err != nil {
		panic(err)
	}
	return u
}

// open opens a driver and closes it at the end of the test.
func open(t testing.TB, u driver.URL, o Options) *client {
	t.Helper()
	d, err := OpenDriver(t.Context(), u, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d.(*client)
}

// noLeak fails the test if goroutines that it started are left at its end. It
// comes before what starts them.
func noLeak(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		err := goleak.Find(before) // it waits half a second
		for tries := 0; err != nil && tries < 20; tries++ {
			err = goleak.Find(before)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// silent is a server that accepts connections and says nothing.
func silent(t testing.TB) string {
	return serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
}

// serve runs a server that talks to each connection in turn.
func serve(t testing.TB, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				defer stop()
				defer conn.Close()
				talk(conn)
			}()
		}
	}()
	t.Cleanup(func() { cancel(); l.Close(); <-ended })
	return l.Addr().String()
}

const ample = "connect_timeout=1m"

// patience is for what takes a moment where nothing else happens.
const patience = time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// hang makes a cluster keep produce requests without an answer until release
// is closed.
func hang(c *kfake.Cluster, release <-chan struct{}) {
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		select {
		case <-release:
			return nil, nil, false
		default:
		}
		c.KeepControl()
		c.SleepControl(func() { <-release })
		return nil, nil, false
	})
}
