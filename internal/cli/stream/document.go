package stream

import (
	"time"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
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
	Config    []config          `json:"config,omitempty"`
	Each      []shardDoc        `json:"each,omitempty"`
	Error     string            `json:"error,omitempty"`
}

type shardDoc struct {
	Shard    int32      `json:"shard"`
	First    driver.Seq `json:"first"`
	Next     driver.Seq `json:"next"`
	Messages *int64     `json:"messages,omitempty"`
	Bytes    *int64     `json:"bytes,omitempty"`
	Oldest   *time.Time `json:"oldest,omitempty"`
	Newest   *time.Time `json:"newest,omitempty"`
	Leader   string     `json:"leader,omitempty"`
	Replicas []string   `json:"replicas,omitempty"`
	InSync   []string   `json:"in_sync,omitempty"`
}

type config struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	Source   string `json:"source,omitempty"`
	ReadOnly bool   `json:"read_only,omitempty"`
	Secret   bool   `json:"secret,omitempty"`
}

func document(in admin.StreamInfo, d admin.Detail) doc {
	out := doc{Name: in.Name, Internal: in.Internal, Shards: len(in.Shards)}
	if in.Err != nil {
		out.Error = in.Err.Error()
	}
	if n := admin.Messages(in); d.Has(driver.DetailBounds) {
		out.Messages, out.Estimated = known(n.N), n.Estimated
	}
	if d.Has(driver.DetailBytes) {
		out.Bytes = known(admin.Bytes(in))
	}
	out.Newest = when(newest(in))
	for _, s := range admin.List(in.Settings) {
		if out.Settings == nil {
			out.Settings = make(map[string]string)
		}
		out.Settings[s.Name] = s.Value
	}
	for _, e := range in.Config {
		out.Config = append(out.Config, config(e))
	}
	return out
}

// whole is the document with each shard.
func whole(in admin.StreamInfo, d admin.Detail) doc {
	out := document(in, d)
	for _, sh := range in.Shards {
		out.Each = append(out.Each, shardDoc{Shard: sh.Index, First: sh.Bound.First, Next: sh.Bound.Next, Messages: known(sh.Messages.N),
			Bytes: known(sh.Bytes), Oldest: when(sh.FirstTime), Newest: when(sh.LastTime), Leader: sh.Leader, Replicas: sh.Replicas, InSync: sh.InSync})
	}
	return out
}

func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}
