package redis

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"github.com/redis/rueidis"
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

// A role says what a connection is for.
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
		if password, err = readPassword(option, file); err != nil {
			return rueidis.AuthCredentials{}, &dialError{addr: string(p.role) + p.String(), err: err}
		}
	}
	return rueidis.AuthCredentials{Username: user, Password: password}, nil
}

// readPassword reads the first line of a file that only its owner can read.
func readPassword(option, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", option, err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("%s: %w", option, err)
	}
	if runtime.GOOS != "windows" && i.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s %s can be read by others: chmod 600 it", option, file)
	}
	b := make([]byte, 4<<10)
	n, err := f.Read(b)
	p, _, _ := strings.Cut(string(b[:n]), "\n")
	p = strings.TrimSuffix(p, "\r")
	if p == "" {
		return "", fmt.Errorf("%s %s is empty", option, file)
	}
	return p, err
}
