package seastreamer

import (
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// What programs and backends share is defined in package driver and named here,
// so that a program imports one package.
type (
	// Seq is a sequence number: the place of a message within its shard.
	Seq = driver.Seq
	// Shard is one shard of one stream.
	Shard = driver.Shard
	// Position is how far a shard was processed.
	Position = driver.Position
	// Bound is a shard's first message and its stable end.
	Bound = driver.Bound
	// Start is where reading begins.
	Start = driver.Start
	// Header is one of a record's ordered headers.
	Header = driver.Header
	// Target is the shard that a record goes to.
	Target = driver.Target
	// Record is a message to be sent.
	Record = driver.Record
	// Receipt is where a record was written, and what it survives there.
	Receipt = driver.Receipt
	// Class is what a written record survives.
	Class = driver.Class
	// Durability is what a producer promises.
	Durability = driver.Durability
	// Isolation is which messages a consumer sees.
	Isolation = driver.Isolation
	// Features is what a backend can do.
	Features = driver.Features
	// URL is a broker and streams on it.
	URL = driver.URL
	// Error is a failure with its kind and cause.
	Error = driver.Error
	// GapError is messages that are missing.
	GapError = driver.GapError
	// GapCause is why messages are missing.
	GapCause = driver.GapCause
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
	ErrAborted     = driver.ErrAborted
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
