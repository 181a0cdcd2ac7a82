package factory

import (
	"bytes"
	"strings"
	"testing"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

func newTest(env map[string]string) (*Factory, *bytes.Buffer) {
	var b bytes.Buffer
	none := driver.OpenerFunc(nil)
	f := New(&iostreams.Streams{Err: &b}, ss.Registry{"file": none, "kafka": none, "memory": none, "redis": none, "redis+unix": none})
	f.Getenv = func(k string) string { return env[k] }
	return f, &b
}

func TestResolve(t *testing.T) {
	embedded := map[string]string{"XDG_DATA_HOME": "/data"}
	for _, c := range []struct {
		name     string
		env      map[string]string
		target   Target
		operands []string
		want     string
	}{
		{"embedded", embedded, Target{}, []string{"news"}, "file:///data/sea-streamer/news"},
		{"embedded, by flag", embedded, Target{Topic: "news"}, nil, "file:///data/sea-streamer/news"},
		{"several", embedded, Target{}, []string{"a", "b"}, "file:///data/sea-streamer/a,b"},
		{"host and port", nil, Target{Brokers: []string{"localhost:9092"}}, []string{"news"}, "kafka://localhost:9092/news"},
		{"host", nil, Target{Brokers: []string{"kafka.example"}}, []string{"news"}, "kafka://kafka.example/news"},
		{"hosts", nil, Target{Brokers: []string{"h1:1,h2:2", "h3:3"}}, []string{"news"}, "kafka://h1:1,h2:2,h3:3/news"},
		{"IPv6", nil, Target{Brokers: []string{"[::1]:9092"}}, []string{"news"}, "kafka://[::1]:9092/news"},
		{"URL", nil, Target{}, []string{"kafka://h:1/a,b?tls"}, "kafka://h:1/a,b?tls="},
		{"URL by --topic", nil, Target{Topic: "file:///d/news"}, nil, "file:///d/news"},
		{"the same broker twice", nil, Target{Brokers: []string{"h:1"}}, []string{"kafka://h:1/a"}, "kafka://h:1/a"},
		{"two URLs of one broker", nil, Target{}, []string{"kafka://h:1/a", "kafka://h:1/b"}, "kafka://h:1/a,b"},
		{"file broker", nil, Target{Brokers: []string{"file:///d/e"}}, []string{"news"}, "file:///d/e/news"},
		{"memory", nil, Target{Brokers: []string{"memory://m"}}, []string{"news"}, "memory://m/news"},
		{"Redis", nil, Target{Brokers: []string{"redis://h:6379?db=1"}}, []string{"news"}, "redis://h:6379/news?db=1"},
		{"Redis, one shard's key", nil, Target{Brokers: []string{"redis://h"}}, []string{"trades:0"}, "redis://h/trades:0"},
		{"nodes of a cluster", nil, Target{Brokers: []string{"redis://h1:1", "redis://h2:2", "redis://h3:3"}}, []string{"news"}, "redis://h1:1,h2:2,h3:3/news"},
		{"sentinels", nil, Target{Brokers: []string{"redis+sentinel://h1?master=m", "redis+sentinel://h2?master=m"}}, []string{"news"}, "redis+sentinel://h1,h2/news?master=m"},
		{"a socket", nil, Target{Brokers: []string{"redis+unix:///run/redis.sock"}}, []string{"news"}, "redis+unix:///run/redis.sock/news"},
		{"a port of Redis without a scheme is Kafka", nil, Target{Brokers: []string{"h:6379"}}, []string{"news"}, "kafka://h:6379/news"},
		{"STREAMER_URI", map[string]string{"STREAMER_URI": "kafka://h:1"}, Target{}, []string{"news"}, "kafka://h:1/news"},
		{"STREAMER_URI as a host", map[string]string{"STREAMER_URI": "h:1"}, Target{}, []string{"news"}, "kafka://h:1/news"},
		{"the flag wins over STREAMER_URI", map[string]string{"STREAMER_URI": "kafka://h:1"}, Target{Brokers: []string{"i:2"}}, []string{"news"}, "kafka://i:2/news"},
		{"a stream URL wins over STREAMER_URI", map[string]string{"STREAMER_URI": "kafka://h:1"}, Target{}, []string{"file:///d/x"}, "file:///d/x"},
		{"STREAM_URL", map[string]string{"STREAM_URL": "kafka://h:1/news"}, Target{}, nil, "kafka://h:1/news"},
	} {
		f, _ := newTest(c.env)
		u, err := f.Resolve(c.target, c.operands...)
		if err != nil || u.String() != c.want {
			t.Errorf("%s: %v, %v, want %s", c.name, u, err, c.want)
		}
	}
}

// A password on the command line works, and one line says that others can see
// it; one in the environment is nobody's business.
func TestPasswordWarning(t *testing.T) {
	for _, c := range []struct {
		env     string
		brokers []string
		operand string
		want    int
	}{
		{"", []string{"kafka://me:s3cret@h"}, "news", 1},
		{"", []string{"me:s3cret@h:1"}, "news", 1},
		{"", nil, "kafka://me:s3cret@h/news", 1},
		{"", []string{"redis://me:s3cret@h"}, "news", 1},
		{"", []string{"redis://:s3cret@h1", "redis://:s3cret@h2"}, "news", 1},
		{"redis://:s3cret@h", nil, "news", 0},
		{"", []string{"redis+sentinel://h?master=m&password_file=/x&sentinel_password_file=/y"}, "news", 0},
		{"kafka://me:s3cret@h", nil, "news", 0},
		{"", []string{"kafka://me@h?password_file=/x"}, "news", 0},
		{"", []string{"h:1"}, "news", 0},
	} {
		f, errs := newTest(map[string]string{"STREAMER_URI": c.env, "XDG_DATA_HOME": "/d"})
		u, err := f.Resolve(Target{Brokers: c.brokers}, c.operand)
		if err != nil {
			t.Error(err)
		}
		if n := strings.Count(errs.String(), "\n"); n != c.want || strings.Contains(errs.String()+u.String(), "s3cret") {
			t.Errorf("%v: said %q, want %d lines", c, errs, c.want)
		}
	}
}
