package factory

import (
	"context"
	"log/slog"

	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// Logger gives the warnings of backends to standard error, as the commands
// write their own, and nothing below a warning. Backends log whole sentences;
// attributes follow them as name=value.
func Logger(io *iostreams.Streams) *slog.Logger { return slog.New(warnings{io: io}) }

type warnings struct {
	io    *iostreams.Streams
	attrs string
}

func (warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (w warnings) Handle(_ context.Context, r slog.Record) error {
	text := r.Message + w.attrs
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	w.io.Warn("%s", text)
	return nil
}

func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		w.attrs += " " + a.String()
	}
	return w
}

// WithGroup drops the name: nobody here groups.
func (w warnings) WithGroup(string) slog.Handler { return w }
