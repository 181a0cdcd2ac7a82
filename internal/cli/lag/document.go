package lag

import (
	"time"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// doc is a group as JSON. What is not known is left out.
type doc struct {
	Time      time.Time `json:"time"`
	Group     string    `json:"group"`
	State     string    `json:"state,omitempty"`
	Messages  *int64    `json:"messages,omitempty"`
	Estimated bool      `json:"estimated,omitempty"`
	Age       float64   `json:"age_s"`
	Pending   int64     `json:"pending"`
	Trend     string    `json:"trend,omitempty"`
	Produced  *float64  `json:"produced_per_s,omitempty"`
	Consumed  *float64  `json:"consumed_per_s,omitempty"`
	CatchUp   *float64  `json:"catch_up_s,omitempty"`
	Each      []Shard   `json:"each,omitempty"`
	Error     string    `json:"error,omitempty"`
}

// A Shard is how far a group is behind on one, as JSON.
type Shard struct {
	Stream    string     `json:"stream"`
	Shard     int32      `json:"shard"`
	Next      driver.Seq `json:"next"`
	End       driver.Seq `json:"end"`
	Messages  *int64     `json:"messages,omitempty"`
	Estimated bool       `json:"estimated,omitempty"`
	Age       float64    `json:"age_s"`
	Pending   int64      `json:"pending"`
	Member    string     `json:"member,omitempty"`
}

func document(g group, shards bool) doc {
	n := g.Messages()
	d := doc{Time: g.Time.UTC(), Group: g.Group, State: g.State, Messages: listing.Known(n.N), Estimated: n.Estimated, Age: g.Age().Seconds(), Pending: g.Pending(),
		Trend: word(g.Direction), Produced: listing.Known(g.Produced), Consumed: listing.Known(g.Consumed), CatchUp: listing.Known(g.CatchUp.Seconds()), Error: listing.ErrorText(g.Err)}
	for _, s := range g.Shards {
		if shards {
			d.Each = append(d.Each, ShardOf(s))
		}
	}
	return d
}

// ShardOf is s as JSON.
func ShardOf(s admin.ShardLag) Shard {
	return Shard{Stream: s.Stream, Shard: s.Index, Next: s.Next, End: s.End, Messages: listing.Known(s.Messages.N), Estimated: s.Messages.Estimated,
		Age: s.Age.Seconds(), Pending: s.Pending, Member: s.Member}
}
