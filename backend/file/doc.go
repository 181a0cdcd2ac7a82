// Package file is the embedded backend: a directory of streams with shards,
// each shard a segmented append-only log that any number of processes on one
// machine read and write at once, without a daemon.
//
//	<directory>/<stream>/meta                      settings and name
//	<directory>/<stream>/<shard>/ctl               the published end of the log
//	<directory>/<stream>/<shard>/<base>.log .idx   segments and their indexes
//	<directory>/groups/<group>/leases/<stream>     who reads which shard
//	<directory>/groups/<group>/progress/<stream>   how far the group is
//	<directory>/groups/<group>/members/<stream>    who its members are
//	<directory>/units/<name>/record                what a Transactor has committed
//	<directory>/units/<name>/shards                which shards it has a position for
//
// How it works, in five sentences. A writer takes the lock of the shard's ctl
// file, writes its batches behind the published end, publishes the new end in
// ctl, and unlocks: bytes behind the published end do not exist, so a writer
// that is killed leaves nothing that has to be repaired. A reader takes no
// lock: it loads the published end and reads up to it. It sleeps in inotify on
// ctl, whose every change is a publication. Members of a group own shards
// through locks that the kernel frees when they die. Everything carries a
// CRC-32C, and what cannot be read is reported as an exact gap.
//
// What a receipt says depends on the sync policy: with [SyncNever] and
// [SyncInterval] a record survives the death of every process
// (seastreamer's class "process"), with [SyncAlways] also power loss
// ("synced"). After power loss under the first two, the sequence numbers of
// what was lost are never used again: the log goes on at the next multiple of
// 2³², and readers get a gap.
//
// A Transactor's unit (see driver.Owner) is in memory until it is committed;
// the logs never hold a part of one. It may write to any number of streams and
// shards, between the records of any other writers. What it has committed is
// in units/<name>/record: the positions in the input, and which unit wrote to
// which shard last. A unit is committed by one write of 64 bytes to that file.
// A reader sees a unit's records of one shard all at once, and those of its
// shards one shard after the other, within microseconds. Where the committing
// process was killed in between, the rest becomes visible with the next claim
// of the name, the next write to the shard by anybody, or the next look of a
// waiting reader, within five seconds; what was not committed never does.
//
// Units survive the death of every process, at any instant, under every
// policy. Power loss they survive with [SyncAlways], which counts for a unit
// if the backend is opened with it or any of the unit's streams has it. With
// the others, what the last seconds before a power loss have written can be
// lost or repeated, as positions and records are not written back in order.
//
// An owner that is stopped while it commits keeps the locks of its name and of
// the unit's shards: others get ErrUnavailable (a claim) and ErrAborted (a
// unit) after ten seconds, until it goes on or dies. One that is stopped at
// any other time finds itself fenced.
//
// To forget a name, remove units/<name> while nothing commits under it. If the
// record is damaged or gone and shards is there, claims are refused with
// ErrLost; if both are gone, nothing tells that the name has ever committed
// anything. The record grows with the number of shards that the name reads and
// writes, by some 50 bytes each, and is written whole with each unit.
//
// # Administration
//
// A directory is administered by whoever may write to it, with any number of
// processes at work on it: there is no server and there are no rights but those
// of the file system. To look takes no lock, changes nothing, and is exact:
// bounds, counts, times (from the index and one block), sizes (of the files;
// not the blocks that are reserved behind a segment), and how far behind a group
// is. A count leaves out the sequence numbers that were given up after a power
// loss; messages that are damaged count.
//
// Settings and shards are changed under the lock of the stream's folder, by
// moving a new meta into place. Who has the stream open finds that within five
// seconds: readers when they look for it, writers when they write. Keys are
// spread over the shards that there are, so they move when there are more.
// Whether readers see only what is synced (sync=always) is for the life of a
// stream.
//
// A trim is exact. The disk gets back whole segments, and everything where all
// is trimmed.
//
// A stream that is deleted is marked in each shard, with its lock, so that no
// writer goes on writing to files without a name: what it sends next is
// ErrNotFound, and what it sends after that creates the stream anew. Consumers
// without a group get ErrNotFound; members of groups wait for the stream to come
// again, and are told of the gap. Groups without members, and owners of units,
// forget it. A deletion that was killed is finished by whoever creates or
// deletes the stream, or writes to it. A process that has a deleted stream open
// and does not write keeps the space of its last segment until it is closed.
//
// Members of a group are known by locks, which have no names: who they are (the
// program and its process id) and which shard each reads is what they have
// written down themselves. A group is moved and made to forget shards only while
// nobody reads them, and deleted only without members, which is certain: the
// leases, or the lock under which members come, are held meanwhile.
//
// The node is this machine. Compaction, limits on the number of messages,
// replicas, elections, reassignments and settings of a node are
// errors.ErrUnsupported, and so is pending per message: a group has one position
// a shard. There are no users: see chmod(1).
//
// Network file systems are not supported: their locks and their caches do not
// give what this needs. On macOS readers poll and leases are whole-file locks
// (compiled, never run); on Windows Open refuses.
package file
