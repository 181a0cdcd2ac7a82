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
// # When a server is away
//
// Opening does not need a live server, so that a program can start before it.
// Who wants to know first asks for Bounds, also of no stream, or for Ping: both
// say within the connect time-out who could not be reached and why. Opening a
// consumer does the same, since it has to find its streams.
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
// process does not say more.
//
// A write whose reply never came is ErrUnknown and is not repeated, except with
// ExactlyOnce, which repeats in a way that adds a record once: by XADD IDMP
// where the server has it, and by ids that the producer chooses elsewhere.
//
// # What it needs
//
// Redis from 6.2; from 7.0 on gaps have exact bounds. A user of the ACL needs
// its keys, EXISTS and the commands of @stream, @connection and @transaction;
// @scripting for ExactlyOnce and groups, SCAN and ROLE for discover=scan, and in
// a cluster CLUSTER SLOTS and SHARDS. INFO, CONFIG GET and COMMAND INFO say what
// receipts may promise; without them they promise less.
//
// A server that once was found to be Redis is trusted to keep to the protocol:
// one that sends answers which nobody asked for ends the program, by a panic of
// the client library.
package redis
