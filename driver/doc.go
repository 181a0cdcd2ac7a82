// Package driver is what a backend implements so that programs written against
// package seastreamer run on it, and the small vocabulary both sides share.
//
// Programs do not call this package, except for its vocabulary, which
// seastreamer aliases: [Seq], [Shard], [Position], [Record], [Receipt] and so
// on. Somebody who writes a backend implements [Opener], [Driver], [Consumer],
// [Producer] and, where the backend keeps the progress of groups, [Committer];
// docs/writing-a-driver.md walks through it, and package drivertest checks it.
//
// Everything here depends on the standard library only.
package driver
