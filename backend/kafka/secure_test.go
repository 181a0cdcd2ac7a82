package kafka

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// pki is an authority with a server and a client that it vouches for.
type pki struct {
	server                    *tls.Config
	caFile, certFile, keyFile string
}

func newPKI(t testing.TB) pki {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	issue := func(n int64) (certPEM, keyPEM []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		c := &x509.Certificate{SerialNumber: big.NewInt(n), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
		must(err)
		kder, err := x509.MarshalECPrivateKey(key)
		must(err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kder})
	}
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		must(os.WriteFile(p, b, 0o600))
		return p
	}
	cert, key := issue(2)
	pair, err := tls.X509KeyPair(cert, key)
	must(err)
	clientCert, clientKey := issue(3)
	return pki{
		server:   &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		caFile:   write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})),
		certFile: write("client.pem", clientCert),
		keyFile:  write("client.key", clientKey),
	}
}

func secretFile(t testing.TB, secret string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(p, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTLSAndSASL(t *testing.T) {
	p := newPKI(t)
	mutual := p.server.Clone()
	mutual.ClientAuth = tls.RequireAndVerifyClientCert
	mutual.ClientCAs = x509.NewCertPool()
	ca, err := os.ReadFile(p.caFile)
	if err != nil {
		t.Fatal(err)
	}
	mutual.ClientCAs.AppendCertsFromPEM(ca)
	secure := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"), kfake.TLS(p.server), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "paul", "a"), kfake.Superuser("SCRAM-SHA-256", "susi", "b"), kfake.Superuser("SCRAM-SHA-512", "sven", "c"))
	certs := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"), kfake.TLS(mutual))
	inClear := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "paul", "a"))
	for _, test := range []struct {
		name  string
		url   string
		wants bool
	}{
		{"plain over TLS", "kafka://paul:a@" + secure.ListenAddrs()[0] + "?sasl=plain&ca_file=" + p.caFile, true},
		{"SCRAM-SHA-256", "kafka://susi:b@" + secure.ListenAddrs()[0] + "?sasl=scram-sha-256&ca_file=" + p.caFile, true},
		{"SCRAM-SHA-512 is the default", "kafka://sven:c@" + secure.ListenAddrs()[0] + "?ca_file=" + p.caFile, true},
		{"password in a file", "kafka://sven@" + secure.ListenAddrs()[0] + "?password_file=" + secretFile(t, "c") + "&ca_file=" + p.caFile, true},
		{"insecure", "kafka://sven:c@" + secure.ListenAddrs()[0] + "?insecure", true},
		{"plain in the clear, where that is meant", "kafka://paul:a@" + inClear.ListenAddrs()[0] + "?sasl=plain&plain_without_tls", true},
		{"mTLS", "kafka://" + certs.ListenAddrs()[0] + "?ca_file=" + p.caFile + "&cert_file=" + p.certFile + "&key_file=" + p.keyFile, true},
		{"mTLS without a certificate", "kafka://" + certs.ListenAddrs()[0] + "?ca_file=" + p.caFile, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			u, err := driver.ParseBroker(test.url + "&" + ample)
			if err != nil {
				t.Fatal(err)
			}
			c := open(t, u, Options{})
			_, err = c.Bounds(within(t), []string{"s"})
			if (err == nil) != test.wants {
				t.Errorf("Bounds: %v, want success: %v", err, test.wants)
			}
			if !test.wants {
				if !errors.Is(err, driver.ErrDenied) {
					t.Errorf("kind of %v: want ErrDenied", err)
				}
				return
			}
			if _, err := sendOne(t, producerOf(t, c, driver.ProducerConfig{}), driver.Record{Stream: "s", Value: []byte("x")}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for query, want := range map[string]string{
		"insecure": "insecure",
		"sasl=plain&plain_without_tls&user=u&password_file=" + secretFile(t, "canary"): "in the clear",
	} {
		var said bytes.Buffer
		d, err := OpenDriver(t.Context(), url([]string{"h"}, query), Options{Options: seastreamer.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if !strings.Contains(said.String(), want) || strings.Contains(said.String(), "canary") {
			t.Errorf("%s: the log says %q, want %q", query, said.String(), want)
		}
	}
}

func TestPasswordFiles(t *testing.T) {
	p := secretFile(t, "x")
	o := Options{PasswordFile: p}
	if got, err := o.password(); got != "x" || err != nil {
		t.Errorf("password %q, %v, want x", got, err)
	}
	if err := os.Chmod(p, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := o.password(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: error %v", err)
	}
}
