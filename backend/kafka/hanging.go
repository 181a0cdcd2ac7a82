package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A transaction hangs where its coordinator has ended it and a partition has
// it open still. Apache Kafka 4.3.1 lets that happen (KAFKA-20734): a
// coordinator that has to mark the end of a transaction in a partition which has
// no leader at this moment takes the partition for deleted, leaves the marker
// out, and says that the transaction is complete. A broker that was killed
// between a transaction's end and its markers, and is the only replica, does it
// to itself when it starts again, since its partitions have no leader until it
// has registered.
//
// Then readers of committed messages wait in this partition for ever; and worse,
// the next transaction of the same producer id goes on with the one that hangs:
// if it commits, records of an aborted unit appear, and if it aborts, those of a
// committed unit are gone. So nothing may be written before it is healed: the
// marker is written by hand, and says what the coordinator's log says that the
// transaction ended with. `kafka-transactions.sh abort` is not the way: it knows
// no other marker.
//
// See docs/decisions/0010-hanging-transactions.md.

// transactionLog is where coordinators write what becomes of transactions.
const transactionLog = "__transaction_state"

// An opening is a transaction that a partition has open by its leader's word.
type opening struct {
	shard       driver.Shard
	id          int64 // of the producer
	epoch       int16
	first       int64 // offset
	coordinator int32 // epoch of who marked the producer's last end here, or -1
}

// openIn asks the leaders which transactions shards have open. Shards that the
// broker does not let it see it leaves out, with a warning, once.
func (c *client) openIn(ctx context.Context, shards []driver.Shard) ([]opening, error) {
	req := kmsg.NewPtrDescribeProducersRequest()
	for stream, of := range shardsByStream(shards) {
		t := kmsg.NewDescribeProducersRequestTopic()
		t.Topic, t.Partitions = stream, of
		req.Topics = append(req.Topics, t)
	}
	var answers []kgo.ResponseShard
	if gone := c.ask(ctx, func() { answers = c.cl.RequestSharded(ctx, req) }); gone != nil {
		return nil, c.fail("", "", gone)
	}
	var open []opening
	for _, a := range answers {
		if err := c.seen("", a.Err); err != nil {
			return nil, err
		}
		if a.Err != nil {
			continue
		}
		for _, t := range a.Resp.(*kmsg.DescribeProducersResponse).Topics {
			for _, p := range t.Partitions {
				err := kerr.ErrorForCode(p.ErrorCode)
				if errors.Is(err, kerr.UnknownTopicOrPartition) {
					continue // it was deleted, and with it what was open
				}
				if err := c.seen(t.Topic, err); err != nil {
					return nil, err
				}
				for _, a := range p.ActiveProducers {
					if a.CurrentTxnStartOffset >= 0 {
						open = append(open, opening{driver.Shard{Stream: t.Topic, Index: p.Partition}, a.ProducerID, int16(a.ProducerEpoch), a.CurrentTxnStartOffset, a.CoordinatorEpoch}) //nolint:gosec // an epoch is an int16
					}
				}
			}
		}
	}
	return open, nil
}

// seen is the error of a question about what is open, but nil where to ask
// again would be of no use.
func (c *client) seen(stream string, err error) error {
	err = c.fail("", stream, err)
	if !errors.Is(err, driver.ErrDenied) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	c.blind.Do(func() {
		c.logger().Warn("whether a broker has left out the end of a transaction (KAFKA-20734) cannot be seen: allow Read on the streams that are written", "cluster", c.nodes(), "error", err)
	})
	return nil
}

// heal ends those of the openings that hang, where the id of their transaction
// is one of those wanted. Those that are under way it leaves alone. It is for
// clusters where each transaction has an epoch of its own.
func (c *client) heal(ctx context.Context, open []opening, wanted func(id string) bool) error {
	ids, err := c.coordinated(ctx, open)
	if err != nil {
		return err
	}
	byID := map[string][]opening{}
	for _, o := range open {
		if id := ids[o.id]; id != "" && wanted(id) {
			byID[id] = append(byID[id], o)
		}
	}
	for id, open := range byID {
		if err := c.healOf(ctx, id, open); err != nil {
			return err
		}
	}
	return nil
}

