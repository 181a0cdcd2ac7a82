//go:build !unix

package redis

import "testing"

// blackhole is an address that nobody has, see RFC 5737.
func blackhole(*testing.T) string { return "192.0.2.1:6379" }

// refusing is an address that refuses connections.
func refusing(*testing.T) string { return "127.0.0.1:1" }
