package cp

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// endsEvery is how often a progress line looks where SRC ends.
const endsEvery = 2 * time.Second

// reports say how far the copy has come: a line on a terminal, a report every
// so often, and one at the end.
type reports struct {
	c        *copier
	began    time.Time
	progress *iostreams.Progress
	stop     context.CancelFunc
	done     chan struct{}
}

func (c *copier) startReports(ctx context.Context) *reports {
	r := &reports{c: c, began: time.Now(), done: make(chan struct{})}
	io := c.o.f.IO
	r.progress = io.StartProgress(c.o.f.Progress, "copied", false, func() iostreams.Count {
		return iostreams.Count{Records: c.tally.copied.Load(), Bytes: c.tally.bytes.Load(), Left: c.tally.left()}
	})
	ctx, r.stop = context.WithCancel(ctx)
	go r.run(ctx)
	return r
}

// run looks where SRC ends, as often as somebody wants to know.
func (r *reports) run(ctx context.Context) {
	defer close(r.done)
	every := r.c.o.report
	look := every
	if r.progress != nil && r.c.o.follow && (look == 0 || look > endsEvery) {
		look = endsEvery
	}
	if look == 0 {
		return
	}
	t := time.NewTicker(look)
	defer t.Stop()
	said := r.began
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			r.c.look(ctx)
			if every > 0 && now.Sub(said) >= every-look/2 && ctx.Err() == nil {
				said = now
				r.say(false)
			}
		}
	}
}

// look finds out where SRC ends now. Where that fails, what was seen last
// counts.
func (c *copier) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, factory.ConnectTimeout)
	defer cancel()
	bounds, err := c.src.Bounds(ctx, c.p.from())
	if err != nil {
		return
	}
	t := &c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends = ss.Checkpoint{}
	for sh, b := range bounds {
		if _, ours := t.until[sh]; ours || t.until == nil {
			t.ends[sh] = b.Next
		}
	}
}

// end says the last report, unless the copy has failed.
func (r *reports) end(err error) {
	r.stop()
	<-r.done
	r.progress.Stop()
	if err == nil || r.c.o.follow && stoppedBy(err) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if r.c.o.follow {
			r.c.look(ctx)
		}
		r.say(true)
	}
}

// A report is a line of -o json.
type report struct {
	Name     string  `json:"name"`
	Delivery string  `json:"delivery"`
	Copied   int64   `json:"copied"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	Resumed  bool    `json:"resumed"`
	// What is left: messages, or milliseconds where sequence numbers are ids.
	Behind   *int64 `json:"behind,omitempty"`
	BehindMS *int64 `json:"behind_ms,omitempty"`
	Final    bool   `json:"final"`
}

func (r *reports) say(final bool) {
	c := r.c
	n, ids := c.tally.behind()
	if c.o.Output != "json" {
		text := c.summary()
		if final {
			text = c.result()
		}
		if left := c.tally.left(); left != "" {
			text += ", " + left
		}
		c.o.f.IO.Notice("%s", text)
		return
	}
	c.tally.mu.Lock()
	resumed := c.tally.resumed
	c.tally.mu.Unlock()
	line := report{Name: c.p.name, Delivery: c.o.Delivery, Copied: c.tally.copied.Load(), Bytes: c.tally.bytes.Load(),
		Seconds: time.Since(r.began).Seconds(), Resumed: resumed, Final: final}
	if line.Behind = &n; ids {
		line.Behind, line.BehindMS = nil, &n
	}
	b, err := json.Marshal(line)
	if err == nil {
		_, err = c.o.f.IO.Out.Write(append(b, '\n'))
	}
	if err != nil {
		c.o.f.IO.Warn("the report cannot be written: %v", err)
	}
}

func stoppedBy(err error) bool { return errors.Is(err, errStopped) }
