package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// tlsConfig reads the files that o names. It is called at each connection, so
// that certificates can be replaced while the program runs.
func (o *Options) tlsConfig(host string) (*tls.Config, error) {
	c := o.TLSConfig.Clone()
	if c == nil {
		c = &tls.Config{InsecureSkipVerify: o.Insecure} //nolint:gosec // what the option says, and it warns
		if o.CAFile != "" {
			pem, err := os.ReadFile(o.CAFile)
			if err != nil {
				return nil, fmt.Errorf("ca_file: %w", err)
			}
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("ca_file %s has no certificate in PEM", o.CAFile)
			}
		}
		if o.CertFile != "" {
			cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("cert_file %s, key_file %s: %w", o.CertFile, o.KeyFile, err)
			}
			c.Certificates = []tls.Certificate{cert}
		}
	}
	if c.MinVersion < tls.VersionTLS12 {
		c.MinVersion = tls.VersionTLS12
	}
	if o.ServerName != "" {
		c.ServerName = o.ServerName
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	return c, nil
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
	f, err := os.Open(o.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	if runtime.GOOS != "windows" && i.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("password_file %s can be read by others: chmod 600 it", o.PasswordFile)
	}
	b := make([]byte, 4<<10)
	n, err := f.Read(b)
	p := strings.TrimRight(string(b[:n]), "\r\n")
	if p == "" {
		return "", fmt.Errorf("password_file %s is empty", o.PasswordFile)
	}
	return p, err
}
