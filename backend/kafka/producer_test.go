package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

func producerOf(t testing.TB, c *client, pc driver.ProducerConfig) driver.Producer {
	t.Helper()
	p, err := c.Producer(t.Context(), pc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

// sendOne sends and waits.
func sendOne(t testing.TB, p driver.Producer, r driver.Record) (driver.Receipt, error) {
	t.Helper()
	type outcome struct {
		r   driver.Receipt
		err error
	}
	done := make(chan outcome, 1)
	if err := p.Produce(within(t), r, func(r driver.Receipt, err error) { done <- outcome{r, err} }); err != nil {
		return driver.Receipt{}, err
	}
	select {
	case o := <-done:
		return o.r, o.err
	case <-time.After(patience):
		t.Fatal("no receipt")
	}
	panic("unreachable")
}

// getsThrough sends until a record is acknowledged: on a busy machine some are
// given up that have little time.
func getsThrough(t testing.TB, p driver.Producer, r driver.Record) {
	t.Helper()
	for ctx := within(t); ; {
		_, err := sendOne(t, p, r)
		if err == nil {
			return
		}
		if ctx.Err() != nil || !errors.Is(err, driver.ErrUnknown) && !errors.Is(err, driver.ErrUnavailable) {
			t.Fatal(err)
		}
	}
}

// TestReuse is about what franz-go's documentation does not say: that it does
// not touch a record after it has called the promise. The race detector finds
// out. Run it at each upgrade of franz-go.
func TestReuse(t *testing.T) {
	for _, test := range []struct {
		name, query string
		pc          driver.ProducerConfig
		cut         bool // connections while requests are under way
		abort       bool // the producer, in the end
	}{
		{name: "plain", query: "compression=none"},
		{name: "linger", query: "compression=none", pc: driver.ProducerConfig{Linger: 2 * time.Millisecond}},
		{name: "compression", query: "compression=lz4"},
		{name: "at most once", pc: driver.ProducerConfig{Durability: driver.AtMostOnce}},
		{name: "small budget", pc: driver.ProducerConfig{MaxBytes: 64 << 10}},
		{name: "connections cut in mid-write", cut: true},
		{name: "given up", query: "delivery_timeout=200ms&request_timeout=200ms", cut: true},
		{name: "aborted", abort: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var cut sync.Map
			cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "s"), kfake.ListenFn(func(network, addr string) (net.Listener, error) {
				l, err := net.Listen(network, addr)
				return &cutListener{l, &cut}, err
			}))
			c := open(t, url(cluster.ListenAddrs(), test.query), Options{})
			p := producerOf(t, c, test.pc)
			stop, wasCut := make(chan struct{}), make(chan struct{})
			var cutting sync.WaitGroup
			if test.cut {
				getsThrough(t, p, driver.Record{Stream: "s"}) // it knows the shards: no record is given up without one
				cutting.Go(func() {
					once := sync.OnceFunc(func() { close(wasCut) })
					for range 20 {
						select {
						case <-stop:
							return
						case <-time.After(50 * time.Millisecond):
							cut.Range(func(k, _ any) bool { k.(net.Conn).Close(); cut.Delete(k); once(); return true })
						}
					}
				})
			}
			const senders, each = 4, 3000
			var settled, failed, wrong atomic.Int64
			var sending sync.WaitGroup
			for g := range senders {
				sending.Go(func() {
					rnd := rand.New(rand.NewPCG(1, uint64(g)))
					for i := range each {
						if test.cut && i == each/2 {
							<-wasCut
						}
						// Bytes are the sender's again once done is called:
						// it writes to them.
						value := bytes.Repeat([]byte{byte(i)}, rnd.IntN(300))
						headers := make([]driver.Header, rnd.IntN(4))
						for h := range headers {
							headers[h] = driver.Header{Key: "h", Value: []byte{byte(i)}}
						}
						r := driver.Record{Stream: "s", Key: []byte{byte(g)}, Value: value, Headers: headers}
						if err := p.Produce(t.Context(), r, func(r driver.Receipt, err error) {
							clear(value)
							clear(headers)
							settled.Add(1)
							if err != nil {
								if failed.Add(1) == 1 {
									t.Log(err)
								}
								if !errors.Is(err, driver.ErrUnknown) {
									wrong.Add(1)
								}
							}
						}); err != nil {
							t.Errorf("Produce: %v", err)
						}
					}
				})
			}
			sending.Wait()
			ctx := within(t)
			if test.abort {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				cancel()
			}
			err := p.Close(ctx)
			close(stop)
			cutting.Wait()
			if !test.abort && err != nil {
				t.Errorf("Close: %v", err)
			}
			if got := settled.Load(); got != senders*each {
				t.Errorf("%d records are settled, want %d", got, senders*each)
			}
			if test.query != "delivery_timeout=200ms&request_timeout=200ms" && !test.abort && test.pc.Durability != driver.AtMostOnce && failed.Load() > 0 {
				t.Errorf("%d records failed", failed.Load())
			}
			if wrong.Load() > 0 {
				t.Errorf("%d failures are not ErrUnknown", wrong.Load())
			}
		})
	}
}

