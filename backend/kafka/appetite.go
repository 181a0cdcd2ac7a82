package kafka

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// appetite decides how many bytes to ask a broker for, so that what they
// become after decompression stays near the budget: a batch of compressed
// small records can take thirty times its size.
type appetite struct {
	budget  int // bytes in memory, all brokers together
	brokers int
	ratio   atomic.Int64 // bytes in memory for 16 bytes fetched, lately
	asked   int32
}

var _ kgo.HookFetchBatchRead = (*appetite)(nil)

// OnFetchBatchRead is called by franz-go for every batch.
func (a *appetite) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	if m.CompressedBytes <= 0 {
		return
	}
	now := 16 * int64(m.UncompressedBytes+recordSize*m.NumRecords) / int64(m.CompressedBytes)
	old := a.ratio.Load()
	if old != 0 {
		now = (7*old + now) / 8
	}
	a.ratio.Store(now)
}

// leastFetch is what is asked for at first, before anything is known of how
// well batches are compressed: asking for the budget at once took half a
// gigabyte of memory for records that compress to a thirtieth.
const leastFetch = 64 << 10

// fetch is what to ask each broker for. A broker returns a whole batch even
// where that is more.
func (a *appetite) fetch() int32 {
	ratio := a.ratio.Load()
	if ratio == 0 {
		return leastFetch
	}
	ratio = max(ratio, 16)
	share := int64(a.budget) / int64(max(a.brokers, 1))
	return int32(min(max(share*16/ratio, leastFetch), maxFetch)) //nolint:gosec // at most maxFetch
}

// adjust tells franz-go, where the answer has changed by more than an eighth.
func (a *appetite) adjust(cl *kgo.Client) {
	f := a.fetch()
	if d := f - a.asked; d > a.asked/8 || -d > a.asked/8 {
		a.asked = f
		cl.UpdateFetchMaxBytes(f, f)
	}
}
