package redis

import (
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// How ranges are counted. Redis knows how many entries a stream has and not how
// many there are between two ids. So a stream is cut into three parts, what is
// before the range, in it and behind it. A part of up to a thousand entries is
// counted by the server. Where that tells the whole the count is exact: the
// range is small, or the rest of the stream is, as it is where a group is almost
// done.
//
// Else the parts are cut into pieces of equal time, of each of which the server
// counts a run from its front: how long that took says how many entries the
// piece has. The pieces with the most are cut in two again, a few times, so that
// bursts and pauses come apart. The sums are scaled so that they make the whole,
// which is known; so what is wrong everywhere in the same way cancels out.

// countRun answers how many entries from ARGV[1] up to and without ARGV[2] there
// are, at most ARGV[3], the ids of the first and the last of these, and that of
// the last one in the range.
const countRun script = `
local run = redis.call('XRANGE', KEYS[1], ARGV[1], '(' .. ARGV[2], 'COUNT', ARGV[3])
if #run == 0 then return {0} end
local last = redis.call('XREVRANGE', KEYS[1], '(' .. ARGV[2], ARGV[1], 'COUNT', 1)
return {#run, run[1][1], run[#run][1], last[1][1]}`

const (
	runBytes = 256 << 10 // that a server looks at for a run, about
	runMost  = 1000      // entries of the first run of a part
	pieces   = 16        // that a part is cut into
	cuts     = 3         // how often those with the most are cut in two
	runsMost = 8192      // for all ranges of a call together
)

// A piece is a part of a stream.
type piece struct {
	of       *countedRange
	part     int // 0 before the range, 1 in it, 2 behind it
	from, to driver.Seq
	n        float64
	exact    bool
	first    driver.Seq // the first and the last entry, where it is not exact
	last     driver.Seq
}

// A countedRange is one whose pieces are being counted.
type countedRange struct {
	key    string
	shard  driver.Shard
	length float64
	run    int // entries of a first run
	pieces []*piece
}

// Count counts ranges: exact where a range, or what of the shard is outside it,
// has at most a thousand entries (fewer where they are large), and where it is
// all or nothing; else estimated. The error depends on how even the stream is:
// for a tenth of the stream or more, and up to a hundred ranges at once, it was
// below 2 % of the stream's length where messages come evenly or in regular
// bursts, and below 6 % in irregular ones. The more ranges are asked for at once
// the fewer samples each of them gets.
func (c *client) Count(ctx context.Context, ranges []driver.Range) ([]driver.Count, error) {
	rc, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	return c.count(ctx, rc, ranges, cuts)
}

// count is Count with so many cuts; with less than none what is not exact is
// not known.
func (c *client) count(ctx context.Context, rc rueidis.Client, ranges []driver.Range, cuts int) ([]driver.Count, error) {
	shards := make([]driver.Shard, len(ranges))
	for i, r := range ranges {
		shards[i] = r.Shard
	}
	keys, err := c.keysOf(ctx, rc, shards)
	if err != nil {
		return nil, err
	}
	sights, err := c.lookAtSizes(ctx, rc, shards, keys)
	if err != nil {
		return nil, err
	}
	counts := make([]driver.Count, len(ranges))
	open := map[int]*countedRange{}
	var todo []*piece
	for i, r := range ranges {
		s := &sights[i]
		from, to := r.From, r.To
		if from.Less(s.front()) {
			from = s.front()
		}
		if s.end().Less(to) {
			to = s.end()
		}
		switch {
		case !from.Less(to): // nothing
			continue
		case from == s.front() && to == s.end():
			counts[i].N = int64(s.length) //nolint:gosec // it comes from one
			continue
		}
		o := &countedRange{key: keys[i], shard: r.Shard, length: float64(s.length), run: int(max(8, min(runMost, runBytes/s.size)))}
		for part, p := range [][2]driver.Seq{{s.front(), from}, {from, to}, {to, s.end()}} {
			if p[0].Less(p[1]) {
				o.pieces = append(o.pieces, &piece{of: o, part: part, from: p[0], to: p[1]})
			}
		}
		open[i] = o
		todo = append(todo, o.pieces...)
	}
	// First a long run of each part, which may be all there is of it.
	if err := c.runs(ctx, rc, todo, 1); err != nil {
		return nil, err
	}
	width := max(2, min(pieces, runsMost/(7*max(len(open), 1))))
	for step := range 1 + cuts {
		todo = todo[:0]
		for _, o := range open {
			if !o.known() {
				todo = append(todo, o.cut(step, width)...)
			}
		}
		if err := c.runs(ctx, rc, todo, 5); err != nil {
			return nil, err
		}
	}
	for i, o := range open {
		if counts[i] = o.sum(); cuts < 0 && counts[i].Estimated {
			counts[i] = driver.Count{N: -1}
		}
	}
	return counts, nil
}

// known reports whether the range is counted.
func (o *countedRange) known() bool {
	in, out := true, true
	for _, p := range o.pieces {
		if !p.exact && p.part == 1 {
			in = false
		} else if !p.exact {
			out = false
		}
	}
	return in || out
}

// cut cuts pieces: at first each into as many as width, later the largest in
// two. It returns those that are new.
func (o *countedRange) cut(step, width int) (fresh []*piece) {
	into := width
	inexact := make([]*piece, 0, len(o.pieces))
	for _, p := range o.pieces {
		if !p.exact {
			inexact = append(inexact, p)
		}
	}
	if step > 0 {
		into = 2
		slices.SortFunc(inexact, func(a, b *piece) int {
			if a.n > b.n {
				return -1
			}
			return 1
		})
		inexact = inexact[:min(len(inexact), width)]
	}
	for _, p := range inexact {
		parts := p.cut(into)
		if len(parts) < 2 {
			continue
		}
		i := slices.Index(o.pieces, p)
		o.pieces = slices.Replace(o.pieces, i, i+1, parts...)
		fresh = append(fresh, parts...)
	}
	return fresh
}

// cut cuts a piece into pieces of equal time or, where all is of one
// millisecond, of equal numbers; at least at its first and behind its last
// entry.
func (p *piece) cut(into int) (parts []*piece) {
	from, to := p.first, p.last.Succ()
	axis := &from.Hi
	width := p.last.Hi - p.first.Hi
	if width == 0 {
		axis, width = &from.Lo, p.last.Lo-p.first.Lo
	}
	into = int(min(uint64(into), width)) //nolint:gosec // into is positive
	begin := *axis
	for k := range into {
		at := from
		*axis = begin + uint64(float64(width)*float64(k+1)/float64(into)) //nolint:gosec // not negative
		if axis == &from.Hi {
			from.Lo = 0
		}
		if k == into-1 || !from.Less(to) {
			from = to
		}
		if at.Less(from) {
			parts = append(parts, &piece{of: p.of, part: p.part, from: at, to: from})
		}
	}
	return parts
}

// runs counts a run of each piece.
func (c *client) runs(ctx context.Context, rc rueidis.Client, todo []*piece, part int) error {
	cmds := make([]rueidis.Completed, len(todo))
	run := func(p *piece) int { return max(8, p.of.run/part) }
	for i, p := range todo {
		cmds[i] = countRun.build(rc.B(), p.of.key, idText(p.from), idText(p.to), strconv.Itoa(run(p)))
	}
	answers, err := c.askAll(ctx, rc, cmds)
	if err != nil {
		return err
	}
	for i, p := range todo {
		m, err := answers[i].ToMessage()
		var list []value
		if err == nil {
			list, err = valueOf(m).list()
		}
		if err == nil {
			err = p.count(list, run(p))
		}
		if err != nil {
			return c.keyFailure("", p.of.shard, p.of.key, err)
		}
	}
	return nil
}

// count notes what a run of at most so many entries has found.
func (p *piece) count(found []value, most int) error {
	if len(found) == 0 {
		return errReply
	}
	n, err := found[0].number()
	if err != nil {
		return err
	}
	p.n, p.exact = float64(n), n < int64(most)
	if p.exact {
		return nil
	}
	var ids [3]driver.Seq
	if len(found) != 4 {
		return errReply
	}
	for i := range ids {
		text, err := found[i+1].text()
		var ok bool
		if ids[i], ok = parseID(text); err != nil || !ok {
			return errReply
		}
	}
	first, run, last := ids[0], ids[1], ids[2]
	p.first, p.last = first, last
	switch {
	case run == last:
		p.exact = true
	case first.Hi == last.Hi:
		p.n *= (float64(last.Lo-first.Lo) + 1) / (float64(run.Lo-first.Lo) + 1)
	default:
		p.n *= (float64(last.Hi-first.Hi) + 1) / (float64(run.Hi-first.Hi) + 1)
	}
	return nil
}

// sum is what the pieces say of the range.
func (o *countedRange) sum() driver.Count {
	var in, out, fixed, loose float64 // fixed and loose of the range
	exactIn, exactOut := true, true
	var outFixed float64
	for _, p := range o.pieces {
		switch {
		case p.part == 1 && p.exact:
			fixed += p.n
		case p.part == 1:
			loose += p.n
			exactIn = false
		case p.exact:
			outFixed += p.n
		default:
			out += p.n
			exactOut = false
		}
	}
	in = fixed
	if exactIn {
		return driver.Count{N: int64(in)}
	}
	if exactOut {
		return driver.Count{N: int64(max(0, o.length-outFixed))}
	}
	// What is not exact is scaled to what is left of the whole.
	left := max(0, o.length-fixed-outFixed)
	in += left * loose / (loose + out)
	return driver.Count{N: int64(math.Round(in)), Estimated: true}
}

// A sized sight also knows how large entries are, about.
type sizedSight struct {
	sight
	size int64
}

func (c *client) lookAtSizes(ctx context.Context, rc rueidis.Client, shards []driver.Shard, keys []string) ([]sizedSight, error) {
	cmds := make([]rueidis.Completed, len(keys))
	for i, k := range keys {
		cmds[i] = rc.B().XinfoStream().Key(k).Build()
	}
	answers, err := c.askAll(ctx, rc, cmds)
	if err != nil {
		return nil, err
	}
	sights := make([]sizedSight, len(keys))
	for i, a := range answers {
		m, err := a.ToMessage()
		if err == nil {
			v := valueOf(m)
			sights[i].size = max(64, int64(len(v))/2) // the answer is two entries and little else
			sights[i].sight, err = sightOf(v)
		}
		if isNoKey(err) {
			return nil, c.missing(shards[i].Stream)
		}
		if err != nil {
			return nil, c.keyFailure("", shards[i], keys[i], err)
		}
	}
	return sights, nil
}
