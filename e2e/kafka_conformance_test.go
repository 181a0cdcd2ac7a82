//go:build unix

package e2e

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

// TestKafkaConformance runs the suite that runs on kfake on Apache Kafka.
func TestKafkaConformance(t *testing.T) {
	c, err := apachekafka.Start(t.Context(), apachekafka.Options{Properties: map[string]string{
		"log.message.timestamp.after.max.ms": "9223372036854775807", // the suite keeps times to come
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	admin, stop := kafkaAdmin(t, c)
	t.Cleanup(stop)
	drivertest.Run(t, drivertest.Harness{
		Open: func(t testing.TB) driver.Driver {
			return kafkaDriver(t, c.Brokers(), "?session_timeout=6s&metadata_age=500ms", kafka.Options{})
		},
		Create: func(t testing.TB, stream string, shards int) { kafkaCreate(t, admin, stream, shards) },
		Trim: func(t testing.TB, s driver.Shard, before driver.Seq) {
			var to kadm.Offsets
			to.AddOffset(s.Stream, s.Index, int64(before.Lo), -1)
			resp, err := admin.DeleteRecords(t.Context(), to)
			if err == nil {
				err = resp.Error()
			}
			if err != nil && !errors.Is(err, kerr.OffsetOutOfRange) {
				t.Fatal(err)
			}
		},
		LosePositions: func(t testing.TB, name string) { losePositions(t, c, name) },
		UnitsByGroup:  true,
		Foreign:       []string{"github.com/seastreamer/seastreamer/internal/testserver.run"},
		Restart: func(t testing.TB) {
			c.Kill(1)
			if err := c.Restart(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		},
	})
}

// kafkaAdmin is another client, for what tests do to the broker.
func kafkaAdmin(t testing.TB, c *apachekafka.Cluster, o ...kgo.Opt) (*kadm.Client, func()) {
	t.Helper()
	cl, err := kgo.NewClient(append(o, kgo.SeedBrokers(c.Brokers()...))...)
	if err != nil {
		t.Fatal(err)
	}
	return kadm.NewClient(cl), cl.Close
}

func kafkaCreate(t testing.TB, admin *kadm.Client, stream string, shards int) {
	t.Helper()
	if _, err := admin.CreateTopic(t.Context(), int32(shards), 1, nil, stream); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the broker leads all of "+stream, func() bool {
		ends, err := admin.ListEndOffsets(t.Context(), stream)
		return err == nil && ends.Error() == nil && len(ends[stream]) == shards
	})
}

func kafkaDriver(t testing.TB, brokers []string, query string, o kafka.Options) driver.Driver {
	t.Helper()
	u, err := driver.ParseBroker("kafka://" + brokers[0] + query)
	if err != nil {
		t.Fatal(err)
	}
	d, err := kafka.OpenDriver(context.Background(), u, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
