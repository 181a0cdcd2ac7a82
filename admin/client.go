package admin

import (
	"errors"
	"fmt"
	"strings"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// A Client administers one backend. Any number of goroutines may use it.
type Client struct {
	s       *ss.Streamer
	backend string
}

// New is a client over s, which stays the caller's to close.
func New(s *ss.Streamer) *Client { return &Client{s: s, backend: s.Features().Backend} }

// Things that are described, and parts of descriptions, as backends give them.
type (
	// StreamInfo describes a stream.
	StreamInfo = driver.StreamInfo
	// ShardInfo describes a shard.
	ShardInfo = driver.ShardInfo
	// Detail says what a description of streams should find out.
	Detail = driver.Detail
	// Settings are those of a stream.
	Settings = driver.Settings
	// ConfigEntry is one setting by the backend's own name.
	ConfigEntry = driver.ConfigEntry
	// StreamSpec is a stream to be created.
	StreamSpec = driver.StreamSpec
	// Count is a number of messages, perhaps estimated.
	Count = driver.Count
	// Range is a range of messages of a shard.
	Range = driver.Range
	// GroupInfo describes a consumer group.
	GroupInfo = driver.GroupInfo
	// GroupPosition is where a group stands on a shard.
	GroupPosition = driver.GroupPosition
	// MemberInfo describes a member of a group.
	MemberInfo = driver.MemberInfo
	// PendingFilter says which pending messages are wanted.
	PendingFilter = driver.PendingFilter
	// PendingMessage is a message without a verdict.
	PendingMessage = driver.PendingMessage
	// MessageID names one message.
	MessageID = driver.MessageID
	// NodeInfo describes a server.
	NodeInfo = driver.NodeInfo
	// LogDir is a folder, or memory, in which a node keeps data.
	LogDir = driver.LogDir
	// ClusterInfo describes a cluster.
	ClusterInfo = driver.ClusterInfo
	// Problem is one thing that is not well.
	Problem = driver.Problem
	// Reassignment is the nodes that a shard is to be held by.
	Reassignment = driver.Reassignment
	// AccessRule says what a user may do to what.
	AccessRule = driver.AccessRule
	// UserInfo describes a user.
	UserInfo = driver.UserInfo
	// UserSpec is a user as it should be.
	UserSpec = driver.UserSpec
)

// The details of a description of streams.
const (
	DetailBounds   = driver.DetailBounds
	DetailTimes    = driver.DetailTimes
	DetailBytes    = driver.DetailBytes
	DetailReplicas = driver.DetailReplicas
	DetailSettings = driver.DetailSettings
)

// need is the driver as T, or an error that says what the backend lacks.
func need[T any](c *Client, feature string) (T, error) {
	t, ok := ss.As[T](c.s)
	if !ok {
		return t, driver.Errorf(errors.ErrUnsupported, "", "backend %s has no %s", c.backend, feature)
	}
	return t, nil
}

func (c *Client) streams() (driver.StreamAdmin, error) {
	return need[driver.StreamAdmin](c, "administration of streams")
}

func (c *Client) groups() (driver.GroupAdmin, error) {
	return need[driver.GroupAdmin](c, "administration of consumer groups")
}

func (c *Client) pending() (driver.PendingAdmin, error) {
	return need[driver.PendingAdmin](c, "pending messages: its groups keep a position per shard")
}

func (c *Client) nodes() (driver.NodeAdmin, error) { return need[driver.NodeAdmin](c, "nodes") }

func (c *Client) cluster() (driver.ClusterAdmin, error) {
	return need[driver.ClusterAdmin](c, "cluster")
}

func (c *Client) access() (driver.AccessAdmin, error) {
	return need[driver.AccessAdmin](c, "users and access rules")
}

// A PartialError lists what failed of a call on many things; the rest worked,
// but for what was not tried because of that.
type PartialError struct {
	Total    int
	Failures []Failure
	NotTried int
}

// A Failure is one thing and what is wrong with it.
type Failure struct {
	Item string
	Err  error
}

// Error is one line with every failure.
func (e *PartialError) Error() string {
	if e.Total == 1 && len(e.Failures) == 1 {
		return fmt.Sprintf("%s: %v", e.Failures[0].Item, e.Failures[0].Err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d failed", len(e.Failures), e.Total)
	if e.NotTried > 0 {
		fmt.Fprintf(&b, ", %d not tried", e.NotTried)
	}
	for i, f := range e.Failures {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %v", sep, f.Item, f.Err)
	}
	return b.String()
}

// Unwrap is the causes.
func (e *PartialError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// Add counts one more thing, and why it failed where err is not nil.
func (e *PartialError) Add(item string, err error) {
	e.Total++
	if err != nil {
		e.Failures = append(e.Failures, Failure{item, err})
	}
}

// Failed is e, or nil where nothing failed.
func (e *PartialError) Failed() error {
	if len(e.Failures) == 0 {
		return nil
	}
	return e
}
