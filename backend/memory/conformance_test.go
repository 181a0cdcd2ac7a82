package memory_test

import (
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.MemoryHarness(memory.NewStore()))
}

// The read path costs a few allocations for each batch of 512 messages.
func TestReadingAllocatesNothingPerMessage(t *testing.T) {
	drivertest.CheckAllocs(t, drivertest.MemoryHarness(memory.NewStore()), 0.05)
}

func Benchmark(b *testing.B) {
	drivertest.Bench(b, drivertest.MemoryHarness(memory.NewStore()))
}

func TestConformanceWithVerdicts(t *testing.T) {
	store := memory.NewStore()
	h := drivertest.MemoryHarness(store)
	opens := func(ackTimeout time.Duration) func(testing.TB) driver.Driver {
		return func(testing.TB) driver.Driver { return store.Driver(memory.Options{AckTimeout: ackTimeout}) }
	}
	h.Open, h.Hasty = opens(time.Minute), opens(time.Second)
	drivertest.Run(t, h)
}
