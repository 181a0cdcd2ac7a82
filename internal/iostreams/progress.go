package iostreams

import (
	"fmt"
	"strings"
	"time"
)

// progressEvery is how often a progress line is looked at. Twice a second
// moves for the eye and wakes an idle process little.
const progressEvery = 500 * time.Millisecond

// A Count is what a progress line shows.
type Count struct {
	Records int64
	Bytes   int64
	Left    string // in words, how much there is still to do; "" is not said
}

// A Progress shows on standard error how far a command has come. A nil
// Progress shows nothing.
type Progress struct {
	s     *Streams
	json  bool
	verb  string
	count func() Count

	stop, done chan struct{}
	began      time.Time
	shown      bool // a line stands on the terminal; under s.mu
}

// StartProgress begins to show how far the command has come: mode auto shows a
// line on standard error if that is a terminal and records does not say that
// the same terminal gets records; json writes a line of JSON each time, for
// programs; never shows nothing. End it with Stop.
func (s *Streams) StartProgress(mode, verb string, records bool, count func() Count) *Progress {
	if mode == "never" || mode == "auto" && (!s.ErrTTY || s.Quiet || records && s.OutTTY) {
		return nil
	}
	p := &Progress{s: s, json: mode == "json", verb: verb, count: count, stop: make(chan struct{}), done: make(chan struct{}), began: time.Now()}
	s.mu.Lock()
	s.progress = p
	s.mu.Unlock()
	go p.run()
	return p
}

func (p *Progress) run() {
	defer close(p.done)
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	last, at := Count{}, p.began
	for {
		select {
		case <-p.stop:
			if p.json {
				p.show(p.count(), last, time.Since(at))
			}
			return
		case now := <-t.C:
			if c := p.count(); c != last {
				p.show(c, last, now.Sub(at))
				last, at = c, now
			}
		}
	}
}

func (p *Progress) show(c, last Count, over time.Duration) {
	rate := float64(c.Records-last.Records) / max(over.Seconds(), 1e-9)
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.json {
		_, _ = fmt.Fprintf(p.s.Err, `{"records":%d,"bytes":%d,"seconds":%.3f}`+"\n", c.Records, c.Bytes, time.Since(p.began).Seconds())
		return
	}
	_, _ = fmt.Fprintf(p.s.Err, "\r\x1b[K%s %s records, %s, %s/s", p.verb, Thousands(c.Records), Bytes(c.Bytes), Thousands(int64(rate)))
	if c.Left != "" {
		_, _ = fmt.Fprintf(p.s.Err, ", %s", c.Left)
	}
	p.shown = true
}

// clear takes the line off the terminal. Under s.mu.
func (p *Progress) clear() {
	if p != nil && p.shown {
		_, _ = p.s.Err.Write([]byte("\r\x1b[K"))
		p.shown = false
	}
}

// Stop takes the line away.
func (p *Progress) Stop() {
	if p == nil {
		return
	}
	close(p.stop)
	<-p.done
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.clear()
	p.s.progress = nil
}

// Thousands is n with a comma between each three digits.
func Thousands(n int64) string {
	s := fmt.Sprint(n)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Bytes is n in the largest binary unit that leaves a number above 1.
func Bytes(n int64) string {
	f, i := float64(n), 0
	for f >= 1024 && i < 5 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, []string{"", "KiB", "MiB", "GiB", "TiB", "PiB"}[i])
}
