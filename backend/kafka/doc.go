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
// # Exactly once
//
// As the output of a Transactor a unit is one transaction, and so is its
// progress, which is a record in it. A reader of committed messages sees all of
// a unit or nothing; one that asks for uncommitted messages also sees what was
// aborted. A unit may last TransactionTimeout, from its first record on; a
// longer one is aborted by the broker and done again.
//
// The name of the Transactor is its transactional id, and the name with
// "+claims" is another one, for what is written when it begins. Opening takes
// both over: an owner that was stopped meanwhile cannot commit any more, and
// finds the record of who has the name.
//
// Progress is kept in the topic __sea_position, which is created when it is
// missing, unless NoAutocreate is set: 16 partitions, as many replicas as the
// broker's default, cleanup.policy=compact, segment.bytes=1048576,
// min.cleanable.dirty.ratio=0.01, max.compaction.lag.ms=3600000. Never change
// the number of partitions, and never let the topic be deleted from
// (cleanup.policy=delete): both are refused. All records of a name are in the
// partition whose number is the FNV-1a hash, 32 bits wide, of the name modulo
// 16. Their keys are text:
//
//	NAME/owner             who has claimed the name last
//	NAME/has/STREAM/SHARD  the name has read this shard of its input
//	NAME/at/STREAM/SHARD   where it stands there
//
// and their values JSON objects: v, the format's version, 1; owner, a random
// text for each opening; run, in NAME/owner, another one, which is the same when
// a Transactor opens anew after a fault; who, host and process of the owner;
// next, the sequence number up to which all is done, or in has where the shard
// began; unit, a count. Where has is there and at is not, progress was lost and the name is
// not claimed (ErrLost): put at back, or send a tombstone for has to begin
// anew. Where both are gone, for instance with the topic, nobody can know. To
// remove a name for good, send tombstones for all of its keys, has last.
//
// Where the input is of the same cluster the positions are also committed as
// offsets of the consumer group NAME, in the same transaction, so that tools
// see the lag. Nothing goes by them: setting or deleting them moves nothing, and
// that they expire, a week after the last commit of a group without members,
// loses nothing.
//
// Owners that share a name do so by the group that they read with, so only an
// input of the same cluster can be shared. Each has a transactional id of its
// own, the name and "+" and a random text. A unit is refused by the broker when
// the group's generation has changed since; what a member left open that died
// in the middle of a commit ends with its transaction's time-out, and the next
// to get its shards waits for that. Do not run shared owners and one that is
// alone under one name at the same time: the former end the latter when they
// begin, but not the other way round.
//
// A claim reads that partition to its end and so waits for other names'
// transactions there, at most their TransactionTimeout.
//
// Apache Kafka 4.3.1 may leave out the end of a transaction (KAFKA-20734). An
// owner asks for that after each unit (DescribeProducers, which needs Read on
// the streams written) and writes the end that is missing (WriteTxnMarkers,
// which needs Alter on the cluster) as the coordinator's log in
// __transaction_state says, which it has to be allowed to read. See
// docs/decisions/0010-hanging-transactions.md.
//
// Below the cluster feature transaction.version 2 (Apache Kafka 4.0, KIP-890)
// all this is weaker: a request to end a transaction that was delayed in the
// network may end a later one. A warning says so when an owner is opened. What
// can be done about it is done: the end is never asked for twice, and after
// every error that leaves the outcome open the session begins anew.
//
// # Administration
//
// The driver is a driver.StreamAdmin, GroupAdmin, NodeAdmin, ClusterAdmin and
// AccessAdmin. It is no PendingAdmin: groups keep a position for each shard, and
// share groups (KIP-932), which keep a verdict for each message, are neither
// listed nor described. GroupNames has the groups of both protocols for
// consumers, also those with positions and no members.
//
// Exact are bounds, which end at the stable end, and bytes, which are those of
// the leader's replica. Messages and Count are numbers of offsets: they count
// control records, aborted messages and what compaction has removed, and are not
// marked as estimated. FirstTime and LastTime are what the broker finds without
// reading: the time of the first record, which may be a control record or
// aborted, and the largest time there is, which is the last one's where times go
// up. Times reads, from the leaders, a few kilobytes of each shard, and is exact.
// A node's Version is a guess from the requests that it knows.
//
// What changes something returns when the controller has done it and the broker
// that was asked knows; another broker may be a moment behind. SetPositions,
// DeletePositions and DeleteGroup are ErrFenced while members are at work: Kafka
// refuses them. AddShards cannot take shards away. Trim is exact. Deleting a
// stream takes the positions of groups along, and not those of a Transactor in
// __sea_position, whose input may be the stream of that name in another cluster.
// __sea_position and Kafka's own topics are neither deleted, trimmed nor given
// more shards, and __sea_position stays compacted. Looking creates nothing, also
// not __consumer_offsets, which Kafka creates for whoever asks where a group is.
//
// Settings are those of a topic: MaxAge is retention.ms, MaxBytes
// retention.bytes, MaxMessage max.message.bytes, MinInSync min.insync.replicas.
// Compact is cleanup.policy=compact, and compact,delete where an age or a size is
// given with it. A topic that is only compacted removes nothing by age or size,
// so these are without a limit then.
//
// ErrUnsupported are: MaxMessages, since Kafka does not bound a topic by a number
// of messages; Settings.Replicas of a stream that exists, which Reassign is for;
// trimming what is only compacted; disabling a user; rules in Kafka's own words;
// and all rules of a broker without authorizer.class.name. Users are those with
// SCRAM credentials, the only ones that Kafka keeps itself.
//
// On a secured cluster streams and groups that the user may not describe are not
// listed. The rights needed are Kafka's: describe on a topic or group to see it,
// read on both to move a group and on a topic for Times, delete, alter and create
// for what these words say, describe-configs and alter-configs for settings, and
// on the cluster describe for nodes' folders, the quorum, reassignments, rules and
// users, alter for elections, reassigning, rules and users, and create for
// streams. Cluster leaves out of its problems what the user may not see.
//
// # What the server must speak
//
// The requests ApiVersions, Metadata (v4 and later, v10 to notice a topic that
// was made anew), Produce v3, Fetch v4, ListOffsets v2, InitProducerId,
// DescribeConfigs (optional: without it receipts say "process"), and for
// groups FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup,
// OffsetFetch and OffsetCommit; SaslHandshake and SaslAuthenticate where SASL
// is used, OffsetForLeaderEpoch to notice a truncated log. Apache Kafka has
// them all from 2.1 on, and so has every Redpanda. A Transactor also needs
// AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit v3, EndTxn and
// CreateTopics v4: Apache Kafka from 2.5 on. Administration asks for what it
// needs and says so where the server does not know it: LastTime comes with 3.0,
// the sizes of volumes with 3.3, nodes that are down with 4.0.
package kafka
