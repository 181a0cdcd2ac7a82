package file

import (
	"context"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// Open opens the directory that a URL such as file:///var/lib/logs?sync=always
// names; what its query says goes before o. The directory need not exist.
func Open(ctx context.Context, url string, o Options) (*seastreamer.Streamer, error) {
	u, err := driver.ParseBroker(url)
	if err != nil {
		return nil, err
	}
	d, err := (Opener{o}).Open(ctx, u)
	if err != nil {
		return nil, err
	}
	return seastreamer.New(d, o.Options), nil
}
