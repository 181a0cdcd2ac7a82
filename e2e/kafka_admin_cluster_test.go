//go:build unix

package e2e

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

// TestKafkaAdminCluster administers three nodes, one of which dies.
func TestKafkaAdminCluster(t *testing.T) {
	c, err := apachekafka.Start(t.Context(), apachekafka.Options{Nodes: 3, Secure: true, Users: map[string]string{"root": "canary-0"}, Properties: map[string]string{
		"authorizer.class.name":        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                  "User:ANONYMOUS", // who comes without TLS, and the nodes themselves
		"auto.leader.rebalance.enable": "false",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	a := administer(t, c)
	a.tool(topicTool, "--create", "--topic", "wide", "--replica-assignment", "1:2:3,2:3:1,3:1:2")
	a.tool(topicTool, "--create", "--topic", "narrow", "--replica-assignment", "1:2,2:3", "--config", "min.insync.replicas=2")
	a.tool(topicTool, "--create", "--topic", "alone", "--replica-assignment", "2")
	t.Run("nodes", func(t *testing.T) { a.with(t).nodes() })
	t.Run("a transaction", func(t *testing.T) { a.with(t).knownTransaction() })
	t.Run("settings of nodes", func(t *testing.T) { a.with(t).nodeSettings() })
	t.Run("users and rules", func(t *testing.T) { a.with(t).access() })
	t.Run("reassign", func(t *testing.T) { a.with(t).reassign() })
	t.Run("one dies", func(t *testing.T) { a.with(t).oneDies() })
}

func (a *administration) with(t *testing.T) *administration {
	b := *a
	b.t = t
	return &b
}

func (a *administration) info() driver.ClusterInfo {
	a.t.Helper()
	info, err := a.Cluster(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return info
}

func (a *administration) nodes() {
	t := a.t
	var ns []driver.NodeInfo
	a.until("all nodes hold what was made", func() bool {
		var err error
		if ns, err = a.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		leads, holds := int64(0), true
		for _, n := range ns {
			leads, holds = leads+n.Leads, holds && n.Holds > 0
		}
		return leads >= 6 && holds
	})
	if len(ns) != 3 {
		t.Fatalf("nodes %+v", ns)
	}
	var leads int64
	for i, n := range ns {
		if n.Addr != a.cluster.Brokers()[i] || !n.Up || n.Err != nil || !slices.Equal(n.Roles, []string{"broker", "controller"}) || !strings.HasPrefix(n.Version, "4.") || n.Holds == 0 || n.Bytes < 0 {
			t.Errorf("node %+v", n)
		}
		leads += n.Leads
	}
	if leads < 6 {
		t.Errorf("nodes lead %d shards, and there are six at least", leads)
	}
	info := a.info()
	if info.Nodes != 3 || info.Kind != "kraft" {
		t.Errorf("cluster %+v", info)
	}
	said := a.tool(quorumTool, "describe", "--status")
	if got := regexp.MustCompile(`LeaderId:\s+(\d+)`).FindStringSubmatch(said); got == nil || got[1] != info.Controller {
		t.Errorf("controller %s, and MetadataQuorumCommand says\n%s", info.Controller, said)
	}
	mentions(t, "MetadataQuorumCommand", said, info.ID)
	said = a.tool(featureTool, "describe")
	level := regexp.MustCompile(`Feature: metadata.version.*FinalizedVersionLevel: (\d+\.\d+)`).FindStringSubmatch(said)
	if level == nil || level[1] != info.Version {
		t.Errorf("version %q, and FeatureCommand says\n%s", info.Version, said)
	}
	if got := regexp.MustCompile(`Feature: transaction.version.*FinalizedVersionLevel: (\d+)`).FindStringSubmatch(said); got == nil || got[1] != info.Features["transaction.version"] {
		t.Errorf("features %q, and FeatureCommand says\n%s", info.Features, said)
	}
	// One shard has a replica where two have to be in sync: the tool says so too.
	a.until("the driver and TopicCommand agree on what is under-min-in-sync", func() bool {
		got, want := a.problem("under-min-in-sync"), a.tooled("--under-min-isr-partitions")
		return reflect.DeepEqual(got, want) && len(want) == 1
	})
	dirs, err := a.LogDirs(t.Context(), "")
	if err != nil || len(dirs) != 3 {
		t.Fatalf("folders %+v, %v", dirs, err)
	}
	said = a.tool(dirTool, "--describe")
	for _, d := range dirs {
		if d.Err != nil || d.Shards == 0 || d.Total <= 0 || d.Free <= 0 {
			t.Errorf("folder %+v", d)
		}
		mentions(t, "LogDirsCommand", said, d.Path)
	}
	if g, err := a.DescribeGroups(t.Context(), []string{"none"}); err != nil || !errors.Is(g[0].Err, driver.ErrNotFound) {
		t.Errorf("a group of a cluster that has none: %+v, %v", g, err)
	}
	wants(t, "deleting a group of a cluster that has none", a.DeleteGroup(t.Context(), "none"), driver.ErrNotFound)
	if said := a.tool(topicTool, "--list"); strings.Contains(said, "__consumer_offsets") {
		t.Errorf("looking at a group has made\n%s", said)
	}
	if d, err := a.LogDirs(t.Context(), "2"); err != nil || len(d) != 1 || d[0].Node != "2" {
		t.Errorf("folders of node 2: %+v, %v", d, err)
	}
	_, err = a.LogDirs(t.Context(), "9")
	wants(t, "folders of a node that there is not", err, driver.ErrNotFound)
}

// knownTransaction has a transaction open whose messages are old: it is the
// coordinator's business, and not hanging.
func (a *administration) knownTransaction() {
	t := a.t
	cl := producing(t, a.cluster, kgo.TransactionalID("old"))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "wide", Value: []byte("v"), Timestamp: time.Now().Add(-time.Hour)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	a.says(transactionTool, []string{"describe-producers", "--topic", "wide", "--partition", "0"}, "CurrentTransactionStartOffset")
	s := a.describe("wide").Shards[0]
	if s.Messages.N != 0 {
		t.Errorf("%d messages before the transaction ends", s.Messages.N)
	}
	if got := a.problem("transaction-hanging"); len(got) != 0 {
		t.Errorf("hanging are %q", got)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Error(err)
	}
}

func (a *administration) nodeSettings() {
	t := a.t
	if err := a.SetNodeConfig(t.Context(), "2", map[string]*string{"log.cleaner.threads": new("2")}); err != nil {
		t.Fatal(err)
	}
	if err := a.SetNodeConfig(t.Context(), "", map[string]*string{"log.retention.bytes": new("123456789")}); err != nil {
		t.Fatal(err)
	}
	a.says(configTool, []string{"--describe", "--entity-type", "brokers", "--entity-name", "2"}, "log.cleaner.threads=2")
	a.says(configTool, []string{"--describe", "--entity-type", "brokers", "--entity-default"}, "log.retention.bytes=123456789")
	find := func(name string) driver.ConfigEntry {
		es, err := a.NodeConfig(t.Context(), "2")
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(es, func(e driver.ConfigEntry) bool { return e.Name == name })
		if i < 0 {
			t.Fatalf("node 2 has no setting %s", name)
		}
		return es[i]
	}
	a.until("node 2 has heard of both", func() bool {
		return find("log.cleaner.threads").Source == "node" && find("log.retention.bytes").Source == "cluster"
	})
	for name, want := range map[string]driver.ConfigEntry{
		"log.cleaner.threads": {Value: "2", Source: "node"},
		"log.retention.bytes": {Value: "123456789", Source: "cluster"},
		"node.id":             {Value: "2", Source: "file", ReadOnly: true},
		"num.io.threads":      {Value: "8", Source: "default"},
	} {
		want.Name = name
		if got := find(name); got != want {
			t.Errorf("setting %+v, want %+v", got, want)
		}
	}
	a.until("the node that is asked knows what all have in common", func() bool {
		es, err := a.NodeConfig(t.Context(), "")
		if err != nil || slices.ContainsFunc(es, func(e driver.ConfigEntry) bool { return e.Source != "cluster" }) {
			t.Fatalf("what all nodes have in common is %+v, %v", es, err)
		}
		return slices.Contains(es, driver.ConfigEntry{Name: "log.retention.bytes", Value: "123456789", Source: "cluster"})
	})
	wants(t, "a setting that is read only", a.SetNodeConfig(t.Context(), "2", map[string]*string{"node.id": new("7")}), driver.ErrInvalid)
	wants(t, "a setting of nobody", a.SetNodeConfig(t.Context(), "77", map[string]*string{"log.cleaner.threads": new("2")}), driver.ErrNotFound)
	if err := a.SetNodeConfig(t.Context(), "2", map[string]*string{"log.cleaner.threads": nil}); err != nil {
		t.Error(err)
	}
	a.until("ConfigCommand no longer says what was taken back", func() bool {
		return !strings.Contains(a.tool(configTool, "--describe", "--entity-type", "brokers", "--entity-name", "2"), "DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2")
	})
}

func (a *administration) access() {
	t := a.t
	if err := a.SetUser(t.Context(), driver.UserSpec{Name: "alice", Password: "canary-1"}); err != nil {
		t.Fatal(err)
	}
	wants(t, "a user without a password", a.SetUser(t.Context(), driver.UserSpec{Name: "bob"}), driver.ErrInvalid)
	wants(t, "a user that needs no password", a.SetUser(t.Context(), driver.UserSpec{Name: "bob", NoPassword: true}), errors.ErrUnsupported)
	wants(t, "a user that is disabled", a.SetUser(t.Context(), driver.UserSpec{Name: "alice", Disable: true}), errors.ErrUnsupported)
	users := func() map[string][]string {
		all, err := a.Users(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m := map[string][]string{}
		for _, u := range all {
			m[u.Name] = u.Logins
		}
		return m
	}
	a.until("every broker knows alice", func() bool {
		return reflect.DeepEqual(users()["alice"], []string{"scram-sha-512 (4096 iterations)"})
	})
	if got := users()["root"]; len(got) != 2 {
		t.Errorf("root has %q, want both", got)
	}
	said := a.says(configTool, []string{"--describe", "--entity-type", "users"}, "'alice' are SCRAM-SHA-512=iterations=4096")
	// A new password is that of every mechanism.
	a.tool(configTool, "--alter", "--entity-type", "users", "--entity-name", "alice", "--add-config", "SCRAM-SHA-256=[password=canary-old]")
	for range 10 { // whichever node is asked
		a.until("alice has both", func() bool { return len(users()["alice"]) == 2 })
	}
	if err := a.SetUser(t.Context(), driver.UserSpec{Name: "alice", Password: "canary-2"}); err != nil {
		t.Fatal(err)
	}
	ca, _, _ := a.cluster.Files()
	as := func(password, query string) driver.Driver {
		u, err := driver.ParseBroker("kafka://alice:" + password + "@" + strings.Join(a.cluster.SASLBrokers(), ",") + "?" + query + "ca_file=" + url.QueryEscape(ca))
		if err != nil {
			t.Fatal(err)
		}
		d, err := kafka.OpenDriver(t.Context(), u, kafka.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close(context.Background()) })
		return d
	}
	alice := as("canary-2", "")
	for _, query := range []string{"", "sasl=scram-sha-256&"} {
		a.until("alice is let in with the new password, "+query, func() bool {
			_, err := as("canary-2", query).Bounds(t.Context(), nil)
			return err == nil
		})
	}
	a.until("alice is denied with the old password", func() bool {
		_, err := as("canary-old", "sasl=scram-sha-256&").Bounds(t.Context(), nil)
		return errors.Is(err, driver.ErrDenied)
	})

	// What alice may not do names her, and what she may.
	looks := func() error {
		infos, err := alice.(driver.StreamAdmin).DescribeStreams(t.Context(), []string{"wide"}, driver.DetailBounds)
		if err != nil {
			return err
		}
		return infos[0].Err
	}
	wants(t, "a stream that she may not see", looks(), driver.ErrDenied)
	_, err := alice.(driver.AccessAdmin).Rules(t.Context())
	wants(t, "rules that she may not see", err, driver.ErrDenied)
	rules := []driver.AccessRule{
		{User: "alice", Host: "*", Kind: "stream", Name: "wi", Prefix: true, Operation: "describe"},
		{User: "alice", Host: "127.0.0.1", Kind: "group", Name: "g", Operation: "read", Deny: true},
		{User: "*", Host: "*", Kind: "cluster", Name: "*", Operation: "IdempotentWrite"},
		{User: "alice", Host: "*", Kind: "transaction", Name: "*", Operation: "all"},
	}
	if err := a.Grant(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
	a.until("she sees a stream that she may see", func() bool { return looks() == nil })
	a.until("AclCommand, which may ask another node, knows of the last rule", func() bool {
		said = a.tool(aclTool, "--list")
		return strings.Contains(said, "TRANSACTIONAL_ID")
	})
	mentions(t, "AclCommand", said,
		"resourceType=TOPIC, name=wi, patternType=PREFIXED", "(principal=User:alice, host=*, operation=DESCRIBE, permissionType=ALLOW)",
		"resourceType=GROUP, name=g, patternType=LITERAL", "(principal=User:alice, host=127.0.0.1, operation=READ, permissionType=DENY)",
		"resourceType=CLUSTER, name=kafka-cluster, patternType=LITERAL", "(principal=User:*, host=*, operation=IDEMPOTENT_WRITE, permissionType=ALLOW)",
		"resourceType=TRANSACTIONAL_ID, name=*, patternType=LITERAL", "(principal=User:alice, host=*, operation=ALL, permissionType=ALLOW)")
	a.tool(aclTool, "--add", "--allow-principal", "User:carol", "--operation", "DescribeConfigs", "--topic", "narrow")
	theirs := driver.AccessRule{User: "carol", Host: "*", Kind: "stream", Name: "narrow", Operation: "DescribeConfigs"}
	a.until("all rules are there", func() bool {
		got, err := a.Rules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return reflect.DeepEqual(sortedRules(got), sortedRules(append(slices.Clone(rules), theirs)))
	})
	gone, err := a.Revoke(t.Context(), append(rules, driver.AccessRule{User: "nobody", Kind: "stream", Name: "*", Operation: "read"}))
	if err != nil || !reflect.DeepEqual(sortedRules(gone), sortedRules(rules)) {
		t.Errorf("revoked %+v, %v, want %+v", gone, err, rules)
	}
	a.until("AclCommand, which asks another node, knows that they are gone", func() bool {
		said := a.tool(aclTool, "--list")
		return !strings.Contains(said, "alice") && strings.Contains(said, "carol")
	})
	wants(t, "a rule about nothing", a.Grant(t.Context(), []driver.AccessRule{{User: "alice", Kind: "shard", Name: "x", Operation: "read"}}), driver.ErrInvalid)
	if err := a.DeleteUser(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	wants(t, "deleting her again", a.DeleteUser(t.Context(), "alice"), driver.ErrNotFound)
	a.until("ConfigCommand no longer names alice", func() bool {
		return !strings.Contains(a.tool(configTool, "--describe", "--entity-type", "users"), "alice")
	})
}

func sortedRules(r []driver.AccessRule) []driver.AccessRule {
	r = slices.Clone(r)
	key := func(r driver.AccessRule) string { return r.Kind + " " + r.User + " " + r.Name + " " + r.Operation }
	slices.SortFunc(r, func(a, b driver.AccessRule) int { return strings.Compare(key(a), key(b)) })
	return r
}

// reassign moves a shard that a throttle holds up, gives up, and moves it.
func (a *administration) reassign() {
	t := a.t
	a.tool(topicTool, "--create", "--topic", "moved", "--replica-assignment", "1", "--config", "follower.replication.throttled.replicas=*")
	if err := a.SetNodeConfig(t.Context(), "", map[string]*string{"follower.replication.throttled.rate": new("1")}); err != nil {
		t.Fatal(err)
	}
	a.until("node 3 has heard of the throttle", func() bool {
		es, err := a.NodeConfig(t.Context(), "3")
		return err == nil && slices.ContainsFunc(es, func(e driver.ConfigEntry) bool {
			return e.Name == "follower.replication.throttled.rate" && e.Value == "1"
		})
	})
	cl := producing(t, a.cluster, kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 8 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "moved", Value: []byte(strings.Repeat("0123456789abcdef", 50_000))}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	shard := driver.Shard{Stream: "moved"}
	move := driver.Reassignment{Shard: shard, Replicas: []string{"3", "1"}}
	if err := a.Reassign(t.Context(), []driver.Reassignment{move}); err != nil {
		t.Fatal(err)
	}
	want := []driver.Reassignment{{Shard: shard, Replicas: []string{"3", "1"}, Adding: []string{"3"}}}
	if got, err := a.Reassignments(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("under way: %+v, %v, want %+v", got, err, want)
	}
	a.says(moveTool, []string{"--list"}, "moved-0: replicas: 3,1. adding: 3.")
	cancel := []driver.Reassignment{{Shard: shard}}
	if err := a.Reassign(t.Context(), cancel); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Reassignments(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("under way after it was given up: %+v, %v", got, err)
	}
	a.says(topicTool, []string{"--describe", "--topic", "moved"}, "Replicas: 1\t")
	wants(t, "giving it up again", a.Reassign(t.Context(), cancel), driver.ErrNotFound)
	wants(t, "a node that there is not", a.Reassign(t.Context(), []driver.Reassignment{{Shard: shard, Replicas: []string{"9"}}}), driver.ErrInvalid)
	err := a.Reassign(t.Context(), []driver.Reassignment{{Shard: driver.Shard{Stream: "none"}, Replicas: []string{"1"}}, {Shard: shard, Replicas: []string{"1"}}})
	if some, ok := errors.AsType[*driver.PartialError](err); !ok || len(some.Errs) != 2 || !errors.Is(some.Errs[0], driver.ErrNotFound) || some.Errs[1] != nil {
		t.Errorf("a stream that there is not, beside one that there is: %v", err)
	}
	wants(t, "a stream that there is not", a.Reassign(t.Context(), []driver.Reassignment{{Shard: driver.Shard{Stream: "none"}, Replicas: []string{"1"}}}), driver.ErrNotFound)

	if err := a.SetNodeConfig(t.Context(), "", map[string]*string{"follower.replication.throttled.rate": nil}); err != nil {
		t.Fatal(err)
	}
	if err := a.Reassign(t.Context(), []driver.Reassignment{move}); err != nil {
		t.Fatal(err)
	}
	a.until("the shard has moved", func() bool {
		got, err := a.Reassignments(t.Context())
		return err == nil && len(got) == 0
	})
	a.says(topicTool, []string{"--describe", "--topic", "moved"}, "Replicas: 3,1\t")
	a.until("what was moved is there", func() bool {
		s := a.describe("moved").Shards[0]
		return slices.Equal(s.Replicas, []string{"3", "1"}) && s.Bytes >= 6<<20 && len(s.InSync) == 2
	})
}

// problem are the shards with a problem.
func (a *administration) problem(what string) []string {
	a.t.Helper()
	var items []string
	for _, p := range a.info().Problems {
		if p.What == what {
			items = append(items, p.Item)
		}
	}
	slices.Sort(items)
	return items
}

// tooled are the shards that TopicCommand lists.
func (a *administration) tooled(flag string) []string {
	a.t.Helper()
	var items []string
	for _, m := range regexp.MustCompile(`Topic: (\S+)\s+Partition: (\d+)`).FindAllStringSubmatch(a.tool(topicTool, "--describe", flag), -1) {
		items = append(items, m[1]+"["+m[2]+"]")
	}
	slices.Sort(items)
	return items
}

func (a *administration) oneDies() {
	t := a.t
	a.cluster.Kill(2)
	a.until("the others know that node 2 is down", func() bool { return slices.Contains(a.problem("leaderless"), "alone[0]") })
	for what, flag := range map[string]string{"under-replicated": "--under-replicated-partitions", "leaderless": "--unavailable-partitions", "under-min-in-sync": "--under-min-isr-partitions"} {
		var got, want []string
		a.until("the driver and TopicCommand agree on "+what, func() bool {
			got, want = a.problem(what), a.tooled(flag)
			return reflect.DeepEqual(got, want)
		})
		if len(got) == 0 {
			t.Errorf("nothing is %s", what)
		}
	}
	a.until("node 2 is down", func() bool { return slices.Contains(a.problem("node-down"), "node 2") })
	a.until("the quorum misses its controller", func() bool { return slices.Contains(a.problem("node-down"), "controller 2") })
	ns, err := a.Nodes(t.Context())
	if err != nil || len(ns) != 3 || ns[1].Up || ns[1].Addr == "" || !ns[0].Up || !ns[2].Up {
		t.Errorf("nodes %+v, %v, want node 2 down", ns, err)
	}
	if info := a.info(); info.Nodes != 2 {
		t.Errorf("%d nodes are up, want 2", info.Nodes)
	}
	if dirs, err := a.LogDirs(t.Context(), ""); err != nil || len(dirs) != 2 {
		t.Errorf("folders %+v, %v, want two", dirs, err)
	}
	infos, err := a.DescribeStreams(t.Context(), []string{"narrow", "alone"}, ^driver.Detail(0))
	if err != nil || infos[0].Err != nil || infos[0].Shards[1].Bytes < 0 || infos[0].Shards[0].Messages.N != 0 || !errors.Is(infos[1].Err, driver.ErrUnavailable) || infos[1].Shards[0].Messages.N >= 0 {
		t.Errorf("a stream with a shard without a leader is %+v, %v", infos, err)
	}
	_, err = a.ElectLeaders(t.Context(), []driver.Shard{{Stream: "alone"}}, false)
	wants(t, "electing a leader that is down", err, driver.ErrUnavailable)
	_, err = a.ElectLeaders(t.Context(), []driver.Shard{{Stream: "wide", Index: 0}, {Stream: "alone"}}, false)
	if some, ok := errors.AsType[*driver.PartialError](err); !ok || len(some.Errs) != 2 || some.Errs[0] != nil || !errors.Is(some.Errs[1], driver.ErrUnavailable) {
		t.Errorf("electing two leaders, the second of which is down: %v", err)
	}

	if err := a.cluster.Restart(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	a.until("all replicas are in sync", func() bool { return len(a.problem("under-replicated")) == 0 })
	moved := a.problem("not-preferred")
	if !slices.Contains(moved, "wide[1]") {
		t.Errorf("not preferred are %q, want wide[1] at least", moved)
	}
	changed, err := a.ElectLeaders(t.Context(), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range changed {
		got = append(got, s.String())
	}
	slices.Sort(got)
	if !reflect.DeepEqual(got, moved) {
		t.Errorf("elected %q, want %q", got, moved)
	}
	a.until("all have the preferred leader", func() bool { return len(a.problem("not-preferred")) == 0 })
	if again, err := a.ElectLeaders(t.Context(), []driver.Shard{{Stream: "wide", Index: 1}}, false); err != nil || len(again) != 0 {
		t.Errorf("electing again: %v, %v, want nothing", again, err)
	}
	a.says(topicTool, []string{"--describe", "--topic", "wide"}, "Partition: 1\tLeader: 2\tReplicas: 2,3,1")
}

// Without an authorizer there are no rules, and the error says why.
func TestKafkaAdminNoAuthorizer(t *testing.T) {
	d := kafkaDriver(t, apachekafka.ForTest(t).Brokers(), "", kafka.Options{})
	t.Cleanup(func() { _ = d.Close(context.Background()) })
	a := d.(driver.AccessAdmin)
	r := []driver.AccessRule{{User: "alice", Kind: "stream", Name: "x", Operation: "read"}}
	_, rules := a.Rules(t.Context())
	_, revoke := a.Revoke(t.Context(), r)
	for what, err := range map[string]error{"rules": rules, "grant": a.Grant(t.Context(), r), "revoke": revoke} {
		wants(t, what, err, errors.ErrUnsupported)
		if err != nil && !strings.Contains(err.Error(), "authorizer.class.name is not set") {
			t.Errorf("%s: %v does not say what is missing", what, err)
		}
	}
}
