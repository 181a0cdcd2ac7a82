package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// Every way to fail to reach a broker is one line that names host and port.
func TestUnreachable(t *testing.T) {
	noLeak(t)
	plain := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	pki := newPKI(t)
	secure := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"), kfake.TLS(pki.server))
	users := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "alice", "canary"))
	says := func(s string) string {
		return serve(t, func(c net.Conn) { _, _ = io.WriteString(c, s); _, _ = io.Copy(io.Discard, c) })
	}
	const whole = "connect_timeout=3s&" // for those that may take all of it
	for _, test := range []struct {
		name, addr, query string
		kind              error
		says              string
	}{
		{"refused", "127.0.0.1:1", "", driver.ErrUnavailable, "cannot connect to 127.0.0.1:1: connection refused"},
		{"no such host", "no-such-host.invalid:9092", "", driver.ErrUnavailable, "no-such-host.invalid:9092"},
		{"silent", silent(t), whole, driver.ErrUnavailable, "says nothing"},
		{"closes", serve(t, func(net.Conn) {}), whole, driver.ErrUnavailable, "closed the connection"},
		{"HTTP", says("HTTP/1.1 400 Bad Request\r\n\r\n"), "", driver.ErrUnavailable, `it is not a Kafka broker: it answered "HTTP/1.1 400 Bad Request"`},
		{"Redis", says("-ERR unknown command\r\n"), "", driver.ErrUnavailable, "it is not a Kafka broker"},
		{"TLS to a plain port", plain.ListenAddrs()[0], whole + "tls&insecure", driver.ErrUnavailable, "leave out tls"},
		{"plain to a TLS port", secure.ListenAddrs()[0], whole, driver.ErrUnavailable, "TLS"},
		{"TLS to HTTP", says("HTTP/1.1 400 Bad Request\r\n\r\n"), "tls", driver.ErrUnavailable, "it does not speak TLS"},
		{"a certificate nobody knows", secure.ListenAddrs()[0], "tls", driver.ErrDenied, "give ca_file"},
		{"a certificate for others", secure.ListenAddrs()[0], "ca_file=" + pki.caFile + "&server_name=elsewhere", driver.ErrDenied, "server_name"},
		{"no user where one is needed", users.ListenAddrs()[0], whole, driver.ErrUnavailable, "a user"},
		{"wrong password", users.ListenAddrs()[0], whole + "sasl=scram-sha-256&user=alice&password_file=" + secretFile(t, "wrong"), driver.ErrUnavailable, `is the password of user "alice" right`}, // kfake hangs up
		{"wrong mechanism", users.ListenAddrs()[0], whole + "sasl=scram-sha-512&user=alice&password_file=" + secretFile(t, "canary"), driver.ErrUnavailable, `sasl=scram-sha-512 what the user has`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, err := OpenDriver(t.Context(), url([]string{test.addr}, test.query), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close(context.Background())
			begun := time.Now()
			_, err = d.Bounds(t.Context(), []string{"s"})
			if took := time.Since(begun); took > patience/2 {
				t.Errorf("it took %v", took)
			}
			if !errors.Is(err, test.kind) {
				t.Errorf("kind of %v: want %v", err, test.kind)
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range []string{test.says, test.addr} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want one with %q", err, want)
				}
			}
			if s := err.Error(); strings.Contains(s, "\n") || strings.Contains(s, "canary") {
				t.Errorf("error %q: one line without the password is wanted", s)
			}
		})
	}
}

func TestStreamsThatCannotBe(t *testing.T) {
	c := open(t, url(fake(t, kfake.NumBrokers(1)).ListenAddrs(), ""), Options{})
	events := driver.Events{}
	for _, test := range []struct {
		stream string
		kind   error
		says   string
	}{
		{"missing", driver.ErrNotFound, `has no stream "missing"`},
		{"a b", driver.ErrInvalid, "only letters, digits"},
		{"..", driver.ErrInvalid, "reserved"},
		{"", driver.ErrInvalid, "empty"},
	} {
		_, err := c.Bounds(within(t), []string{test.stream})
		_, err2 := c.Consumer(within(t), driver.ConsumerConfig{Streams: []string{test.stream}, Events: events})
		for _, err := range []error{err, err2} {
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("stream %q: error %v, want %v with %q", test.stream, err, test.kind, test.says)
			}
		}
	}
}

