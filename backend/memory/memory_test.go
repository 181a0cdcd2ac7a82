package memory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// sendAndEnd sends values 0 … n-1 and returns the bound of the only shard.
func sendAndEnd(t *testing.T, d driver.Driver, stream string, n int) driver.Bound {
	t.Helper()
	ctx := t.Context()
	s := seastreamer.New(d, seastreamer.Options{})
	p, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: stream})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := p.Enqueue(ctx, driver.Record{Value: fmt.Append(nil, i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	bounds, err := d.Bounds(ctx, []string{stream})
	if err != nil {
		t.Fatal(err)
	}
	return bounds[driver.Shard{Stream: stream}]
}

func TestRetainKeepsTheLast(t *testing.T) {
	d := memory.NewStore().Driver(memory.Options{Retain: 700})
	got := sendAndEnd(t, d, "s", 5000)
	if want := (driver.Bound{First: driver.SeqOf(4300), Next: driver.SeqOf(5000)}); got != want {
		t.Fatalf("bound %v, want %v", got, want)
	}
	s := seastreamer.New(d, seastreamer.Options{})
	defer s.Close(context.Background())
	end, err := s.End(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Consumer(t.Context(), seastreamer.ConsumerConfig{Streams: []string{"s"}, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		t.Fatal(err)
	}
	next := 4300
	for m, err := range c.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(m.Value()), fmt.Sprint(next); got != want {
			t.Fatalf("message %v is %s, want %s", m.Seq(), got, want)
		}
		next++
	}
	if next != 5000 {
		t.Errorf("the last message was %d, want 4999", next-1)
	}
}

func TestNamesAreStores(t *testing.T) {
	open := func(url string) driver.Driver {
		t.Helper()
		u, err := driver.ParseBroker(url)
		if err != nil {
			t.Fatal(err)
		}
		d, err := memory.Opener{}.Open(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	sendAndEnd(t, open("memory://shared-by-name?shards=3"), "s", 1)
	bounds, err := open("memory://shared-by-name").Bounds(t.Context(), []string{"s"})
	if err != nil || len(bounds) != 3 {
		t.Errorf("bounds in another client of the store: %v, %v, want three shards", bounds, err)
	}
	for _, url := range []string{"memory://", "memory://another"} {
		if _, err := open(url).Bounds(t.Context(), []string{"s"}); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("%s has the stream of another store: error %v", url, err)
		}
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	for url, want := range map[string]string{
		"memory://a,b":         "one name",
		"memory://me:pw@a":     "without a user",
		"memory://a?shard=3":   "known are ack_timeout, max_record, retain, shards",
		"memory://a?shards=-1": "whole number",
		"memory://a/stream":    "names a stream",
	} {
		_, err := memory.Open(t.Context(), url, memory.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%s: error %v, want ErrInvalid with %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: the error %v shows the password", url, err)
		}
	}
}

func TestAsIsTheStore(t *testing.T) {
	store := memory.NewStore()
	s := seastreamer.New(store.Driver(memory.Options{}), seastreamer.Options{})
	if got, ok := seastreamer.As[*memory.Store](s); !ok || got != store {
		t.Errorf("As[*memory.Store] is %p, %v, want %p", got, ok, store)
	}
	if _, ok := seastreamer.As[*testing.T](s); ok {
		t.Error("As has found a *testing.T")
	}
}

func TestCreateTwice(t *testing.T) {
	store := memory.NewStore()
	if err := store.Create("s", memory.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := store.Create("s", memory.Options{}); !errors.Is(err, driver.ErrExists) {
		t.Errorf("Create of what there is: %v, want ErrExists", err)
	}
	if err := store.Create("..", memory.Options{}); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("Create of a stream named ..: %v, want ErrInvalid", err)
	}
	if err := store.Trim(driver.Shard{Stream: "s", Index: 4}, driver.SeqOf(1)); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("Trim of a shard that there is not: %v, want ErrNotFound", err)
	}
}
