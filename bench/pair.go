package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// A figure is what one run of one side costs.
type figure struct {
	wall time.Duration
	cpu  time.Duration // user and system time of the process that did it
	rss  int64         // its peak resident memory in bytes; 0 where that says nothing
	n    int           // messages
}

// A side does the work once. before, if any, prepares and is not timed.
type side struct {
	name string
	run  func(ctx context.Context) (figure, error)
}

// A pair is one row of the table: ours against a peer, measured in turn.
type pair struct {
	name       string
	ours, peer side
	goal       string // what ours/peer has to reach, for the table
}

// A result is what the table prints: ratios pair by pair, since absolute
// figures drift with the machine.
type result struct {
	pair
	speed     []float64 // throughput of ours / of the peer; above 1 is better
	cpu       []float64 // CPU per message of ours / of the peer; below 1 is better
	rssO, rss int64     // the largest of each side
}

// measure runs the pair's sides in turn, the first round not counted. Which
// side begins changes from round to round: the second to go finds warmer
// caches.
func measure(ctx context.Context, p pair, rounds int, progress func(string)) (result, error) {
	r := result{pair: p}
	for i := range rounds + 1 {
		sides := []side{p.ours, p.peer}
		if i%2 == 1 {
			slices.Reverse(sides)
		}
		got := map[string]figure{}
		for _, s := range sides {
			f, err := s.run(ctx)
			if err != nil {
				return r, fmt.Errorf("%s, %s: %w", p.name, s.name, err)
			}
			got[s.name] = f
		}
		o, q := got[p.ours.name], got[p.peer.name]
		progress(fmt.Sprintf("%s: %s %.3fs, %s %.3fs", p.name, p.ours.name, o.wall.Seconds(), p.peer.name, q.wall.Seconds()))
		if i == 0 {
			continue
		}
		r.speed = append(r.speed, perMessage(q.wall, q.n)/perMessage(o.wall, o.n))
		if o.cpu > 0 && q.cpu > 0 {
			r.cpu = append(r.cpu, perMessage(o.cpu, o.n)/perMessage(q.cpu, q.n))
		}
		r.rssO, r.rss = max(r.rssO, o.rss), max(r.rss, q.rss)
	}
	return r, nil
}

func perMessage(d time.Duration, n int) float64 { return d.Seconds() / float64(max(n, 1)) }

// median and spread of at least one value.
func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.SortFunc(v, cmp.Compare[float64])
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}
