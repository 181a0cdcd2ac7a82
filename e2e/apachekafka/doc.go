//go:build unix

// Package apachekafka runs a real Apache Kafka for tests: KRaft mode, plain
// Java processes on free loopback ports, data in a temporary folder, no
// container. It needs java and, for the first run only, mvn, which fetches the
// jars into the user's cache folder.
//
//	c, err := apachekafka.Start(ctx, apachekafka.Options{Nodes: 3})
//	defer c.Stop()
//	dial(c.Brokers())
//	c.Kill(2)         // SIGKILL, as a crash would
//	c.Restart(ctx, 2) // the same port, the same data
//
// Tests share one broker for each test binary through [Main] and [ForTest].
//
// A broker never outlives the process that started it: Stop ends it, Linux
// kills it when that process dies first, and a tiny shell that waits for the
// process's end then removes the temporary folder. While a node runs, one
// goroutine waits for it in this package (in node.wait): a test that looks for
// leaked goroutines takes its snapshot after Start.
package apachekafka
