// Package all opens every backend that comes with SeaStreamer, by URL.
//
//	s, err := all.Open(ctx, os.Getenv("STREAMER_URI"))
//
// A program that uses it links all of them. One that knows which backend it
// wants calls that backend's own Open.
package all

import (
	"context"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/file"
	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/backend/redis"
)

// Registry is a new registry of every backend, to which others may be added.
func Registry() seastreamer.Registry {
	return seastreamer.Registry{
		"file":   file.Opener{},
		"kafka":  kafka.Opener{},
		"memory": memory.Opener{},

		redis.Scheme:            redis.Opener{},
		redis.SchemeTLS:         redis.Opener{},
		redis.SchemeUnix:        redis.Opener{},
		redis.SchemeSentinel:    redis.Opener{},
		redis.SchemeSentinelTLS: redis.Opener{},
	}
}

// Open opens the broker that a URL names, such as kafka://localhost:9092,
// redis://localhost:6379 or file:///var/lib/logs.
func Open(ctx context.Context, url string) (*seastreamer.Streamer, error) {
	return Registry().Open(ctx, url)
}
