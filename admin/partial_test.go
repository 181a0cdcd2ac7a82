package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

var errBroken = driver.Errorf(driver.ErrUnavailable, "", "broken")

// faulty is a backend with groups, nodes, rules and a cluster where what has
// "bad" in its name fails, and with forgetful a group forgets nothing.
type faulty struct {
	driver.Driver
	driver.StreamAdmin
	driver.GroupAdmin
	guarded
	forgetful bool
	whole     error // what the calls return that otherwise fail in part
	did       []string
}

// each does to things by name what can be done.
func (f *faulty) each(names ...string) error {
	if f.whole != nil {
		return f.whole
	}
	errs := make([]error, len(names))
	for i, n := range names {
		if strings.Contains(n, "bad") {
			errs[i] = errBroken
			continue
		}
		f.did = append(f.did, n)
	}
	return driver.Partial(errs)
}

func (f *faulty) SetPositions(ctx context.Context, group string, at []driver.Position) error {
	var names []string
	var good []driver.Position
	for _, p := range at {
		names = append(names, p.Shard.String())
		if !strings.Contains(p.Stream, "bad") {
			good = append(good, p)
		}
	}
	if err := f.GroupAdmin.SetPositions(ctx, group, good); err != nil {
		return err
	}
	return f.each(names...)
}

func (f *faulty) DeletePositions(ctx context.Context, group string, shards []driver.Shard) error {
	if f.forgetful {
		return errBroken
	}
	return f.GroupAdmin.DeletePositions(ctx, group, shards)
}

func (f *faulty) Grant(_ context.Context, r []driver.AccessRule) error {
	return f.each(ruleNames(r)...)
}

func (f *faulty) Revoke(_ context.Context, r []driver.AccessRule) ([]driver.AccessRule, error) {
	err := f.each(ruleNames(r)...)
	return slices.DeleteFunc(slices.Clone(r), func(r driver.AccessRule) bool { return r.Name != "news" }), err
}

func ruleNames(r []driver.AccessRule) (names []string) {
	for _, r := range r {
		names = append(names, r.Name)
	}
	return names
}

func (f *faulty) Cluster(context.Context) (driver.ClusterInfo, error) {
	return driver.ClusterInfo{}, nil
}
func (f *faulty) Reassignments(context.Context) ([]driver.Reassignment, error) { return nil, nil }
func (f *faulty) ElectLeaders(_ context.Context, shards []driver.Shard, _ bool) ([]driver.Shard, error) {
	if len(shards) == 0 {
		bad := &driver.Error{Op: "elect", Shard: driver.Shard{Stream: "bad", Index: 2}, Kind: driver.ErrUnavailable}
		return []driver.Shard{{Stream: "a"}, {Stream: "b"}}, &driver.PartialError{Errs: []error{bad}}
	}
	var names []string
	for _, s := range shards {
		names = append(names, s.String())
	}
	return shards[:1], f.each(names...)
}
func (f *faulty) Reassign(_ context.Context, to []driver.Reassignment) error {
	var names []string
	for _, r := range to {
		names = append(names, r.Shard.String())
	}
	return f.each(names...)
}

func openFaulty(t *testing.T, streams ...string) (*faulty, *admin.Client) {
	m := memory.NewStore().Driver(memory.Options{})
	f := &faulty{Driver: m, StreamAdmin: m.(driver.StreamAdmin), GroupAdmin: m.(driver.GroupAdmin)}
	f.guarded.Driver = m
	s := ss.New(struct {
		driver.Driver
		driver.StreamAdmin
		driver.GroupAdmin
		driver.AccessAdmin
		driver.ClusterAdmin
	}{f.Driver, f, f, f, f}, ss.Options{})
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	c := admin.New(s)
	for _, name := range streams {
		apply(t, c, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: name}})
		send(t, s, name, 0, 3, time.Now())
	}
	return f, c
}

// ends is what became of each step: done, the error, or that it was not tried.
func ends(t *testing.T, p *admin.Plan) string {
	t.Helper()
	var all []string
	for _, s := range p.Steps {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Done     bool
			NotTried bool `json:"not_tried"`
			Error    string
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.NotTried != strings.HasSuffix(s.String(), "not tried)") {
			t.Errorf("step %q, as JSON %s", s, b)
		}
		switch {
		case doc.Done && !doc.NotTried && doc.Error == "":
			all = append(all, "done")
		case doc.NotTried && !doc.Done && doc.Error == "":
			all = append(all, "not tried")
		case doc.Error != "" && !doc.NotTried && !doc.Done:
			all = append(all, doc.Error)
		default:
			t.Errorf("step %s says several things", b)
		}
	}
	return strings.Join(all, ", ")
}

