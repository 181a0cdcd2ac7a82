package kafka

import (
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

// The same suite runs on Apache Kafka in e2e.
func TestConformance(t *testing.T) {
	server := startProcess(t)
	mute := silent(t)
	opens := func(addr string) func(testing.TB) driver.Driver {
		return func(t testing.TB) driver.Driver {
			d, err := OpenDriver(t.Context(), url([]string{addr}, "session_timeout=6s&metadata_age=200ms"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	drivertest.Run(t, drivertest.Harness{
		Open:    opens(server.addr()),
		Create:  server.create,
		Trim:    server.trim,
		Restart: server.restart,
		Stall:   opens(mute),

		LosePositions: server.losePositions,
		UnitsByGroup:  true,
	})
}
