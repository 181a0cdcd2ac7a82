package kafka

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

func TestNativeSettings(t *testing.T) {
	day, none, size, odd := 24*time.Hour, time.Duration(-1), int64(1<<20), 1500*time.Microsecond
	below := int64(-5)
	for _, test := range []struct {
		name   string
		s      driver.Settings
		policy string
		want   map[string]string // "-" takes it back
		kind   error
	}{
		{"nothing", driver.Settings{}, "delete", map[string]string{}, nil},
		{"age", driver.Settings{MaxAge: &day}, "delete", map[string]string{"retention.ms": "86400000"}, nil},
		{"a part of a millisecond", driver.Settings{MaxAge: &odd}, "delete", map[string]string{"retention.ms": "2"}, nil},
		{"no limits", driver.Settings{MaxAge: &none, MaxBytes: &below, MaxMessage: &below}, "delete", map[string]string{"retention.ms": "-1", "retention.bytes": "-1", "max.message.bytes": "2147483647"}, nil},
		{"sizes", driver.Settings{MaxBytes: &size, MaxMessage: &size, MinInSync: new(2)}, "delete", map[string]string{"retention.bytes": "1048576", "max.message.bytes": "1048576", "min.insync.replicas": "2"}, nil},
		{"compacted", driver.Settings{Compact: new(true)}, "delete", map[string]string{"cleanup.policy": "compact"}, nil},
		{"compacted already", driver.Settings{Compact: new(true)}, "compact,delete", map[string]string{}, nil},
		{"compacted with an age", driver.Settings{Compact: new(true), MaxAge: &day}, "", map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "86400000"}, nil},
		{"not compacted", driver.Settings{Compact: new(false)}, "compact", map[string]string{"cleanup.policy": "delete"}, nil},
		{"an age of what is compacted", driver.Settings{MaxAge: &day}, "compact", nil, driver.ErrInvalid},
		{"no age of what is compacted", driver.Settings{MaxAge: &none}, "compact", map[string]string{"retention.ms": "-1"}, nil},
		{"the native name wins", driver.Settings{MaxAge: &day, Native: map[string]*string{"retention.ms": new("5"), "flush.ms": nil}}, "delete", map[string]string{"retention.ms": "5", "flush.ms": "-"}, nil},
		{"a bound on messages", driver.Settings{MaxMessages: &size}, "delete", nil, errors.ErrUnsupported},
		{"no bound on messages", driver.Settings{MaxMessages: &below}, "delete", map[string]string{}, nil},
	} {
		m, err := native(test.s, test.policy)
		var got map[string]string
		if err == nil {
			got = map[string]string{}
			for k, v := range m {
				if got[k] = "-"; v != nil {
					got[k] = *v
				}
			}
		}
		if !errors.Is(err, test.kind) || !cmp.Equal(got, test.want) {
			t.Errorf("%s: %v, %v, want %v, %v", test.name, got, err, test.want, test.kind)
		}
	}
}

// What is written of a rule is read again as the same rule.
func TestRulesAreReadAsWritten(t *testing.T) {
	for _, kind := range accessKinds {
		for _, op := range operations {
			for _, user := range []string{"alice", "*", "CN=alice,O=sea", "Group:readers"} {
				r := driver.AccessRule{User: user, Host: "*", Kind: kind, Name: "*", Operation: op, Deny: user == "*"}
				a, err := wire(r)
				if err != nil {
					t.Fatalf("%+v: %v", r, err)
				}
				if got := rule(a.kind, a.name, a.pattern, a.principal, a.host, a.operation, a.permission); got != r {
					t.Errorf("%+v, want %+v", got, r)
				}
			}
		}
	}
	for _, r := range []driver.AccessRule{
		{}, {User: "a", Kind: "stream", Name: "x"}, {User: "a", Kind: "topic", Name: "x", Operation: "read"},
		{User: "a", Kind: "stream", Operation: "read"}, {Kind: "stream", Name: "x", Operation: "read"},
		{User: "a", Kind: "cluster", Name: "k", Prefix: true, Operation: "read"},
	} {
		if _, err := wire(r); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", r, err)
		}
	}
}

func TestReleases(t *testing.T) {
	for level, want := range map[int16]string{1: "3.0", 7: "3.3", 14: "3.6", 25: "4.0", 27: "4.1", 30: "4.3", 31: "4.4", 32: "metadata.version 32"} {
		if got := release(level); got != want {
			t.Errorf("metadata.version %d is %q, want %q", level, got, want)
		}
	}
}

