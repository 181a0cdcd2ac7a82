package admin_test

import (
	"errors"
	"testing"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
)

// at is a sample of a group on one shard whose numbers count.
func at(second int, next, end uint64) admin.LagSample {
	return admin.LagSample{Time: time.Unix(int64(second), 0), Lag: admin.Lag{Group: "g", Shards: []admin.ShardLag{shardAt("news", next, end)}}}
}

func shardAt(stream string, next, end uint64) admin.ShardLag {
	return admin.ShardLag{Shard: ss.Shard{Stream: stream}, Next: ss.SeqOf(next), End: ss.SeqOf(end), Messages: admin.Count{N: int64(end - next)}}
}

// ids is one on a backend whose numbers are times, as on Redis.
func ids(second int, end uint64, behind, added int64) admin.LagSample {
	s := admin.ShardLag{Shard: ss.Shard{Stream: "news"}, End: ss.Seq{Hi: end}, Messages: admin.Count{N: behind}, Added: added}
	return admin.LagSample{Time: time.Unix(int64(second), 0), Lag: admin.Lag{Shards: []admin.ShardLag{s}}}
}

func TestTrend(t *testing.T) {
	failed, added := at(0, 0, 100), at(10, 100, 200)
	failed.Err = errors.New("no")
	added.Shards = append(added.Shards, shardAt("new", 0, 1_000_000))
	for _, test := range []struct {
		name    string
		samples []admin.LagSample
		want    admin.Trend
	}{
		{"none", nil, admin.Trend{Direction: admin.Unknown, Produced: -1, Consumed: -1, CatchUp: -1}},
		{"one", []admin.LagSample{at(0, 10, 20)}, admin.Trend{Direction: admin.Unknown, Produced: -1, Consumed: -1, CatchUp: -1}},
		{"one that is done", []admin.LagSample{at(0, 20, 20)}, admin.Trend{Direction: admin.Unknown, Produced: -1, Consumed: -1, CatchUp: 0}},
		{"two at one time", []admin.LagSample{at(0, 10, 20), at(0, 10, 20)}, admin.Trend{Direction: admin.Unknown, Produced: -1, Consumed: -1, CatchUp: -1}},
		{"one that failed", []admin.LagSample{failed, at(1, 0, 1)}, admin.Trend{Direction: admin.Unknown, Produced: -1, Consumed: -1, CatchUp: -1}},
		{"keeps up", []admin.LagSample{at(0, 0, 0), at(10, 1000, 1000)}, admin.Trend{Direction: admin.Steady, Produced: 100, Consumed: 100, CatchUp: 0}},
		{"as far behind", []admin.LagSample{at(0, 0, 50), at(10, 1000, 1055)}, admin.Trend{Direction: admin.Steady, Produced: 100.5, Consumed: 100, CatchUp: -1}},
		{"stands still", []admin.LagSample{at(0, 5, 10), at(10, 5, 10)}, admin.Trend{Direction: admin.Steady, CatchUp: -1}},
		{"nobody reads", []admin.LagSample{at(0, 0, 0), at(10, 0, 1000)}, admin.Trend{Direction: admin.Growing, Produced: 100, CatchUp: -1}},
		{"catches up", []admin.LagSample{at(0, 0, 1000), at(10, 600, 1100)}, admin.Trend{Direction: admin.Shrinking, Produced: 10, Consumed: 60, CatchUp: 10 * time.Second}},
		{"the last of three counts", []admin.LagSample{at(0, 0, 1000), at(5, 0, 5000), at(10, 600, 1100)}, admin.Trend{Direction: admin.Shrinking, Produced: 10, Consumed: 60, CatchUp: 10 * time.Second}},
		{"moved back", []admin.LagSample{at(0, 900, 1000), at(10, 0, 1000)}, admin.Trend{Direction: admin.Growing, CatchUp: -1}},
		{"a stream that is new to it", []admin.LagSample{at(0, 100, 200), added}, admin.Trend{Direction: admin.Steady, CatchUp: -1}},
		{"ids", []admin.LagSample{ids(0, 1700000000000, 500, 0), ids(10, 1700000010000, 400, 0)}, admin.Trend{Direction: admin.Shrinking, Produced: -1, Consumed: -1, CatchUp: 40 * time.Second}},
		{"ids with a count", []admin.LagSample{ids(0, 1700000000000, 500, 5000), ids(10, 1700000010000, 400, 6000)}, admin.Trend{Direction: admin.Shrinking, Produced: 100, Consumed: 110, CatchUp: 40 * time.Second}},
		{"not known", []admin.LagSample{ids(0, 1, 500, 0), ids(10, 2, -1, 0)}, admin.Trend{Direction: admin.Unknown, Produced: -1, Consumed: -1, CatchUp: -1}},
	} {
		if got := admin.TrendOf(test.samples...); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
