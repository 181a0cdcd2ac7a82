// Package receive reads streams and renders their messages: what consume and
// tap have in common.
package receive

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/position"
	"github.com/seastreamer/seastreamer/internal/frame"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// Options are the flags that say what is read and how it is shown.
type Options struct {
	From      string
	Until     string
	Shards    string
	Group     string
	Isolation string
	OnGap     string // warn, fail
	Output    string // text, json
	Frame     string

	fromSet     bool
	from, until position.Spec
	shards      []int32
	kind        frame.Kind
}

// AddFlags adds the flags; from is where reading begins if it is not said.
func AddFlags(fs *pflag.FlagSet, o *Options, from string) {
	AddSourceFlags(fs, o, from, "warn")
	o.Output = "text"
	fs.StringVarP(&o.Group, "group", "g", "", "group `NAME` whose members share the shards, and whose progress is kept")
	fs.VarP(factory.OneOf(&o.Output, "text", "json"), "output", "o", "`text|json`: text (the payload) or json (a line with payload, key, headers, timestamp and place)")
	fs.Var(factory.OneOf(&o.Frame, "lines", "nul", "len32be"), "frame", "how messages are told apart: `KIND` is lines, nul or len32be")
}

// AddSourceFlags adds the flags that say which messages are read, and no others;
// from is where reading begins and onGap what a gap does if it is not said.
func AddSourceFlags(fs *pflag.FlagSet, o *Options, from, onGap string) {
	o.Isolation, o.OnGap, o.Frame = "committed", onGap, "lines"
	fs.StringVar(&o.From, "from", from, "where to begin: `POS` is "+position.Help)
	fs.StringVarP(&o.Shards, "shard", "s", "", "read these shards `LIST` only, such as 0,2,4-6")
	fs.Var(factory.OneOf(&o.Isolation, "committed", "uncommitted"), "isolation", "`committed|uncommitted`: committed, or also what transactions have not committed: uncommitted")
	fs.Var(factory.OneOf(&o.OnGap, "warn", "fail"), "on-gap", "`warn|fail` when messages are missing, since retention was faster or a file is damaged: warn and go on (the exit code is 1), or fail")
}

// AddUntilFlag adds the flag that says where reading ends.
func AddUntilFlag(fs *pflag.FlagSet, o *Options) {
	fs.StringVar(&o.Until, "until", "", "where to end, a `POS` as --from; end is the end as it is now")
}

// Check reads the values that are more than words.
func (o *Options) Check(set func(flag string) bool, now time.Time) (err error) {
	if o.from, err = position.Parse(o.From, now); err != nil {
		return exit.Usagef("", "--from: %v", err)
	}
	o.fromSet = set("from")
	if o.Until != "" {
		if o.until, err = position.Parse(o.Until, now); err != nil {
			return exit.Usagef("", "--until: %v", err)
		}
		if t, ok := o.until.Time(); ok && t.After(now) {
			return exit.Usagef("name a time in the past", "--until %s has not come yet", o.Until)
		}
	}
	if set("shard") {
		if o.shards, err = position.ParseShards(o.Shards); err != nil {
			return exit.Usagef("", "--shard: %v", err)
		}
	}
	if o.kind, err = frame.ParseKind(o.Frame); err != nil {
		return err
	}
	if o.Output == "json" {
		if set("frame") && o.kind != frame.Lines {
			return exit.Usagef("leave it out", "-o json writes lines, and --frame is %s", o.Frame)
		}
		o.kind = frame.Envelope
	}
	if set("group") && o.Group == "" {
		return exit.Usagef("", "--group is empty")
	}
	if o.Group != "" {
		switch _, simple := o.from.Start(); {
		case set("until"):
			return exit.Usagef("read without a group, or end with -n", "--until and --group do not go together, since the group's other members read some of the shards")
		case o.shards != nil:
			return exit.Usagef("leave out one of them", "--shard and --group do not go together, since the group shares the shards out")
		case !simple:
			return exit.Usagef("use start, end, a sequence number or a time", "--from %s and --group do not go together, since the group has its own progress for each shard", o.From)
		}
	}
	return nil
}

// A Plan is a consumer's configuration and when it is done.
type Plan struct {
	Config ss.ConsumerConfig
	// Before ends each shard at its first message that is not before it; zero
	// is no such end.
	Before time.Time
	Shards int // how many are read
}

