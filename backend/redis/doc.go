// Package redis is the backend on Redis Streams: one server, Sentinel or a
// cluster, through rueidis.
package redis

import _ "github.com/redis/rueidis" // in use as soon as the client is there
