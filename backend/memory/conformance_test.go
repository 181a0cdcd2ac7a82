package memory_test

import (
	"testing"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

func TestConformance(t *testing.T) {
	store := memory.NewStore()
	drivertest.Run(t, drivertest.Harness{
		Open: func(testing.TB) driver.Driver { return store.Driver(memory.Options{}) },
		Create: func(t testing.TB, stream string, shards int) {
			if err := store.Create(stream, memory.Options{Shards: shards}); err != nil {
				t.Fatal(err)
			}
		},
		Trim: func(t testing.TB, shard driver.Shard, before driver.Seq) {
			if err := store.Trim(shard, before); err != nil {
				t.Fatal(err)
			}
		},
	})
}