func on(stream string, seq uint64) ss.Position {
	return ss.Position{Shard: ss.Shard{Stream: stream}, Next: ss.SeqOf(seq)}
}

// Each step of a change that fails in part says for itself what became of it, and
// the error says how many failed.
func TestEachStepHasItsOwnEnd(t *testing.T) {
	rule := func(name string) admin.AccessRule {
		return admin.AccessRule{User: "alice", Kind: "stream", Name: name, Operation: "read"}
	}
	shards := []ss.Shard{{Stream: "bad"}, {Stream: "news"}}
	for name, test := range map[string]struct {
		ch          admin.Change
		steps, text string
	}{
		"move":     {admin.MoveGroup{Group: "g", At: []ss.Position{on("bad", 1), on("news", 1)}}, "unavailable: broken, done", "1 of 2 failed: bad[0]: unavailable: broken"},
		"grant":    {admin.Grant{Rules: []admin.AccessRule{rule("news"), rule("bad"), rule("sports")}}, "done, unavailable: broken, done", "1 of 3 failed: alice: unavailable: broken"},
		"revoke":   {admin.Revoke{Rules: []admin.AccessRule{rule("sports"), rule("bad"), rule("news")}}, "revoke: not found: there is no such rule, unavailable: broken, done", "2 of 3 failed: alice: "},
		"reassign": {admin.Reassign{To: []admin.Reassignment{{Shard: shards[0]}, {Shard: shards[1]}}}, "unavailable: broken, done", "1 of 2 failed: bad[0]: unavailable: broken"},
		"elect":    {admin.ElectLeaders{Shards: shards}, "unavailable: broken, done", "1 of 2 failed: bad[0]: unavailable: broken"},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := openFaulty(t, "news", "bad")
			p, err := c.Apply(t.Context(), test.ch)
			if err == nil {
				t.Fatal("no error")
			}
			if got := ends(t, p); got != test.steps {
				t.Errorf("steps: %s; want %s", got, test.steps)
			}
			var some *admin.PartialError
			if !errors.As(err, &some) || !strings.HasPrefix(err.Error(), test.text) || !errors.Is(err, ss.ErrUnavailable) {
				t.Errorf("error %v, want %q…", err, test.text)
			}
		})
	}
}

// An election for all shards has a step for each that failed, beside how many
// leaders have changed.
func TestElectionOfAllFailsInPart(t *testing.T) {
	_, c := openFaulty(t, "news")
	p, err := c.Apply(t.Context(), admin.ElectLeaders{})
	if got := ends(t, p); got != "done, elect bad[2]: unavailable" || err == nil || err.Error() != "1 of 2 failed: bad[2]: elect bad[2]: unavailable" {
		t.Errorf("%s, %v", got, err)
	}
	if text := p.String(); !strings.Contains(text, "(2 leaders have changed)\nelect bad[2]: preferred leader (failed: ") {
		t.Errorf("steps\n%s", text)
	}
}

// A group that was moved and could not forget says both, and one that could not be
// moved is not made to forget.
func TestAGroupThatMovedAndDidNotForget(t *testing.T) {
	f, c := openFaulty(t, "news", "old")
	apply(t, c, admin.MoveGroup{Group: "g", At: []ss.Position{on("news", 1), on("old", 1)}})
	move := admin.MoveGroup{Group: "g", At: []ss.Position{on("news", 2)}, Forget: []ss.Shard{{Stream: "old"}}}
	f.forgetful = true
	p, err := c.Apply(t.Context(), move)
	if got := ends(t, p); got != "done, unavailable: broken" || err == nil || err.Error() != "1 of 2 failed: old[0]: unavailable: broken" {
		t.Errorf("%s, %v", got, err)
	}
	f.forgetful = false
	apply(t, c, admin.MoveGroup{Group: "g", At: []ss.Position{on("news", 1)}})
	f.whole = errBroken
	p, err = c.Apply(t.Context(), move)
	if got := ends(t, p); got != "unavailable: broken, not tried" || err == nil || err.Error() != "1 of 2 failed, 1 not tried: news[0]: unavailable: broken" {
		t.Errorf("%s, %v", got, err)
	}
	g, err := c.DescribeGroups(t.Context(), "g")
	if err != nil || len(g[0].Positions) != 2 {
		t.Errorf("%+v, %v: it has forgotten something", g, err)
	}
}

