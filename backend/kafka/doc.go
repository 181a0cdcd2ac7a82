// Package kafka reads and writes Apache Kafka, and Redpanda, with franz-go.
//
//	s, err := kafka.Open(ctx, "kafka://localhost:9092", kafka.Options{})
//
// A stream is a topic, a shard a partition, a sequence number an offset. The
// fields of [Options] are also the options of a URL, written as
// kafka://h1,h2:9093/?tls&compression=zstd; an option in the URL goes before
// the field. The default port is 9092.
//
// # When the broker is away
//
// Opening does not need a live broker, so that a program can start before it:
// a producer takes records up to its budget and sends them when the broker is
// there. Who wants to know first asks for Bounds, also of no stream at all, or
// for Ping: both say within the connect time-out who could not be reached and
// why. Opening a consumer does the same, since it has to find its streams.
//
// # Sending
//
// AtLeastOnce and ExactlyOnce are the same here: an idempotent producer
// session whose acknowledgement waits for all in-sync replicas. The broker
// removes the session's own repeats; a record that the application sends
// again, after a restart for instance, is another record. AtMostOnce waits for
// no acknowledgement; its first record of a stream waits until the stream's
// shards are known.
//
// A record that is not acknowledged within the delivery time-out fails with
// ErrUnknown, together with all that wait behind it in its shard, and the
// session begins anew. Receipts say "replicated" where the topic's replicas
// and its min.insync.replicas both make two copies certain, and "process"
// otherwise: a broker acknowledges what its operating system has, not what the
// disk has.
//
// Records without a key go to a shard at random, which changes every 64 KiB;
// records with one go where the Java client's hash puts them.
//
// # Receiving
//
// Consumers see committed messages only, unless asked otherwise. Control
// records and aborted messages are hidden, and move Next. Start is resolved to
// an offset when the consumer is opened; shards that appear later are read
// from their beginning. Nothing is ever reset silently: what retention removed
// before it was read is a *GapError with the exact bounds, as is a topic that
// was made anew. When a topic lost its end, for instance in an unclean
// election, the gap's From is where the reader stood and its To, below it, is
// where the log ends now and reading goes on.
//
// Groups use the cooperative-sticky assignment of the classic protocol, which
// every broker speaks, and commit only what they are told to commit.
//
// # What the server must speak
//
// The requests ApiVersions, Metadata (v4 and later, v10 to notice a topic that
// was made anew), Produce v3, Fetch v4, ListOffsets v2, InitProducerId,
// DescribeConfigs (optional: without it receipts say "process"), and for
// groups FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup,
// OffsetFetch and OffsetCommit; SaslHandshake and SaslAuthenticate where SASL
// is used, OffsetForLeaderEpoch to notice a truncated log. Apache Kafka has
// them all from 2.1 on, and so has every Redpanda.
package kafka
