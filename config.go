package seastreamer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// AckMode says what acknowledges a message. The zero value is AckOnAdvance.
type AckMode uint8

// The acknowledgement modes.
const (
	// AckOnAdvance: asking for the next message acknowledges the one before.
	// Leaving the loop early does not. At least once; messages must not be
	// handed to other goroutines.
	AckOnAdvance AckMode = iota
	// AckExplicit: only Ack does, in any order and from any goroutine. At
	// least once. Where a group keeps a verdict per message, no more than ten
	// thousand messages are out without one at a time.
	AckExplicit
	// AckOnDelivery: a batch is acknowledged and, with a group, committed
	// before its first message is handed over. At most once.
	AckOnDelivery
)

// GapPolicy says what happens when messages are missing. The zero value is
// GapStop.
type GapPolicy uint8

// The gap policies.
const (
	GapStop     GapPolicy = iota // end the loop with a *GapError; another loop goes on behind it
	GapContinue                  // tell the Observer and go on behind the gap
)

// ConsumerConfig says what to read and how. Only Streams is required.
type ConsumerConfig struct {
	Streams []string
	// Group names durable progress that its members share; "" keeps none, and
	// the consumer reads every shard.
	Group string
	// Start is used where the group has no progress, and without a group.
	Start Start
	// Until ends the loop there, see [Streamer.End]. Shards that it does not
	// name are not read. Nil reads for ever. Refused together with Group.
	Until     Checkpoint
	Ack       AckMode
	OnGap     GapPolicy
	Isolation Isolation
	// CommitEvery is how often a group's progress is stored; zero is one
	// second, negative leaves it to Commit and Close. Verdicts per message
	// (Features.Ack) are stored as soon as there are a thousand, and a Nack at
	// once.
	CommitEvery time.Duration
	// RevokeTimeout is how long a shard that goes to another member waits for
	// the loop body; zero is five seconds.
	RevokeTimeout time.Duration
	// MaxBytes bounds what is fetched ahead of the loop, about; zero is 2 MiB
	// here and the backend's own default below.
	MaxBytes int
	// Assigned is told which shards the consumer reads from now on; the
	// checkpoint that it returns overrides where they begin. It must not call
	// the consumer.
	Assigned func(context.Context, []Shard) (Checkpoint, error)
	// Revoked is told which shards it no longer reads, before the last commit
	// for them, which lost says is no longer possible.
	Revoked func(ctx context.Context, shards []Shard, lost bool)
}

// ProducerConfig says how to send. Its zero value sends at least once to the
// stream that each record names.
type ProducerConfig struct {
	Stream     string // of records that name none
	Durability Durability
	// Name makes deduplication last across restarts, with Durability
	// ExactlyOnce: each record carries an ID, IDs ascend, and a record whose ID
	// was written under this name before is not written again, however long ago
	// that was. The newest producer of a name fences those before it. Receipts
	// do not say where a record was written. See [Producer.LastID].
	Name string
	// Linger is how long a record may wait for company; zero sends at once,
	// batching only what comes while a request is under way.
	Linger time.Duration
	// MaxBytes bounds what is in flight; when it is reached, Send and Enqueue
	// wait. Zero is the backend's default.
	MaxBytes int
}

// A need is a field of a configuration, set, and whether the backend has what
// it needs. Every check of a configuration against Features is one of these.
type need struct {
	field string
	set   bool
	has   bool
	name  string
}

func check(op, backend string, needs []need) error {
	for _, n := range needs {
		if n.set && !n.has {
			return &Error{Op: op, Kind: errors.ErrUnsupported, Err: errors.New(n.field + " needs " + n.name + ", which " + backend + " does not have")}
		}
	}
	return nil
}

func (c *ConsumerConfig) check(f Features) error {
	const op = "open consumer"
	if len(c.Streams) == 0 {
		return invalid(op, "Streams is empty: name at least one stream")
	}
	for i, s := range c.Streams {
		if err := driver.CheckStream(s); err != nil {
			return invalid(op, "stream %q: %w", s, err)
		}
		if slices.Contains(c.Streams[:i], s) {
			return invalid(op, "stream %q is named twice", s)
		}
	}
	if c.Until != nil && c.Group != "" {
		return invalid(op, "Until and Group do not go together: a group's shards move between members, so no member knows the end")
	}
	for s := range c.Until {
		if !slices.Contains(c.Streams, s.Stream) {
			return invalid(op, "Until names %v, whose stream is not read", s)
		}
	}
	if c.Ack > AckOnDelivery || c.OnGap > GapContinue || c.Isolation > Uncommitted || c.Start.At > driver.AtTime {
		return invalid(op, "Ack, OnGap, Isolation or Start has a value that is not defined")
	}
	if c.MaxBytes < 0 || c.RevokeTimeout < 0 {
		return invalid(op, "MaxBytes and RevokeTimeout must not be negative")
	}
	return check(op, f.Backend, []need{
		{"Group", c.Group != "", f.Ack != driver.AckNone, "consumer groups"},
		{"Start", c.Start.At == driver.AtSeq, f.SeekSeq, "seeking by sequence"},
		{"Start", c.Start.At == driver.AtTime, f.SeekTime, "seeking by time"},
		{"Assigned", c.Assigned != nil && c.Group != "", f.Ack != driver.AckMessage, "groups that hand out shards"},
		{"Revoked", c.Revoked != nil && c.Group != "", f.Ack != driver.AckMessage, "groups that hand out shards"},
		{"Isolation", c.Isolation != Committed, f.Isolation, "uncommitted messages"},
	})
}

func (c *ProducerConfig) check(f Features) error {
	const op = "open producer"
	if c.Stream != "" {
		if err := driver.CheckStream(c.Stream); err != nil {
			return invalid(op, "stream %q: %w", c.Stream, err)
		}
	}
	if c.Linger < 0 || c.MaxBytes < 0 {
		return invalid(op, "Linger and MaxBytes must not be negative")
	}
	if c.Name != "" {
		if err := driver.CheckOwnerName(c.Name); err != nil {
			return invalid(op, "%w", err)
		}
		if c.Durability != ExactlyOnce {
			return invalid(op, "Name goes with Durability ExactlyOnce, not with %v", c.Durability)
		}
		return check(op, f.Backend, []need{{"Name", true, f.UnitMessages > 0, "records and progress in one step"}})
	}
	return check(op, f.Backend, []need{
		{"Durability", true, f.Has(c.Durability), "durability " + c.Durability.String()},
	})
}
