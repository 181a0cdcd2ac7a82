package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/seastreamer/seastreamer/driver"
)

// A transactional is a producer whose records belong to transactions, one at a
// time. An error that leaves it open what became of one is the end of it.
type transactional struct {
	*producer
	id      string
	version int16 // of the cluster's transactions, see transactionVersion
	open    bool  // of run: a transaction was begun, and may not have ended

	turn sync.Mutex // held by what begins or ends a transaction, see alone
}

// safeTransactions is the transaction.version from which each transaction has
// an epoch of its own (KIP-890), so that a request that is late cannot end the
// next one.
const safeTransactions = 2

// transactional opens one. It does not talk to a broker; see begin.
func (c *client) transactional(id string, version int16) (*transactional, error) {
	opts := []kgo.Opt{
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(c.o.TransactionTimeout),
	}
	if version < safeTransactions {
		// The end of a transaction is never asked for twice: the first request
		// might arrive last, and end the transaction after this one. And offsets
		// are committed in the form that goes with AddOffsetsToTxn.
		v := kversion.Stable()
		v.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
		opts = append(opts, kgo.MaxVersions(v), kgo.RetryTimeoutFn(func(key int16) time.Duration {
			if key == int16(kmsg.EndTxn) {
				return 1
			}
			return 30 * time.Second
		}))
	}
	p, err := c.newProducer(driver.ProducerConfig{Durability: driver.ExactlyOnce}, opts...)
	if err != nil {
		return nil, err
	}
	return &transactional{producer: p, id: id, version: version}, nil
}

// transactionVersion asks for the cluster's finalised feature of that name;
// zero is a cluster that has none.
func (c *client) transactionVersion(ctx context.Context) (int16, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "sea-streamer", "1"
	var resp *kmsg.ApiVersionsResponse
	var err error
	if gone := c.ask(ctx, func() { resp, err = req.RequestWith(ctx, c.cl) }); gone != nil {
		return 0, c.fail("", "", gone)
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return 0, c.fail("", "", err)
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel, nil
		}
	}
	return 0, nil
}

// warnTransactions says, once, what is weaker than it should be.
func (c *client) warnTransactions(version int16) {
	if version >= safeTransactions {
		return
	}
	c.warned.Do(func() { c.warnOld(version) })
}

func (c *client) warnOld(version int16) {
	c.logger().Warn("exactly once is weaker on this cluster: a request that arrives late may commit or abort the transaction after its own; raise the feature transaction.version to 2 (Apache Kafka 4.0 and later)",
		"cluster", c.nodes(), "transaction.version", version)
}

// claim fences whoever had the id before, and waits until what they left open
// is aborted.
func (t *transactional) claim(ctx context.Context) error {
	_, err := asked(ctx, t.c, func() (id int64, err error) { id, _, err = t.cl.ProducerID(ctx); return id, err })
	if err == nil {
		return nil
	}
	kind, text := t.c.describe(err, "")
	// The session of an earlier attempt may have ended, as when a transaction of
	// it took too long: then another one is opened.
	if errors.Is(err, kerr.ConcurrentTransactions) || isFence(err) || errors.Is(err, kerr.InvalidTxnState) || errors.Is(err, kerr.InvalidProducerIDMapping) {
		kind = driver.ErrUnavailable
	}
	return &driver.Error{Op: "claim the transactional id " + t.id, Kind: kind, Err: text}
}

// begin opens a transaction. The broker learns of it with the first record.
func (t *transactional) begin(ctx context.Context) error {
	return t.alone(ctx, t.cl.BeginTransaction)
}

// alone runs f, which begins or ends a transaction. Where ctx ends meanwhile f
// goes on, and the next one waits for it: late, it would commit or drop what
// belongs to the transaction after its own. It is not begun after ctx has ended.
func (t *transactional) alone(ctx context.Context, f func() error) error {
	_, err := asked(ctx, t.c, func() (struct{}, error) {
		t.turn.Lock()
		defer t.turn.Unlock()
		if err := ctx.Err(); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, f()
	})
	return err
}

// end commits or aborts the transaction; all its records are settled. The
// request goes on where ctx ends, since to break it off would leave open what
// became of it.
func (t *transactional) end(ctx context.Context, commit kgo.TransactionEndTry) error {
	return t.alone(ctx, func() error {
		t.settleTopics()
		return t.cl.EndTransaction(t.life, commit)
	})
}

// settleTopics waits until franz-go has stored the partitions of the topics that
// it has just got to know. It sends their first records before (1.22.2 and 1.22.3,
// storePartitionsUpdate), and EndTransaction looks there for what was written: if
// it finds nothing it aborts, and returns nil as if it had committed. To forget a
// topic that cannot be has no effect but to wait for its turn.
func (t *transactional) settleTopics() { t.cl.PurgeTopicsFromProducing("/") }

// abort drops the records that have not left, waits for the others, and aborts
// the transaction. nil means that nothing of it will ever be seen.
func (t *transactional) abort(ctx context.Context) error {
	err := t.alone(ctx, func() error { return t.cl.AbortBufferedRecords(t.life) })
	if err == nil {
		err = t.end(ctx, kgo.TryAbort)
	}
	if err == nil {
		// Where the session failed it begins anew here, which aborts, and not
		// with a next transaction that may never come.
		err = t.claim(ctx)
	}
	return err
}

// run is a whole transaction of a few records and, where more is not nil, of
// what that adds; in shards in all, where its end is marked when it returns.
func (t *transactional) run(ctx context.Context, shards []driver.Shard, recs []*kgo.Record, more func(context.Context) error) error {
	if err := t.sealed(ctx, shards); err != nil {
		return err
	}
	t.open = true
	if err := t.begin(ctx); err != nil {
		return err
	}
	// franz-go has all of them before this can be given up: one that came later
	// would belong to the next transaction.
	var sent kgo.FirstErrPromise
	for _, r := range recs {
		t.cl.Produce(t.life, r, sent.Promise())
	}
	var failed error
	if gone := t.c.ask(ctx, func() { failed = sent.Err() }); gone != nil {
		return gone
	}
	if failed == nil && more != nil {
		failed = more(ctx)
	}
	if failed == nil {
		failed = t.end(ctx, kgo.TryCommit)
	}
	if failed != nil {
		if err := t.clear(ctx); err != nil && !isFence(failed) {
			return err
		}
		return failed
	}
	t.open = false
	return t.sealed(ctx, shards)
}

// clear aborts what a run has left open whose context had ended.
func (t *transactional) clear(ctx context.Context) error {
	if !t.open {
		return nil
	}
	err := t.abort(ctx)
	t.open = err != nil
	return err
}

// isFence reports whether the broker refused the session: a later one of the
// same id has begun, or the transaction lasted too long and was aborted. It
// uses one error for both.
func isFence(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.TransactionCoordinatorFenced)
}
