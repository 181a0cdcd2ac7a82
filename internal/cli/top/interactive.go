package top

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/cli/screen"
)

// interactive paints the terminal until it is told to end. The broker is asked
// elsewhere, so that keys are answered while it is slow.
func interactive(ctx context.Context, f *factory.Factory, c *admin.Client, o options) error {
	v := &view{o: o, colour: screen.Colour(), order: byMessages}
	s := admin.NewSampler(c, o.filter)
	s.Watch() // none but what is seen; the first look says what that is
	g := newGroups(c)
	// The first look is had before the terminal is taken over: what is wrong from
	// the beginning is said where it stays.
	first, err := s.Sample(ctx)
	if err != nil {
		if errors.Is(context.Cause(ctx), err) || ctx.Err() != nil {
			return nil
		}
		return err
	}
	scr, err := screen.Open(f.IO)
	if err != nil {
		return err
	}
	defer scr.Close()
	defer scr.Guard()

	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	type result struct {
		l   *look
		err error
	}
	results := make(chan result)
	watch := make(chan []string, 1) // the latest only
	wg.Go(func() {
		defer scr.Guard()
		tick := time.NewTicker(o.interval)
		defer tick.Stop()
		for r := first; ; {
			select {
			case results <- result{&look{r, g.seen()}, nil}:
			case <-ctx.Done():
				return
			}
			for again := true; again; {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				select {
				case names := <-watch:
					s.Watch(names...)
				default:
				}
				var err error
				if r, err = s.Sample(ctx); err != nil && ctx.Err() == nil {
					select {
					case results <- result{nil, err}:
						continue
					case <-ctx.Done():
						return
					}
				}
				again = err != nil
			}
		}
	})
	wg.Go(func() {
		defer scr.Guard()
		tick := time.NewTicker(max(o.interval, time.Second))
		defer tick.Stop()
		for {
			g.look(ctx, time.Now())
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		v.width, v.height = scr.Size()
		v.scroll(0)
		if err := scr.Draw(v.lines()); err != nil {
			return err
		}
		select {
		case <-watch: // nobody has taken it
		default:
		}
		watch <- v.visible()
		select {
		case r := <-results:
			v.add(r.l, r.err)
		case k := <-scr.Keys():
			if k == screen.Suspend {
				scr.Suspend()
			} else if !v.key(k) {
				return nil
			}
		case <-scr.Resized():
		case <-ctx.Done():
			return nil
		}
	}
}
