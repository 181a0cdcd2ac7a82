package factory

import (
	"context"
	"errors"
	"path"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
)

// Admin opens the broker of a URL to administer it. end closes it.
func (f *Factory) Admin(ctx context.Context, u ss.URL) (c *admin.Client, end func(error) error, err error) {
	s, err := f.Open(ctx, u.Broker(), ss.Observer{})
	if err != nil {
		return nil, nil, err
	}
	return admin.New(s), func(err error) error { return errors.Join(err, s.Close(context.WithoutCancel(ctx))) }, nil
}

// AdminOf opens the broker of streams, which are names or URLs, or without any
// the one of the flags.
func (f *Factory) AdminOf(ctx context.Context, t Target, streams ...string) (u ss.URL, c *admin.Client, end func(error) error, err error) {
	if len(streams) > 0 {
		u, err = f.Resolve(t, streams...)
	} else {
		u, err = f.ResolveBroker(t)
	}
	if err == nil {
		c, end, err = f.Admin(ctx, u)
	}
	return u, c, end, err
}

// CheckGlob refuses a glob that cannot be read.
func CheckGlob(glob string) error {
	if _, err := path.Match(glob, ""); err != nil {
		return exit.Usagef("use * and ?", "%q is no glob: %v", glob, err)
	}
	return nil
}
