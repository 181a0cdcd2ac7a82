package memory

import (
	"context"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// Open opens the store that a URL such as memory://news?shards=4 names; what
// its query says goes before o.
func Open(ctx context.Context, url string, o Options) (*seastreamer.Streamer, error) {
	u, err := driver.ParseBroker(url)
	if err != nil {
		return nil, err
	}
	d, err := OpenDriver(ctx, u, o)
	if err != nil {
		return nil, err
	}
	return seastreamer.New(d, o.Options), nil
}
