// Package redistest runs real Redis servers for tests: plain processes on free
// loopback ports, data in a temporary folder. [Start] is one server,
// [StartSentinel] a master with two replicas and three sentinels,
// [StartCluster] a cluster of three masters with a replica each.
//
//	r, err := redistest.StartCluster(ctx, redistest.Options{AppendOnly: true})
//	defer r.Stop()
//	dial(r.URL())
//	r.Kill(1)         // SIGKILL, as a crash would
//	r.Restart(ctx, 1) // the same port, the same data
//	r.Ready(ctx)      // all is well again
//
// Nodes count from 1. It needs redis-server and, for Sentinel, redis-sentinel:
// scripts/setup installs them.
//
// A server never outlives the process that started it: Stop ends it, Linux
// kills it when that process dies first, and a tiny shell that waits for the
// process's end then removes the temporary folder. While a node runs, one
// goroutine waits for it in this package (in node.wait): a test that looks for
// leaked goroutines takes its snapshot after Start.
package redistest
