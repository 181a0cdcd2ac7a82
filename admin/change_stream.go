package admin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// CreateStream is the change that makes a stream.
type CreateStream struct{ StreamSpec }

// Kind is "create-stream".
func (CreateStream) Kind() string { return "create-stream" }

func (ch CreateStream) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	if err := driver.CheckStream(ch.Name); err != nil {
		return nil, driver.Errorf(ss.ErrInvalid, "", "stream %q: %w", ch.Name, err)
	}
	switch in, err := c.stream(ctx, ch.Name, 0); {
	case err == nil:
		return nil, driver.Errorf(ss.ErrExists, "create "+ch.Name, "there is such a stream, with %s", plural(len(in.Shards), "shard"))
	case notFoundIsNil(err) != nil:
		return nil, err
	}
	shards := "the backend's default of shards"
	if ch.Shards > 0 {
		shards = plural(ch.Shards, "shard")
	}
	p := &Plan{Target: ch.Name, Steps: []Step{{Item: ch.Name, Action: "create", To: shards}}}
	for _, s := range List(ch.Settings) {
		p.Steps = append(p.Steps, Step{Item: ch.Name, Action: "set", What: s.Name, To: s.Value})
	}
	p.apply = once(func(ctx context.Context) error { return d.CreateStream(ctx, ch.StreamSpec) })
	return p, nil
}

// DeleteStream is the change that removes streams with all their messages.
type DeleteStream struct{ Streams []string }

// Kind is "delete-stream".
func (DeleteStream) Kind() string { return "delete-stream" }

func (ch DeleteStream) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	infos, err := c.Describe(ctx, DetailBounds|DetailBytes, ch.Streams...)
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: names(ch.Streams), Destructive: true}
	for _, in := range infos {
		n := Messages(in)
		p.Steps = append(p.Steps, Step{Item: in.Name, Action: "delete", From: plural(len(in.Shards), "shard"),
			Messages: max(0, n.N), Estimated: n.Estimated, Bytes: max(0, Bytes(in))})
	}
	p.apply = func(ctx context.Context, p *Plan) error {
		return p.each(ctx, func(i int) error { return d.DeleteStream(ctx, p.Steps[i].Item) })
	}
	return p, nil
}

// names is one name, or how many there are.
func names(s []string) string {
	if len(s) == 1 {
		return s[0]
	}
	return fmt.Sprintf("%d streams", len(s))
}

// SetStream is the change of a stream's settings. It can be undone where all of
// them were known.
type SetStream struct {
	Stream string
	Settings
}

// Kind is "set-stream".
func (SetStream) Kind() string { return "set-stream" }

func (ch SetStream) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	in, err := c.stream(ctx, ch.Stream, DetailSettings)
	if err != nil {
		return nil, err
	}
	if err := ch.unknown(in); err != nil {
		return nil, err
	}
	was, known := before(in, ch.Settings)
	from := make(map[string]string)
	for _, s := range List(was) {
		from[s.Name] = s.Value
	}
	p := &Plan{Target: ch.Stream}
	for _, s := range List(ch.Settings) {
		if from[s.Name] == s.Value {
			continue
		}
		p.Steps = append(p.Steps, Step{Item: ch.Stream, Action: "set", What: s.Name, From: from[s.Name], To: s.Value})
		switch s.Name {
		case "max-age", "max-bytes", "max-messages", "compact", "retention.ms", "retention.bytes", "cleanup.policy":
			p.Destructive = true // it may have messages removed
		}
	}
	if known && !p.Empty() {
		p.undo = []Undo{{ch.Stream, SetStream{ch.Stream, was}}}
	}
	p.apply = once(func(ctx context.Context) error { return d.SetStream(ctx, ch.Stream, ch.Settings) })
	return p, nil
}

// unknown refuses names that the backend does not have.
func (ch SetStream) unknown(in StreamInfo) error {
	for name := range ch.Native {
		if len(in.Config) > 0 && !slices.ContainsFunc(in.Config, func(e ConfigEntry) bool { return e.Name == name }) {
			return driver.Errorf(ss.ErrInvalid, "set "+ch.Stream, "there is no setting %q: known are %s, and the backend's own, which stream info -o wide lists", name, strings.Join(SettingNames(), ", "))
		}
	}
	return nil
}

// AddShards is the change that gives a stream more shards. It cannot be undone,
// and keys may go to other shards from then on.
type AddShards struct {
	Stream string
	Total  int // how many it will have
}

// Kind is "add-shards".
func (AddShards) Kind() string { return "add-shards" }

