package admin

import (
	"context"
	"errors"
	"math"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// A Rate is how much there is in a second.
type Rate struct {
	Now  float64 // over the last interval; NaN where it is not known
	Mean float64 // over about half a minute, later weighing more; NaN likewise
}

// A StreamRate is a stream and how fast it grows.
type StreamRate struct {
	StreamInfo           // with bounds; times and bytes are those of Looked
	Looked     time.Time // when times and bytes were last asked for; zero: never
	Messages   Rate
	// Bytes is Messages times the size of a message, on disk or in memory: of
	// those that came between the last two looks at the stream's size where both
	// are known and nothing was removed, else of all that it holds.
	Bytes Rate
	// Usual is what Messages.Mean was before the last interval; NaN: not known.
	Usual float64
	// Newest is when the last message was sent, by its timestamp; where messages
	// have come since the last look, when they were seen. Zero is not known.
	Newest time.Time
	// Gap is how long it usually takes from one message to the next, while there
	// are messages; zero is not known.
	Gap time.Duration
}

// Bursting reports whether the stream grows at five times its usual rate, or
// more; less than ten messages a second are no burst.
func (r StreamRate) Bursting() bool {
	return r.Messages.Now >= 10 && r.Messages.Now >= 5*r.Usual
}

// Stale reports whether no message has come for ten times as long as it usually
// takes, or, with after above zero, for as long as that. Less than ten seconds are
// not stale, nor is a stream that never had a message.
func (r StreamRate) Stale(now time.Time, after time.Duration) bool {
	if r.Newest.IsZero() || r.Messages.Now > 0 {
		return false
	}
	age := now.Sub(r.Newest)
	if after > 0 {
		return age >= after
	}
	return r.Gap > 0 && age >= max(10*r.Gap, 10*time.Second)
}

// A RateSample is how fast streams grow at one time.
type RateSample struct {
	Time     time.Time
	Interval time.Duration // since the sample before; zero of the first one
	Streams  []StreamRate  // in no order
	// Messages and Bytes are those of all streams whose rates are known.
	Messages, Bytes Rate
}

// A Sampler looks at streams again and again and measures how fast they grow. One
// goroutine uses it at a time.
//
// Each look asks for the bounds of every stream, which is cheap. For times and
// sizes it asks only where something has changed: of the streams that are watched
// at each look, of some others in turn.
type Sampler struct {
	c       *Client
	filter  StreamFilter
	names   []string
	listed  time.Time
	watched map[string]bool // nil is all
	all     map[string]*meter
	last    time.Time
	total   [2]mean
	turn    int // where the turn of those that are not watched goes on
}

const (
	relist   = 10 * time.Second // how often new streams are looked for
	inTurn   = 32               // streams that are not watched and are looked at more closely
	meanOver = 30 * time.Second
)

// NewSampler looks at the streams that f takes; its Detail does not matter.
func NewSampler(c *Client, f StreamFilter) *Sampler {
	return &Sampler{c: c, filter: f, all: map[string]*meter{}}
}

// Watch says which streams are of interest: their times and sizes are always
// those of now. Before the first call all are.
func (s *Sampler) Watch(streams ...string) {
	s.watched = make(map[string]bool, len(streams))
	for _, n := range streams {
		s.watched[n] = true
	}
}

// Sample looks once. Streams that have gone are left out; those that cannot be
// described are there with their Err.
func (s *Sampler) Sample(ctx context.Context) (*RateSample, error) {
	d, err := s.c.streams()
	if err != nil {
		return nil, err
	}
	infos, err := s.describe(ctx, d)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, in := range infos {
		m := s.all[in.Name]
		if m == nil {
			m = &meter{}
			s.all[in.Name] = m
		}
		m.add(now, in)
	}
	for n, m := range s.all {
		if !m.at.Equal(now) { // it has gone
			delete(s.all, n)
		}
	}
	if err := s.closer(ctx, d, infos, now); err != nil {
		return nil, err
	}
	return s.sum(now, infos), nil
}

// describe is the bounds of all streams. Every so often it looks which there are.
func (s *Sampler) describe(ctx context.Context, d driver.StreamAdmin) ([]StreamInfo, error) {
	if now := time.Now(); s.names == nil || now.Sub(s.listed) >= relist {
		f := s.filter
		f.Detail = DetailBounds
		var infos []StreamInfo
		for in, err := range s.c.Streams(ctx, f) {
			if err != nil {
				return nil, err
			}
			infos = append(infos, in)
		}
		s.listed, s.names = now, make([]string, len(infos))
		for i := range infos {
			s.names[i] = infos[i].Name
		}
		return infos, nil
	}
	infos := make([]StreamInfo, 0, len(s.names))
	for from := 0; from < len(s.names); from += page {
		some, err := d.DescribeStreams(ctx, s.names[from:min(from+page, len(s.names))], DetailBounds)
		if err != nil {
			return nil, err
		}
		for _, in := range some {
			if !errors.Is(in.Err, ss.ErrNotFound) {
				infos = append(infos, in)
			}
		}
	}
	return infos, nil
}

// closer asks for times and sizes where they may have changed.
func (s *Sampler) closer(ctx context.Context, d driver.StreamAdmin, infos []StreamInfo, now time.Time) error {
	var names []string
	others, next := inTurn, s.turn
	for i := range infos { // from where the last turn ended
		in := &infos[(s.turn+i)%len(infos)]
		if m := s.all[in.Name]; in.Err != nil || !m.changed {
			continue
		}
		if s.watched != nil && !s.watched[in.Name] {
			if others == 0 {
				continue
			}
			others--
			next = s.turn + i + 1
		}
		names = append(names, in.Name)
	}
	s.turn = next % max(1, len(infos))
	for from := 0; from < len(names); from += page {
		some, err := d.DescribeStreams(ctx, names[from:min(from+page, len(names))], DetailBounds|DetailTimes|DetailBytes)
		if err != nil {
			return err
		}
		for _, in := range some {
			if m := s.all[in.Name]; !errors.Is(in.Err, ss.ErrNotFound) {
				m.look(now, in)
			}
		}
	}
	return nil
}

func (s *Sampler) sum(now time.Time, infos []StreamInfo) *RateSample {
	out := &RateSample{Time: now, Streams: make([]StreamRate, len(infos))}
	if !s.last.IsZero() {
		out.Interval = now.Sub(s.last)
	}
	s.last = now
	sum := [2]float64{math.NaN(), math.NaN()}
	for i := range infos {
		r := s.all[infos[i].Name].rate(infos[i])
		out.Streams[i] = r
		for j, v := range [2]float64{r.Messages.Now, r.Bytes.Now} {
			if math.IsNaN(sum[j]) {
				sum[j] = v
			} else if !math.IsNaN(v) {
				sum[j] += v
			}
		}
	}
	if len(infos) == 0 && out.Interval > 0 {
		sum = [2]float64{}
	}
	out.Messages = Rate{Now: sum[0], Mean: s.total[0].add(sum[0], out.Interval)}
	out.Bytes = Rate{Now: sum[1], Mean: s.total[1].add(sum[1], out.Interval)}
	return out
}
