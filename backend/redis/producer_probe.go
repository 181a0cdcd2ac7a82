package redis

import (
	"errors"

	"github.com/seastreamer/seastreamer/driver"
)

// probe looks at what the servers are: by what means records are written once
// and made safe.
func (p *producer) probe() error {
	i := p.c.server()
	aof := false
	if p.o.Synced && !p.silent && i.known && !i.always {
		if aof = i.waitAOF; !aof {
			return driver.Errorf(errors.ErrUnsupported, "", "synced needs a server with appendfsync always, or with an AOF and WAITAOF (Redis 7.2); %s is Redis %v and has neither", p.c.where(), i.version)
		}
	}
	p.wait = p.waitCommand(aof)
	p.idmp = p.exact && i.idmp
	return nil
}
