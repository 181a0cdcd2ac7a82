package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// member is a consumer with a group: it commits.
type member struct{ *consumer }

var _ driver.Committer = (*member)(nil)

// join begins to read as a member of the group. franz-go's goroutine for the
// group calls adjust and revoke from then on; BlockRebalanceOnPoll keeps it
// from doing the latter between a poll and AllowRebalance.
func (m *consumer) join() error {
	session := m.c.o.SessionTimeout
	var err error
	m.cl, err = kgo.NewClient(m.options(
		kgo.ConsumerGroup(m.conf.Group),
		kgo.ConsumeTopics(m.conf.Streams...),
		kgo.MetadataMaxAge(m.c.o.MetadataAge),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(session),
		kgo.HeartbeatInterval(min(session/4, 3*time.Second)),
		kgo.RebalanceTimeout(max(session, time.Minute)),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.AdjustFetchOffsetsFn(m.adjust),
		kgo.OnPartitionsRevoked(m.onRevoked(false)),
		kgo.OnPartitionsLost(m.onRevoked(true)),
	)...)
	if err != nil {
		m.end()
		return &driver.Error{Kind: driver.ErrInvalid, Err: err}
	}
	return nil
}

// adjust is called when the member has got shards and their committed offsets
// are known, and before they are read. It is where the core learns of them.
//
// franz-go calls it again for the same shards when a rebalance begins before
// it could go on: then the core knows them already.
func (m *consumer) adjust(ctx context.Context, got map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	at := map[driver.Shard]int64{}
	committed := map[driver.Shard]bool{}
	fresh := map[string]bool{} // streams with shards that have no progress
	var remade []driver.Shard  // of the same streams: what is not among got is others' now
	m.mu.Lock()
	for s := range m.remade {
		if got[s.Stream] != nil {
			remade = append(remade, s)
		}
	}
	for t, ps := range got {
		for p, o := range ps {
			s := driver.Shard{Stream: t, Index: p}
			_, anew := m.remade[s]
			if cur := m.at[s]; cur != nil && !anew {
				ps[p] = kgo.NewOffset().At(cur.next)
				continue
			}
			if at[s] = o.EpochOffset().Offset; at[s] >= 0 && !anew {
				committed[s] = true
			} else { // or what was committed is of the old one
				at[s], fresh[t] = -1, true
			}
		}
	}
	m.mu.Unlock()
	if len(at) == 0 {
		return got, nil
	}
	for tries := 0; ; tries++ {
		err := m.startFresh(ctx, at, fresh)
		var offsets map[string]map[int32]kgo.Offset
		if err == nil {
			offsets, err = m.assign(ctx, at, committed)
		}
		if err == nil {
			for t, ps := range offsets {
				for p, o := range ps {
					got[t][p] = o
				}
			}
			m.mu.Lock()
			for _, s := range remade {
				delete(m.remade, s)
			}
			m.mu.Unlock()
			m.poke() // there may be a gap to tell
			return got, nil
		}
		var fatal *assignedError
		if errors.As(err, &fatal) && ctx.Err() == nil { // else the next rebalance has begun, and asks again
			m.fail(fatal.err)
			return nil, err
		}
		select {
		case <-time.After(retryBackoff(tries)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// startFresh says where shards begin that have no progress: where Start was
// when the consumer was opened, or at their first message when the shard is
// younger than that, or younger than the group's progress in its stream, for
// then what it has is new to the group.
func (m *consumer) startFresh(ctx context.Context, at map[driver.Shard]int64, fresh map[string]bool) error {
	if len(fresh) == 0 {
		return nil
	}
	within, cancel := m.c.within(ctx)
	defer cancel()
	known, err := m.hasProgress(within, fresh)
	if err != nil {
		return err
	}
	var young []driver.Shard
	m.mu.Lock()
	for s, o := range at {
		if o >= 0 {
			continue
		}
		if start, ok := m.starts[s]; ok && !known[s.Stream] {
			at[s] = start
		} else {
			young = append(young, s)
		}
	}
	m.mu.Unlock()
	first, err := listOffsets(within, m.c, m.c.cl, m.conf.Isolation, each(young, atStart))
	for s, o := range first {
		at[s] = o
	}
	return err
}

// hasProgress reports in which of the streams the group has committed
// anything.
func (m *consumer) hasProgress(ctx context.Context, streams map[string]bool) (map[string]bool, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = m.conf.Group // all its offsets
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = m.conf.Group
	req.Groups = append(req.Groups, g)
	var resp *kmsg.OffsetFetchResponse
	var err error
	if gone := m.c.ask(ctx, func() { resp, err = req.RequestWith(ctx, m.c.cl) }); gone != nil {
		return nil, m.c.fail("", "", gone)
	}
	if err != nil {
		return nil, m.c.fail("", "", err)
	}
	known := map[string]bool{}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, m.c.fail("", "", err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			known[t.Topic] = known[t.Topic] || p.Offset >= 0
		}
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, m.c.fail("", "", err)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				known[t.Topic] = known[t.Topic] || p.Offset >= 0
			}
		}
	}
	for t := range known {
		if !streams[t] {
			delete(known, t)
		}
	}
	return known, nil
}

func (m *consumer) onRevoked(lost bool) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
		var shards []driver.Shard
		for t, ps := range gone {
			for _, p := range ps {
				shards = append(shards, driver.Shard{Stream: t, Index: p})
			}
		}
		if m.closing.Err() != nil {
			ctx = m.last
		}
		m.revoke(ctx, shards, lost)
	}
}

// waitAssigned waits until franz-go reads a shard that adjust has returned, so
// that SetOffsets does not ignore it without a word.
func (m *consumer) waitAssigned(ctx context.Context, cur *cursor) error {
	for {
		if _, ok := m.cl.CommittedOffsets()[cur.id.Stream][cur.id.Index]; ok {
			return nil
		}
		m.mu.Lock()
		mine := m.at[cur.id] == cur
		m.mu.Unlock()
		if !mine {
			return nil // it has left
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Commit stores positions under the member's generation.
func (m *member) Commit(ctx context.Context, at []driver.Position) error {
	var err error
	if gone := m.c.ask(ctx, func() { err = m.commit(ctx, at) }); gone == nil {
		return err
	} else if ctx.Err() == nil {
		return gone
	}
	return &driver.Error{Kind: driver.ErrUnknown, Err: context.Cause(ctx)}
}

func (m *member) commit(ctx context.Context, at []driver.Position) error {
	// Held until the answer: a shard leaves only after that, so that a commit
	// for it never comes after those of its next owner.
	m.owning.RLock()
	defer m.owning.RUnlock()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	var stranger *driver.Shard
	m.mu.Lock()
	for i, p := range at {
		if _, anew := m.remade[p.Shard]; anew || m.at[p.Shard] == nil {
			stranger = &at[i].Shard
			continue
		}
		if offsets[p.Stream] == nil {
			offsets[p.Stream] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.Stream][p.Index] = kgo.EpochOffset{Epoch: -1, Offset: offset(p.Next)}
	}
	m.mu.Unlock()
	var failed error
	m.cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if failed = err; err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = err
				}
			}
		}
	})
	switch {
	case failed != nil && ctx.Err() != nil && errors.Is(failed, ctx.Err()):
		return &driver.Error{Kind: driver.ErrUnknown, Err: context.Cause(ctx)}
	case failed != nil:
		return m.c.fail("", "", failed)
	case stranger != nil:
		return &driver.Error{Shard: *stranger, Kind: driver.ErrFenced, Err: errors.New("the member does not have this shard any more")}
	}
	return nil
}
