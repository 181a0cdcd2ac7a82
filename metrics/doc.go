// Package metrics gives Prometheus what there is to know of brokers, streams and
// groups, and of a program's own consumers.
//
// [NewCollector] looks at a broker through package admin: how much is in its
// streams and comes in, how far groups are behind in messages and seconds, what is
// not well. It needs no agent on the broker, and is what the command
// sea streamer metrics serves.
//
// [NewObserver] counts what happens to the consumers of a program: retries,
// commits, gaps, shards that come and go. It costs nothing for each message.
//
// Names and units follow Prometheus's own conventions
// (https://prometheus.io/docs/practices/naming/).
package metrics
