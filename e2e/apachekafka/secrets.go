//go:build unix

package apachekafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// secrets are the files that the secure listeners and their clients need: an
// authority, a server's certificate for 127.0.0.1 and localhost, and a
// client's, all made anew for each cluster and valid for a day.
type secrets struct {
	ca, clientCert, clientKey string // PEM files for clients
	keystore, truststore      string // PEM files for the broker
	pool                      *x509.CertPool
	client                    tls.Certificate
}

func makeSecrets(dir string) (*secrets, error) {
	ca, err := issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "apachekafka test authority"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil)
	if err != nil {
		return nil, err
	}
	server, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "broker"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca)
	if err != nil {
		return nil, err
	}
	client, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "client"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca)
	if err != nil {
		return nil, err
	}
	s := &secrets{
		ca:         filepath.Join(dir, "ca.pem"),
		clientCert: filepath.Join(dir, "client.pem"),
		clientKey:  filepath.Join(dir, "client-key.pem"),
		keystore:   filepath.Join(dir, "broker-keystore.pem"),
		truststore: filepath.Join(dir, "ca.pem"),
		pool:       x509.NewCertPool(),
	}
	s.pool.AddCert(ca.cert)
	if s.client, err = tls.X509KeyPair(client.certPEM, client.keyPEM); err != nil {
		return nil, fmt.Errorf("apachekafka: client certificate: %w", err)
	}
	for path, content := range map[string][]byte{
		s.ca:         ca.certPEM,
		s.clientCert: client.certPEM,
		s.clientKey:  client.keyPEM,
		s.keystore:   slices.Concat(server.keyPEM, server.certPEM, ca.certPEM),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, fmt.Errorf("apachekafka: %w", err)
		}
	}
	return s, nil
}

type issued struct {
	cert            *x509.Certificate
	key             *ecdsa.PrivateKey
	certPEM, keyPEM []byte
}

// issue signs a certificate with a key of its own; without an issuer it signs itself.
func issue(template *x509.Certificate, by *issued) (*issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("apachekafka: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("apachekafka: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("apachekafka: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("apachekafka: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("apachekafka: %w", err)
	}
	return &issued{
		cert:    cert,
		key:     key,
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil
}
