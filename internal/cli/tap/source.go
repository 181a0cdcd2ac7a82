package tap

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/receive"
	"github.com/seastreamer/seastreamer/internal/iostreams"
	"github.com/seastreamer/seastreamer/internal/pipe"
)

// A source gives the messages of a consumer as frames, up to marks that are
// checkpoints. A goroutine ranges over the consumer and hands over one batch
// at a time, so that the source sees when there is nothing.
//
// Without a group a batch is acknowledged when it has been given. With one a
// message is when its frame has left the pipe.
type source struct {
	io      *iostreams.Streams
	s       *ss.Streamer
	c       *ss.Consumer
	streams []string
	group   bool
	only    map[ss.Shard]bool // nil is all
	render  *receive.Renderer

	batches chan *ss.Batch // closed when the consumer has ended
	failed  error          // why, set before the close; nil for a silent end

	// These belong to Next and Seek, which never run at the same time.
	aside map[ss.Shard][]*ss.Batch // batches past the mark, or begun
	begun map[*ss.Batch]int        // of those aside, the first message that was not given
	given map[ss.Shard]ss.Seq      // everything below was given

	handout *handout // nil but for a group that hands out messages

	mu      sync.Mutex
	pinned  map[ss.Shard]ss.Seq // where reading began, as numbers
	waiting []handed            // with a group: given and not taken, in order
}

// handed is a message with a group, and whether it has a frame.
type handed struct {
	m     ss.Message
	frame bool
}

func newSource(io *iostreams.Streams, s *ss.Streamer, c *ss.Consumer, plan *receive.Plan, r *receive.Renderer) *source {
	src := &source{io: io, s: s, c: c, streams: plan.Config.Streams, group: plan.Config.Group != "", render: r,
		batches: make(chan *ss.Batch), aside: map[ss.Shard][]*ss.Batch{}, begun: map[*ss.Batch]int{}, given: map[ss.Shard]ss.Seq{}}
	if plan.Config.Group != "" && s.Features().Ack == driver.AckMessage {
		src.handout = newHandout(s, &plan.Config)
	}
	if plan.Config.Until != nil {
		src.only = map[ss.Shard]bool{}
		for sh := range plan.Config.Until {
			src.only[sh] = true
		}
	}
	return src
}

// fetch hands over batches until the consumer or ctx ends.
func (s *source) fetch(ctx context.Context) {
	defer close(s.batches)
	for b, err := range s.c.Batches(ctx) {
		if err != nil {
			s.failed = err
			return
		}
		select {
		case s.batches <- b:
		case <-ctx.Done():
			return
		}
	}
}