func (ch AddShards) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	in, err := c.stream(ctx, ch.Stream, 0)
	if err != nil {
		return nil, err
	}
	have := len(in.Shards)
	if ch.Total < have {
		return nil, driver.Errorf(ss.ErrInvalid, "add shards to "+ch.Stream, "it has %s, and their number cannot become lower", plural(have, "shard"))
	}
	p := &Plan{Target: ch.Stream}
	if ch.Total == have {
		return p, nil
	}
	p.Destructive = true
	p.Steps = []Step{{Item: ch.Stream, Action: "add shards", From: strconv.Itoa(have), To: strconv.Itoa(ch.Total),
		Detail: "cannot be undone; keys may go to other shards from now on"}}
	p.apply = once(func(ctx context.Context) error { return d.AddShards(ctx, ch.Stream, ch.Total) })
	return p, nil
}

// Trim is the change that removes the messages of a stream before a position:
// those of each shard below where Before would begin to read, or of the shards
// that At names below that.
type Trim struct {
	Stream string
	Before ss.Start
	Shards []int32       // empty is all
	At     []ss.Position // instead of Before; Shards says which of them
}

// Kind is "trim-stream".
func (Trim) Kind() string { return "trim-stream" }

func (ch Trim) plan(ctx context.Context, c *Client) (*Plan, error) {
	d, err := c.streams()
	if err != nil {
		return nil, err
	}
	in, err := c.stream(ctx, ch.Stream, DetailBounds)
	if err != nil {
		return nil, err
	}
	at := ch.At
	if len(at) == 0 {
		if at, err = d.Resolve(ctx, ch.Stream, ch.Before); err != nil {
			return nil, err
		}
	}
	if at, err = only(at, ch.Stream, ch.Shards); err != nil {
		return nil, err
	}
	bounds := make(map[int32]ss.Bound)
	for _, sh := range in.Shards {
		bounds[sh.Index] = sh.Bound
	}
	var cuts []ss.Position
	var ranges []Range
	for _, p := range at {
		if b := bounds[p.Index]; b.First.Less(p.Next) {
			if b.Next.Less(p.Next) {
				p.Next = b.Next
			}
			cuts = append(cuts, p)
			ranges = append(ranges, Range{Shard: p.Shard, From: b.First, To: p.Next})
		}
	}
	n, err := d.Count(ctx, ranges)
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: ch.Stream, Destructive: true}
	for i, cut := range cuts {
		p.Steps = append(p.Steps, Step{Item: cut.Shard.String(), Action: "trim", From: ranges[i].From.String(), To: cut.Next.String(),
			Messages: max(0, n[i].N), Estimated: n[i].Estimated})
	}
	p.apply = func(ctx context.Context, p *Plan) error {
		first, err := d.Trim(ctx, cuts)
		end(p.Steps, err)
		for i := range first {
			if p.Steps[i].Done && first[i].Next.Less(cuts[i].Next) {
				p.Steps[i].Detail = "the backend keeps what is at and after " + first[i].Next.String()
			}
		}
		return p.result()
	}
	return p, nil
}

// only is the positions of the shards named.
func only(at []ss.Position, stream string, shards []int32) ([]ss.Position, error) {
	if len(shards) == 0 {
		return at, nil
	}
	byIndex := make(map[int32]ss.Position)
	for _, p := range at {
		byIndex[p.Index] = p
	}
	var some []ss.Position
	for _, i := range shards {
		p, ok := byIndex[i]
		if !ok {
			return nil, driver.Errorf(ss.ErrNotFound, "", "there is no shard %v", ss.Shard{Stream: stream, Index: i})
		}
		some = append(some, p)
	}
	return some, nil
}

// CloneStream is the change that makes a stream with the shards and settings of
// another one, without its messages.
type CloneStream struct{ From, To string }

// Kind is "clone-stream".
func (CloneStream) Kind() string { return "clone-stream" }

func (ch CloneStream) plan(ctx context.Context, c *Client) (*Plan, error) {
	in, err := c.stream(ctx, ch.From, DetailSettings|DetailReplicas)
	if err != nil {
		return nil, err
	}
	spec := StreamSpec{Name: ch.To, Shards: len(in.Shards)}
	for _, e := range in.Config {
		if e.Source == "stream" && !e.Secret && !e.ReadOnly {
			if spec.Native == nil {
				spec.Native = make(map[string]*string)
			}
			spec.Native[e.Name] = new(e.Value)
		}
	}
	if len(in.Config) == 0 {
		spec.Settings = in.Settings
	} else {
		spec.Replicas = in.Settings.Replicas
	}
	return CreateStream{spec}.plan(ctx, c)
}
