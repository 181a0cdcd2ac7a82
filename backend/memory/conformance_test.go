package memory_test

import (
	"testing"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.MemoryHarness(memory.NewStore()))
}
