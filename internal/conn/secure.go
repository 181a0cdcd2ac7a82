package conn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
)

// TLS says how to encrypt, as backends have it in their options; the errors
// name the files by the options' names in URLs.
type TLS struct {
	CAFile            string // PEM of whom to trust; empty is the system's
	CertFile, KeyFile string // PEM of the client's certificate
	ServerName        string // to expect in the server's certificate; empty is the host's
	Insecure          bool   // encrypt without verifying who is there
	Config            *tls.Config
}

// For reads the files and is the configuration for a server on host. It is
// called at each connection, so that certificates can be replaced while a
// program runs.
func (t TLS) For(host string) (*tls.Config, error) {
	c := t.Config.Clone()
	if c == nil {
		c = &tls.Config{InsecureSkipVerify: t.Insecure} //nolint:gosec // what the option says, and it warns
		if t.CAFile != "" {
			pem, err := os.ReadFile(t.CAFile)
			if err != nil {
				return nil, fmt.Errorf("ca_file: %w", err)
			}
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("ca_file %s has no certificate in PEM", t.CAFile)
			}
		}
		if t.CertFile != "" {
			cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("cert_file %s, key_file %s: %w", t.CertFile, t.KeyFile, err)
			}
			c.Certificates = []tls.Certificate{cert}
		}
	}
	if c.MinVersion < tls.VersionTLS12 {
		c.MinVersion = tls.VersionTLS12
	}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	return c, nil
}

// Handshake encrypts a new connection to addr, or closes it and says why not.
// plain is how a user says that there is to be no TLS.
func (t TLS) Handshake(ctx context.Context, conn net.Conn, addr, plain string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	c, err := t.For(host)
	if err != nil {
		conn.Close()
		return nil, err
	}
	enc := tls.Client(conn, c)
	if err = enc.HandshakeContext(ctx); err == nil {
		return enc, nil
	}
	conn.Close()
	e := &Error{Addr: addr, Err: err}
	var header tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &header):
		e.Err, e.Hint = fmt.Errorf("%w (%w)", ErrNotTLS, err), plain+", or use the port for TLS"
	case errors.As(err, &verify):
		e.Hint = "give ca_file of who signed it, or server_name"
	case IsAlert(err):
		e.Hint = "give cert_file and key_file that it accepts, or server_name"
	case errors.Is(err, context.DeadlineExceeded):
		e.Hint = "perhaps it does not speak TLS: " + plain
	case IsEOF(err):
		e.Err, e.Hint = fmt.Errorf("%w (%w)", ErrHungUp, err), "it may not speak TLS: "+plain
	}
	return nil, e
}

// ReadPassword reads the first line of a file that only its owner can read.
// option is the file's name in URLs, for errors.
func ReadPassword(option, file string) (string, error) {
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
	if p = strings.TrimSuffix(p, "\r"); p == "" {
		return "", fmt.Errorf("%s %s is empty", option, file)
	}
	return p, err
}
