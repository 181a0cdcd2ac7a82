package group

import (
	"testing"

	ss "github.com/seastreamer/seastreamer"
)

func TestShardList(t *testing.T) {
	on := func(stream string, index ...int32) (all []ss.Shard) {
		for _, i := range index {
			all = append(all, ss.Shard{Stream: stream, Index: i})
		}
		return all
	}
	for want, shards := range map[string][]ss.Shard{
		"":                         nil,
		"news[0]":                  on("news", 0),
		"news[0-3,7]":              on("news", 0, 1, 2, 3, 7),
		"news[1,3,5-6] sport[6-7]": append(on("news", 1, 3, 5, 6), on("sport", 6, 7)...),
		"a[0] b[1] c[2]":           append(append(on("a", 0), on("b", 1)...), on("c", 2)...),
	} {
		if got := shardList(shards); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