// cutListener remembers connections so that a test can cut them.
type cutListener struct {
	net.Listener
	conns *sync.Map
}

func (l *cutListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.conns.Store(c, true)
	}
	return c, err
}

// A record that no broker acknowledges fails with ErrUnknown when the delivery
// time-out has passed, however old its own time is, and what comes after it is
// sent.
func TestDeliveryTimeout(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), "delivery_timeout=400ms&request_timeout=5m"), Options{})
	p := producerOf(t, c, driver.ProducerConfig{})
	getsThrough(t, p, driver.Record{Stream: "s", Time: time.Unix(1, 0)}) // from 1970
	hold := make(chan struct{})
	hang(cluster, hold)
	begun := time.Now()
	_, err := sendOne(t, p, driver.Record{Stream: "s"})
	if !errors.Is(err, driver.ErrUnknown) || !strings.Contains(err.Error(), "delivery_timeout (400ms)") {
		t.Errorf("error %v, want ErrUnknown and delivery_timeout", err)
	}
	if took := time.Since(begun); took < 300*time.Millisecond || took > patience/2 {
		t.Errorf("it took %v, want 400 to 450 ms", took)
	}
	close(hold)
	getsThrough(t, p, driver.Record{Stream: "s"}) // the record after it
}

// A record that has never left is known not to be written.
func TestNeverSent(t *testing.T) {
	c := open(t, url([]string{"127.0.0.1:1"}, "delivery_timeout=300ms"), Options{})
	p := producerOf(t, c, driver.ProducerConfig{})
	for ctx := within(t); ; {
		_, err := sendOne(t, p, driver.Record{Stream: "s"})
		if !errors.Is(err, driver.ErrUnavailable) || errors.Is(err, driver.ErrUnknown) {
			t.Fatalf("error %v, want ErrUnavailable", err)
		}
		if strings.Contains(err.Error(), "127.0.0.1:1") {
			return
		}
		if ctx.Err() != nil { // on a busy machine the first were given up before a connection was refused
			t.Fatalf("error %v, want one that names 127.0.0.1:1", err)
		}
	}
}

