package admin

import (
	"context"
	"iter"
	"path"
)

// Groups yields all groups, or with streams those that know one of them, in no
// order, described a page at a time. A group that cannot be described comes with
// its Err set; a pair with an error is the last.
func (c *Client) Groups(ctx context.Context, streams ...string) iter.Seq2[GroupInfo, error] {
	return c.GroupsMatching(ctx, "", streams...)
}

// GroupsMatching is Groups for those whose name matches a glob as of package
// path; "" is all. Others are not described.
func (c *Client) GroupsMatching(ctx context.Context, match string, streams ...string) iter.Seq2[GroupInfo, error] {
	return func(yield func(GroupInfo, error) bool) {
		d, err := c.groups()
		if err == nil {
			_, err = path.Match(match, "")
		}
		if err != nil {
			yield(GroupInfo{}, err)
			return
		}
		all := described(matching(d.GroupNames(ctx, streams), match), func(names []string) ([]GroupInfo, error) { return d.DescribeGroups(ctx, names) })
		for g, err := range all {
			if !yield(g, err) || err != nil {
				return
			}
		}
	}
}

// DescribeGroups describes the groups named, in order. What cannot be described
// has its Err set and is in the error.
func (c *Client) DescribeGroups(ctx context.Context, names ...string) ([]GroupInfo, error) {
	d, err := c.groups()
	if err != nil {
		return nil, err
	}
	infos, err := d.DescribeGroups(ctx, names)
	if err != nil {
		return infos, err
	}
	var tally PartialError
	for _, in := range infos {
		tally.Add(in.Name, in.Err)
	}
	return infos, tally.Failed()
}

// group describes one group.
func (c *Client) group(ctx context.Context, name string) (GroupInfo, error) {
	d, err := c.groups()
	if err != nil {
		return GroupInfo{}, err
	}
	infos, err := d.DescribeGroups(ctx, []string{name})
	if err != nil {
		return GroupInfo{}, err
	}
	return infos[0], infos[0].Err
}

// Pending yields the messages of a group on a stream that were delivered and
// have no verdict yet, by shard and sequence.
func (c *Client) Pending(ctx context.Context, stream, group string, f PendingFilter) iter.Seq2[PendingMessage, error] {
	d, err := c.pending()
	if err != nil {
		return func(yield func(PendingMessage, error) bool) { yield(PendingMessage{}, err) }
	}
	return d.Pending(ctx, stream, group, f)
}
