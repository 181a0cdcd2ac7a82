package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	ss "github.com/seastreamer/seastreamer"
)

// NewObserver is an observer that counts what happens in metrics of r. Give it to
// the Options of any number of backends; that two of them use one registry needs
// one observer for both.
func NewObserver(r prometheus.Registerer) (ss.Observer, error) {
	retries := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "seastreamer_retries_total", Help: "Temporary failures that were tried again."})
	commits := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "seastreamer_commits_total", Help: "Commits of positions, by result."}, []string{"result"})
	settled := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "seastreamer_settled_messages_total", Help: "Messages whose verdicts were given to the broker, by result."}, []string{"result"})
	gaps := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "seastreamer_gaps_total", Help: "Gaps that a consumer went on behind, by cause."}, []string{"cause"})
	shards := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "seastreamer_assigned_shards", Help: "Shards that consumers of this process read."})
	lost := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "seastreamer_lost_shards_total", Help: "Shards that were taken before what was done of them could be committed."})
	for _, c := range []prometheus.Collector{retries, commits, settled, gaps, shards, lost} {
		if err := r.Register(c); err != nil {
			return ss.Observer{}, err
		}
	}
	// Children are looked up once, not with each event.
	committed, uncommitted := commits.WithLabelValues("ok"), commits.WithLabelValues("failed")
	given, refused := settled.WithLabelValues("ok"), settled.WithLabelValues("failed")
	return ss.Observer{
		Retry: func(string, error, time.Duration) { retries.Inc() },
		Commit: func(_ []ss.Position, err error) {
			if err != nil {
				uncommitted.Inc()
			} else {
				committed.Inc()
			}
		},
		Settle: func(messages int, err error) {
			if err != nil {
				refused.Add(float64(messages))
			} else {
				given.Add(float64(messages))
			}
		},
		Gap:      func(g *ss.GapError) { gaps.WithLabelValues(g.Cause.String()).Inc() },
		Assigned: func(at []ss.Position) { shards.Add(float64(len(at))) },
		Revoked: func(s []ss.Shard, l bool) {
			shards.Sub(float64(len(s)))
			if l {
				lost.Add(float64(len(s)))
			}
		},
	}, nil
}
