package driver

import (
	"context"
	"iter"
	"time"
)

// Administration is optional: a Driver implements the interfaces of this file
// and of admin_group.go and admin_cluster.go whose things its backend has.
// Package admin asks for each by type assertion, and says which one is missing.
//
// Their methods may be called by any number of goroutines at once and return
// within their context. None creates anything unless it says so: looking makes
// no stream, no group, no commit and no member. What a backend has in part it
// refuses in part, with errors.ErrUnsupported naming the feature. A stream,
// group, node or user that does not exist is ErrNotFound.

// A StreamAdmin is a Driver whose streams can be administered.
type StreamAdmin interface {
	// StreamNames yields the name of every stream once, in no order, also those
	// that the backend keeps for itself. It reads page by page: a caller that
	// stops has not paid for the rest, and memory does not grow by more than the
	// names. A pair with an error is the last.
	StreamNames(ctx context.Context) iter.Seq2[string, error]

	// DescribeStreams describes the streams named, in that order, with as much
	// detail as d asks for. One that does not exist, or cannot be described, has
	// its Err set; the error is of the call as a whole. Callers ask for at most
	// some thousand at a time.
	DescribeStreams(ctx context.Context, names []string, d Detail) ([]StreamInfo, error)

	// CreateStream makes a stream without messages. One that exists is
	// ErrExists. A setting that the backend cannot keep is ErrUnsupported, and
	// nothing is created.
	CreateStream(ctx context.Context, s StreamSpec) error

	// DeleteStream removes a stream with all its messages, and what groups and
	// owners know of it where that does not go by itself.
	DeleteStream(ctx context.Context, name string) error

	// SetStream changes settings. All of s are changed, or an error says that
	// some may not be. Settings.Replicas is refused: see [ClusterAdmin.Reassign].
	SetStream(ctx context.Context, name string, s Settings) error

	// AddShards gives a stream more shards, so that it has total. Fewer than it
	// has is ErrInvalid.
	AddShards(ctx context.Context, name string, total int) error

	// Trim removes the messages of each shard below the position given, as exactly
	// as the backend can: it may keep some of those, and never removes others. It
	// returns the first sequence numbers that are there afterwards. Readers see a
	// gap. Of some of many it may be a [PartialError].
	Trim(ctx context.Context, before []Position) ([]Position, error)

	// Resolve is where reading from start would begin: one position for each
	// shard of the stream, in order. A start at a time behind the last message
	// is the stable end.
	Resolve(ctx context.Context, stream string, start Start) ([]Position, error)

	// Times is the timestamp of the first message at or after each position, in
	// the same order; the zero time where there is none. It reads no more than it
	// must.
	Times(ctx context.Context, at []Position) ([]time.Time, error)

	// Count is how many messages each range holds, in the same order, without
	// reading them.
	Count(ctx context.Context, r []Range) ([]Count, error)
}

// A Stepper is a Driver whose sequence numbers do not count messages, and that can
// count them. Elsewhere a step is an addition.
type Stepper interface {
	// Step is the sequence number n messages on from a position, or back where n
	// is below zero, within the bounds of its shard. It may have to read what
	// lies between: it is for the tens and hundreds that people ask for.
	Step(ctx context.Context, at Position, n int64) (Seq, error)
}

// Detail says what DescribeStreams should find out. The zero value is the name
// and the number of shards.
type Detail uint8

// The details, which are combined with |.
const (
	DetailBounds   Detail = 1 << iota // ShardInfo.Bound and Messages
	DetailTimes                       // ShardInfo.FirstTime and LastTime
	DetailBytes                       // ShardInfo.Bytes
	DetailReplicas                    // ShardInfo.Leader, Replicas and InSync
	DetailSettings                    // StreamInfo.Settings and Config
)

// Has reports whether all of o are asked for.
func (d Detail) Has(o Detail) bool { return d&o == o }

// A StreamInfo describes a stream.
type StreamInfo struct {
	Name     string
	Internal bool        // the backend, or this library, keeps it for itself
	Shards   []ShardInfo // by index
	Settings Settings    // what of the typed settings is known
	Config   []ConfigEntry
	Err      error // why it could not be described, in whole or in part
}

// A ShardInfo describes one shard. Numbers that are not known are below zero,
// times that are not known zero.
type ShardInfo struct {
	Index    int32
	Bound    Bound
	Messages Count
	Bytes    int64 // that it takes, on disk or in memory, of one replica
	// Added is how many messages it was ever given, with DetailBounds, where
	// sequence numbers do not count them; zero: not known.
	Added     int64
	FirstTime time.Time // the timestamp of its first message
	LastTime  time.Time // the timestamp of its last message
	Leader    string    // the node that takes its writes; "" where it has none
	Replicas  []string  // all nodes that hold it, the preferred leader first
	InSync    []string  // those that have all of it
}

// A Range is the messages of a shard from From up to and without To.
type Range struct {
	Shard
	From, To Seq
}

// A Count is a number of messages. N is below zero where it is not known.
type Count struct {
	N int64
	// Estimated: the backend's sequence numbers have holes that cannot be
	// counted without reading, and N is a guess from a sample or from marks.
	// Without it N is the number of sequence numbers, which on Kafka counts
	// transaction markers and what compaction removed.
	Estimated bool
}

// Settings are those of a stream that several backends have. A nil pointer says
// nothing: as it is, the backend's default. Below zero means without a limit.
type Settings struct {
	MaxAge      *time.Duration // messages older than that are removed
	MaxBytes    *int64         // of a shard: what is above is removed, the oldest first
	MaxMessages *int64         // of a shard, likewise
	MaxMessage  *int64         // the largest message that is taken, in bytes
	Compact     *bool          // keep only the last message of each key
	Replicas    *int           // how many nodes hold each shard
	MinInSync   *int           // how many of them a write needs
	// Native are settings by the backend's own names, which win over the typed
	// ones. A nil value takes a setting back to the default.
	Native map[string]*string
}

// A ConfigEntry is one setting by the backend's own name.
type ConfigEntry struct {
	Name, Value string // Value is "" where it is Secret
	// Source is where it comes from: "default", "stream", "node", "cluster" or
	// "file".
	Source   string
	ReadOnly bool
	Secret   bool
}

// A StreamSpec is a stream to be created.
type StreamSpec struct {
	Name   string
	Shards int // zero is the backend's default
	Settings
}
