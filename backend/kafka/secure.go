package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/seastreamer/seastreamer/internal/conn"
)

// tls is how to encrypt.
func (o *Options) tls() conn.TLS {
	return conn.TLS{CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, ServerName: o.ServerName, Insecure: o.Insecure, Config: o.TLSConfig}
}

// mechanism is how to authenticate, nil without a user.
func (o *Options) mechanism() sasl.Mechanism {
	user := o.User
	switch o.SASL {
	case "plain":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			p, err := o.password()
			return plain.Auth{User: user, Pass: p}, err
		})
	case "scram-sha-256":
		return scram.Sha256(func(context.Context) (scram.Auth, error) {
			p, err := o.password()
			return scram.Auth{User: user, Pass: p}, err
		})
	case "scram-sha-512":
		return scram.Sha512(func(context.Context) (scram.Auth, error) {
			p, err := o.password()
			return scram.Auth{User: user, Pass: p}, err
		})
	}
	return nil
}

func (o *Options) password() (string, error) {
	if o.PasswordFile == "" {
		return o.Password, nil
	}
	return conn.ReadPassword("password_file", o.PasswordFile)
}
