// Package redis reads and writes Redis Streams, on one server, behind Sentinel
// or in a cluster, with rueidis.
//
//	s, err := redis.Open(ctx, "redis://localhost:6379", redis.Options{})
//
// A stream is the key of that name, or where it is sharded the keys name:0,
// name:1 and so on; a sequence number is a whole entry id.
package redis
