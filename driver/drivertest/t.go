package drivertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// T is what a case works with. Its methods fail the case when something does
// not work within the harness's patience.
type T struct {
	testing.TB
	H Harness
	F driver.Features

	name      string
	ownerName string // of OwnerName, once it was asked for
	driver    driver.Driver
	streamer  *seastreamer.Streamer
	writer    *Writer

	mu   sync.Mutex
	ends []func()
}

// run makes the names of this process unlike those of others on one broker.
var run = fmt.Sprintf("t%06x", rand.N(1<<24))

var named atomic.Int64

// Name is a name for a stream or a group that nothing has yet.
func (t *T) Name() string {
	return fmt.Sprintf("%s-%d-%s", run, named.Add(1), strings.NewReplacer(" ", "-", "'", "").Replace(t.name)) // names that Kafka takes
}

// Ctx is a context for one call: it ends when the harness's patience does.
func (t *T) Ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), t.H.Patience)
	t.end(cancel)
	return ctx
}

// end has f run after the case, the last first.
func (t *T) end(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends = append(t.ends, f)
}

func (t *T) close() {
	for {
		t.mu.Lock()
		n := len(t.ends) - 1
		if n < 0 {
			t.mu.Unlock()
			return
		}
		f := t.ends[n]
		t.ends = t.ends[:n]
		t.mu.Unlock()
		f()
	}
}

// Open is another client of the backend.
func (t *T) Open() driver.Driver {
	t.Helper()
	d := t.H.Open(t.TB)
	t.closeAtEnd("driver", d.Close)
	return d
}

func (t *T) closeAtEnd(what string, f func(context.Context) error) {
	t.end(func() {
		if err := f(t.Ctx()); err != nil {
			t.Errorf("close the %s: %v", what, err)
		}
	})
}

// Driver is the client that the methods of T use.
func (t *T) Driver() driver.Driver {
	t.Helper()
	if t.driver == nil {
		t.driver = t.Open()
	}
	return t.driver
}

// Stream is a new stream with so many shards.
func (t *T) Stream(shards int) string {
	t.Helper()
	name := t.Name()
	t.H.Create(t.TB, name, shards)
	return name
}

// A Writer sends through one producer.
type Writer struct {
	driver.Producer
	t *T
}

// Producer opens a producer.
func (t *T) Producer(c driver.ProducerConfig) *Writer {
	t.Helper()
	p, err := t.Driver().Producer(t.Ctx(), c)
	if err != nil {
		t.Fatalf("Producer(%+v): %v", c, err)
	}
	t.closeAtEnd("producer", p.Close)
	return &Writer{p, t}
}

// Writer is the producer that Send uses.
func (t *T) Writer() *Writer {
	t.Helper()
	if t.writer == nil {
		t.writer = t.Producer(driver.ProducerConfig{})
	}
	return t.writer
}

// Send sends values to a stream, without keys, and waits for the receipts.
func (t *T) Send(stream string, values ...string) []driver.Receipt {
	t.Helper()
	recs := make([]driver.Record, len(values))
	for i, v := range values {
		recs[i] = driver.Record{Stream: stream, Value: []byte(v)}
	}
	return t.Writer().Send(recs...)
}

// Outcome is what done was called with.
type Outcome struct {
	Receipt driver.Receipt
	Err     error
}

// Try sends records without waiting in between and returns what became of
// each. An error of Produce is an outcome too.
func (w *Writer) Try(recs ...driver.Record) []Outcome {
	w.t.Helper()
	outcomes := make([]Outcome, len(recs))
	calls := make([]int, len(recs))
	var mu sync.Mutex
	var open sync.WaitGroup
	for i, r := range recs {
		open.Add(1)
		done := func(rc driver.Receipt, err error) {
			mu.Lock()
			calls[i]++
			first := calls[i] == 1
			outcomes[i] = Outcome{rc, err}
			mu.Unlock()
			if first {
				open.Done()
			}
		}
		if err := w.Produce(w.t.Ctx(), r, done); err != nil {
			done(driver.Receipt{}, err)
		}
	}
	w.t.Within("the receipts", open.Wait)
	mu.Lock()
	defer mu.Unlock()
	for i, n := range calls {
		if n > 1 {
			w.t.Errorf("record %d has %d outcomes, calls of done and errors of Produce", i, n)
		}
	}
	return outcomes
}

// Send sends records and returns their receipts.
func (w *Writer) Send(recs ...driver.Record) []driver.Receipt {
	w.t.Helper()
	receipts := make([]driver.Receipt, len(recs))
	for i, o := range w.Try(recs...) {
		if o.Err != nil {
			w.t.Fatalf("send record %d of %d: %v", i, len(recs), o.Err)
		}
		receipts[i] = o.Receipt
	}
	return receipts
}

// Within runs f and fails if it takes longer than the patience. A goroutine
// that hangs is left behind then.
func (t *T) Within(what string, f func()) {
	t.Helper()
	ended := make(chan struct{})
	returned := false
	go func() {
		defer close(ended)
		f()
		returned = true
	}()
	select {
	case <-ended:
		if !returned { // it has failed the case
			t.FailNow()
		}
	case <-time.After(t.H.Patience):
		t.Fatalf("%s: did not come within %v", what, t.H.Patience)
	}
}

// Eventually asks until ok or the patience ends. It is for what only asking
// tells, such as metadata that servers spread.
func (t *T) Eventually(what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(t.H.Patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, t.H.Patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Bound is the bound of one shard.
func (t *T) Bound(stream string, shard int32) driver.Bound {
	t.Helper()
	all, err := t.Driver().Bounds(t.Ctx(), []string{stream})
	if err != nil {
		t.Fatalf("Bounds(%s): %v", stream, err)
	}
	b, ok := all[driver.Shard{Stream: stream, Index: shard}]
	if !ok {
		t.Fatalf("Bounds(%s) = %v, without shard %d", stream, all, shard)
	}
	return b
}

// Is fails unless errors.Is(err, kind).
func (t *T) Is(what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got error %v, want one that is %q", what, err, kind)
	}
}

// Equal fails unless the values are the same.
func Equal[V comparable](t *T, what string, got, want V) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
