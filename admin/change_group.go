package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// SeekGroup is the change that moves a group on streams: to where To would begin
// to read, or to the positions At, or by Shift messages (see [Client.Step]; back
// where it is negative), or to where the group From stands. Its plan resolves to a [MoveGroup] and can be
// undone by one. A group that does not exist is made, but not by a Shift.
type SeekGroup struct {
	Group   string
	Streams []string // empty is all that the group (or From) knows
	Shards  []int32  // of each stream; empty is all
	To      *ss.Start
	At      []ss.Position // of these shards, whatever Streams and Shards say
	Shift   int64
	From    string
}

// Kind is "seek-group".
func (SeekGroup) Kind() string { return "seek-group" }

func (ch SeekGroup) plan(ctx context.Context, c *Client) (*Plan, error) {
	ways := 0
	for _, given := range []bool{ch.To != nil, len(ch.At) > 0, ch.Shift != 0, ch.From != ""} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return nil, driver.Errorf(ss.ErrInvalid, "seek group "+ch.Group, "give one of: a position, a shift, another group")
	}
	at := ch.At
	if len(at) == 0 {
		var err error
		if at, err = ch.target(ctx, c); err != nil {
			return nil, err
		}
	}
	return MoveGroup{Group: ch.Group, At: at}.plan(ctx, c)
}

// target is where the group is to stand.
func (ch SeekGroup) target(ctx context.Context, c *Client) ([]ss.Position, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	like := ch.Group
	if ch.From != "" {
		like = ch.From
	}
	var known GroupInfo
	if ch.To == nil || len(ch.Streams) == 0 {
		if known, err = c.group(ctx, like); err != nil {
			return nil, err
		}
	}
	streams := ch.Streams
	if len(streams) == 0 {
		seen := make(map[string]struct{})
		for _, p := range known.Positions {
			seen[p.Stream] = struct{}{}
		}
		streams = slices.Sorted(maps.Keys(seen))
	}
	if len(streams) == 0 {
		return nil, driver.Errorf(ss.ErrNotFound, "seek group "+ch.Group, "group %s knows no stream: name one", like)
	}
	var all []ss.Position
	for _, s := range streams {
		var at []ss.Position
		if ch.To != nil {
			at, err = d.Resolve(ctx, s, *ch.To)
		} else {
			at, err = c.shifted(ctx, d, known, s, ch.Shift)
		}
		if err == nil {
			at, err = only(at, s, ch.Shards)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, at...)
	}
	return all, nil
}

// shifted is where g stands on a stream, moved by n, within the bounds.
func (c *Client) shifted(ctx context.Context, d driver.StreamAdmin, g GroupInfo, stream string, n int64) ([]ss.Position, error) {
	var at []ss.Position
	for _, p := range g.Positions {
		if p.Stream == stream {
			at = append(at, p.Position)
		}
	}
	if len(at) == 0 {
		return nil, driver.Errorf(ss.ErrNotFound, "", "group %s has no position on stream %s", g.Name, stream)
	}
	if n == 0 {
		return at, nil
	}
	infos, err := d.DescribeStreams(ctx, []string{stream}, DetailBounds)
	if err == nil {
		err = infos[0].Err
	}
	if err != nil {
		return nil, err
	}
	for i, p := range at {
		for _, sh := range infos[0].Shards {
			if sh.Index != p.Index {
				continue
			}
			if at[i].Next, err = c.Step(ctx, p, sh.Bound, n); err != nil {
				return nil, err
			}
		}
	}
	return at, nil
}

// mostSteps is how many messages Step reads to count them.
const mostSteps = 100_000

