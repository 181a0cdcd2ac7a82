package lag

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seastreamer/seastreamer/admin"
)

// kept is how many samples of a group are kept: for what is drawn of them.
const kept = 60

// trendOver is how far back a trend looks: further than members take from one
// commit to the next, near enough to be about now.
const trendOver = 30 * time.Second

// A group is how far one is behind now, and where that goes.
type group struct {
	admin.LagSample
	admin.Trend
	past []admin.LagSample // the oldest first, the last one being now's
}

// A watcher looks at groups again and again. One goroutine uses it.
type watcher struct {
	c     *admin.Client
	names []string // none is all
	past  map[string][]admin.LagSample
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

// add is the groups after one more look. Groups that have gone are forgotten.
func (w *watcher) add(now time.Time, lags []admin.Lag) []group {
	past := make(map[string][]admin.LagSample, len(lags))
	groups := make([]group, len(lags))
	for i, l := range lags {
		s := admin.LagSample{Time: now, Lag: l}
		all := append(w.past[l.Group], s)
		if len(all) > kept {
			all = slices.Clone(all[len(all)-kept:]) // a slice of it would keep all that were
		}
		past[l.Group] = all
		groups[i] = group{LagSample: s, Trend: admin.TrendOf(window(all)...), past: all}
	}
	w.past = past
	return groups
}

// window are the samples that a trend is about: those of trendOver, and the one
// before the last where looks are further apart.
func window(past []admin.LagSample) []admin.LagSample {
	for len(past) > 2 && past[len(past)-1].Time.Sub(past[0].Time) > trendOver {
		past = past[1:]
	}
	return past
}
