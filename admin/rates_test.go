package admin_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

// A flaky driver cannot describe one of its streams at times.
type flaky struct {
	driver.Driver
	driver.StreamAdmin
	failing string
}

func (d *flaky) DescribeStreams(ctx context.Context, names []string, detail driver.Detail) ([]driver.StreamInfo, error) {
	infos, err := d.StreamAdmin.DescribeStreams(ctx, names, detail)
	for i, n := range names {
		if n == d.failing {
			infos[i] = driver.StreamInfo{Name: n, Err: errors.New("no leader")}
		}
	}
	return infos, err
}

// A sampled store is one whose streams are sampled in a bubble, where time passes
// at once.
type sampled struct {
	t *testing.T
	s *ss.Streamer
	*admin.Client
	*admin.Sampler
	last *admin.RateSample
	d    *flaky
}

func sampling(t *testing.T, f func(*testing.T, *sampled)) {
	synctest.Test(t, func(t *testing.T) {
		inner := memory.NewStore().Driver(memory.Options{})
		d := &flaky{Driver: inner, StreamAdmin: inner.(driver.StreamAdmin)}
		s := ss.New(d, ss.Options{})
		defer s.Close(context.Background())
		c := admin.New(s)
		f(t, &sampled{t: t, s: s, d: d, Client: c, Sampler: admin.NewSampler(c, admin.StreamFilter{})})
	})
}