// Step is the sequence number n messages on from a position, or back where n is
// below zero, within the bounds of its shard. Where sequence numbers do not count
// messages, as on Redis, those on the way are read, and more than 100,000 of them
// are ErrInvalid.
func (c *Client) Step(ctx context.Context, at ss.Position, b ss.Bound, n int64) (ss.Seq, error) {
	if at.Next.Hi == 0 && b.Next.Hi == 0 {
		return shift(at.Next, n, b), nil
	}
	d, err := need[driver.Stepper](c, "way to count messages: their sequence numbers are times")
	if err != nil {
		return ss.Seq{}, err
	}
	if n > mostSteps || n < -mostSteps {
		return ss.Seq{}, driver.Errorf(ss.ErrInvalid, "", "sequence numbers of %s are times, and to count %d messages all would be read: at most %d are; use a time, such as -1h", at.Stream, n, mostSteps)
	}
	return d.Step(ctx, at, n)
}

func shift(q ss.Seq, n int64, b ss.Bound) ss.Seq {
	if n >= 0 {
		q = q.Add(uint64(n))
	} else if back := uint64(-n); q.Lo >= back {
		q.Lo -= back
	} else {
		q = ss.Seq{}
	}
	if q.Less(b.First) {
		q = b.First
	}
	if b.Next.Less(q) {
		q = b.Next
	}
	return q
}

// MoveGroup is the change that puts a group at positions and has it forget
// others. It can be undone.
type MoveGroup struct {
	Group  string
	At     []ss.Position
	Forget []ss.Shard `json:",omitempty"`
}

// Kind is "move-group".
func (MoveGroup) Kind() string { return "move-group" }

func (ch MoveGroup) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.groups()
	if err != nil {
		return nil, err
	}
	now, err := c.group(ctx, ch.Group)
	if notFoundIsNil(err) != nil {
		return nil, err
	}
	was := make(map[ss.Shard]ss.Seq)
	for _, p := range now.Positions {
		was[p.Shard] = p.Next
	}
	// Nobody relies on a group that is made, or has been and is empty.
	p := &Plan{Target: ch.Group, Destructive: len(now.Positions)+len(now.Members) > 0}
	undo := MoveGroup{Group: ch.Group}
	var move []ss.Position
	var ways []Range // of the moves of shards that it knows
	var of []int     // the step of each
	for _, at := range sorted(ch.At) {
		old, had := was[at.Shard]
		if had && old == at.Next {
			continue
		}
		move = append(move, at)
		s := Step{Item: at.Shard.String(), Action: "move", To: at.Next.String()}
		if had {
			s.From = old.String()
			undo.At = append(undo.At, ss.Position{Shard: at.Shard, Next: old})
			ways = append(ways, Range{Shard: at.Shard, From: old, To: at.Next})
			of = append(of, len(p.Steps))
		} else {
			undo.Forget = append(undo.Forget, at.Shard)
		}
		p.Steps = append(p.Steps, s)
	}
	moves := make([]*Step, len(of))
	for i, step := range of {
		moves[i] = &p.Steps[step]
	}
	if len(ways) > 0 {
		if err := c.distances(ctx, ways, moves); err != nil {
			return nil, err
		}
	}
	var forget []ss.Shard
	for _, sh := range ch.Forget {
		old, had := was[sh]
		if !had {
			continue
		}
		forget = append(forget, sh)
		undo.At = append(undo.At, ss.Position{Shard: sh, Next: old})
		p.Steps = append(p.Steps, Step{Item: sh.String(), Action: "forget", From: old.String()})
	}
	if !p.Empty() {
		p.undo = []Undo{{ch.Group, undo}}
	}
	p.apply = func(ctx context.Context, p *Plan) error {
		moves, forgets := p.Steps[:len(move)], p.Steps[len(move):]
		var err error
		if len(moves) > 0 {
			err = d.SetPositions(ctx, ch.Group, move)
			end(moves, err)
		}
		switch {
		case err != nil: // whoever has members, or is away, does not forget either
			end(forgets, driver.ErrNotTried)
		case len(forgets) > 0:
			end(forgets, d.DeletePositions(ctx, ch.Group, forget))
		}
		return p.result()
	}
	return p, nil
}

