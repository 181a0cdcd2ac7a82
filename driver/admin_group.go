package driver

import (
	"context"
	"iter"
	"time"
)

// A GroupAdmin is a Driver whose consumer groups can be administered.
type GroupAdmin interface {
	// GroupNames yields the name of every group once, in no order; with streams
	// only of groups that know one of them. It reads page by page, as
	// StreamNames does.
	GroupNames(ctx context.Context, streams []string) iter.Seq2[string, error]

	// DescribeGroups describes the groups named, in that order: members and
	// positions. One that does not exist, or cannot be described, has its Err
	// set.
	DescribeGroups(ctx context.Context, names []string) ([]GroupInfo, error)

	// SetPositions puts a group at positions, and makes it where it does not
	// exist. A group whose members are at work is ErrFenced where its members
	// would overwrite it. All of at is stored, or an error says that some may not
	// be: a [PartialError] where it is known which.
	SetPositions(ctx context.Context, group string, at []Position) error

	// DeleteGroup removes a group on all streams. One with members is ErrFenced.
	DeleteGroup(ctx context.Context, group string) error

	// DeletePositions makes a group forget shards. One whose members read them
	// is ErrFenced. Of some of many it may be a [PartialError].
	DeletePositions(ctx context.Context, group string, shards []Shard) error
}

// A GroupInfo describes a consumer group.
type GroupInfo struct {
	Name string
	// State is "empty" without members, "stable" when every shard has its owner,
	// "rebalancing" while they are being handed out, or the backend's own word.
	State   string
	Kind    string // the backend's word for how it works, such as "consumer" or "classic"
	Members []MemberInfo
	// Positions are the shards that the group knows, by shard.
	Positions []GroupPosition
	Err       error
}

// A MemberInfo describes a member of a group.
type MemberInfo struct {
	ID     string // unique in the group
	Client string // the name that the client gave itself
	Host   string
	Shards []Shard // that it reads, where the backend hands out shards
	// Pending is how many messages it holds without a verdict, and Idle how long
	// ago it was heard of; below zero: not known.
	Pending int64
	Idle    time.Duration
}

// A GroupPosition is where a group stands on a shard.
type GroupPosition struct {
	Position
	Member string // ID of the member that reads it; "" for none or several
	// Behind is how many messages there are from Next up to the stable end,
	// where the backend keeps count; else N is below zero and
	// StreamAdmin.Count tells.
	Behind Count
	// Pending is how many messages below Next have no verdict yet, with
	// AckMessage.
	Pending int64
}

// A PendingAdmin is a Driver whose groups keep a verdict per message, and where
// those without one can be seen and settled from outside.
type PendingAdmin interface {
	// Pending yields the messages of a group on a stream that were delivered and
	// have no verdict yet, by shard and sequence. It reads page by page. Filter's
	// zero value is all.
	Pending(ctx context.Context, stream, group string, f PendingFilter) iter.Seq2[PendingMessage, error]

	// SettlePending gives messages a verdict: VerdictAck, or VerdictNack which
	// has them delivered again at once. It says how many of them were pending.
	SettlePending(ctx context.Context, group string, ids []MessageID, v Verdict) (int, error)

	// ClaimPending hands messages that have waited for at least minIdle to
	// another member, and says how many.
	ClaimPending(ctx context.Context, group, member string, minIdle time.Duration, ids []MessageID) (int, error)
}

// A PendingFilter says which messages Pending yields.
type PendingFilter struct {
	Member  string        // "" is every member
	MinIdle time.Duration // that were last delivered at least so long ago
}

// A MessageID names one message.
type MessageID struct {
	Shard
	Seq Seq
}

// A PendingMessage is a message without a verdict.
type PendingMessage struct {
	MessageID
	Member   string
	Idle     time.Duration // since it was last delivered
	Attempts int           // how often it was delivered
}
