// Package seastreamer produces and consumes streams on any broker: Kafka and
// Redpanda, Redis Streams, a directory of files, the memory of the process. A program is
// written against this package and opens the backend that a URL names.
//
//	s, err := kafka.Open(ctx, "kafka://localhost:9092", kafka.Options{}) // one backend, typed options
//	s, err := all.Open(ctx, os.Getenv("STREAMER_URI"))                   // chosen at run time
//
// # Streams
//
// A stream (a topic in Kafka) is a series of messages in shards (partitions).
// A message has a timestamp and a sequence number (an offset), which orders it
// within its shard: shard and sequence together are its name. It may have a
// key, headers, and a value; a nil value is a tombstone. What a backend lacks,
// [Features] says, and a configuration that needs it is refused when it is
// opened, naming the feature.
//
// # Producing
//
// [Producer.Send] waits for a receipt, [Producer.Enqueue] does not. The
// Durability of a producer says what happens to repeats: AtMostOnce fires and
// forgets, AtLeastOnce repeats until it is acknowledged, ExactlyOnce has the
// backend remove the toolkit's own repeats, see Features.Dedup, and with a Name
// the application's. A send has
// three outcomes:
//
//   - nil: the record was written, and the receipt's Class says what it
//     survives there;
//   - [ErrUnknown]: it may or may not have been written;
//   - any other error: it was not, and may be sent again.
//
// Cancelling a context ends the waiting, never a send that is under way.
//
// # Consuming
//
// A [Consumer] is ranged over, message by message or batch by batch:
//
//	for m, err := range orders.Messages(ctx) {
//		if err != nil {
//			return err
//		}
//		if _, err := invoices.Send(ctx, bill(m)); err != nil {
//			return err // m is not acknowledged: it comes back
//		}
//	} // m is acknowledged here, when the loop asks for the next one
//
// With a Group, progress is durable and its members share the shards. Without
// one the consumer reads every shard from Start and keeps nothing; its
// [Checkpoint] is yours to store. So the three preferences that people have
// are configurations:
//
//   - the latest messages, old ones may be missed: no group, Start: Latest;
//   - every message, perhaps repeated: a group, or your own checkpoint;
//   - every message once: a [Transactor], where what the messages cause is
//     sent to a stream; else the checkpoint stored in the same transaction as
//     what they caused.
//
// Acknowledging follows the loop by default: asking for the next message
// acknowledges the one before, and leaving the loop early does not, whether by
// break, return or panic. That is one message at a time. Where speed counts
// use AckExplicit, whose acknowledgements may come in any order and from any
// goroutine, such as the callback of Enqueue. [Message.Nack] has a message
// delivered again later while others pass. It works on every backend: where a group's
// progress is a position per shard (Kafka, files), the message holds it
// meanwhile and comes back here; where it is a verdict per message (Redis), it
// goes back to the broker and comes to any member.
//
// An error is yielded once, last. Temporary trouble is retried inside and told
// to the [Observer]. When the context ends, its cause is yielded; when the
// consumer is closed, Until is reached or a bounded source has ended, the loop
// ends silently. The consumer is intact after an error or a break and may be
// ranged over again.
//
// # Exactly once
//
// A [Transactor] reads from one backend and sends to another, or the same, in
// units: what was sent and how far was read become visible in one step, where
// the output is. After any fault it goes on at the position that is there.
//
//	for tx, err := range job.Units(ctx) {
//		if err != nil {
//			return err
//		}
//		for m := range tx.Messages() {
//			if err := tx.Send(bill(m)); err != nil {
//				break
//			}
//		}
//	} // the unit is committed here, when the loop asks for the next one
//
// The newest Transactor of a name has it: older ones end with [ErrFenced], and
// what they had under way leaves no trace. What a loop body does elsewhere, in
// a database or by mail, is not part of a unit.
//
// A producer with a Name makes the application's own repeats harmless in the
// same way: an ID that was written under the name is not written again.
//
// # Positions and gaps
//
// A position is the next sequence number, exclusive: everything below it is
// done. A bounded read ends at the stable end ([Streamer.End]), not at some
// last message. Messages that should be there and are not are a [*GapError]
// with exact bounds: the default stops there, and going on is a choice.
// Nothing is ever reset silently.
//
// # Ownership
//
// What a message returns is read-only and valid as long as you hold it. It may
// be a window into a larger buffer, so clone a small piece that you keep for
// long. [Batch.Release] is optional; after it, the batch's messages must not be
// touched. A unit's messages are released when it is committed, and not before:
// until then they may come again. Bytes in a [Record] are borrowed until its receipt; for good, if
// the receipt never came.
//
// # Concurrency
//
// Streamer and Producer may be used by any number of goroutines. A Consumer
// has one loop at a time; its other methods may be called from anywhere. A
// consumer owns two goroutines, one that fetches and one that commits, plus
// the backend's; a producer owns none, or one where it has a Name. Every method returns within its
// context, also against a server that accepts and says nothing. Close drains,
// flushes and commits within its context, is idempotent and leaves no
// goroutine behind.
//
// # Errors
//
// Errors are [Error] values with a kind, such as ErrNotFound, and the cause;
// errors.Is and errors.As find both.
package seastreamer
