package driver

import (
	"fmt"
	"iter"
	"time"
)

// A Header is one of a record's ordered key-value pairs. Keys may repeat. A
// nil Value is distinct from an empty one where the backend keeps the
// difference.
type Header struct {
	Key   string
	Value []byte
}

// A Target is the shard that a record goes to. In the zero value the backend's
// partitioner chooses: by the key's hash where there is a key.
type Target int32

// On is the target that names the shard with index i, which must not be
// negative.
func On(i int32) Target { return Target(i + 1) }

// Index is the index that [On] was given, and whether there was one.
func (t Target) Index() (int32, bool) { return int32(t) - 1, t > 0 }

// A Record is a message to be sent. Its bytes are borrowed until the receipt
// (or the error) has been delivered, and for good if that never came.
type Record struct {
	Stream     string    // zero is the producer's own stream
	Shard      Target    // zero lets the partitioner choose
	Key, Value []byte    // nil and empty differ: a nil Value is a tombstone
	Headers    []Header  // in order, duplicates kept
	Time       time.Time // zero is the time of sending
	// ID is the record's identity to a producer with a Name, which writes no ID
	// twice: a number that the sender chooses, above all before. Drivers do not
	// see it.
	ID uint64
}

// Class says what a written record survives. Each class includes those before.
type Class uint8

// The durability classes, ascending.
const (
	ClassNone       Class = iota // nothing is known: it was sent and not acknowledged
	ClassMemory                  // in the memory of the process that holds the stream
	ClassProcess                 // survives the death of that process (kill -9), not of the machine
	ClassSynced                  // on stable storage: survives power loss
	ClassReplicated              // on more than one node
)

// String is the class's name in lower case.
func (c Class) String() string {
	switch c {
	case ClassNone:
		return "none"
	case ClassMemory:
		return "memory"
	case ClassProcess:
		return "process"
	case ClassSynced:
		return "synced"
	case ClassReplicated:
		return "replicated"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// A Receipt says where a record was written and what it survives there. With
// [AtMostOnce] the sequence number is not known and Class is ClassNone.
type Receipt struct {
	Shard
	Seq   Seq
	Time  time.Time // the message's timestamp as stored
	Class Class
}

// Durability is what a producer promises about delivery. The zero value is
// AtLeastOnce.
type Durability uint8

// The durabilities.
const (
	AtLeastOnce Durability = iota // repeat until acknowledged; may be written twice after a fault
	AtMostOnce                    // fire and forget: not acknowledged, not repeated
	ExactlyOnce                   // the backend removes repeats within its window, see Features.Dedup
)

// String is the durability's name as flags spell it.
func (d Durability) String() string {
	switch d {
	case AtLeastOnce:
		return "at-least"
	case AtMostOnce:
		return "at-most"
	case ExactlyOnce:
		return "exactly"
	}
	return fmt.Sprintf("durability(%d)", uint8(d))
}

// Isolation says which messages a consumer sees. The zero value is Committed.
type Isolation uint8

// The isolation levels.
const (
	Committed   Isolation = iota // only what is committed: no open or aborted transactions
	Uncommitted                  // everything as it was written
)

// A Batch is a run of messages of one shard, with ascending sequence numbers.
// Everything it returns is read-only. Any number of goroutines may read it.
//
// Its bytes stay valid as long as the garbage collector can see them, or until
// Release, whichever is first. The core calls Release at most once, when the
// application has released the batch and every message of it is settled.
type Batch interface {
	Shard() Shard
	Gen() uint64 // the generation it was fetched under, see [Events]
	Next() Seq   // where the reader stands after it; above the last message's Seq, past any hole
	Len() int    // may be 0: then the batch only moves Next
	Seq(i int) Seq
	Time(i int) time.Time
	Key(i int) []byte // nil where the message has none
	Value(i int) []byte
	Headers(i int) iter.Seq2[string, []byte]
	Size(i int) int    // bytes that message i holds in memory, about
	Bytes() int        // what all messages hold, without looking at each
	Attempt(i int) int // 1 on first delivery; more where the backend counts deliveries
	Release()
}