// Plan turns the options into a configuration. The streams must exist.
func (o *Options) Plan(ctx context.Context, s *ss.Streamer, streams []string, byDefault ss.Start) (*Plan, error) {
	bounds, err := factory.Bounds(ctx, s, streams...)
	if err != nil {
		return nil, factory.Reader(err, streams)
	}
	if bounds, err = o.selected(bounds); err != nil {
		return nil, err
	}
	from, until := o.from, o.until
	if position.AreIDs(bounds) {
		from, until = from.IDs(), until.IDs()
	}
	p := &Plan{Shards: len(bounds), Config: ss.ConsumerConfig{Streams: streams, Group: o.Group, Ack: ss.AckExplicit}}
	if o.Isolation == "uncommitted" {
		p.Config.Isolation = ss.Uncommitted
	}
	if o.OnGap == "warn" {
		p.Config.OnGap = ss.GapContinue
	}
	var simple bool
	if p.Config.Start, simple = from.Start(); !simple {
		at, err := from.Numbers(bounds, byDefault, counter(ctx, s))
		if err != nil {
			return nil, exit.OfFlag("--from "+o.From, err)
		}
		p.Config.Start = byDefault
		p.Config.Assigned = func(context.Context, []ss.Shard) (ss.Checkpoint, error) { return at, nil }
	}
	switch when, isTime := until.Time(); {
	case isTime:
		p.Before = when
		p.Config.Until = ends(bounds)
	case until.Given():
		if p.Config.Until, err = until.Numbers(bounds, ss.Latest, counter(ctx, s)); err != nil {
			return nil, exit.OfFlag("--until "+o.Until, err)
		}
	case o.shards != nil:
		// A consumer reads the shards that Until names; these without an end.
		p.Config.Until = ss.Checkpoint{}
		for sh := range bounds {
			p.Config.Until[sh] = driver.MaxSeq
		}
	}
	return p, nil
}

// GoesOn says that --from is not looked at, since the group is there already,
// where nobody would expect otherwise: a group that keeps a verdict per message
// has no position that a member could move. It is no error, so that the same
// command may be started again and again.
func (o *Options) GoesOn(ctx context.Context, io *iostreams.Streams, s *ss.Streamer, streams []string) {
	if o.Group == "" || !o.fromSet {
		return
	}
	d, ok := ss.As[Deliverer](s)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, factory.ConnectTimeout)
	defer cancel()
	if at, err := d.Delivered(ctx, o.Group, streams); err == nil && len(at) > 0 {
		io.Notice("group %s goes on where it stopped: --from %s is for one that begins (redis-cli XGROUP SETID moves it)", o.Group, o.From)
	}
}

// A Deliverer is a client of a backend whose groups hand out messages. It says
// how far a group has handed them out, for each shard that it has begun. (An
// alias, since backends know the interface by what it has and not by name.)
type Deliverer = interface {
	Delivered(ctx context.Context, group string, streams []string) (map[ss.Shard]ss.Seq, error)
}

// counter counts messages where the backend can.
func counter(ctx context.Context, s *ss.Streamer) position.Count {
	c, ok := ss.As[driver.Stepper](s)
	if !ok {
		return nil
	}
	return func(at ss.Position, n int64) (ss.Seq, error) {
		ctx, cancel := context.WithTimeout(ctx, factory.ConnectTimeout)
		defer cancel()
		return c.Step(ctx, at, n)
	}
}

func ends(bounds map[ss.Shard]ss.Bound) ss.Checkpoint {
	c := ss.Checkpoint{}
	for sh, b := range bounds {
		c[sh] = b.Next
	}
	return c
}

// selected is bounds without the shards that are not asked for.
func (o *Options) selected(bounds map[ss.Shard]ss.Bound) (map[ss.Shard]ss.Bound, error) {
	if o.shards == nil {
		return bounds, nil
	}
	some := map[ss.Shard]ss.Bound{}
	for _, i := range o.shards {
		found := false
		for sh, b := range bounds {
			if sh.Index == i {
				some[sh] = b
				found = true
			}
		}
		if !found {
			return nil, &exit.Error{Code: exit.NotFound, Msg: "there is no shard", Err: errors.New(o.Shards), Hint: "shards count from 0"}
		}
	}
	return some, nil
}
