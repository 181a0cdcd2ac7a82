package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// SetPositions commits offsets as nobody, which Kafka takes only while the
// group has no members, and makes a group that does not exist: one of the
// classic kind, with positions and nothing else. A shard that does not exist is
// ErrNotFound; whether a position is in its shard is not looked at.
func (c *client) SetPositions(ctx context.Context, group string, at []driver.Position) error {
	op := "set positions of group " + group
	if err := c.reach(ctx); err != nil {
		return c.fail(op, "", err)
	}
	if group == "" {
		return driver.Errorf(driver.ErrInvalid, "set positions", "the group has no name")
	}
	if len(at) == 0 {
		return nil
	}
	// The first group of a cluster has to wait for the topic that it is kept in.
	_, err := retried(ctx, func() (struct{}, error) { return struct{}{}, c.setPositions(ctx, op, group, at) })
	return err
}

func (c *client) setPositions(ctx context.Context, op, group string, at []driver.Position) error {
	var to kadm.Offsets
	for _, p := range at {
		to.AddOffset(p.Stream, p.Index, offset(p.Next), -1)
	}
	stored, err := asked(ctx, c, func() (kadm.OffsetResponses, error) {
		return kadm.NewClient(c.cl).CommitOffsets(ctx, group, to)
	})
	if err != nil {
		return c.groupAtWork(op, group, err)
	}
	errs := make([]error, len(at))
	for i, p := range at {
		switch r, ok := stored.Lookup(p.Stream, p.Index); {
		case !ok:
			errs[i] = driver.Errorf(driver.ErrUnknown, op, "%s did not say whether the position of %v is stored", c.nodes(), p.Shard)
		case errors.Is(r.Err, kerr.UnknownTopicOrPartition):
			errs[i] = driver.Errorf(driver.ErrNotFound, op, "%s has no %v", c.nodes(), p.Shard)
		default:
			errs[i] = c.groupAtWork(op, group, r.Err)
		}
	}
	return driver.Partial(errs)
}

// groupAtWork is fail with what to do about members, where those are why Kafka
// refuses.
func (c *client) groupAtWork(op, group string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.RebalanceInProgress),
		errors.Is(err, kerr.StaleMemberEpoch), errors.Is(err, kerr.FencedMemberEpoch),
		errors.Is(err, kerr.NonEmptyGroup), errors.Is(err, kerr.GroupSubscribedToTopic):
		return &driver.Error{Op: op, Kind: driver.ErrFenced, Err: &answered{"it has members at work: stop them first, and try again when the last has left or its session has ended", err}}
	case errors.Is(err, kerr.GroupIDNotFound):
		return driver.Errorf(driver.ErrNotFound, op, "%s has no group %q", c.nodes(), group)
	}
	return c.fail(op, "", err)
}

// hasGroup is kerr.GroupIDNotFound where that is certain, see groupless.
func (c *client) hasGroup(ctx context.Context, group string) error {
	if err := c.reach(ctx); err != nil {
		return err
	}
	none, err := c.groupless(ctx, []string{group})
	if err == nil && len(none) > 0 {
		err = kerr.GroupIDNotFound
	}
	return err
}

// DeleteGroup removes a group without members, with all its positions.
func (c *client) DeleteGroup(ctx context.Context, group string) error {
	op := "delete group " + group
	if err := c.hasGroup(ctx, group); err != nil {
		return c.groupAtWork(op, group, err)
	}
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{group}
	answers, err := c.sharded(ctx, req)
	if err != nil {
		return c.fail(op, "", err)
	}
	for _, a := range answers {
		if a.Err != nil {
			return c.groupAtWork(op, group, a.Err)
		}
		for _, g := range a.Resp.(*kmsg.DeleteGroupsResponse).Groups {
			if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
				return c.groupAtWork(op, group, err)
			}
		}
	}
	return nil
}

// DeletePositions makes a group forget shards. One of which it knows nothing is
// not an error. Kafka refuses it for all shards of a stream that a member has
// subscribed to.
func (c *client) DeletePositions(ctx context.Context, group string, shards []driver.Shard) error {
	op := "delete positions of group " + group
	if err := c.hasGroup(ctx, group); err != nil {
		return c.groupAtWork(op, group, err)
	}
	if len(shards) == 0 {
		return nil
	}
	var set kadm.TopicsSet
	for _, s := range shards {
		set.Add(s.Stream, s.Index)
	}
	gone, err := asked(ctx, c, func() (kadm.DeleteOffsetsResponses, error) {
		return kadm.NewClient(c.cl).DeleteOffsets(ctx, group, set)
	})
	if err != nil {
		return c.groupAtWork(op, group, err)
	}
	errs := make([]error, len(shards))
	for i, s := range shards {
		// A stream that is gone took its positions along.
		if err := gone[s.Stream][s.Index]; !errors.Is(err, kerr.UnknownTopicOrPartition) {
			errs[i] = c.groupAtWork(op, group, err)
		}
	}
	return driver.Partial(errs)
}
