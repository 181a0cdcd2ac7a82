package drivertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// Records that fail keep their turn among those that do not, and Flush waits
// for them too.
func TestFaultsKeepsTheOrder(t *testing.T) {
	plan := func(op Op, n int) Fault {
		switch {
		case op != OpProduce:
			return Fault{}
		case n%5 == 0:
			return Fault{Err: errInjected}
		case n%7 == 0:
			return Fault{Err: driver.ErrUnknown, Late: true}
		case n%11 == 0:
			return Fault{Err: errInjected, Refused: true}
		}
		return Fault{}
	}
	ctx := context.Background()
	d := Faults(memory.NewStore().Driver(memory.Options{}), plan)
	p, err := d.Producer(ctx, driver.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 2000
	var got, want []string // done is called by one goroutine at a time
	for i := 1; i <= n; i++ {
		err := p.Produce(ctx, driver.Record{Stream: "s", Value: []byte("x")}, func(_ driver.Receipt, err error) {
			got = append(got, fmt.Sprint(i, err))
		})
		f := plan(OpProduce, i)
		if f.Refused != (err != nil) {
			t.Fatalf("record %d: Produce returns %v, planned is %+v", i, err, f)
		}
		if !f.Refused {
			want = append(want, fmt.Sprint(i, f.Err))
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("outcomes %.500v, want %.500v", got, want)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	bounds, err := d.Bounds(ctx, []string{"s"})
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for i := 1; i <= n; i++ {
		if f := plan(OpProduce, i); f.Err == nil || f.Late {
			written++
		}
	}
	if b := bounds[driver.Shard{Stream: "s"}]; b.Next != driver.SeqOf(uint64(written)) {
		t.Errorf("%v records were written, want %d", b.Next, written)
	}
}

// A call that waits returns when its context ends.
func TestFaultsWaits(t *testing.T) {
	hold := make(chan struct{})
	d := Faults(memory.NewStore().Driver(memory.Options{}), Nth(OpBounds, 1, Fault{Wait: hold}))
	cause := errors.New("no more patience")
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error)
	go func() {
		_, err := d.Bounds(ctx, []string{"s"})
		ended <- err
	}()
	cancel(cause)
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("a call that waited: %v, want %v", err, cause)
	}
	if _, err := d.Bounds(context.Background(), []string{"s"}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("the next call: %v, want ErrNotFound", err)
	}
}

// done may send another record, also one that is refused at once.
func TestFaultsSendsFromDone(t *testing.T) {
	ctx := context.Background()
	d := Faults(memory.NewStore().Driver(memory.Options{MaxRecord: 10}), func(Op, int) Fault { return Fault{} })
	p, err := d.Producer(ctx, driver.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 1)
	err = p.Produce(ctx, driver.Record{Stream: "s", Value: []byte("small")}, func(driver.Receipt, error) {
		refused <- p.Produce(ctx, driver.Record{Stream: "s", Value: make([]byte, 11)}, func(driver.Receipt, error) {
			t.Error("done of a record that was not taken")
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-refused:
		if !errors.Is(err, driver.ErrTooLarge) {
			t.Errorf("Produce: %v, want ErrTooLarge", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Produce within done does not return")
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
