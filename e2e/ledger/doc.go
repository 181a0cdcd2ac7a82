//go:build unix

// Package ledger finds out whether messages were lost, doubled, reordered or
// spoiled while processes were killed, and whether a Transactor processed each
// of them once.
//
// A fault program has five phases. A [Load] sends numbered messages at a steady
// pace, and writes into its [Book] what it is about to send and what became of
// it, before and after each call, with plain write(2): a book survives a kill -9
// of its writer. Meanwhile a [Crew] keeps worker processes running ([Work]: each
// is a loop of a Transactor, or a consumer with a checkpoint), and the
// program kills and pauses them and their brokers. Then all is healed and
// drained. Then processes that know nothing yet, and clients that are not
// ours ([Kcat], [RedisCLI]), read everything, and a [Check] holds what they see
// against the books. Everything by chance comes from one seed.
//
// Workers write what they do into a page of a file that is mapped into memory
// ([Page]), so that the one who kills knows whether a unit was open when the
// worker died: a kill that hits an idle worker shows nothing.
package ledger
