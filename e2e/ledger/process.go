//go:build unix

package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seastreamer/seastreamer"
)

// totals is what a job derives from its input and keeps: for each shard of the
// input the totals of its keys. It is stored in a stream with as many shards,
// a record for each unit and shard, in the unit itself.
type totals map[int32]*shardTotals

type shardTotals struct {
	Last map[int]int64    // by writer: the id of the last input
	Keys map[string]int64 // by writer and key

	next seastreamer.Seq // where the input goes on if nothing else comes between
	used bool            // in the unit that is open
}

// process is a job that keeps state: for each input 1 + id mod 3 outputs
// that carry the input's id, their own index, and the total of its key.
func (w *worker) process(ctx context.Context, tx *seastreamer.Tx) error {
	if tx.Resumed() || w.totals == nil {
		w.totals = totals{}
	}
	for _, s := range w.totals {
		s.used = false
	}
	for m := range tx.Messages() {
		w.taken.Add(1)
		in, err := Parse(m.Value())
		if err != nil {
			return fmt.Errorf("%v has a message that is not of this run: %w", m.Shard(), err)
		}
		sh := m.Shard().Index
		s := w.totals[sh]
		// The shard is new here, or was somewhere else meanwhile.
		if s == nil || s.next != m.Seq() {
			if s, err = w.load(ctx, sh, m.Seq(), in); err != nil {
				return err
			}
			w.totals[sh] = s
		}
		s.next, s.used = m.Seq().Succ(), true
		s.Last[in.Writer] = in.ID
		k := fmt.Sprint(in.Writer, " ", string(m.Key()))
		s.Keys[k] += Amount(in.ID)
		for i := range Outputs(in.ID) {
			out := Message{Run: in.Run, Writer: in.Writer, Stream: w.Out, ID: in.ID, Index: i, Total: s.Keys[k]}
			r := seastreamer.Record{Stream: w.Out, Shard: seastreamer.On(sh), Key: m.Key(), Value: out.Append(nil)}
			if tx.Send(r) != nil {
				return nil // the loop over units says what it was
			}
		}
	}
	for sh, s := range w.totals {
		if !s.used {
			continue
		}
		text, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if tx.Send(seastreamer.Record{Stream: w.State, Shard: seastreamer.On(sh), Value: text}) != nil {
			return nil
		}
	}
	return nil
}

// load reads the totals of a shard as they were before an input. A unit of the
// predecessor may still be open on the stream that keeps them, and then hides
// what was committed behind its beginning, until the broker ends it.
func (w *worker) load(ctx context.Context, shard int32, at seastreamer.Seq, in Message) (*shardTotals, error) {
	for deadline := time.Now().Add(30 * time.Second); ; {
		s, err := w.stored(ctx, shard)
		down := errors.Is(err, seastreamer.ErrUnavailable) || errors.Is(err, seastreamer.ErrUnknown)
		if err != nil && (!down || time.Now().After(deadline)) {
			return nil, err
		}
		if down {
			s = &shardTotals{Last: map[int]int64{in.Writer: -2}} // it is asked again
		}
		before := in.ID - 1 // the input before this one in this shard
		for before >= 0 && w.Plan.Shard(before) != shard {
			before--
		}
		last, ok := s.Last[in.Writer]
		if !ok {
			last = -1
		}
		switch {
		case last >= before:
			// Beyond it: another member has the shard, and this one does not know
			// yet. What it makes of it now is wrong, and its unit must be fenced.
			return s, nil
		case time.Now().After(deadline):
			return nil, fmt.Errorf("shard %d comes to message %d, at %v, and its totals end with %d", shard, in.ID, at, last)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stored is the last state of a shard that can be read now.
func (w *worker) stored(ctx context.Context, shard int32) (*shardTotals, error) {
	s := &shardTotals{Last: map[int]int64{}, Keys: map[string]int64{}}
	bounds, err := w.to.Bounds(ctx, w.State)
	if errors.Is(err, seastreamer.ErrNotFound) {
		return s, nil // the first unit creates it
	}
	if err != nil {
		return nil, err
	}
	sh := seastreamer.Shard{Stream: w.State, Index: shard}
	b, ok := bounds[sh]
	if !ok || b.First == b.Next {
		return s, nil
	}
	c, err := w.to.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{w.State}, Start: seastreamer.Earliest, Until: seastreamer.Checkpoint{sh: b.Next}})
	if err != nil {
		return nil, err
	}
	var text []byte
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return nil, err
		}
		text = append(text[:0], m.Value()...)
	}
	if err := c.Close(ctx); err != nil || text == nil {
		return s, err
	}
	return s, json.Unmarshal(text, s)
}
