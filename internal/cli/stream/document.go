package stream

import (
	"time"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// doc is a stream as JSON. What was not asked for, or is not known, is left out.
type doc struct {
	Name      string            `json:"name"`
	Internal  bool              `json:"internal,omitempty"`
	Shards    int               `json:"shards"`
	Messages  *int64            `json:"messages,omitempty"`
	Estimated bool              `json:"estimated,omitempty"`
	Bytes     *int64            `json:"bytes,omitempty"`
	Newest    *time.Time        `json:"newest,omitempty"`
	Settings  map[string]string `json:"settings,omitempty"`
	Config    []any             `json:"config,omitempty"`
	Each      []shardDoc        `json:"each,omitempty"`
	Error     string            `json:"error,omitempty"`
}

type shardDoc struct {
	Shard    int32       `json:"shard"`
	First    *driver.Seq `json:"first,omitempty"`
	Next     *driver.Seq `json:"next,omitempty"`
	Messages *int64      `json:"messages,omitempty"`
	Bytes    *int64      `json:"bytes,omitempty"`
	Oldest   *time.Time  `json:"oldest,omitempty"`
	Newest   *time.Time  `json:"newest,omitempty"`
	Leader   string      `json:"leader,omitempty"`
	Replicas []string    `json:"replicas,omitempty"`
	InSync   []string    `json:"in_sync,omitempty"`
}

func document(in admin.StreamInfo, d admin.Detail) doc {
	out := doc{Name: in.Name, Internal: in.Internal, Shards: len(in.Shards), Error: listing.ErrorText(in.Err)}
	if n := admin.Messages(in); d.Has(driver.DetailBounds) {
		out.Messages, out.Estimated = listing.Known(n.N), n.Estimated
	}
	if d.Has(driver.DetailBytes) {
		out.Bytes = listing.Known(admin.Bytes(in))
	}
	out.Newest = listing.When(newest(in))
	for _, s := range admin.List(in.Settings) {
		if out.Settings == nil {
			out.Settings = make(map[string]string)
		}
		out.Settings[s.Name] = s.Value
	}
	for _, e := range in.Config {
		out.Config = append(out.Config, listing.ConfigDoc(e))
	}
	return out
}

// whole is the document with each shard.
func whole(in admin.StreamInfo, d admin.Detail) doc {
	out := document(in, d)
	for _, sh := range in.Shards {
		d := shardDoc{Shard: sh.Index, Messages: listing.Known(sh.Messages.N),
			Bytes: listing.Known(sh.Bytes), Oldest: listing.When(sh.FirstTime), Newest: listing.When(sh.LastTime), Leader: sh.Leader, Replicas: sh.Replicas, InSync: sh.InSync}
		if b := bounds(in, sh); b != nil {
			d.First, d.Next = &b.First, &b.Next
		}
		out.Each = append(out.Each, d)
	}
	return out
}
