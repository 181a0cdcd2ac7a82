//go:build race

package kafka

// raced is whether the race detector is on: then sync.Pool drops what it is
// given now and then.
const raced = true
