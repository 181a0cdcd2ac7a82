package kafka

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// TestHashed: what Kafka's own Utils.abs(name.hashCode()) % 50 says.
func TestHashed(t *testing.T) {
	for name, want := range map[string]int32{
		"": 0, "job": 5, "first+claims": 12, "straße𝄞": 4,
		"job-kafka+BMASQPLEKA3KFFUNBOKTSFJNWB+claims": 33, // its hash is below zero
		"polygenelubricants":                          0,  // its hash is the lowest number
	} {
		if got := hashed(name, 50); got != want {
			t.Errorf("%q is in partition %d, want %d", name, got, want)
		}
	}
}

// TestEndOf: how a transaction of producer 7 with epoch 4 ended, by a
// coordinator's log. That of a real one is read in e2e.
func TestEndOf(t *testing.T) {
	const (
		empty     = kmsg.TransactionStateEmpty
		ongoing   = kmsg.TransactionStateOngoing
		commits   = kmsg.TransactionStatePrepareCommit
		aborts    = kmsg.TransactionStatePrepareAbort
		committed = kmsg.TransactionStateCompleteCommit
		aborted   = kmsg.TransactionStateCompleteAbort
	)
	type entry struct {
		id    int64
		epoch int16
		state kmsg.TransactionState
	}
	in := []driver.Shard{{Stream: "out", Index: 1}, {Stream: "out", Index: 2}}
	lost := driver.ErrUnavailable
	for name, test := range map[string]struct {
		log  []entry
		want ending
		err  error
	}{
		"committed":                        {log: []entry{{7, 4, empty}, {7, 4, ongoing}, {7, 5, commits}, {7, 5, committed}, {7, 6, empty}}, want: ending{true, true, in}},
		"aborted":                          {log: []entry{{7, 4, ongoing}, {7, 5, aborts}, {7, 5, aborted}, {7, 5, ongoing}, {7, 6, commits}, {7, 6, committed}}, want: ending{false, true, in}},
		"the one before and the one after": {log: []entry{{7, 3, ongoing}, {7, 4, aborts}, {7, 4, aborted}, {7, 4, ongoing}, {7, 5, commits}, {7, 5, committed}, {7, 5, ongoing}, {7, 6, aborts}, {7, 6, aborted}}, want: ending{true, true, in}},
		"its end is under way":             {log: []entry{{7, 4, ongoing}, {7, 5, commits}}, want: ending{true, false, in}},
		"it goes on":                       {log: []entry{{7, 3, ongoing}, {7, 4, commits}, {7, 4, committed}, {7, 4, ongoing}}, err: lost},
		"fenced by two epochs":             {log: []entry{{7, 4, ongoing}, {7, 6, aborts}, {7, 6, aborted}}, want: ending{false, true, in}},
		"the last epoch of the producer":   {log: []entry{{7, 4, ongoing}, {7, 5, commits}, {8, 0, committed}, {8, 0, ongoing}, {8, 1, aborts}, {8, 1, aborted}}, want: ending{true, true, in}},
		"compacted to its end":             {log: []entry{{7, 5, committed}, {7, 6, empty}}, want: ending{commit: true, complete: true}},
		"compacted to what came later":     {log: []entry{{7, 6, committed}, {7, 7, empty}}, err: lost},
		"nothing":                          {err: lost},
	} {
		t.Run(name, func(t *testing.T) {
			k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, transactionLog))
			c := open(t, url(k.ListenAddrs(), ""), Options{})
			cl := raw(t, k.ListenAddrs())
			write := func(id string, e entry) {
				t.Helper()
				v := kmsg.TxnMetadataValue{Version: 1, ProducerID: e.id, ProducerEpoch: e.epoch, State: e.state, PreviousProducerID: -1, NextProducerID: -1}
				if e.state != empty && e.state != committed && e.state != aborted {
					v.Topics = []kmsg.TxnMetadataValueTopic{{Topic: "out", Partitions: []int32{1, 2}}}
				}
				r := &kgo.Record{Topic: transactionLog, Key: (&kmsg.TxnMetadataKey{TransactionalID: id}).AppendTo(nil), Value: v.AppendTo(nil)}
				if err := cl.ProduceSync(within(t), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range test.log {
				write("other", entry{7, 5, aborted}) // never looked at
				write("job", e)
			}
			got, err := c.endOf(within(t), "job", opening{shard: in[0], id: 7, epoch: 4})
			if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(ending{})); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}
