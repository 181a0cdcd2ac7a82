package drivertest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// A backend may say at any time that a Fetch is to be tried again, with what it has
// or without: no case takes that for a defect.
func TestTemporaryTroubleOfFetchIsNoDefect(t *testing.T) {
	plan := func(op Op, n int) Fault {
		if op != OpFetch || n%3 != 1 {
			return Fault{}
		}
		return Fault{Err: driver.Errorf(driver.ErrUnavailable, "read", "the leader moves"), Late: n%2 == 0}
	}
	for name, o := range map[string]memory.Options{"positions": {}, "verdicts": {AckTimeout: time.Minute}} {
		store := memory.NewStore()
		opens := func(o memory.Options) func(testing.TB) driver.Driver {
			return func(testing.TB) driver.Driver { return Faults(store.Driver(o), plan) }
		}
		h := MemoryHarness(store)
		h.Patience = 10 * time.Second
		h.Open, h.Hasty = opens(o), opens(memory.Options{AckTimeout: min(o.AckTimeout, time.Second)})
		f := h.look(t)
		for _, c := range Cases() {
			if c.Needs != nil && c.Needs(f, h) != "" ||
				c.Topic == "faults" || c.Topic == "leak" { // these count calls, and the goroutines of all tests
				continue
			}
			t.Run(name+"/"+c.Topic+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					if passed, log := record(t, h, c); !passed {
						t.Error(log)
					}
				})
			})
		}
	}
}

// A reader that ends its Fetch for a Seek may get a gap with it, which no later
// Fetch tells again.
func TestAReaderKeepsTheGapOfAFetchThatItEnds(t *testing.T) {
	r := (&T{TB: t}).Reader(nil, nil)
	gap := &driver.GapError{Shard: driver.Shard{Stream: "s"}, To: driver.SeqOf(3)}
	if !r.take(nil, gap, true) || len(r.Gaps()) != 1 || r.Gaps()[0] != gap {
		t.Errorf("gaps %v, want %v", r.Gaps(), gap)
	}
}

// What fails within Within ends the case, as it does elsewhere: the case does not go
// on with what it has not got.
func TestAFailureWithinEndsTheCase(t *testing.T) {
	passed, log := record(t, MemoryHarness(memory.NewStore()), Case{Name: "fails", Run: func(t *T) {
		t.H.Patience = time.Minute
		t.Within("this", func() { t.Fatalf("it fails") })
		t.Errorf("the case goes on")
	}})
	if passed || !strings.Contains(log, "it fails") || strings.Contains(log, "goes on") {
		t.Errorf("passed: %v, %s", passed, log)
	}
}
