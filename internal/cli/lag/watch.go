package lag

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/cli/screen"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// watch shows a look every interval until it is ended. What is over the limits
// then is what it ends with.
func (w *watcher) watch(ctx context.Context, f *factory.Factory, o options) error {
	groups, failed := w.look(ctx)
	if ctx.Err() != nil { // before there was anything
		return nil //nolint:nilerr // being told to end is no failure
	}
	if groups == nil {
		return factory.Missing(failed)
	}
	if o.Output == "auto" && screen.Able(f.IO) {
		return w.paint(ctx, f, o, groups, failed)
	}
	for {
		if err := show(f.IO, o, groups); err != nil {
			return err
		}
		o.NoHeader = o.NoHeader || !o.Table(f.IO.OutTTY) // one for all, but for tables
		if !pause(ctx, o.interval) {
			return exit.Join(over(groups, o), failed)
		}
		next, err := w.look(ctx)
		if ctx.Err() != nil { // it was told to end while it looked: what was counts
			return exit.Join(over(groups, o), failed)
		}
		if next == nil {
			return exit.Join(over(groups, o), err)
		}
		groups, failed = next, err
	}
}

// paint is watch on a terminal. The groups are looked at elsewhere, so that keys
// are answered while the broker is slow.
func (w *watcher) paint(ctx context.Context, f *factory.Factory, o options, groups []group, failed error) error {
	scr, err := screen.Open(f.IO)
	if err != nil {
		return err
	}
	defer scr.Close()
	defer scr.Guard()
	looking, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	type result struct {
		groups []group
		err    error
	}
	results := make(chan result)
	wg.Go(func() {
		defer scr.Guard()
		for pause(looking, o.interval) {
			g, err := w.look(looking)
			select {
			case results <- result{g, err}:
			case <-looking.Done():
			}
		}
	})
	from := 0
	for {
		width, height := scr.Size()
		var lines []string
		if lines, from = picture(o, groups, failed, from, width, height); len(lines) > 0 {
			if err := scr.Draw(lines); err != nil {
				return err
			}
		}
		select {
		case r := <-results:
			if failed = r.err; r.groups != nil { // else what was is shown, and why there is no more
				groups = r.groups
			}
		case k := <-scr.Keys():
			switch k {
			case 'q', 'Q', screen.Interrupt:
				return over(groups, o)
			case screen.Suspend:
				scr.Suspend()
			case screen.Up, 'k':
				from--
			case screen.Down, 'j':
				from++
			case screen.PageUp:
				from -= height
			case screen.PageDown, ' ':
				from += height
			}
		case <-scr.Resized():
		case <-ctx.Done():
			return over(groups, o)
		}
	}
}

// picture is the screen from the top, and the first row that it shows: as near to
// from as there are rows.
func picture(o options, groups []group, failed error, from, width, height int) ([]string, int) {
	head := fmt.Sprintf("sea streamer lag  %s  every %s  q quits", time.Now().Format("15:04:05"), o.interval)
	if len(groups) > 0 {
		head = fmt.Sprintf("sea streamer lag  %s  every %s  q quits", groups[0].Time.Local().Format("15:04:05"), o.interval)
	}
	state := ""
	if failed != nil {
		state = "✗ " + failed.Error()
	} else if err := over(groups, o); err != nil {
		state = "✗ " + err.Error()
	}
	state = string(iostreams.EscapeLine(nil, []byte(state)))
	var b bytes.Buffer
	o.drawn = true
	_ = show(&iostreams.Streams{Out: &b, OutTTY: true}, o, groups) // into memory: nothing can fail
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	rows := lines[1:]
	from = max(0, min(from, len(rows)-max(1, height-3)))
	lines = append([]string{head, state, lines[0]}, rows[from:]...)
	lines = lines[:min(len(lines), height)]
	for i, l := range lines {
		lines[i] = listing.Cut(l, width)
	}
	return lines, from
}