// apart is a backend of five nodes with settings of their own, of which one is a
// sentinel, one is down, and one refuses.
type apart struct {
	driver.Driver
	set  []string
	stop func() // is called when a node was set
}

func (a *apart) Nodes(context.Context) ([]driver.NodeInfo, error) {
	return []driver.NodeInfo{{ID: "1", Up: true, Roles: []string{"master"}}, {ID: "2", Roles: []string{"replica"}}, {ID: "3", Up: true, Roles: []string{"sentinel"}}, {ID: "4", Up: true}, {ID: "5", Up: true}}, nil
}
func (a *apart) NodeConfig(_ context.Context, id string) ([]driver.ConfigEntry, error) {
	switch id {
	case "":
		return nil, errors.ErrUnsupported
	case "2":
		return nil, errBroken
	}
	return []driver.ConfigEntry{{Name: "a", Value: id}, {Name: "b", Value: "x"}}, nil
}
func (a *apart) SetNodeConfig(_ context.Context, id string, _ map[string]*string) error {
	if a.stop != nil {
		defer a.stop()
	}
	if id == "2" || id == "4" {
		return errBroken
	}
	a.set = append(a.set, id)
	return nil
}
func (a *apart) LogDirs(context.Context, string) ([]driver.LogDir, error) { return nil, nil }

// Settings of all nodes are a step for each, where each has its own.
func TestSettingsOfEachNode(t *testing.T) {
	a := &apart{Driver: memory.NewStore().Driver(memory.Options{})}
	s := ss.New(a, ss.Options{})
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	set := admin.SetNodeConfig{Set: map[string]*string{"b": new("y"), "a": new("7")}}
	p, err := admin.New(s).Apply(t.Context(), set)
	if got, want := ends(t, p), "done, done, unavailable: broken, unavailable: broken, unavailable: broken, unavailable: broken, done, done"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if text := p.String(); !strings.HasPrefix(text, "set node 1 a: 1 → 7\nset node 1 b: x → y\nset node 2 a: 7 (failed: ") {
		t.Errorf("steps\n%s", text)
	}
	if err == nil || !strings.HasPrefix(err.Error(), "4 of 8 failed: node 2: ") || strings.Join(a.set, "") != "15" {
		t.Errorf("%v; set %q", err, a.set)
	}
	ctx, cancel := context.WithCancel(t.Context())
	a.stop = cancel
	p, err = admin.New(s).Apply(ctx, set)
	if got, want := ends(t, p), "done, done, unavailable: broken, unavailable: broken, not tried, not tried, not tried, not tried"; got != want || err == nil {
		t.Errorf("got %s and %v, want %s", got, err, want)
	}
}

// Where nothing was done and all failed in the same way the error is that, once.
func TestAllFailInTheSameWay(t *testing.T) {
	f, c := openFaulty(t, "news")
	f.whole = errBroken
	p, err := c.Apply(t.Context(), admin.ElectLeaders{Shards: []ss.Shard{{Stream: "a"}, {Stream: "b"}}})
	if got := ends(t, p); got != "unavailable: broken, unavailable: broken" || err == nil || err.Error() != "unavailable: broken" {
		t.Errorf("%s, %v", got, err)
	}
}

// A backend that says only that something was not tried has not done it.
func TestNotTriedIsAnError(t *testing.T) {
	f, c := openFaulty(t, "news")
	f.whole = &driver.PartialError{Errs: []error{nil, driver.ErrNotTried}}
	p, err := c.Apply(t.Context(), admin.ElectLeaders{Shards: []ss.Shard{{Stream: "a"}, {Stream: "b"}}})
	if got := ends(t, p); got != "done, not tried" || err == nil || err.Error() != "0 of 2 failed, 1 not tried" {
		t.Errorf("%s, %v", got, err)
	}
}

// When the time is over in the middle of many things, the rest is left.
func TestTheRestIsNotTriedWhenTheTimeIsOver(t *testing.T) {
	_, c := open(t)
	var names []string
	for i := range 4 {
		names = append(names, fmt.Sprint("s", i))
		apply(t, c, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: names[i]}})
	}
	p, err := c.Plan(t.Context(), admin.DeleteStream{Streams: names})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = p.Apply(ctx)
	if got := ends(t, p); !strings.HasSuffix(got, ", not tried, not tried, not tried") || !errors.Is(err, context.Canceled) {
		t.Errorf("%s, %v", got, err)
	}
}
