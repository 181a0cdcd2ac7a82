package redis

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// Of several who create a stream of a cluster at the same moment one does: to
// the others it exists.
func TestCreateStreamTogether(t *testing.T) {
	t.Parallel()
	r := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient})
	const creators = 3
	var clients [creators]*client
	for i := range clients {
		clients[i] = open(t, r.URL(), Options{})
	}
	for round := range 50 {
		name := fmt.Sprint("s", round, "x")
		var errs [creators]error
		var all sync.WaitGroup
		for i, c := range clients {
			all.Go(func() { errs[i] = c.CreateStream(t.Context(), driver.StreamSpec{Name: name, Shards: 6}) })
		}
		all.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else if !errors.Is(err, driver.ErrExists) {
				t.Error(err)
			}
		}
		if l, err := clients[0].discover(t.Context(), name); err != nil || made != 1 || len(l.shards) != 6 {
			t.Fatalf("round %d: %q have made it, and it has %d shards, %v", round, errs, len(l.shards), err)
		}
	}
}
