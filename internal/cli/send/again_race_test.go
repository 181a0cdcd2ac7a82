package send

import (
	"context"
	"strings"
	"sync"
	"testing"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// late is a backend that tells what became of records when it is flushed: of
// the first that it is not known, from a goroutine of its own.
type late struct {
	driver.Driver
	flushing, told chan struct{}

	mu    sync.Mutex
	n     int
	taken []func(driver.Receipt, error)
}

func (d *late) Producer(ctx context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	p, err := d.Driver.Producer(ctx, c)
	return &lateProducer{p, d}, err
}

type lateProducer struct {
	driver.Producer
	*late
}

func (p *lateProducer) Produce(_ context.Context, _ driver.Record, done func(driver.Receipt, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n++; p.n == 1 {
		go func() {
			done(driver.Receipt{}, errDoubt)
			close(p.told)
		}()
		return nil
	}
	p.taken = append(p.taken, done)
	return nil
}

func (p *lateProducer) Flush(context.Context) error {
	p.mu.Lock()
	taken := p.taken
	p.taken = nil
	first := p.flushing
	p.flushing = nil
	p.mu.Unlock()
	if first != nil {
		close(first)
	}
	<-p.told
	for _, done := range taken {
		done(driver.Receipt{}, nil)
	}
	return nil
}

// stalled is where warnings go: the first waits until the producer is flushed.
type stalled struct{ begun, until chan struct{} }

func (w *stalled) Write(b []byte) (int, error) {
	select {
	case <-w.begun:
	default:
		close(w.begun)
		<-w.until
	}
	return len(b), nil
}

// Whoever waits for the last outcomes while one comes that is not known waits
// for the record to be sent again, too.
func TestSettlingWaitsForARecordThatIsSentAgain(t *testing.T) {
	d, err := memory.Opener{}.Open(t.Context(), ss.URL{Scheme: "memory"})
	if err != nil {
		t.Fatal(err)
	}
	flushing := make(chan struct{})
	s := ss.New(&late{Driver: d, flushing: flushing, told: make(chan struct{})}, ss.Options{})
	o := &Options{In: "text", Frame: "lines", Delivery: "at-least", OnError: "fail", Oversize: "fail", Partial: "send", ToShard: -1}
	if err := o.Check(func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	p, err := s.Producer(t.Context(), o.Producer("s", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	w := &stalled{make(chan struct{}), flushing}
	sender := New(&iostreams.Streams{Err: w}, p, s.Features(), o)
	if err := sender.Run(t.Context(), strings.NewReader("a\n")); err != nil {
		t.Fatal(err)
	}
	<-w.begun // it is counted
	if err := sender.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := sender.acked.Load(); n != 1 {
		t.Errorf("%d records are acknowledged when all has settled, want 1", n)
	}
}