// distances says in the steps that move how many messages lie on the way.
func (c *Client) distances(ctx context.Context, ways []Range, steps []*Step) error {
	d, err := c.streams()
	if err != nil {
		return err
	}
	ranges := slices.Clone(ways)
	for i, w := range ways {
		if w.To.Less(w.From) {
			ranges[i].From, ranges[i].To = w.To, w.From
		}
	}
	n, err := d.Count(ctx, ranges)
	if errors.Is(err, ss.ErrNotFound) && len(ways) > 1 { // a stream is gone: what is there is still counted
		for i := range ways {
			if err := c.distances(ctx, ways[i:i+1], steps[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return notFoundIsNil(err)
	}
	for i, w := range ways {
		if n[i].N < 0 {
			continue
		}
		about := ""
		if n[i].Estimated {
			about = "about "
		}
		switch {
		case w.From.Less(w.To):
			steps[i].Detail = "passes over " + about + plural(int(n[i].N), "message")
		case n[i].N == 1:
			steps[i].Detail = about + "1 message comes again"
		default:
			steps[i].Detail = fmt.Sprintf("%s%d messages come again", about, n[i].N)
		}
	}
	return nil
}

// CloneGroup is the change that makes a group which stands where another one
// stands.
type CloneGroup struct{ From, To string }

// Kind is "clone-group".
func (CloneGroup) Kind() string { return "clone-group" }

func (ch CloneGroup) plan(ctx context.Context, c *Client) (*Plan, error) {
	switch _, err := c.group(ctx, ch.To); {
	case err == nil:
		return nil, driver.Errorf(ss.ErrExists, "clone group "+ch.From, "there is a group %s: move it there with a seek", ch.To)
	case notFoundIsNil(err) != nil:
		return nil, err
	}
	return SeekGroup{Group: ch.To, From: ch.From}.plan(ctx, c)
}

// DeleteGroup is the change that removes groups. Where they stood can be had
// back, of each for itself.
type DeleteGroup struct{ Groups []string }

// Kind is "delete-group".
func (DeleteGroup) Kind() string { return "delete-group" }

func (ch DeleteGroup) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.groups()
	if err != nil {
		return nil, err
	}
	infos, err := c.DescribeGroups(ctx, ch.Groups...)
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: fmt.Sprintf("%d groups", len(infos)), Destructive: true}
	for _, g := range infos {
		p.Steps = append(p.Steps, Step{Item: g.Name, Action: "delete", From: plural(len(g.Positions), "position"), Detail: members(g)})
		undo := MoveGroup{Group: g.Name}
		for _, at := range g.Positions {
			undo.At = append(undo.At, at.Position)
		}
		if len(undo.At) > 0 {
			p.undo = append(p.undo, Undo{g.Name, undo})
		}
	}
	if len(infos) == 1 {
		p.Target = infos[0].Name
	}
	p.apply = func(ctx context.Context, p *Plan) error {
		return p.each(ctx, func(i int) error { return d.DeleteGroup(ctx, p.Steps[i].Item) })
	}
	return p, nil
}

func members(g GroupInfo) string {
	if len(g.Members) == 0 {
		return ""
	}
	return "it has " + plural(len(g.Members), "member")
}

// ForgetGroup is the change that has a group forget where it stands on streams.
// It can be undone.
type ForgetGroup struct {
	Group   string
	Streams []string
}

// Kind is "forget-group".
func (ForgetGroup) Kind() string { return "forget-group" }

func (ch ForgetGroup) plan(ctx context.Context, c *Client) (*Plan, error) {
	g, err := c.group(ctx, ch.Group)
	if err != nil {
		return nil, err
	}
	m := MoveGroup{Group: ch.Group}
	for _, p := range g.Positions {
		if slices.Contains(ch.Streams, p.Stream) {
			m.Forget = append(m.Forget, p.Shard)
		}
	}
	return m.plan(ctx, c)
}
