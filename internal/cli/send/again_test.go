package send

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// doubtful is a backend that loses the outcome of every nth record: of half of
// those after writing it, and of the others before.
type doubtful struct {
	driver.Driver
	every int
}

func (d doubtful) Producer(ctx context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	p, err := d.Driver.Producer(ctx, c)
	return &doubtfulProducer{Producer: p, every: d.every}, err
}

type doubtfulProducer struct {
	driver.Producer
	every int
	n     atomic.Int64
}

var errDoubt = &driver.Error{Kind: driver.ErrUnknown, Err: errors.New("the reply was lost")}

func (p *doubtfulProducer) Produce(ctx context.Context, r driver.Record, done func(driver.Receipt, error)) error {
	n := int(p.n.Add(1))
	switch {
	case n%(2*p.every) == 0:
		return p.Producer.Produce(ctx, r, func(driver.Receipt, error) { done(driver.Receipt{}, errDoubt) })
	case n%p.every == 0:
		r.Stream = "lost"
		return p.Producer.Produce(ctx, r, func(driver.Receipt, error) { done(driver.Receipt{}, errDoubt) })
	}
	return p.Producer.Produce(ctx, r, done)
}

// run sends lines over a doubtful backend and returns what is in the stream.
func run(t *testing.T, every int, lines, delivery string) (got map[string]int, said string, err error) {
	t.Helper()
	d, err := memory.Opener{}.Open(t.Context(), ss.URL{Scheme: "memory"})
	if err != nil {
		t.Fatal(err)
	}
	s := ss.New(doubtful{d, every}, ss.Options{})
	defer s.Close(context.Background())
	o := &Options{In: "text", Frame: "lines", Delivery: delivery, OnError: "fail", Oversize: "fail", Partial: "send", ToShard: -1}
	if err := o.Check(func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	p, err := s.Producer(t.Context(), o.Producer("s", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	sender := New(&iostreams.Streams{Err: &errs}, p, s.Features(), o)
	err = sender.Run(t.Context(), strings.NewReader(lines))
	err = exit.Join(err, sender.Finish(t.Context()))
	got = map[string]int{}
	end, e := s.End(t.Context(), "s")
	if e != nil {
		t.Fatal(e)
	}
	k, e := s.Consumer(t.Context(), ss.ConsumerConfig{Streams: []string{"s"}, Start: ss.Earliest, Until: end})
	if e != nil {
		t.Fatal(e)
	}
	for m, e := range k.Messages(t.Context()) {
		if e != nil {
			t.Fatal(e)
		}
		got[string(m.Value())]++
	}
	return got, errs.String(), err
}

// A record whose outcome is not known is sent again, said so, and not lost.
func TestSentAgain(t *testing.T) {
	const n = 500
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "line %d\n", i)
	}
	for _, every := range []int{5, 7, 100} {
		got, said, err := run(t, every, lines.String(), "at-least")
		if err != nil {
			t.Errorf("every %d: %v", every, err)
		}
		twice := 0
		for i := range n {
			k := got[fmt.Sprintf("line %d", i)]
			if k == 0 {
				t.Fatalf("every %d: line %d is missing", every, i)
			}
			twice += k - 1
		}
		if twice == 0 || len(got) != n {
			t.Errorf("every %d: %d doubles and %d lines", every, twice, len(got))
		}
		if strings.Count(said, "warning: ") != 2 || !strings.Contains(said, "the reply was lost: such records are sent again, and may be there twice") ||
			!strings.Contains(said, "times, as an outcome was not known: records may be there twice") {
			t.Errorf("every %d: said %q", every, said)
		}
	}
}

// A broker that never says what became of a record does not get it for ever.
func TestSentAgainEnds(t *testing.T) {
	got, _, err := run(t, 1, "x\n", "at-least")
	if e := exit.From(err); e == nil || e.Code != exit.Incomplete || !strings.Contains(e.Error(), "1 record of 1 not acknowledged (1 may have been written)") {
		t.Error(err)
	}
	if got["x"] != maxTries/2 { // every other was written
		t.Errorf("got %v", got)
	}
}

// With other promises it is the end.
func TestNotSentAgain(t *testing.T) {
	got, said, err := run(t, 2, "1\n2\n", "exactly")
	if e := exit.From(err); e == nil || e.Code != exit.Incomplete || !strings.Contains(e.Error(), "1 record of 2 not acknowledged (1 may have been written)") {
		t.Errorf("%v, said %q", err, said)
	}
	if len(got) != 1 {
		t.Errorf("got %v", got)
	}
}
