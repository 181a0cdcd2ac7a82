// Package file is the embedded backend: a directory of streams with shards,
// each shard a segmented append-only log that any number of processes on one
// machine read and write at once, without a daemon.
//
//	<directory>/<stream>/meta                      settings and name
//	<directory>/<stream>/<shard>/ctl               the published end of the log
//	<directory>/<stream>/<shard>/<base>.log .idx   segments and their indexes
//	<directory>/groups/<group>/leases/<stream>     who reads which shard
//	<directory>/groups/<group>/progress/<stream>   how far the group is
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
// Network file systems are not supported: their locks and their caches do not
// give what this needs. On macOS readers poll and leases are whole-file locks
// (compiled, never run); on Windows Open refuses.
package file