// step lets two seconds pass in which n messages of ten bytes come, and samples.
func (s *sampled) step(stream string, n int) admin.StreamRate {
	s.t.Helper()
	if n > 0 {
		p, err := s.s.Producer(s.t.Context(), ss.ProducerConfig{Stream: stream})
		if err != nil {
			s.t.Fatal(err)
		}
		for range n {
			time.Sleep(2 * time.Second / time.Duration(n))
			if _, err := p.Send(s.t.Context(), ss.Record{Value: []byte("0123456789")}); err != nil {
				s.t.Fatal(err)
			}
		}
		if err := p.Close(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	if rest := 2*time.Second - 2*time.Second/time.Duration(max(n, 1))*time.Duration(n); n == 0 || rest > 0 {
		time.Sleep(rest)
	}
	return s.look(stream)
}

func (s *sampled) look(stream string) admin.StreamRate {
	s.t.Helper()
	var err error
	if s.last, err = s.Sample(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	for _, r := range s.last.Streams {
		if r.Name == stream {
			return r
		}
	}
	return admin.StreamRate{} // not found yet
}

func near(got, want float64) bool { return math.Abs(got-want) <= want/50 }

func TestRates(t *testing.T) {
	sampling(t, func(t *testing.T, s *sampled) {
		send(t, s.s, "other", 0, 20, time.Now())
		first := s.step("news", 200)
		if !math.IsNaN(first.Messages.Now) || first.Newest.IsZero() || admin.Bytes(first.StreamInfo) <= 0 {
			t.Errorf("the first look: %+v", first)
		}
		var r admin.StreamRate
		for range 30 {
			r = s.step("news", 200)
		}
		size := r.Bytes.Now / r.Messages.Now
		if r.Messages.Now != 100 || !near(r.Messages.Mean, 100) || size < 10 || size > 200 || r.Bursting() || r.Stale(time.Now(), 0) {
			t.Errorf("100/s: %+v", r)
		}
		if !near(r.Gap.Seconds(), 0.01) || !r.Newest.Equal(time.Now()) || s.last.Interval != 2*time.Second {
			t.Errorf("gap %v, newest %v ago, interval %v", r.Gap, time.Since(r.Newest), s.last.Interval)
		}
		if s.last.Messages.Now != 100 || s.last.Bytes.Now != r.Bytes.Now {
			t.Errorf("in all %+v, %+v", s.last.Messages, s.last.Bytes)
		}

		// Five times as many are a burst, until they are usual.
		if r = s.step("news", 998); r.Bursting() {
			t.Errorf("499/s after 100/s: %+v", r)
		}
		if r = s.step("news", 2400); !r.Bursting() {
			t.Errorf("1200/s after 100/s: %+v", r)
		}
		for range 30 {
			r = s.step("news", 2400)
		}
		if r.Bursting() {
			t.Errorf("1200/s for a minute is a burst: %+v", r)
		}

		// Silence is stale after ten seconds, or after so long as is said.
		for i := range 6 {
			r = s.step("news", 0)
			if want := i >= 4; r.Messages.Now != 0 || r.Stale(time.Now(), 0) != want || r.Stale(time.Now(), time.Minute) {
				t.Errorf("%v after the last one: stale %v, %+v", time.Since(r.Newest), !want, r)
			}
		}
		if !r.Stale(time.Now(), 12*time.Second) {
			t.Error("it is not stale after what is said")
		}
		if r = s.step("news", 1); r.Stale(time.Now(), 0) || r.Bursting() {
			t.Errorf("after one more: %+v", r)
		}
	})
}

// What came while a stream could not be described did not come within the last
// interval, and what it held before it ever could did not come at all.
func TestRateAfterAFailure(t *testing.T) {
	sampling(t, func(t *testing.T, s *sampled) {
		s.d.failing = "news"
		s.step("news", 1000)
		s.d.failing = ""
		if r := s.step("news", 200); !math.IsNaN(r.Messages.Now) {
			t.Errorf("the first time that it can be described: %+v", r.Messages)
		}
		for range 5 {
			s.step("news", 200)
		}
		s.d.failing = "news"
		for range 10 {
			if r := s.step("news", 200); r.Err == nil || !math.IsNaN(r.Messages.Now) {
				t.Errorf("while it cannot be described: %+v", r)
			}
		}
		s.d.failing = ""
		if r := s.step("news", 200); r.Messages.Now != 100 || r.Bursting() {
			t.Errorf("100/s, not seen for 20 s: %+v", r)
		}
	})
}

// A stream that grows slowly is not stale before it usually is, which what it
// holds says when it was never seen growing.
func TestUsualGap(t *testing.T) {
	sampling(t, func(t *testing.T, s *sampled) {
		send(t, s.s, "slow", 0, 11, time.Now()) // one a second
		r := s.look("slow")
		if r.Gap != time.Second {
			t.Errorf("gap %v", r.Gap)
		}
		for i := range 10 {
			time.Sleep(4 * time.Second)
			if r = s.look("slow"); r.Stale(time.Now(), 0) != (i >= 2) {
				t.Errorf("%v after the last one: stale %v", time.Since(r.Newest), i < 2)
			}
		}
		for range 100 {
			time.Sleep(18 * time.Second)
			s.step("slow", 1)
		}
		time.Sleep(100 * time.Second)
		if r = s.look("slow"); r.Stale(time.Now(), 0) || !near(r.Gap.Seconds(), 20) {
			t.Errorf("every 20 s, 100 s after the last one: %v, %+v", r.Gap, r)
		}
		time.Sleep(101 * time.Second)
		if r = s.look("slow"); !r.Stale(time.Now(), 0) {
			t.Errorf("every 20 s, 201 s after the last one: %v, %+v", r.Gap, r)
		}
	})
}

// Streams come and go; one that is deleted and made again has no negative rate.
func TestSamplerFollowsStreams(t *testing.T) {
	sampling(t, func(t *testing.T, s *sampled) {
		s.step("news", 100)
		for range 6 {
			s.step("more", 10)
		}
		if len(s.last.Streams) != 2 {
			t.Errorf("%d streams after ten seconds", len(s.last.Streams))
		}
		apply(t, s.Client, admin.DeleteStream{Streams: []string{"news"}})
		if s.step("more", 10); len(s.last.Streams) != 1 {
			t.Errorf("%d streams after one has gone", len(s.last.Streams))
		}
		if r := s.step("news", 10); r.Messages.Now < 0 || s.last.Messages.Now < 0 {
			t.Errorf("made again: %+v", r.Messages)
		}
		apply(t, s.Client, admin.DeleteStream{Streams: []string{"more"}})
		if r := s.step("more", 3); r.Messages.Now != 0 { // between two looks
			t.Errorf("deleted and made again: %+v", r.Messages)
		}
		if r := s.step("more", 10); r.Messages.Now != 5 {
			t.Errorf("and then: %+v", r.Messages)
		}
	})
}

// Streams that are not watched have their turn.
func TestSamplerTakesTurns(t *testing.T) {
	sampling(t, func(t *testing.T, s *sampled) {
		const n = 200
		for i := range n {
			send(t, s.s, fmt.Sprintf("s%03d", i), 0, 2, time.Now())
		}
		s.Watch("s000")
		looked := func() (n int) {
			for _, r := range s.last.Streams {
				if !r.Looked.IsZero() {
					n++
				}
			}
			return n
		}
		if s.look("s000"); looked() > 33 || looked() < 32 {
			t.Errorf("%d of %d are looked at more closely at once", looked(), n)
		}
		for range 6 {
			time.Sleep(time.Second)
			s.look("s000")
		}
		if looked() != n {
			t.Errorf("%d of %d had their turn", looked(), n)
		}
	})
}
