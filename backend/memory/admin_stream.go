package memory

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// client is a driver.StreamAdmin and a driver.GroupAdmin.
var (
	_ driver.StreamAdmin = (*client)(nil)
	_ driver.GroupAdmin  = (*client)(nil)
)

func (d *client) StreamNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := d.check(ctx, "list streams"); err != nil {
			yield("", err)
			return
		}
		d.store.mu.RLock()
		names := slices.Collect(maps.Keys(d.store.streams))
		d.store.mu.RUnlock()
		for _, n := range names {
			if !yield(n, nil) {
				return
			}
		}
	}
}

func (d *client) DescribeStreams(ctx context.Context, names []string, _ driver.Detail) ([]driver.StreamInfo, error) {
	if err := d.check(ctx, "describe streams"); err != nil {
		return nil, err
	}
	infos := make([]driver.StreamInfo, len(names))
	for i, n := range names {
		infos[i] = driver.StreamInfo{Name: n}
		shards, err := d.store.shards([]string{n})
		if err != nil {
			infos[i].Err = err
			continue
		}
		for _, sh := range shards {
			infos[i].Shards = append(infos[i].Shards, sh.info())
		}
		if retain := shards[0].retain; retain > 0 {
			infos[i].Settings.MaxMessages = new(int64(retain))
		}
	}
	return infos, nil
}

func (s *shard) info() driver.ShardInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := driver.ShardInfo{
		Index:    s.id.Index,
		Bound:    driver.Bound{First: driver.SeqOf(s.first), Next: driver.SeqOf(s.next)},
		Messages: driver.Count{N: int64(s.next - s.first)},
	}
	if s.first < s.next {
		first, last := s.at(s.first), s.at(s.next-1)
		in.FirstTime, in.LastTime = first.time, last.time
		in.Bytes = int64(last.sum - first.sum + first.size() + messageOverhead)
	}
	return in
}

// at is the message with a number that is there; mu is held.
func (s *shard) at(seq uint64) *message {
	i := seq - s.base
	return &s.blocks[i/blockLen][i%blockLen]
}

func (d *client) CreateStream(ctx context.Context, s driver.StreamSpec) error {
	op := "create " + s.Name
	if err := d.check(ctx, op); err != nil {
		return err
	}
	o := d.o
	if s.Shards > 0 {
		o.Shards = s.Shards
	}
	if s.MaxMessages != nil {
		o.Retain = int(max(0, *s.MaxMessages))
	}
	rest := s.Settings
	rest.MaxMessages = nil
	if err := refuse(op, rest); err != nil {
		return err
	}
	return d.store.Create(s.Name, o)
}

// refuse is an error where s holds any setting.
func refuse(op string, s driver.Settings) error {
	if s.MaxAge != nil || s.MaxBytes != nil || s.MaxMessages != nil || s.MaxMessage != nil || s.Compact != nil || s.Replicas != nil || s.MinInSync != nil || len(s.Native) > 0 {
		return driver.Errorf(errors.ErrUnsupported, op, "streams in memory have one setting, the number of messages that a shard keeps, from when they are created")
	}
	return nil
}

func (d *client) DeleteStream(ctx context.Context, name string) error {
	op := "delete " + name
	if err := d.check(ctx, op); err != nil {
		return err
	}
	shards, err := d.store.shards([]string{name})
	if err != nil {
		return err
	}
	d.store.mu.Lock()
	for _, sh := range shards {
		sh.gone.Store(true) // for groups that are not there yet
	}
	delete(d.store.streams, name)
	groups, pools := slices.Collect(maps.Values(d.store.groups)), slices.Collect(maps.Values(d.store.pools))
	d.store.mu.Unlock()
	for _, sh := range shards {
		sh.trim(^uint64(0)) // who still reads it finds nothing
		for _, g := range groups {
			g.forget(sh)
		}
		for _, p := range pools {
			p.forget(sh)
		}
	}
	return nil
}