// kfake has no quorum and no volumes; the rest is asked for as of Kafka.
func TestAdminCluster(t *testing.T) {
	noLeak(t)
	k := fake(t, kfake.NumBrokers(3), kfake.SeedTopics(2, "s"))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	ns, err := c.Nodes(within(t))
	if err != nil || len(ns) != 3 {
		t.Fatalf("nodes %+v, %v", ns, err)
	}
	for i, n := range ns {
		if n.Addr != k.ListenAddrs()[i] || !n.Up || n.Err != nil || !slices.Equal(n.Roles, []string{"broker"}) {
			t.Errorf("node %+v", n)
		}
	}
	info, err := c.Cluster(within(t))
	if err != nil || info.Nodes != 3 || info.ID == "" || info.Controller == "" {
		t.Errorf("cluster %+v, %v", info, err)
	}
	if _, err := c.NodeConfig(within(t), "x"); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("node x: %v, want ErrInvalid", err)
	}
	if err := c.SetUser(within(t), driver.UserSpec{Name: "bob", NoPassword: true}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a user that needs no password: %v, want ErrUnsupported", err)
	}
	if _, err := c.NodeConfig(within(t), "9"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("node 9: %v, want ErrNotFound", err)
	}
	if es, err := c.NodeConfig(within(t), ns[0].ID); err != nil || len(es) == 0 {
		t.Errorf("configuration %v, %v", es, err)
	}
	if err := c.SetUser(within(t), driver.UserSpec{Name: "alice", Password: "canary-1", Mechanism: "scram-sha-256"}); err != nil {
		t.Fatal(err)
	}
	if us, err := c.Users(within(t)); err != nil || !cmp.Equal(us, []driver.UserInfo{{Name: "alice", Enabled: true, Logins: []string{"scram-sha-256 (4096 iterations)"}}}) {
		t.Errorf("users %+v, %v", us, err)
	}
	if err := c.DeleteUser(within(t), "alice"); err != nil {
		t.Error(err)
	}
}

// A transaction that was last written to an hour ago hangs where its
// coordinator knows nothing of it. Kafka has no way to make one, so that both
// answers are scripted; e2e shows that one which the coordinator knows is none.
func TestHangingTransaction(t *testing.T) {
	noLeak(t)
	k := fake(t, kfake.NumBrokers(3), kfake.SeedTopics(2, "s"))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	cl, err := kgo.NewClient(c.options(kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(within(t), &kgo.Record{Topic: "s", Partition: 1, Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	id, _, err := cl.ProducerID(within(t))
	if err != nil {
		t.Fatal(err)
	}
	hanging := func(ago time.Duration, known bool) []driver.Problem {
		k.ControlKey(int16(kmsg.DescribeProducers), func(req kmsg.Request) (kmsg.Response, error, bool) {
			resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
			w := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
			w.ProducerID, w.CurrentTxnStartOffset, w.LastTimestamp = id, 0, time.Now().Add(-ago).UnixMilli()
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = 1
			p.ActiveProducers = append(p.ActiveProducers, w)
			topic := kmsg.NewDescribeProducersResponseTopic()
			topic.Topic = "s"
			topic.Partitions = append(topic.Partitions, p)
			resp.Topics = append(resp.Topics, topic)
			return resp, nil, true
		})
		if !known {
			k.ControlKey(int16(kmsg.ListTransactions), func(req kmsg.Request) (kmsg.Response, error, bool) {
				k.KeepControl()
				return req.ResponseKind(), nil, true
			})
		}
		info, err := c.Cluster(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(info.Problems, func(p driver.Problem) bool { return p.What != "transaction-hanging" })
	}
	if got := hanging(time.Minute, true); len(got) != 0 {
		t.Errorf("a young transaction is %+v", got)
	}
	if got := hanging(time.Hour, true); len(got) != 0 {
		t.Errorf("a transaction with old messages that is known is %+v", got)
	}
	if got := hanging(time.Hour, false); len(got) != 1 || got[0].Item != "s[1]" || !strings.Contains(got[0].Detail, "sequence 0") {
		t.Errorf("a transaction that nobody knows is %+v", got)
	}
}
