package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func ownerForTest(t testing.TB, url string, oc driver.OwnerConfig) driver.Owner {
	t.Helper()
	o, err := open(t, url, Options{}).Owner(t.Context(), oc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := o.Close(ctx); err != nil {
			t.Errorf("close the owner: %v", err)
		}
	})
	return o
}

// pos is a position in a shard.
func pos(stream string, index int32, lo uint64) driver.Position {
	return driver.Position{Shard: driver.Shard{Stream: stream, Index: index}, Next: driver.Seq{Lo: lo}}
}

func claim(t testing.TB, o driver.Owner, at ...driver.Position) []driver.Position {
	t.Helper()
	got, err := o.Claim(t.Context(), at)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return got
}

// unit commits records to streams, written stream=value, and a move of in[0].
func unit(t testing.TB, o driver.Owner, from, to uint64, records ...string) error {
	t.Helper()
	tx, err := o.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		stream, value, _ := strings.Cut(r, "=")
		if err := tx.Produce(t.Context(), driver.Record{Stream: stream, Value: []byte(value)}); err != nil {
			t.Fatalf("produce %s: %v", r, err)
		}
	}
	return tx.Commit(t.Context(), []driver.Move{moved(0, from, to)})
}

func moved(index int32, from, to uint64) driver.Move {
	return driver.Move{Shard: driver.Shard{Stream: "in", Index: index}, From: driver.Seq{Lo: from}, To: driver.Seq{Lo: to}}
}

// values are the values of a key's entries.
func values(t testing.TB, r *redistest.Servers, node int, key string) []string {
	t.Helper()
	words := strings.Fields(r.Call(t, node, "XRANGE", key, "-", "+"))
	got := []string{}
	for i := 2; i < len(words); i += 3 {
		got = append(got, words[i])
	}
	return got
}

func wantValues(t testing.TB, r *redistest.Servers, node int, key string, want ...string) {
	t.Helper()
	if d := cmp.Diff(append([]string{}, want...), values(t, r, node, key)); d != "" {
		t.Errorf("%s (-want +got):\n%s", key, d)
	}
}

func wantKind(t testing.TB, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than a line: %v", what, err)
	}
}

// sole is a fresh owner that shares with nobody.
func sole(t *testing.T, r *redistest.Servers) driver.Owner {
	t.Helper()
	return ownerForTest(t, r.URL(), driver.OwnerConfig{Name: "job"})
}
