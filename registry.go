package seastreamer

import (
	"context"
	"slices"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// A Registry maps URL schemes to the backends that open them. It is a plain
// map: make your own, or take the one of package backend/all. Nothing
// registers itself.
type Registry map[string]driver.Opener

// Open opens the broker that a URL names, without a stream: kafka://h:9092,
// file:///var/lib/logs. Whether the broker can be reached shows when a
// consumer is opened or a record is sent.
func (r Registry) Open(ctx context.Context, url string) (*Streamer, error) {
	u, err := driver.ParseBroker(url)
	if err != nil {
		return nil, err
	}
	return r.OpenURL(ctx, u, Options{})
}

// OpenURL opens the broker of u, whose streams are ignored.
func (r Registry) OpenURL(ctx context.Context, u URL, o Options) (*Streamer, error) {
	opener, ok := r[u.Scheme]
	if !ok {
		return nil, driver.Errorf(ErrInvalid, "open "+u.Broker().String(), "no backend for scheme %q: there are %s", u.Scheme, strings.Join(r.Schemes(), ", "))
	}
	d, err := opener.Open(ctx, u.Broker())
	if err != nil {
		return nil, wrap("open "+u.Broker().String(), Shard{}, err)
	}
	return New(d, o), nil
}

// Schemes lists the schemes in alphabetical order.
func (r Registry) Schemes() []string {
	var s []string
	for k := range r {
		s = append(s, k)
	}
	slices.Sort(s)
	return s
}
