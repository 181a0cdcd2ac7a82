package driver

import (
	"context"
	"fmt"
	"time"
)

// An Opener opens one kind of backend from a broker URL, which has nodes and a
// query but no streams. It refuses unknown query parameters and lists the
// known ones, see [Query].
type Opener interface {
	Open(ctx context.Context, u URL) (Driver, error)
}

// OpenerFunc is a function as an Opener.
type OpenerFunc func(ctx context.Context, u URL) (Driver, error)

// Open calls f.
func (f OpenerFunc) Open(ctx context.Context, u URL) (Driver, error) { return f(ctx, u) }

// A Driver is one open backend. Its methods may be called by any number of
// goroutines at once. Every method returns within its context.
//
// A driver may also implement
//
//	As(target any) bool
//
// which sets *target to the client underneath where the types fit.
type Driver interface {
	// Features says what this backend can do, as it is configured and as its
	// server's version allows. It does not block.
	Features() Features

	// Bounds is the first message and the stable end of every shard of the
	// streams named. A stream that does not exist is ErrNotFound.
	Bounds(ctx context.Context, streams []string) (map[Shard]Bound, error)

	// Consumer begins to read. It returns ErrNotFound for a missing stream
	// and never creates one.
	Consumer(ctx context.Context, c ConsumerConfig) (Consumer, error)

	// Producer opens a producer. It does not need its streams to exist.
	Producer(ctx context.Context, c ProducerConfig) (Producer, error)

	// Close releases the client. The core has closed consumers and producers
	// by then.
	Close(ctx context.Context) error
}

// ConsumerConfig is what a driver needs to know to read.
type ConsumerConfig struct {
	Streams   []string // at least one, no duplicates
	Group     string   // "" keeps no progress: the consumer gets every shard
	Start     Start    // where the group has no progress, or there is no group
	Isolation Isolation
	MaxBytes  int // prefetch budget in bytes; zero is the driver's default
	Events
}

// Events are the calls by which a driver tells the core which shards it reads,
// with a group and without. They come one at a time. The driver resolves Start
// and the group's progress to numbers first, and the core answers where to
// begin.
type Events struct {
	// Assigned says that the consumer now also reads these shards and where
	// it would begin. It returns the generation that batches of these shards
	// carry from now on, and positions that override the ones given (only
	// those that differ). An error ends the consumer.
	Assigned func(ctx context.Context, at []Position) (gen uint64, from []Position, err error)

	// Revoked says that the consumer no longer reads these shards. While it
	// runs the driver still commits for them, unless lost says that it is too
	// late for that. Unknown shards are ignored.
	Revoked func(ctx context.Context, shards []Shard, lost bool)
}

// A Consumer reads. Fetch and Seek are called by one goroutine, never
// together; Commit (see [Committer]) and Close may come from others at any
// time.
type Consumer interface {
	// Fetch blocks until it has something, appends it to into and returns it.
	// Batches may come together with an error and count first. Every batch
	// carries the generation it was fetched under. A batch without messages
	// moves Next over a hole. A Fetch whose context ends loses nothing: what
	// it had comes with the next call.
	//
	// A *GapError says that messages are missing; the next Fetch goes on
	// behind them. ErrUnavailable is temporary: the core waits and calls
	// again. io.EOF ends a bounded source. Any other error ends the loop of
	// the application, which may begin another one and so call Fetch again.
	Fetch(ctx context.Context, into []Batch) ([]Batch, error)

	// Seek moves shards that are assigned and returns where they now stand,
	// as numbers. Batches of them carry gen from now on. A shard that Assigned
	// has given a later generation is left out; after an error all is as it was.
	Seek(ctx context.Context, gen uint64, to map[Shard]Start) ([]Position, error)

	// Close ends the consumer, waking a Fetch that waits, and leaves the
	// group. Before it returns it has called Revoked for what was assigned.
	Close(ctx context.Context) error
}

// A Committer is a Consumer that keeps the progress of its group as one
// position per shard. All of at is stored, or an error says that some of it
// may not be. Commits for shards that are not assigned (any more) fail with
// ErrFenced.
type Committer interface {
	Commit(ctx context.Context, at []Position) error
}

// A Settler is a Consumer whose group keeps a verdict for each message in
// place of a position per shard: the broker hands out messages, not shards. With
// a group it never calls Events, its batches carry generation 0, its Seek is
// never called, and it delivers again, to this member or another, what was not
// settled within Features.AckTimeout.
//
// Settle applies all verdicts, or an error says that some may not be applied:
// the core then gives them again, together with later ones. Verdicts on
// messages that this consumer no longer holds do nothing; an acknowledgement
// may still count, since the message is done. Settle may be called while Fetch
// runs, and by one goroutine at a time. What has no verdict when the consumer is
// closed is delivered to others at once.
type Settler interface {
	Settle(ctx context.Context, s []Settlement) error
}

// A Settlement is one verdict on messages [From, To) of a batch.
type Settlement struct {
	Batch    Batch
	From, To int
	Verdict  Verdict
	After    time.Duration // of a VerdictNack: how long it waits, from now
}

// A Verdict says what becomes of a message.
type Verdict uint8

// The verdicts.
const (
	// VerdictAck: it is done.
	VerdictAck Verdict = iota
	// VerdictNack: it could not be processed. It is delivered again, to any
	// member, no sooner than After from now, and counts as an attempt.
	VerdictNack
	// VerdictReturn: it was fetched and nobody has seen it. It may be delivered
	// to any member at once, and this does not count as an attempt.
	VerdictReturn
	// VerdictExtend: it is being worked on, the time-out begins anew.
	VerdictExtend
)

// String is the verdict in one word.
func (v Verdict) String() string {
	switch v {
	case VerdictAck:
		return "ack"
	case VerdictNack:
		return "nack"
	case VerdictReturn:
		return "return"
	case VerdictExtend:
		return "extend"
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// ProducerConfig is what a driver needs to know to send.
type ProducerConfig struct {
	Durability Durability
	Linger     time.Duration // how long a record may wait for company; zero sends at once
	MaxBytes   int           // bytes in flight before Produce waits; zero is the driver's default
}

// A Producer sends. Its methods may be called by any number of goroutines.
type Producer interface {
	// Produce takes the record, waiting only for room in the buffer, within
	// ctx, which never reaches the send itself. If it returns nil then done
	// is called exactly once, in order per shard, from a goroutine that must
	// not be blocked; done may call Produce only if that cannot wait. If it
	// returns an error then the record was not taken and done is not called.
	//
	// The error that done gets is nil (written), ErrUnknown (it may have been
	// written) or something else (it was not).
	Produce(ctx context.Context, rec Record, done func(Receipt, error)) error

	// Flush waits until every record taken before the call is settled.
	Flush(ctx context.Context) error

	// Close flushes within ctx and ends the producer. What is not settled by
	// then is given up with ErrUnknown.
	Close(ctx context.Context) error
}
