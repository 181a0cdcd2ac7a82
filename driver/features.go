package driver

import (
	"fmt"
	"time"
)

// AckKind says how a backend's consumers keep progress.
type AckKind uint8

// The kinds of acknowledgement.
const (
	AckNone     AckKind = iota // it keeps none
	AckPosition                // a position per shard: its consumers are Committers
	AckMessage                 // a verdict per message: its consumers are Settlers
)

// String is the kind in one word.
func (k AckKind) String() string {
	switch k {
	case AckNone:
		return "none"
	case AckPosition:
		return "position"
	case AckMessage:
		return "message"
	}
	return fmt.Sprintf("ack(%d)", uint8(k))
}

// Dedup says which repeats of a record a backend removes with ExactlyOnce.
// The application's own repeats, by an identity that it chooses, are the core's
// affair, wherever UnitMessages is above zero.
type Dedup struct {
	Retry  bool          // the toolkit's own repeats after a fault
	Window time.Duration // how long, where time limits it
}

// Features says what a backend can do. It is data: the core derives from it
// which configurations to refuse when they are opened, the conformance suite
// which cases to run, and the tables in the documentation are printed from it.
type Features struct {
	Backend string // the backend's name, also its URL scheme

	Ack AckKind // how groups keep progress; AckNone means no groups
	// AckTimeout is how long a message of a group may stay without a verdict
	// before it is delivered again, with AckMessage.
	AckTimeout time.Duration
	SeekSeq    bool // Start From(seq), Seek by sequence
	SeekTime   bool // Start Since(t), Seek by time
	Shards     bool // more than one shard per stream
	Keys       bool // records have keys, and a nil key differs from an empty one
	Headers    bool // records have headers
	// Tombstones: a nil value differs from an empty one.
	Tombstones bool
	Timestamps bool // a record's own Time is kept
	// TimeUnit is the resolution of kept timestamps.
	TimeUnit time.Duration
	// Isolation: uncommitted messages exist and can be asked for.
	Isolation bool
	// Durabilities that a producer may ask for.
	Durabilities []Durability
	// Classes that receipts may carry, as far as is known at open.
	Classes []Class
	Dedup   Dedup // with ExactlyOnce
	// UnitMessages and UnitBytes bound a unit of a Transactor that asks for
	// nothing else; zero UnitMessages: the backend cannot be its output.
	UnitMessages, UnitBytes int
	// UnitShared: several owners of one name may share the shards of an input.
	UnitShared bool
	// MaxRecord is the largest record in bytes, key, value and headers
	// together; zero is not known (the server decides).
	MaxRecord int
	// Autocreate: producing to a stream that is missing creates it.
	Autocreate bool
	// Needs says in one line what the backend needs, such as API versions.
	Needs string
}

// Has reports whether a producer may ask for d.
func (f Features) Has(d Durability) bool {
	for _, o := range f.Durabilities {
		if o == d {
			return true
		}
	}
	return false
}
