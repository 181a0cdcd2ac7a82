package lag

import (
	"context"

	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// watch shows a look every interval.
func (w *watcher) watch(ctx context.Context, f *factory.Factory, o options) error {
	for {
		groups, failed := w.look(ctx)
		if groups == nil {
			return failed
		}
		if err := show(f.IO, o, groups); err != nil {
			return err
		}
		o.NoHeader = true
		if !pause(ctx, o.interval) {
			return over(groups, o)
		}
	}
}
