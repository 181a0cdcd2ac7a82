package change

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/journal"
)

// Undo takes back the newest change of one of the kinds about target on this
// broker that has not been undone yet, with the safety of Run. A change of nothing
// but streams that are gone is passed over, with a line, for the one before it. An
// undo is not itself kept: the next one goes one further back. Nothing to undo is
// exit code 5.
func Undo(ctx context.Context, f *factory.Factory, c *admin.Client, broker ss.URL, target string, kinds []string, o Options) error {
	j, err := journal.Open(f)
	if err != nil {
		return err
	}
	all, err := j.Of(brokerKey(broker), target, kinds...)
	if err != nil {
		return err
	}
	for _, e := range all {
		ch, err := e.Change()
		if err != nil {
			return &exit.Error{Code: exit.BadData, Item: target, Msg: "the journal of changes", Err: err}
		}
		left, gone := present(ctx, c, ch)
		when := e.Kind + " of " + e.Time.Local().Format(time.RFC3339)
		switch {
		case left == nil:
			f.IO.Notice("the %s is passed over: it was about %s, which is gone", when, strings.Join(gone, ", "))
			continue
		case len(gone) > 0:
			f.IO.Warn("the %s is undone in part: %s is left out: it is gone", when, strings.Join(gone, ", "))
		}
		return undo(ctx, f, c, j, e, left, o)
	}
	none := &exit.Error{Code: exit.NotFound, Item: target, Msg: "nothing to undo: no change of " + target + " on " + broker.Broker().String() + " is on record",
		Hint: "only what this user has done by this URL of the broker is"}
	if len(all) > 0 {
		none.Msg, none.Hint = "nothing to undo: what is on record of "+target+" is about streams that are gone", ""
	}
	return none
}

// present is a change without what it says about streams that are gone; nil where
// nothing is left.
func present(ctx context.Context, c *admin.Client, ch admin.Change) (left admin.Change, gone []string) {
	move, isMove := ch.(admin.MoveGroup)
	var streams []string
	for _, p := range move.At {
		streams = append(streams, p.Stream)
	}
	for _, s := range move.Forget {
		streams = append(streams, s.Stream)
	}
	if set, ok := ch.(admin.SetStream); ok {
		streams = []string{set.Stream}
	}
	slices.Sort(streams)
	infos, _ := c.Describe(ctx, 0, slices.Compact(streams)...) // what cannot be described fails when it is planned
	for _, in := range infos {
		if errors.Is(in.Err, ss.ErrNotFound) {
			gone = append(gone, in.Name)
		}
	}
	if len(gone) == 0 {
		return ch, nil
	}
	move.At = slices.DeleteFunc(slices.Clone(move.At), func(p ss.Position) bool { return slices.Contains(gone, p.Stream) })
	move.Forget = slices.DeleteFunc(slices.Clone(move.Forget), func(s ss.Shard) bool { return slices.Contains(gone, s.Stream) })
	if !isMove || len(move.At)+len(move.Forget) == 0 {
		return nil, gone
	}
	return move, gone
}

// errMore is that an undo has come to be more than was shown.
var errMore = errors.New("it would do more than was shown")

// undo does the change that undoes an entry. It is planned anew when it is done:
// others may have moved the group while somebody was asked, and members do. That it
// comes from elsewhere then is as was asked for; what was not shown is asked for.
func undo(ctx context.Context, f *factory.Factory, c *admin.Client, j *journal.Journal, e journal.Entry, ch admin.Change, o Options) error {
	p, err := c.Plan(ctx, ch)
	if err != nil {
		return err
	}
	if o.DryRun {
		return write(f, p, o)
	}
	waits := func() { f.IO.Notice("waiting for another undo of this user to end") }
	for err = errMore; errors.Is(err, errMore); {
		if err := confirm(f, p, o); err != nil {
			return err
		}
		err = j.Undo(ctx, e, waits, func() error {
			shown := p
			if p, err = c.Plan(ctx, ch); err != nil {
				p = shown
				return err
			}
			if !covers(shown, p) {
				return errMore
			}
			return apply(ctx, f, p)
		})
	}
	if errors.Is(err, journal.ErrUndone) {
		return &exit.Error{Code: exit.Conflict, Item: e.Target, Msg: "the change of " + e.Target + " was not undone", Err: err, Hint: "run it again to go one further back"}
	}
	return report(f, p, o, err)
}

// covers reports whether all that a plan does was shown by another one.
func covers(shown, p *admin.Plan) bool {
	return !slices.ContainsFunc(p.Steps, func(s admin.Step) bool {
		return !slices.ContainsFunc(shown.Steps, func(o admin.Step) bool {
			return s.Item == o.Item && s.Action == o.Action && s.What == o.What && s.To == o.To
		})
	})
}