// healOf is heal for openings of one id.
func (c *client) healOf(ctx context.Context, id string, open []opening) error {
	done := map[[2]int64]bool{}
	for _, o := range open {
		key := [2]int64{o.id, int64(o.epoch)}
		if done[key] {
			continue
		}
		done[key] = true
		over, err := c.isOver(ctx, id, o)
		if err == nil && over {
			err = c.healOne(ctx, id, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// healOne ends one transaction that its coordinator says is over. It may do so
// at the same time as others: the marker has the epoch of the transaction, and
// is refused where the producer has begun a later one.
func (c *client) healOne(ctx context.Context, id string, o opening) error {
	end, err := c.endOf(ctx, id, o)
	if err != nil || !end.complete {
		return err // not yet written: later
	}
	if !slices.Contains(end.shards, o.shard) {
		end.shards = append(end.shards, o.shard)
	}
	// What is open now, after the coordinator said that all is marked, hangs.
	open, err := c.openIn(ctx, end.shards)
	if err != nil {
		return err
	}
	open = slices.DeleteFunc(open, func(p opening) bool { return p.id != o.id || p.epoch != o.epoch })
	if len(open) == 0 {
		return nil
	}
	if err := c.mark(ctx, open, end.commit); err != nil {
		what := map[bool]string{true: "committed", false: "aborted"}[end.commit]
		kind, text := c.describe(err, o.shard.Stream)
		if kind != driver.ErrDenied {
			kind = driver.ErrUnavailable
		}
		return &driver.Error{Shard: o.shard, Kind: kind, Err: fmt.Errorf("transaction %q, which was %s, hangs at offset %d since the broker left out its end (KAFKA-20734), and %w: allow Alter on the cluster, with which its end is written here; do not abort it by hand", id, what, o.first, text)}
	}
	for _, p := range open {
		c.logger().Warn("a transaction whose end a broker had left out (KAFKA-20734) was ended", "transaction", id, "shard", p.shard.String(), "offset", p.first, "committed", end.commit)
	}
	return nil
}

// coordinated finds the transactional ids of producers; those that have none
// any more are left out.
func (c *client) coordinated(ctx context.Context, open []opening) (map[int64]string, error) {
	req := kmsg.NewPtrListTransactionsRequest()
	for _, o := range open {
		if !slices.Contains(req.ProducerIDFilters, o.id) {
			req.ProducerIDFilters = append(req.ProducerIDFilters, o.id)
		}
	}
	var answers []kgo.ResponseShard
	if gone := c.ask(ctx, func() { answers = c.cl.RequestSharded(ctx, req) }); gone != nil {
		return nil, c.fail("", "", gone)
	}
	ids := map[int64]string{}
	for _, a := range answers {
		err := a.Err
		if err == nil {
			err = kerr.ErrorForCode(a.Resp.(*kmsg.ListTransactionsResponse).ErrorCode)
		}
		if err != nil {
			return nil, c.fail("", "", err)
		}
		for _, t := range a.Resp.(*kmsg.ListTransactionsResponse).TransactionStates {
			ids[t.ProducerID] = t.TransactionalID
		}
	}
	return ids, nil
}

// isOver reports whether the coordinator of an id has ended the opening's
// transaction. That is a hint which costs little: endOf has the proof.
func (c *client) isOver(ctx context.Context, id string, o opening) (bool, error) {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	var resp *kmsg.DescribeTransactionsResponse
	var err error
	if gone := c.ask(ctx, func() { resp, err = req.RequestWith(ctx, c.cl) }); gone != nil {
		return false, c.fail("", "", gone)
	}
	if err != nil {
		return false, c.fail("", "", err)
	}
	if len(resp.TransactionStates) == 0 { // one was asked for
		return false, nil
	}
	t := resp.TransactionStates[0]
	if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
		return false, c.fail("", "", err)
	}
	return !strings.HasPrefix(t.State, "Prepare") && (t.ProducerID != o.id || t.ProducerEpoch > o.epoch), nil
}

// An ending is what a coordinator has written about the end of a transaction.
type ending struct {
	commit   bool
	complete bool // it was written that all is marked
	shards   []driver.Shard
}

// endOf reads the coordinator's log for the end of one transaction. The log is
// compacted, and so may have lost it.
func (c *client) endOf(ctx context.Context, id string, o opening) (ending, error) {
	ts, err := topics(ctx, c, c.cl, false, transactionLog)
	if err != nil {
		return ending{}, err
	}
	log := driver.Shard{Stream: transactionLog, Index: hashed(id, len(ts[transactionLog].partitions))}
	var end ending
	var prior kmsg.TxnMetadataValue // of the id, in the log
	known, ended := false, false
	err = c.scan(ctx, log, driver.Uncommitted, func(r *kgo.Record) {
		var k kmsg.TxnMetadataKey
		var v kmsg.TxnMetadataValue
		if k.ReadFrom(r.Key) != nil || k.TransactionalID != id || r.Value == nil || v.ReadFrom(r.Value) != nil {
			return
		}
		// The end has the epoch after that of the transaction, or is of the next
		// producer id where there is none left.
		ours := v.ProducerID == o.id && v.ProducerEpoch == o.epoch+1 ||
			known && prior.ProducerID == o.id && prior.ProducerEpoch == o.epoch && prior.State == kmsg.TransactionStateOngoing ||
			ended && !end.complete
		prior, known = v, true
		if !ours || end.complete {
			return
		}
		switch v.State {
		case kmsg.TransactionStatePrepareCommit, kmsg.TransactionStatePrepareAbort:
			ended, end.commit = true, v.State == kmsg.TransactionStatePrepareCommit
			end.shards = nil
			for _, t := range v.Topics {
				for _, p := range t.Partitions {
					end.shards = append(end.shards, driver.Shard{Stream: t.Topic, Index: p})
				}
			}
		case kmsg.TransactionStateCompleteCommit, kmsg.TransactionStateCompleteAbort:
			ended, end.complete, end.commit = true, true, v.State == kmsg.TransactionStateCompleteCommit
		}
	})
	if err == nil && !ended {
		err = driver.Errorf(driver.ErrUnavailable, "", "how transaction %q ended that hangs in %v at offset %d is not in %v", id, o.shard, o.first, log)
	}
	return end, err
}

// mark writes the end of a transaction into the partitions that have it open.
func (c *client) mark(ctx context.Context, open []opening, commit bool) error {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	for _, o := range open {
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		m.ProducerID, m.ProducerEpoch, m.Committed, m.CoordinatorEpoch = o.id, o.epoch, commit, max(o.coordinator, 0)
		t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		t.Topic, t.Partitions = o.shard.Stream, []int32{o.shard.Index}
		m.Topics = append(m.Topics, t)
		req.Markers = append(req.Markers, m)
	}
	var answers []kgo.ResponseShard
	if gone := c.ask(ctx, func() { answers = c.cl.RequestSharded(ctx, req) }); gone != nil {
		return gone
	}
	for _, a := range answers {
		if a.Err != nil {
			return a.Err
		}
		for _, m := range a.Resp.(*kmsg.WriteTxnMarkersResponse).Markers {
			for _, t := range m.Topics {
				for _, p := range t.Partitions {
					err := kerr.ErrorForCode(p.ErrorCode)
					if err != nil && !errors.Is(err, kerr.InvalidProducerEpoch) { // else another one was faster
						return err
					}
				}
			}
		}
	}
	return nil
}

// hashed is where a coordinator keeps a name, of so many partitions: by the
// absolute value of the hash that Java has for strings, and 0 where that has
// none.
func hashed(name string, partitions int) int32 {
	var h int32
	for _, u := range utf16.Encode([]rune(name)) {
		h = 31*h + int32(u)
	}
	if h < 0 {
		h = -h
	}
	return max(h, 0) % int32(max(partitions, 1)) //nolint:gosec // a topic's partitions are an int32
}

func shardsByStream(shards []driver.Shard) map[string][]int32 {
	m := map[string][]int32{}
	for _, s := range shards {
		m[s.Stream] = append(m[s.Stream], s.Index)
	}
	return m
}

func (c *client) logger() *slog.Logger {
	if c.o.Logger != nil {
		return c.o.Logger
	}
	return slog.Default()
}

// unpin heals what hangs in one shard, of whomever: it is where positions are,
// of this toolkit alone.
func (c *client) unpin(ctx context.Context, s driver.Shard) error {
	open, err := c.openIn(ctx, []driver.Shard{s})
	if err != nil || len(open) == 0 {
		return err
	}
	return c.heal(ctx, open, func(string) bool { return true })
}

// sealed waits until no shard has a transaction of t open that has ended: then
// the next one of t begins where it seems to begin. It heals what hangs.
func (t *transactional) sealed(ctx context.Context, shards []driver.Shard) error {
	if t.version < safeTransactions || len(shards) == 0 {
		return nil
	}
	var id int64
	var epoch int16
	var err error
	if gone := t.c.ask(ctx, func() { id, epoch, err = t.cl.ProducerID(ctx) }); gone != nil {
		return t.c.fail("", "", gone)
	}
	if err != nil {
		return nil //nolint:nilerr // the session is over: who claims the id next looks
	}
	for tries := 0; ; tries++ {
		open, err := t.c.openIn(ctx, shards)
		open = slices.DeleteFunc(open, func(o opening) bool { return o.id != id || o.epoch >= epoch })
		if err == nil && len(open) == 0 {
			return nil
		}
		if err == nil && tries >= 4 { // markers take a moment
			err = t.c.healOf(ctx, t.id, open)
		}
		if err != nil && !errors.Is(err, driver.ErrUnavailable) {
			return err
		}
		if !pausing(ctx, min(time.Millisecond<<min(tries, 10), time.Second)) {
			if err == nil {
				err = context.Cause(ctx)
			}
			return &driver.Error{Shard: shards[0], Kind: driver.ErrUnavailable, Err: fmt.Errorf("the end of a transaction of %q is not marked: %w", t.id, err)}
		}
	}
}