func (d *client) SetStream(ctx context.Context, name string, s driver.Settings) error {
	op := "set " + name
	if err := d.check(ctx, op); err != nil {
		return err
	}
	if _, err := d.store.shards([]string{name}); err != nil {
		return err
	}
	return refuse(op, s)
}

// AddShards gives the stream new shards, for producers at once and for
// consumers that are opened afterwards.
func (d *client) AddShards(ctx context.Context, name string, total int) error {
	op := "add shards to " + name
	if err := d.check(ctx, op); err != nil {
		return err
	}
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.streams[name]
	switch {
	case !ok:
		return driver.Errorf(driver.ErrNotFound, op, "there is no stream %q", name)
	case total < len(old.shards):
		return driver.Errorf(driver.ErrInvalid, op, "it has %d shards, and their number cannot become lower", len(old.shards))
	}
	st := &stream{shards: slices.Clone(old.shards)}
	for i := len(st.shards); i < total; i++ {
		st.shards = append(st.shards, &shard{id: driver.Shard{Stream: name, Index: int32(i)}, retain: old.shards[0].retain})
	}
	s.streams[name] = st
	return nil
}

// Trim is exact.
func (d *client) Trim(ctx context.Context, before []driver.Position) ([]driver.Position, error) {
	return d.eachShard(ctx, "trim", before, func(sh *shard, p driver.Position) driver.Position {
		sh.trim(number(p.Next))
		first, _ := sh.bounds()
		return driver.Position{Shard: sh.id, Next: driver.SeqOf(first)}
	})
}

// eachShard is what do says of the shard of each position, in order.
func (d *client) eachShard(ctx context.Context, op string, at []driver.Position, do func(*shard, driver.Position) driver.Position) ([]driver.Position, error) {
	out := make([]driver.Position, len(at))
	for i, p := range at {
		sh, err := d.shard(ctx, op, p.Shard)
		if err != nil {
			return nil, err
		}
		out[i] = do(sh, p)
	}
	return out, nil
}

func (d *client) shard(ctx context.Context, op string, id driver.Shard) (*shard, error) {
	if err := d.check(ctx, op); err != nil {
		return nil, err
	}
	shards, err := d.store.shards([]string{id.Stream})
	if err != nil {
		return nil, err
	}
	if id.Index < 0 || int(id.Index) >= len(shards) {
		return nil, driver.Errorf(driver.ErrNotFound, op, "there is no shard %v", id)
	}
	return shards[id.Index], nil
}

func (d *client) Resolve(ctx context.Context, stream string, start driver.Start) ([]driver.Position, error) {
	if err := d.check(ctx, "resolve"); err != nil {
		return nil, err
	}
	shards, err := d.store.shards([]string{stream})
	if err != nil {
		return nil, err
	}
	at := make([]driver.Position, len(shards))
	for i, sh := range shards {
		at[i] = driver.Position{Shard: sh.id, Next: driver.SeqOf(sh.resolve(start))}
	}
	return at, nil
}

func (d *client) Times(ctx context.Context, at []driver.Position) ([]time.Time, error) {
	times := make([]time.Time, len(at))
	for i, p := range at {
		sh, err := d.shard(ctx, "look up times", p.Shard)
		if err != nil {
			return nil, err
		}
		sh.mu.Lock()
		if seq := max(number(p.Next), sh.first); seq < sh.next {
			times[i] = sh.at(seq).time
		}
		sh.mu.Unlock()
	}
	return times, nil
}

func (d *client) Count(ctx context.Context, r []driver.Range) ([]driver.Count, error) {
	counts := make([]driver.Count, len(r))
	for i, r := range r {
		sh, err := d.shard(ctx, "count", r.Shard)
		if err != nil {
			return nil, err
		}
		first, next := sh.bounds()
		from, to := max(number(r.From), first), min(number(r.To), next)
		counts[i].N = int64(max(from, to) - from)
	}
	return counts, nil
}
