// Package redis reads and writes Redis Streams, on one server, behind Sentinel
// or in a cluster.
//
//	s, err := redis.Open(ctx, "redis://localhost:6379", redis.Options{})
//
// The fields of [Options] are also the options of a URL, written as
// redis://h1,h2:7000/?shards=4&max_age=7d; an option in the URL goes before the
// field. The URLs are
//
//	redis://host                        one server, or any nodes of a cluster, port 6379
//	rediss://host                       the same with TLS
//	redis+unix:///run/redis/redis.sock  a server's Unix socket
//	redis+sentinel://s1,s2/?master=m    the master that sentinels know as m, port 26379
//	rediss+sentinel://s1,s2/?master=m   the same with TLS, for sentinels and servers
//
// Whether a server is part of a cluster it says itself. A database is ?db=1 and
// no path: a path names streams. User and password are those of the ACL, given
// in the URL or, the password, as a file that is read at each connection;
// sentinels have credentials of their own, and are never told the others.
//
// # Streams, shards and keys
//
// A stream is the key of its name, or where name:0 exists the keys name:0,
// name:1 and so on, one for each shard, up to the first that is missing (with
// discover=scan up to the last there is); then the bare key is not read. A name
// that itself ends in a colon and a number, such as trades:0, is that key
// alone. Producers write to Shards shards, or to those there are. By default
// the shards of a stream spread over a cluster; hash_tag keeps them together.
//
// A sequence number is a whole entry id: its milliseconds in Hi, its counter in
// Lo. Id 0-0 cannot exist, so that the zero position is before everything.
//
// # Entries
//
// The field msg, or what Options.Field says, holds the value, key the key and
// ts the record's own time in milliseconds since 1970; all other fields are
// headers in their order, duplicates kept. A record with a value alone is
// exactly XADD name * msg value, which SeaStreamer for Rust writes and reads.
// Entries that others have written are delivered as they are: their fields are
// headers, and an entry without a field msg has a nil value. Headers whose
// names mean something else here are written behind h:, of which reading takes
// one away; nil header values read back empty. Without ts a message's time is
// that of its id.
//
// Since(t) begins to look at the id a minute before t, as clocks differ, and
// takes the first message whose time is t or later. A message whose own time is
// more than a minute later than its arrival is not found by it.
//
// # Groups
//
// A group of consumers is a consumer group of Redis with the group's name, in
// each shard; the first member makes it, at Start. Its members share the
// messages, and the server keeps a note of each message that is out: who has
// it, since when, and how often it was delivered, which is its Attempt. A
// message that has no verdict within AckTimeout is taken by another member, or
// the same one; so is what was nacked, when its time has come, and what was
// returned. Members look for such messages about once a second, less often at
// the far ones where hundreds of thousands are out, and for what they have
// nacked themselves when it is due. In a cluster a member has one connection
// for each slot that its shards are in, on a server one for all.
//
//   - A delay of a nack that is longer than AckTimeout lasts only while its
//     member does: when that is closed or dies, AckTimeout is what is left.
//   - An acknowledgement that comes too late counts, also when another member
//     has the message by then: it was processed, and is not delivered again.
//     Other verdicts that come too late do nothing.
//   - Attempt counts deliveries by the server, also one whose answer was lost
//     on its way. What was lost on its way is delivered at once when the
//     connection is there again, and nothing is delivered twice by that.
//   - Without Options.Consumer each member has a name of its own, which begins
//     with sea-, and is deleted when it leaves with nothing pending. Other
//     members delete what is left of those that were not heard of for an hour.
//     A consumer that has something pending is never deleted, as Redis would
//     forget that, too. With Options.Consumer a member begins with what its
//     predecessor of the same name had in hand, at once, also where that was
//     nacked with a delay.
//   - Messages that were trimmed or deleted while they were out are a gap when
//     somebody is to have them again, and are acknowledged. Those of one look
//     are one gap where nothing that exists lies between them; what of it was
//     acknowledged before is not missing. An entry that was trimmed cannot be
//     extended: where that takes longer than AckTimeout another member reports
//     it missing though it may still be acknowledged.
//   - Messages that were trimmed before any member has read them are one gap
//     for the whole group, from Redis 7.0, from the last delivered message to the
//     first that is left. The member whose read goes on behind it has it. Each
//     read looks for it at the server, in one transaction with the reading where
//     it does not wait. Not noticed is what is added and trimmed in a single
//     transaction or script while a member waits; what goes under a read of
//     another client of the same group, or of a member that dies before it has
//     the answer (one whose connection breaks finds a note of the gap, an empty
//     consumer of the group whose name begins with sea-gap:, and deletes it);
//     and where a member reads more than 16
//     shards of one server, or of one slot, looks are taken only ten times a
//     second, or less often where they are hundreds.
//   - Messages that XDEL has deleted before any member has read them: Redis
//     knows the highest and, for a read that goes to the end or has nothing left
//     before it, how many. One is a gap of itself; several are a gap from the
//     last delivered message to the highest, in which what is delivered is not
//     missing. Else the highest is a gap from the message before it to the one
//     behind, and lower ones are not noticed. What XDEL deletes while the group
//     has no member counts only where it is all that was removed.
//   - From XDEL ahead of the group until it comes to the end once, and in a group
//     that was made or moved into the middle, Redis does not know how many
//     entries the group has read, which XINFO GROUPS shows as entries-read. Then
//     what lies between the last delivered message and the first that is left is
//     told where that message was this member's or is still out, though there
//     may have been none; where another member has acknowledged it, it is not.
//     XGROUP SETID itself is never a gap.
//   - A group that was destroyed, or that the server has lost as a replica may
//     that became the master, is made anew at the first entry, never at the
//     end: messages come twice rather than not at all. The member that does it
//     has a gap of cause recreated. A stream that was deleted is waited for,
//     and treated the same when it is there again; no member makes it.
//   - A shard that appears later is read from its start.
//
// # When a server is away
//
// Opening does not need a live server, so that a program can start before it.
// Who wants to know first asks for Bounds, also of no stream, or for Ping: both
// say within the connect time-out who could not be reached and why. Opening a
// consumer does the same, since it has to find its streams.
//
// A connection that has died without a word is found out when an answer is
// overdue, and another one is opened: where a read waits for messages within
// five seconds, and by all else, such as a member's look for what others have
// left, within RequestTimeout.
//
// # What a receipt promises
//
// A plain write is of class memory where the server has no append-only file,
// process with one, and synced with appendfsync always. That is asked of all
// masters when the first one answers, twice a minute, and when connections come
// and go; while a lost connection leaves it open who will answer next, receipts
// say memory. Replicas makes records wait for so many replicas, class
// replicated; Synced for stable storage, by WAITAOF where appendfsync is not
// always, and is refused where the server can do neither. Without Replicas a
// fail-over loses what the master had acknowledged and not yet passed on: class
// process does not say more. With fewer than all replicas it may still lose
// some, since the one that is promoted is mostly, not always, the one that has
// most: on a busy machine Sentinel has been seen to fail over again from a
// master that ran, to a replica that had stopped following it. With all of
// them, writing waits while one is away. With appendfsync everysec, Redis's
// default, class process says a little less: while the disk is busy with an
// fsync, Redis puts its writes to the file off for up to two seconds and answers
// all the same (flushAppendOnlyFile in its aof.c), and a kill then takes them.
// With appendfsync no or always it does not.
//
// A write whose reply never came is ErrUnknown and is not repeated, except with
// ExactlyOnce, which repeats in a way that adds a record once: by XADD IDMP
// where the server has it, and by ids that the producer chooses elsewhere.
//
// # Units of a Transactor
//
// A unit is one script: it compares the owner and the positions, adds the
// records and moves the positions on, or changes nothing. While it runs, about
// three milliseconds for 2,000 small records, the server does nothing else.
// Where Replicas or Synced ask for it, the replicas or the disk are waited for
// behind it. A fail-over or a loss of data takes records and positions back
// together, so that what was lost is done again; who has read those records
// meanwhile has them twice, and Replicas is the remedy.
//
// Ids of a unit are those of the server (*), so that anybody may write to the
// same streams. Trimming is once a unit.
//
// What it keeps are two keys for each name, where T is unit_tag:
//
//	sea:progress:{name} or sea:progress:{T}:name  a hash: at:S, where shard S stands; owner or
//	                                              owner:S, who may move it; epoch, how many claims there were
//	sea:shards:{name} or sea:shards:{T}:name      a set of the shards S that have a position
//
// S is the input's stream, a colon and the index, and a position two numbers
// with a dash. An owner is a random text, a dot and another one; the first stays
// when a Transactor opens anew after a fault, and who finds another one there,
// and no smaller epoch than its own, was taken over. The set is apart from the hash so that a position that is gone is
// noticed, ErrLost, and not taken for a beginning; that both are gone cannot be
// noticed. To forget a name, and have its input read anew, delete both keys.
// They must not expire, nor be evicted: maxmemory-policy noeviction or one of
// the volatile policies is right.
//
// On one server, or behind Sentinel, a unit writes to any streams. In a cluster
// all that it writes is in the slot of the progress. Without unit_tag that is
// the slot of the name: it writes to the stream of the transactor's own name, or
// those that have {name} in theirs. With unit_tag=T it writes to stream T, to
// those with {T} in their names, and with hash_tag=stream to all shards of T. A
// record for another slot is refused with ErrUnsupported and says what to set.
// unit_tag is a part of the keys: another one is another progress, which begins
// anew. While the slot moves to another node units are aborted, and tried again.
//
// # Administration
//
// A driver of this package implements all interfaces of administration that
// package driver has. On one server, behind Sentinel and in a cluster:
//
//   - Streams are the keys of type stream of the database, found by SCAN on every
//     master. What each shard has is exact (XINFO STREAM), its bytes are the
//     server's estimate (MEMORY USAGE). Redis keeps no settings of a stream:
//     those that limit it are ErrUnsupported; trim it, or have its producers trim
//     it. Trim is exact. More shards can be had by a stream that has shards, not
//     by a bare key.
//   - Count is exact at the ends of a shard and for what is small, and else an
//     estimate, see there for its error.
//   - Groups of one name in several keys are one group. That all keys have to be
//     looked at takes some two seconds for 100,000. How far a group is behind is
//     what Redis counts, from 7.0 on. Moving a group leaves what is out at members
//     where it is. A group is not deleted while it has members, which
//     connections are named for (client_name/group/member in CLIENT LIST), or
//     which were heard of within AckTimeout.
//   - Nodes are masters, replicas and sentinels. In a cluster they go by their
//     ids, elsewhere by their addresses. Settings are those of CONFIG; they last
//     as long as the node runs unless CONFIG REWRITE writes them down, and there
//     is no way back to a default. What Reassign and ElectLeaders do elsewhere is
//     ErrUnsupported: redis-cli --cluster, CLUSTER FAILOVER and SENTINEL FAILOVER
//     do it.
//   - Users and rules are those of the ACL, on every node that has data. A rule is
//     granted as a selector of its own, from Redis 7.0 on. ACL SAVE or CONFIG
//     REWRITE write them down.
//
// A user who administers streams and groups needs what units need (see below),
// and SCAN, UNLINK, MEMORY USAGE, CLIENT LIST and, in a cluster and behind
// Sentinel, ROLE; nodes and the cluster need INFO, CONFIG, CLUSTER NODES, and of
// sentinels SENTINEL; users and rules ACL. Without CLIENT LIST a member that
// waits is not seen before Redis 7.2. Where a server, or who rents it out, keeps
// one of these to himself the rest works, and one line says what does not.
//
// # What it needs
//
// Redis from 6.2; from 7.0 on gaps have exact bounds. A user of the ACL needs
// its keys, EXISTS and the commands of @stream, @connection and @transaction;
// @scripting for ExactlyOnce, groups and units, @hash, @set and TYPE for units,
// SCAN and ROLE for discover=scan, and in
// a cluster CLUSTER SLOTS and SHARDS. INFO, CONFIG GET and COMMAND INFO say what
// receipts may promise; without them they promise less.
//
// A server that once was found to be Redis is trusted to keep to the protocol:
// one that sends answers which nobody asked for ends the program, by a panic of
// the client library.
package redis
