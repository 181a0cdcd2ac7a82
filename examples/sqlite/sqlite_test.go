package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

// harness reaches a new file.
func harness(t testing.TB) drivertest.Harness {
	file := filepath.Join(t.TempDir(), "100% of it?.db") // what the name of a database has to escape
	open := func(t testing.TB) store {
		d, err := Opener.Open(t.Context(), driver.URL{Scheme: "sqlite+file", Nodes: []string{file}})
		if err != nil {
			t.Fatal(err)
		}
		return d.(store)
	}
	exec := func(t testing.TB, query string, args ...any) {
		s := open(t)
		defer s.Close(t.Context())
		if _, err := s.db.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	return drivertest.Harness{
		Open:   func(t testing.TB) driver.Driver { return open(t) },
		Create: func(t testing.TB, stream string, _ int) { exec(t, `INSERT INTO streams VALUES (?, 0)`, stream) },
		Trim: func(t testing.TB, shard driver.Shard, before driver.Seq) {
			exec(t, `DELETE FROM messages WHERE stream = ? AND seq < ?`, shard.Stream, before.Lo)
		},
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, harness(t)) }

// The database may be locked for longer than a producer is given to close:
// what it has not written is given up, and said to be unknown.
func TestCloseWhileLocked(t *testing.T) {
	h := harness(t)
	d, other := h.Open(t).(store), h.Open(t).(store)
	defer d.Close(t.Context())
	defer other.Close(t.Context())
	tx, err := other.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	p, err := d.Producer(t.Context(), driver.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	settled := make(chan error, 1)
	if err := p.Produce(t.Context(), driver.Record{Stream: "news"}, func(_ driver.Receipt, err error) { settled <- err }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: got error %v, want %v", err, context.Canceled)
	}
	if err := <-settled; !errors.Is(err, driver.ErrUnknown) {
		t.Errorf("the record: got error %v, want %v", err, driver.ErrUnknown)
	}
}
