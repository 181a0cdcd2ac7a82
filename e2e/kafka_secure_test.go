//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

// TestKafkaSecure sends and receives over TLS with each way to authenticate
// that the broker has, and is refused in one line where it should be.
func TestKafkaSecure(t *testing.T) {
	c, err := apachekafka.Start(t.Context(), apachekafka.Options{Secure: true, Users: map[string]string{"alice": "canary-1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	ca, cert, key := c.Files()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("canary-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	trust := "ca_file=" + url.QueryEscape(ca)
	sasl, mtls, plain := c.SASLBrokers()[0], c.MTLSBrokers()[0], c.Brokers()[0]
	for i, test := range []struct {
		name, url string
		kind      error // nil is to work
		says      string
	}{
		{"SCRAM-SHA-512", "kafka://alice:canary-1@" + sasl + "?" + trust, nil, ""},
		{"SCRAM-SHA-256", "kafka://alice:canary-1@" + sasl + "?sasl=scram-sha-256&" + trust, nil, ""},
		{"PLAIN", "kafka://alice:canary-1@" + sasl + "?sasl=plain&" + trust, nil, ""},
		{"password file", "kafka://" + sasl + "?user=alice&password_file=" + url.QueryEscape(secret) + "&" + trust, nil, ""},
		{"mTLS", "kafka://" + mtls + "?" + trust + "&cert_file=" + url.QueryEscape(cert) + "&key_file=" + url.QueryEscape(key), nil, ""},
		{"wrong password", "kafka://alice:canary-2@" + sasl + "?" + trust, seastreamer.ErrDenied, `refused user "alice"`},
		{"wrong password, PLAIN", "kafka://alice:canary-2@" + sasl + "?sasl=plain&" + trust, seastreamer.ErrDenied, `refused user "alice"`},
		{"unknown user", "kafka://bob:canary-1@" + sasl + "?" + trust, seastreamer.ErrDenied, `refused user "bob"`},
		{"no user", "kafka://" + sasl + "?" + trust, seastreamer.ErrUnavailable, sasl},
		{"an authority nobody trusts", "kafka://alice:canary-1@" + sasl + "?tls", seastreamer.ErrDenied, "give ca_file"},
		{"another host", "kafka://alice:canary-1@" + sasl + "?server_name=elsewhere&" + trust, seastreamer.ErrDenied, "server_name"},
		{"mTLS without a certificate", "kafka://" + mtls + "?" + trust, seastreamer.ErrDenied, "cert_file"},
		{"plain to TLS", "kafka://" + mtls, seastreamer.ErrUnavailable, mtls},
		{"TLS to plain", "kafka://" + plain + "?tls", seastreamer.ErrUnavailable, plain},
		{"SASL where there is none", "kafka://alice:canary-1@" + plain + "?sasl=plain&plain_without_tls", seastreamer.ErrInvalid, "leave out the user"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			s, err := kafka.Open(ctx, test.url, kafka.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close(ctx)
			begun := time.Now()
			_, err = s.End(ctx)
			if test.kind != nil {
				if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "canary") {
					t.Errorf("error %v, want one line of %v with %q", err, test.kind, test.says)
				}
				if took := time.Since(begun); took > 30*time.Second {
					t.Errorf("it took %v", took)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			topic := fmt.Sprintf("secure-%d", i)
			p, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: topic})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Send(ctx, seastreamer.Record{Value: []byte("hello")}); err != nil {
				t.Fatal(err)
			}
			k, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{topic}, Group: "g", Start: seastreamer.Earliest})
			if err != nil {
				t.Fatal(err)
			}
			for m, err := range k.Messages(ctx) {
				if err != nil || string(m.Value()) != "hello" {
					t.Errorf("got %q, %v", m.Value(), err)
				}
				break
			}
			if err := k.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}