// What a broker answers to a produce request becomes one of the three outcomes.
func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		answer *kerr.Error
		kind   error
	}{
		{kerr.MessageTooLarge, driver.ErrTooLarge},
		{kerr.RecordListTooLarge, driver.ErrTooLarge},
		{kerr.TopicAuthorizationFailed, driver.ErrDenied},
		{kerr.ClusterAuthorizationFailed, driver.ErrDenied},
		{kerr.InvalidTopicException, driver.ErrInvalid},
		{kerr.InvalidTimestamp, driver.ErrInvalid},
		{kerr.InvalidRecord, driver.ErrInvalid},
		{kerr.UnsupportedCompressionType, errors.ErrUnsupported},
		{kerr.UnknownServerError, driver.ErrUnknown},
		{kerr.InvalidProducerEpoch, driver.ErrUnknown},
		{kerr.PolicyViolation, driver.ErrDenied},
	} {
		t.Run(test.answer.Message, func(t *testing.T) {
			cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
			cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				req := r.(*kmsg.ProduceRequest)
				resp := req.ResponseKind().(*kmsg.ProduceResponse)
				for _, rt := range req.Topics {
					st := kmsg.NewProduceResponseTopic()
					st.Topic, st.TopicID = rt.Topic, rt.TopicID
					for _, rp := range rt.Partitions {
						sp := kmsg.NewProduceResponseTopicPartition()
						sp.Partition, sp.ErrorCode = rp.Partition, test.answer.Code
						st.Partitions = append(st.Partitions, sp)
					}
					resp.Topics = append(resp.Topics, st)
				}
				return resp, nil, true
			})
			query := ""
			if test.answer == kerr.InvalidProducerEpoch { // which is asked again
				query = "delivery_timeout=1s"
			}
			c := open(t, url(cluster.ListenAddrs(), query), Options{})
			p := producerOf(t, c, driver.ProducerConfig{})
			_, err := sendOne(t, p, driver.Record{Stream: "s", Value: []byte("x")})
			for ctx := within(t); errors.Is(err, driver.ErrUnavailable) && ctx.Err() == nil; { // it has not left in time
				_, err = sendOne(t, p, driver.Record{Stream: "s", Value: []byte("x")})
			}
			if !errors.Is(err, test.kind) {
				t.Errorf("error %v, want %v", err, test.kind)
			}
			if test.kind != driver.ErrUnknown && errors.Is(err, driver.ErrUnknown) {
				t.Errorf("error %v says that the outcome is unknown", err)
			}
		})
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	open := secretFile(t, "x")
	for query, want := range map[string]string{
		"kompression=lz4":            "unknown option kompression: known are ca_file",
		"compression=lzma":           "one of lz4, none, gzip, snappy, zstd",
		"sasl=gssapi":                "one of scram-sha-512",
		"sasl=plain":                 "needs a user",
		"user=alice":                 "has no password",
		"cert_file=x":                "go together",
		"ca_file=/nowhere":           "ca_file",
		"ca_file=" + open:            "no certificate",
		"connect_timeout=1h":         "connect_timeout",
		"session_timeout=x":          "duration",
		"max_record=2GiB":            "max_record",
		"max_batch=0x":               "size",
		"user=a&password_file=/nope": "password_file",
		"tls=maybe":                  "true or false",
		"tls&tls":                    "2 times",
		"user=a&sasl=plain&password_file=" + open: "in the clear",
		"password=secret":                         "unknown option password",
	} {
		_, err := OpenDriver(t.Context(), url([]string{"h"}, query), Options{})
		if !errors.Is(err, driver.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", query, err, want)
		}
	}
	for _, nodes := range [][]string{nil, {":9092"}, {"h:x"}, {"h:0"}, {"h:99999"}} {
		if _, err := OpenDriver(t.Context(), driver.URL{Scheme: Scheme, Nodes: nodes}, Options{}); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("nodes %q: error %v, want ErrInvalid", nodes, err)
		}
	}
	for node, want := range map[string]string{"h": "h:9092", "h:1": "h:1", "[::1]": "[::1]:9092", "[::1]:7": "[::1]:7"} {
		if got, err := seeds([]string{node}); err != nil || got[0] != want {
			t.Errorf("node %q is %v, %v, want %s", node, got, err, want)
		}
	}
}
