package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Secrets are the PEM files that TLS needs: an authority, the servers'
// certificate for localhost, 127.0.0.1 and more addresses, and a client's. All
// are made anew and valid for a day.
type Secrets struct {
	CA, ClientCert, ClientKey string // for clients
	ServerCert, ServerKey     string // for servers, which may be each other's clients
	Keystore                  string // the server's key and the chain in one file, as Java wants it
	pool                      *x509.CertPool
	client                    tls.Certificate
}

// MakeSecrets writes them into dir.
func MakeSecrets(dir string, addresses ...net.IP) (*Secrets, error) {
	ca, err := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	if err != nil {
		return nil, err
	}
	server, err := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, KeyUsage: x509.KeyUsageDigitalSignature,
		DNSNames: []string{"localhost"}, IPAddresses: append([]net.IP{net.IPv4(127, 0, 0, 1)}, addresses...),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca)
	if err != nil {
		return nil, err
	}
	client, err := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "client"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca)
	if err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	s := &Secrets{
		CA: file("ca.pem"), ClientCert: file("client.pem"), ClientKey: file("client-key.pem"),
		ServerCert: file("server.pem"), ServerKey: file("server-key.pem"), Keystore: file("server-keystore.pem"),
		pool: x509.NewCertPool(),
	}
	s.pool.AddCert(ca.cert)
	if s.client, err = tls.X509KeyPair(client.certPEM, client.keyPEM); err != nil {
		return nil, err
	}
	for path, content := range map[string][]byte{
		s.CA: ca.certPEM, s.ClientCert: client.certPEM, s.ClientKey: client.keyPEM,
		s.ServerCert: server.certPEM, s.ServerKey: server.keyPEM,
		s.Keystore: slices.Concat(server.keyPEM, server.certPEM, ca.certPEM),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Config is a client's configuration that trusts the authority and carries the
// client's certificate.
func (s *Secrets) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.pool, Certificates: []tls.Certificate{s.client}}
}

type issued struct {
	cert            *x509.Certificate
	key             *ecdsa.PrivateKey
	certPEM, keyPEM []byte
}

// issue signs a certificate with a key of its own; without an issuer it signs
// itself.
func issue(template *x509.Certificate, by *issued) (*issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &issued{
		cert: cert, key: key,
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil
}
