package top

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/admin"
)

// A look is what there is to show at one time.
type look struct {
	*admin.RateSample
	readers
}

// readers are the groups and what they do.
type readers struct {
	groups  int // below zero is not known
	members map[string]int
	worst   admin.Lag // the group that is furthest behind; none where Group is ""
	cluster string    // its id
}

// groups looks at groups from time to time: their lag costs more than bounds do,
// and what they do seldom changes. So it takes at most a twentieth of the time.
type groups struct {
	c *admin.Client

	mu   sync.Mutex // guards what was seen
	last readers

	next time.Time
}

func newGroups(c *admin.Client) *groups { return &groups{c: c, last: readers{groups: -1}} }

const (
	groupsEvery = 5 * time.Second
	groupsShare = 20 // it waits so many times as long as it took
)

func (g *groups) seen() readers {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// look looks where it is time. What fails is shown as not known: the streams are
// what matters.
func (g *groups) look(ctx context.Context, now time.Time) {
	if now.Before(g.next) {
		return
	}
	begun := time.Now()
	r := readers{groups: -1, cluster: g.seen().cluster}
	if r.cluster == "" { // it never changes
		if in, err := g.c.Cluster(ctx); err == nil {
			r.cluster = in.ID
		}
	}
	if infos, err := g.all(ctx); err == nil {
		r.groups, r.members = len(infos), count(infos)
		lags, err := g.c.LagOf(ctx, infos)
		var partial *admin.PartialError
		if err == nil || errors.As(err, &partial) {
			r.worst = worst(lags)
		}
	}
	g.mu.Lock()
	g.last = r
	g.mu.Unlock()
	g.next = now.Add(max(groupsEvery, groupsShare*time.Since(begun)))
}

func (g *groups) all(ctx context.Context) (infos []admin.GroupInfo, _ error) {
	for in, err := range g.c.Groups(ctx) {
		if err != nil {
			return nil, err
		}
		infos = append(infos, in)
	}
	return infos, nil
}

// count is how many members read each stream. A backend that does not hand out
// shards does not say who reads what: there a member reads all that its group
// knows.
func count(infos []admin.GroupInfo) map[string]int {
	n := map[string]int{}
	for _, g := range infos {
		for _, m := range g.Members {
			mine := map[string]struct{}{}
			for _, s := range m.Shards {
				mine[s.Stream] = struct{}{}
			}
			if m.Shards == nil {
				for _, p := range g.Positions {
					mine[p.Stream] = struct{}{}
				}
			}
			for s := range mine {
				n[s]++
			}
		}
	}
	return n
}

// worst is the group that is furthest behind in time, then in messages.
func worst(lags []admin.Lag) (w admin.Lag) {
	for _, l := range lags {
		if l.Err != nil || l.Messages().N == 0 {
			continue
		}
		if a, b := l.Age(), w.Age(); w.Group == "" || a > b || a == b && l.Messages().N > w.Messages().N {
			w = l
		}
	}
	return w
}