// A producer that is opened before the broker is there sends when it is.
func TestStartBeforeTheBroker(t *testing.T) {
	first := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	addr := first.ListenAddrs()[0]
	_, port, _ := net.SplitHostPort(addr)
	first.Close()
	c := open(t, url([]string{addr}, ""), Options{})
	p := producerOf(t, c, driver.ProducerConfig{})
	done := make(chan error, 1)
	if err := p.Produce(t.Context(), driver.Record{Stream: "s", Value: []byte("early")}, func(_ driver.Receipt, err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(within(t)); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("Ping without a broker: %v", err)
	}
	var n int
	fmt.Sscan(port, &n)
	fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"), kfake.Ports(n))
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the record is not sent")
	}
	if err := c.Ping(within(t)); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

func TestUnknownStream(t *testing.T) {
	c := open(t, url(fake(t, kfake.NumBrokers(1)).ListenAddrs(), ""), Options{})
	for _, d := range []driver.Durability{driver.AtLeastOnce, driver.AtMostOnce} {
		_, err := sendOne(t, producerOf(t, c, driver.ProducerConfig{Durability: d}), driver.Record{Stream: "missing"})
		if !errors.Is(err, driver.ErrNotFound) || !strings.Contains(err.Error(), `no stream "missing"`) {
			t.Errorf("%v: error %v, want ErrNotFound", d, err)
		}
	}
}

// Records with a key go where the Java client's hash puts them, and records
// that name a shard go there, the others are spread.
func TestPartitioner(t *testing.T) {
	c := open(t, url(fake(t, kfake.NumBrokers(1), kfake.SeedTopics(8, "s")).ListenAddrs(), ""), Options{})
	p := producerOf(t, c, driver.ProducerConfig{})
	for key, want := range map[string]int32{"a": murmur2("a", 8), "key-17": murmur2("key-17", 8), "": murmur2("", 8)} {
		r, err := sendOne(t, p, driver.Record{Stream: "s", Key: []byte(key)})
		if err != nil || r.Index != want {
			t.Errorf("key %q went to shard %d, %v, want %d", key, r.Index, err, want)
		}
	}
	for i := range int32(8) {
		r, err := sendOne(t, p, driver.Record{Stream: "s", Key: []byte("a"), Shard: driver.On(i)})
		if err != nil || r.Index != i {
			t.Errorf("On(%d) went to shard %d, %v", i, r.Index, err)
		}
	}
	if _, err := sendOne(t, p, driver.Record{Stream: "s", Shard: driver.On(8)}); !errors.Is(err, driver.ErrNotFound) || !strings.Contains(err.Error(), "s[8]") {
		t.Errorf("On(8): error %v, want ErrNotFound of s[8]", err)
	}
}

// murmur2 is the hash of the Java client's DefaultPartitioner (Austin Appleby's
// MurmurHash2, 32 bits, seed 0x9747b28c), as its documentation gives it.
func murmur2(key string, n int32) int32 {
	const m, seed = 0x5bd1e995, 0x9747b28c
	h := uint32(seed) ^ uint32(len(key))
	b := []byte(key)
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h *= m
		h ^= k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return int32(h&0x7fffffff) % n
}

// Producing allocates no more for a message than franz-go's own batches do.
func TestProduceAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	server := startProcess(t) // whose allocations do not count
	server.create(t, "s", 1)
	c := open(t, url([]string{server.addr()}, "compression=none"), Options{})
	p := producerOf(t, c, driver.ProducerConfig{})
	value := make([]byte, 256)
	done := func(driver.Receipt, error) {}
	batch := func() {
		for range 20000 {
			if err := p.Produce(t.Context(), driver.Record{Stream: "s", Value: value}, done); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	batch()
	if per := testing.AllocsPerRun(3, batch) / 20000; per > 0.2 {
		t.Errorf("%.2f allocations a message, want at most 0.2", per)
	}
}

func TestAs(t *testing.T) {
	c := open(t, url([]string{"h"}, ""), Options{})
	var cl *kgo.Client
	var ping interface{ Ping(context.Context) error }
	var other *net.Dialer
	if !c.As(&cl) || cl == nil || !c.As(&ping) || ping == nil || c.As(&other) {
		t.Errorf("As gave %v, %v, %v", cl, ping, other)
	}
}

// Who waits for room gets what there is, also where most of the room is taken by
// records whose broker is away.
func TestRoomBesideHeld(t *testing.T) {
	const most = 100_000
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	p := producerOf(t, c, driver.ProducerConfig{MaxBytes: most}).(*producer)
	p.mu.Lock()
	p.inflight += most * 8 / 10
	p.mu.Unlock()
	t.Cleanup(func() {
		p.mu.Lock()
		p.inflight -= most * 8 / 10
		p.mu.Unlock()
	})
	ctx := within(t)
	for i := range 2000 { // which is more than there is room for
		if err := p.Produce(ctx, driver.Record{Stream: "s", Value: make([]byte, 100)}, func(driver.Receipt, error) {}); err != nil {
			t.Errorf("record %d: %v", i, err)
			break
		}
	}
}
