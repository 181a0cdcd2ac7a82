package drivertest

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// Every bug here is planted in the reference, and the case named must find it.
func TestTheCasesFindPlantedBugsOfAdministration(t *testing.T) {
	for _, bug := range []struct {
		name  string
		plant adminBugs
		found string
	}{
		{"lists a stream twice", adminBugs{twice: true}, "admin/names once"},
		{"makes what it describes", adminBugs{createOnLook: true}, "admin/looking makes nothing"},
		{"says nothing of what is missing", adminBugs{hideMissing: true}, "admin/one of many is missing"},
		{"describes in an order of its own", adminBugs{reverse: true}, "admin/describe"},
		{"takes the end for the last message", adminBugs{info: func(in *driver.StreamInfo) {
			for i := range in.Shards {
				in.Shards[i].LastTime = time.Now()
			}
		}}, "admin/describe"},
		{"creates what exists", adminBugs{createAgain: true}, "admin/create"},
		{"deletes nothing", adminBugs{keep: true}, "admin/delete"},
		{"takes fewer shards", adminBugs{fewer: true}, "admin/add shards"},
		{"trims one too many", adminBugs{trim: driver.Seq.Succ}, "admin/trim"},
		{"resolves behind the time", adminBugs{start: func(s driver.Start) driver.Start { s.Time = s.Time.Add(time.Second); return s }}, "admin/resolve"},
		{"gives the time of the message before", adminBugs{times: driver.Seq.Prev}, "admin/times"},
		{"counts the end", adminBugs{count: driver.Seq.Succ}, "admin/count"},
		{"lists groups of other streams", adminBugs{allGroups: true}, "admin/groups"},
		{"hides members", adminBugs{group: func(in *driver.GroupInfo) { in.Members = nil }}, "admin/members"},
		{"moves a group one too far", adminBugs{move: driver.Seq.Succ}, "admin/move a group"},
		{"moves groups nowhere", adminBugs{move: func(driver.Seq) driver.Seq { return driver.Seq{} }}, "admin/move a group"},
		{"moves under members", adminBugs{ignoreMembers: true}, "admin/no move under members"},
		{"deletes under members", adminBugs{ignoreMembers: true}, "admin/delete a group"},
		{"forgets all", adminBugs{forgetAll: true}, "admin/forget positions"},
	} {
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := MemoryHarness(memory.NewStore())
				h.Patience = 2 * time.Second
				open := h.Open
				h.Open = func(t testing.TB) driver.Driver {
					d := open(t)
					return &misruled{Driver: d, StreamAdmin: d.(driver.StreamAdmin), GroupAdmin: d.(driver.GroupAdmin), adminBugs: bug.plant}
				}
				wantFound(t, h, bug.found)
			})
		})
	}
}

// adminBugs are what can be planted in a driver's administration.
type adminBugs struct {
	twice, createOnLook, hideMissing, reverse, createAgain, keep, fewer, allGroups, ignoreMembers, forgetAll bool

	info                     func(*driver.StreamInfo)
	group                    func(*driver.GroupInfo)
	trim, times, count, move func(driver.Seq) driver.Seq
	start                    func(driver.Start) driver.Start
}

type misruled struct {
	driver.Driver
	driver.StreamAdmin
	driver.GroupAdmin
	adminBugs
}

func (d *misruled) StreamNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for n, err := range d.StreamAdmin.StreamNames(ctx) {
			if !yield(n, err) || d.twice && !yield(n, err) {
				return
			}
		}
	}
}

func (d *misruled) DescribeStreams(ctx context.Context, names []string, detail driver.Detail) ([]driver.StreamInfo, error) {
	infos, err := d.StreamAdmin.DescribeStreams(ctx, names, detail)
	for i := range infos {
		if infos[i].Err != nil && d.createOnLook {
			err = d.CreateStream(ctx, driver.StreamSpec{Name: names[i]})
		}
		if d.hideMissing {
			infos[i].Err = nil
		}
		if d.info != nil {
			d.info(&infos[i])
		}
	}
	if d.reverse {
		for i, j := 0, len(infos)-1; i < j; i, j = i+1, j-1 {
			infos[i], infos[j] = infos[j], infos[i]
		}
		if len(infos) == 3 {
			infos[0], infos[1] = infos[1], infos[0]
		}
	}
	return infos, err
}

func (d *misruled) CreateStream(ctx context.Context, s driver.StreamSpec) error {
	if d.createAgain {
		_ = d.StreamAdmin.DeleteStream(ctx, s.Name)
	}
	return d.StreamAdmin.CreateStream(ctx, s)
}

func (d *misruled) DeleteStream(ctx context.Context, name string) error {
	if _, err := d.Bounds(ctx, []string{name}); d.keep && err == nil {
		return nil
	}
	return d.StreamAdmin.DeleteStream(ctx, name)
}

func (d *misruled) AddShards(ctx context.Context, name string, total int) error {
	if d.fewer {
		return nil
	}
	return d.StreamAdmin.AddShards(ctx, name, total)
}

// skewed is positions moved by f, where there is one.
func skewed(at []driver.Position, f func(driver.Seq) driver.Seq) []driver.Position {
	if f == nil {
		return at
	}
	out := make([]driver.Position, len(at))
	for i, p := range at {
		out[i] = driver.Position{Shard: p.Shard, Next: f(p.Next)}
	}
	return out
}

func (d *misruled) Trim(ctx context.Context, before []driver.Position) ([]driver.Position, error) {
	return d.StreamAdmin.Trim(ctx, skewed(before, d.trim))
}

func (d *misruled) Resolve(ctx context.Context, stream string, s driver.Start) ([]driver.Position, error) {
	if d.start != nil {
		s = d.start(s)
	}
	return d.StreamAdmin.Resolve(ctx, stream, s)
}

func (d *misruled) Times(ctx context.Context, at []driver.Position) ([]time.Time, error) {
	return d.StreamAdmin.Times(ctx, skewed(at, d.times))
}

func (d *misruled) Count(ctx context.Context, r []driver.Range) ([]driver.Count, error) {
	n, err := d.StreamAdmin.Count(ctx, r)
	for i := range n {
		if d.count != nil {
			n[i].N++
		}
	}
	return n, err
}

func (d *misruled) GroupNames(ctx context.Context, streams []string) iter.Seq2[string, error] {
	if d.allGroups {
		streams = nil
	}
	return d.GroupAdmin.GroupNames(ctx, streams)
}

func (d *misruled) DescribeGroups(ctx context.Context, names []string) ([]driver.GroupInfo, error) {
	infos, err := d.GroupAdmin.DescribeGroups(ctx, names)
	for i := range infos {
		if d.group != nil {
			d.group(&infos[i])
		}
	}
	return infos, err
}

func (d *misruled) SetPositions(ctx context.Context, group string, at []driver.Position) error {
	err := d.GroupAdmin.SetPositions(ctx, group, skewed(at, d.move))
	if d.ignoreMembers {
		return nil
	}
	return err
}

func (d *misruled) DeleteGroup(ctx context.Context, group string) error {
	err := d.GroupAdmin.DeleteGroup(ctx, group)
	if d.ignoreMembers {
		return nil
	}
	return err
}

func (d *misruled) DeletePositions(ctx context.Context, group string, shards []driver.Shard) error {
	if d.forgetAll {
		infos, err := d.DescribeGroups(ctx, []string{group})
		if err != nil {
			return err
		}
		for _, p := range infos[0].Positions {
			shards = append(shards, p.Shard)
		}
	}
	return d.GroupAdmin.DeletePositions(ctx, group, shards)
}
