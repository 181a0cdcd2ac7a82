package sqlite_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/examples/sqlite"
)

// A driver is used like every backend, through the core.
func Example() {
	if err := run(context.Background()); err != nil {
		slog.Error(err.Error())
	}
	// Output:
	// 0 hello
	// 1 world
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "sqlite")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	u, err := driver.ParseURL("sqlite+file://" + filepath.ToSlash(dir) + "/news.db/news")
	if err != nil {
		return err
	}
	d, err := sqlite.Opener.Open(ctx, u.Broker())
	if err != nil {
		return err
	}
	s := seastreamer.New(d, seastreamer.Options{})
	defer s.Close(ctx)

	p, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: u.Streams[0]})
	if err != nil {
		return err
	}
	for _, text := range []string{"hello", "world"} {
		if _, err := p.Send(ctx, seastreamer.Record{Value: []byte(text)}); err != nil {
			return err
		}
	}
	end, err := s.End(ctx, u.Streams...)
	if err != nil {
		return err
	}
	c, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: u.Streams, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		return err
	}
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		fmt.Println(m.Seq(), string(m.Value()))
	}
	return nil
}
