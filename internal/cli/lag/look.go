package lag

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/chart"
)

// trendOver is how far back a trend looks: further than members take from one
// commit to the next, near enough to be about now.
const trendOver = 30 * time.Second

// A group is how far one is behind now, and where that goes.
type group struct {
	admin.LagSample
	admin.Trend
	past
}

// A past is what is remembered of a group, or of one of its shards.
type past struct {
	looks  []admin.LagSample // a few for the trend, the oldest first, the last one being now's
	behind *chart.History
	shards map[ss.Shard]*chart.History // only where each is shown
}

// A watcher looks at groups again and again. One goroutine uses it.
type watcher struct {
	c     *admin.Client
	names []string // none is all
	each  bool     // it is for each shard
	past  map[string]past
}

// look samples the groups, by name, or in the order in which they were named.
// What failed of single groups is in the error as well; nil groups mean that it
// failed in whole.
func (w *watcher) look(ctx context.Context) ([]group, error) {
	infos, err := w.describe(ctx)
	if infos == nil {
		return nil, err
	}
	lags, lagErr := w.c.LagOf(ctx, infos)
	var partial *admin.PartialError
	if lagErr != nil && !errors.As(lagErr, &partial) {
		return nil, lagErr
	}
	if err == nil {
		err = lagErr
	}
	return w.add(time.Now(), lags), err
}

func (w *watcher) describe(ctx context.Context) ([]admin.GroupInfo, error) {
	if len(w.names) > 0 {
		return w.c.DescribeGroups(ctx, w.names...)
	}
	infos := []admin.GroupInfo{}
	for g, err := range w.c.Groups(ctx) {
		if err != nil {
			return nil, err
		}
		infos = append(infos, g)
	}
	slices.SortFunc(infos, func(a, b admin.GroupInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

// add is the groups after one more look. Groups and shards that have gone are
// forgotten.
func (w *watcher) add(now time.Time, lags []admin.Lag) []group {
	was := w.past
	w.past = make(map[string]past, len(lags))
	groups := make([]group, len(lags))
	for i, l := range lags {
		p := was[l.Group].add(admin.LagSample{Time: now, Lag: l}, w.each)
		w.past[l.Group] = p
		groups[i] = group{p.looks[len(p.looks)-1], admin.TrendOf(p.looks...), p}
	}
	return groups
}

// add is the past with one more look. What it was is not touched: it may be drawn
// meanwhile.
func (p past) add(s admin.LagSample, each bool) past {
	p.looks = thin(p.looks, s)
	n := float64(s.Messages().N)
	if n < 0 {
		n = math.NaN()
	}
	p.behind = more(p.behind, n)
	if !each {
		return p
	}
	was := p.shards
	p.shards = make(map[ss.Shard]*chart.History, len(s.Shards))
	for _, sh := range s.Shards {
		p.shards[sh.Shard] = more(was[sh.Shard], float64(sh.Messages.N))
	}
	return p
}

// thin adds a sample to those of which a trend is made. It keeps a few of those of
// the last trendOver, and the one before the last where looks are further apart:
// there may be many groups with many shards.
func thin(looks []admin.LagSample, s admin.LagSample) []admin.LagSample {
	if n := len(looks); n > 1 && looks[n-1].Time.Sub(looks[n-2].Time) < trendOver/3 {
		looks = looks[:n-1]
	}
	for len(looks) > 1 && s.Time.Sub(looks[0].Time) > trendOver {
		looks = looks[1:]
	}
	return append(slices.Clip(looks), s)
}

// more is a history with one more value.
func more(h *chart.History, v float64) *chart.History {
	next := &chart.History{}
	if h != nil {
		*next = *h
	}
	next.Add(v)
	return next
}
