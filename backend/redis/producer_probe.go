package redis

import (
	"context"

	"github.com/seastreamer/seastreamer/driver"
)

// probe finds out what an acknowledged write survives.
func (p *producer) probe(context.Context) error {
	p.class = driver.ClassMemory
	p.wait = p.waitCommand(false)
	return nil
}

func (c *client) credentials() (user, password string, err error) { return c.o.User, c.o.Password, nil }
