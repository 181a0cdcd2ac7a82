package seastreamer

import (
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// The vocabulary that programs and backends share. It is defined in package
// driver and named here, so that a program imports one package.
type (
	Seq        = driver.Seq        // a sequence number: the place of a message within its shard
	Shard      = driver.Shard      // one shard of one stream
	Position   = driver.Position   // how far a shard was processed
	Bound      = driver.Bound      // a shard's first message and its stable end
	Start      = driver.Start      // where reading begins
	Header     = driver.Header     // one of a record's ordered headers
	Target     = driver.Target     // the shard that a record goes to
	Record     = driver.Record     // a message to be sent
	Receipt    = driver.Receipt    // where a record was written, and what it survives there
	Class      = driver.Class      // what a written record survives
	Durability = driver.Durability // what a producer promises
	Isolation  = driver.Isolation  // which messages a consumer sees
	Features   = driver.Features   // what a backend can do
	URL        = driver.URL        // a broker and streams on it
	Error      = driver.Error      // a failure with its kind and cause
	GapError   = driver.GapError   // messages that are missing
	GapCause   = driver.GapCause   // why they are
)

// The kinds of failure, for errors.Is. What a backend cannot do is an
// errors.ErrUnsupported.
var (
	ErrClosed      = driver.ErrClosed
	ErrNotFound    = driver.ErrNotFound
	ErrExists      = driver.ErrExists
	ErrInvalid     = driver.ErrInvalid
	ErrDenied      = driver.ErrDenied
	ErrTooLarge    = driver.ErrTooLarge
	ErrUnavailable = driver.ErrUnavailable
	ErrUnknown     = driver.ErrUnknown
	ErrFenced      = driver.ErrFenced
	ErrLost        = driver.ErrLost
)

// Where reading begins; see also [From] and [Since].
var (
	Latest   = driver.Latest
	Earliest = driver.Earliest
)

// The durabilities of a producer.
const (
	AtLeastOnce = driver.AtLeastOnce
	AtMostOnce  = driver.AtMostOnce
	ExactlyOnce = driver.ExactlyOnce
)

// The isolation levels of a consumer.
const (
	Committed   = driver.Committed
	Uncommitted = driver.Uncommitted
)

// The durability classes of a receipt, ascending.
const (
	ClassNone       = driver.ClassNone
	ClassMemory     = driver.ClassMemory
	ClassProcess    = driver.ClassProcess
	ClassSynced     = driver.ClassSynced
	ClassReplicated = driver.ClassReplicated
)

// The causes of a gap.
const (
	GapTrimmed   = driver.GapTrimmed
	GapTruncated = driver.GapTruncated
	GapCorrupt   = driver.GapCorrupt
	GapRecreated = driver.GapRecreated
)

// From starts at the first message whose sequence number is at or above s.
func From(s Seq) Start { return driver.From(s) }

// Since starts at the first message whose timestamp is at or after t.
func Since(t time.Time) Start { return driver.Since(t) }

// On is the target that names the shard with index i.
func On(i int32) Target { return driver.On(i) }

// SeqOf is the sequence number n of a backend that counts in 64 bits.
func SeqOf(n uint64) Seq { return driver.SeqOf(n) }

// ParseURL reads a URL with streams, such as kafka://h1:9092,h2:9092/news.
func ParseURL(s string) (URL, error) { return driver.ParseURL(s) }