// End is the stable end now. A broker that cannot be reached holds the reader
// up, and does not end the tap.
func (s *source) End(ctx context.Context) (pipe.Mark, error) {
	said := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		c, err := s.s.End(ctx, s.streams...)
		if err == nil {
			for sh := range c {
				if s.only != nil && !s.only[sh] {
					delete(c, sh)
				}
			}
			return c, nil
		}
		if ctx.Err() != nil || !errors.Is(err, ss.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		if !said {
			said = true
			s.io.Warn("%v: trying again; the reader waits", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Next gives what comes next before the mark.
func (s *source) Next(ctx context.Context, upTo pipe.Mark, b *pipe.Batch) (bool, error) {
	target, _ := upTo.(ss.Checkpoint)
	for {
		if s.giveAside(target, b); b.Full() {
			return false, nil
		}
		batch, open, got := s.poll()
		if !got {
			done := target != nil && s.reached(ctx, target)
			if done || b.Len() > 0 {
				return done, nil
			}
			var err error
			if batch, open, err = s.wait(ctx, target != nil); err != nil {
				return false, err
			}
			if open && batch == nil {
				continue // time to look whether it is reached
			}
		}
		if s.handout != nil {
			s.handout.came()
		}
		if !open {
			return s.ended(ctx, target, b)
		}
		if !lost(batch) {
			sh := batch.Shard()
			s.aside[sh] = append(s.aside[sh], batch)
		}
	}
}

// poll is the next batch, if there is one now.
func (s *source) poll() (b *ss.Batch, open, got bool) {
	select {
	case b, open = <-s.batches:
		return b, open, true
	default:
		return nil, true, false
	}
}

// wait waits for a batch. Where the end of a session is near it also comes
// back after a while with none: what is missing may be a hole, over which no
// message tells of progress.
func (s *source) wait(ctx context.Context, look bool) (b *ss.Batch, open bool, err error) {
	var after <-chan time.Time
	if look {
		t := time.NewTimer(lookEvery)
		defer t.Stop()
		after = t.C
	}
	select {
	case b, open = <-s.batches:
		return b, open, nil
	case <-after:
		return nil, true, nil
	case <-ctx.Done():
		return nil, true, ctx.Err()
	}
}

// ended is what Next returns when the consumer has ended.
func (s *source) ended(ctx context.Context, target ss.Checkpoint, b *pipe.Batch) (bool, error) {
	if s.failed != nil {
		return false, s.failed
	}
	if target == nil && b.Len() == 0 {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return target != nil, nil
}

// giveAside gives what is aside and before the mark.
func (s *source) giveAside(target ss.Checkpoint, b *pipe.Batch) {
	for sh, list := range s.aside {
		for len(list) > 0 && !b.Full() {
			if !lost(list[0]) && !s.give(list[0], target, b) {
				break
			}
			delete(s.begun, list[0])
			list = list[1:]
		}
		if s.aside[sh] = list; len(list) == 0 {
			delete(s.aside, sh)
		}
		if b.Full() {
			return
		}
	}
}

// give gives the messages of a batch that are before the mark and not given
// yet. It reports whether those were the last.
func (s *source) give(batch *ss.Batch, target ss.Checkpoint, b *pipe.Batch) bool {
	sh := batch.Shard()
	end, bounded := target[sh]
	if target != nil && !bounded {
		return false // a shard that was not there when the reader opened
	}
	n := batch.Len()
	for i := s.begun[batch]; i < n; i++ {
		m := batch.At(i)
		seq := m.Seq()
		if bounded && !seq.Less(end) || b.Full() {
			s.begun[batch] = i
			return false
		}
		var ok bool
		if b.Bytes, ok = s.render.Append(b.Bytes, m); ok {
			b.End()
		}
		s.given[sh] = seq.Succ()
		if s.group {
			s.mu.Lock()
			s.waiting = append(s.waiting, handed{m, ok})
			if !ok && len(s.waiting) == 1 {
				s.ackTaken(0)
			}
			s.mu.Unlock()
		}
	}
	if !s.group {
		batch.Ack()
	}
	batch.Release()
	return true
}

// reached reports whether everything before the mark was given.
func (s *source) reached(ctx context.Context, target ss.Checkpoint) bool {
	if s.handout != nil {
		return s.handout.over(ctx, target)
	}
	var at ss.Checkpoint
	for sh, end := range target {
		if !s.given[sh].Less(end) {
			continue
		}
		if list := s.aside[sh]; len(list) > 0 && !list[0].At(s.begun[list[0]]).Seq().Less(end) {
			continue
		}
		if at == nil {
			// Where the consumer stands, over holes too. What it has handed
			// over is not acknowledged before it was given, so this is never
			// ahead of us.
			var err error
			if at, err = s.c.Commit(ctx); err != nil {
				return false
			}
		}
		stands, ours := at[sh]
		if !ours && s.group && len(at) > 0 {
			continue // another member reads it
		}
		if !ours || stands.Less(end) {
			return false
		}
	}
	return true
}

// Taken acknowledges messages whose frames have left the pipe.
func (s *source) Taken(n int) {
	if s.group {
		s.mu.Lock()
		s.ackTaken(n)
		s.mu.Unlock()
	}
}

// ackTaken acknowledges n messages with frames, and those without that come
// before, between and right behind them. Under mu.
func (s *source) ackTaken(n int) {
	i := 0
	for ; i < len(s.waiting) && (n > 0 || !s.waiting[i].frame); i++ {
		if s.waiting[i].frame {
			n--
		}
		s.waiting[i].m.Ack()
		s.waiting[i] = handed{}
	}
	s.waiting = s.waiting[i:]
}

// Seek moves to where a session of another kind than resume begins.
func (s *source) Seek(ctx context.Context, how pipe.Session) error {
	s.mu.Lock()
	s.waiting = nil
	pinned := maps.Clone(s.pinned) // shards may come meanwhile
	s.mu.Unlock()
	s.aside, s.begun, s.given = map[ss.Shard][]*ss.Batch{}, map[*ss.Batch]int{}, map[ss.Shard]ss.Seq{}
	if how == pipe.Live {
		return s.seek(ctx, ss.Latest)
	}
	for sh, at := range pinned {
		if err := s.seek(ctx, ss.From(at), sh); err != nil {
			return err
		}
	}
	return nil
}

// seek is Consumer.Seek. The goroutine that fetches may hold a batch from
// before it, which is then lost and passed over.
func (s *source) seek(ctx context.Context, to ss.Start, shards ...ss.Shard) error {
	return s.c.Seek(ctx, to, shards...)
}

// assigned notes where reading begins, the first time.
func (s *source) assigned(at []ss.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinned == nil {
		s.pinned = map[ss.Shard]ss.Seq{}
	}
	for _, p := range at {
		if _, ok := s.pinned[p.Shard]; !ok {
			s.pinned[p.Shard] = p.Next
		}
	}
}

// lost reports whether a batch is from before a seek, or its shard has gone.
func lost(b *ss.Batch) bool {
	select {
	case <-b.Lost():
		return true
	default:
		return false
	}
}
