package redis

import (
	"net"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/internal/conn"
)

// tls is how to encrypt.
func (o *Options) tls() conn.TLS {
	return conn.TLS{CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, ServerName: o.ServerName, Insecure: o.Insecure, Config: o.TLSConfig}
}

// A role says what a connection is for, as errors put it before the address.
type role string

const (
	toServer   role = ""
	toSentinel role = "sentinel "
)

// A peer is the address of the other side and what it is to us: rueidis asks
// for credentials by the address of a connection, and sentinels have their
// own.
type peer struct {
	net.Addr
	role role
}

// credentials are those of a server or a sentinel. They are asked for at each
// connection.
func (c *client) credentials(of rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
	p, _ := of.Address.(peer)
	user, password, file, option := c.o.User, c.o.Password, c.o.PasswordFile, "password_file"
	if p.role == toSentinel {
		user, password, file, option = c.o.SentinelUser, c.o.SentinelPassword, c.o.SentinelPasswordFile, "sentinel_password_file"
	}
	if file != "" {
		var err error
		if password, err = conn.ReadPassword(option, file); err != nil {
			return rueidis.AuthCredentials{}, &conn.Error{Addr: string(p.role) + p.String(), Err: err}
		}
	}
	return rueidis.AuthCredentials{Username: user, Password: password}, nil
}
