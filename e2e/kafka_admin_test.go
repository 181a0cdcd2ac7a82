//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

// The driver does each thing, and Kafka's own tools and kcat say what came of
// it; or the other way round.

// Kafka's tools by their classes.
const (
	topicTool       = "org.apache.kafka.tools.TopicCommand"
	offsetTool      = "org.apache.kafka.tools.GetOffsetShell"
	groupTool       = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	configTool      = "kafka.admin.ConfigCommand"
	dirTool         = "org.apache.kafka.tools.LogDirsCommand"
	aclTool         = "org.apache.kafka.tools.AclCommand"
	quorumTool      = "org.apache.kafka.tools.MetadataQuorumCommand"
	featureTool     = "org.apache.kafka.tools.FeatureCommand"
	transactionTool = "org.apache.kafka.tools.TransactionsCommand"
	moveTool        = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
)

// An administration is what the driver can do, and its witnesses.
type administration struct {
	driver.Driver
	driver.StreamAdmin
	driver.GroupAdmin
	driver.NodeAdmin
	driver.ClusterAdmin
	driver.AccessAdmin

	cluster *apachekafka.Cluster
	tools   *apachekafka.Tools
	t       testing.TB
}

func administer(t testing.TB, c *apachekafka.Cluster) *administration {
	t.Helper()
	d := kafkaDriver(t, c.Brokers(), "", kafka.Options{})
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &administration{
		Driver: d, StreamAdmin: d.(driver.StreamAdmin), GroupAdmin: d.(driver.GroupAdmin), NodeAdmin: d.(driver.NodeAdmin),
		ClusterAdmin: d.(driver.ClusterAdmin), AccessAdmin: d.(driver.AccessAdmin),
		cluster: c, tools: apachekafka.ToolsForTest(t), t: t,
	}
}

// tool runs one of Kafka's tools on the cluster.
func (a *administration) tool(class string, args ...string) string {
	a.t.Helper()
	return a.tools.Run(a.t, class, append([]string{"--bootstrap-server", strings.Join(a.cluster.Brokers(), ",")}, args...)...)
}

// says runs one of Kafka's tools until it mentions all of this: a node may hear
// of what was done a moment after it was done. It returns what the tool said last.
func (a *administration) says(class string, args []string, want ...string) (said string) {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		said = a.tool(class, args...)
		lacks := slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(said, w) })
		if !lacks || time.Now().After(deadline) {
			mentions(a.t, class, said, want...)
			return said
		}
	}
}

// until waits for what the cluster does by itself.
func (a *administration) until(what string, done func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("waited 2 minutes until %s", what)
		}
	}
}

func (a *administration) describe(stream string) driver.StreamInfo {
	a.t.Helper()
	infos, err := a.DescribeStreams(a.t.Context(), []string{stream}, ^driver.Detail(0))
	if err == nil {
		err = infos[0].Err
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return infos[0]
}

// offsets are what GetOffsetShell says, by shard.
func (a *administration) offsets(stream, when string) map[driver.Shard]string {
	a.t.Helper()
	m := map[driver.Shard]string{}
	for line := range strings.Lines(a.tool(offsetTool, "--topic-partitions", stream+":", "--time", when)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 {
			continue
		}
		var i int32
		if _, err := fmt.Sscan(f[1], &i); err != nil {
			a.t.Fatalf("GetOffsetShell said %q", line)
		}
		m[driver.Shard{Stream: f[0], Index: i}] = f[2]
	}
	return m
}

func wants(t testing.TB, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error %v, want one line of %v", what, err, kind)
	}
}

func mentions(t testing.TB, what, said string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("%s does not mention %q:\n%s", what, w, said)
		}
	}
}

func listed(t testing.TB, seq func(func(string, error) bool)) []string {
	t.Helper()
	var got []string
	for n, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	slices.Sort(got)
	return got
}

// producing is a client that sends to the shards that records name.
func producing(t testing.TB, c *apachekafka.Cluster, o ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(o, kgo.SeedBrokers(c.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestKafkaAdminStreams(t *testing.T) {
	a := administer(t, apachekafka.ForTest(t))
	const name = "admin-streams"
	age, most := 90*time.Minute, int64(7<<20)
	spec := driver.StreamSpec{Name: name, Shards: 2, Settings: driver.Settings{
		MaxAge: &age, MaxBytes: &most, Replicas: new(1), Native: map[string]*string{"segment.bytes": new("1048576")}}}
	if err := a.CreateStream(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	wants(t, "creating it again", a.CreateStream(t.Context(), spec), driver.ErrExists)
	spec.Name, spec.Native = "admin-bad", map[string]*string{"no.such.setting": new("1")}
	wants(t, "a setting that there is not", a.CreateStream(t.Context(), spec), driver.ErrInvalid)
	spec.Native, spec.Replicas = nil, new(9)
	wants(t, "more replicas than nodes", a.CreateStream(t.Context(), spec), driver.ErrInvalid)
	wants(t, "a bound on messages", a.CreateStream(t.Context(), driver.StreamSpec{Name: "admin-bad", Settings: driver.Settings{MaxMessages: new(int64(5))}}), errors.ErrUnsupported)
	a.says(topicTool, []string{"--describe", "--topic", name},
		"PartitionCount: 2", "ReplicationFactor: 1", "retention.ms=5400000", "retention.bytes=7340032", "segment.bytes=1048576")

	// The other way round, and all names.
	a.tool(topicTool, "--create", "--topic", "admin-theirs", "--partitions", "3", "--config", "cleanup.policy=compact")
	a.says(topicTool, []string{"--list"}, "admin-theirs")
	theirs := a.describe("admin-theirs")
	if len(theirs.Shards) != 3 || theirs.Settings.Compact == nil || !*theirs.Settings.Compact || theirs.Settings.MaxAge == nil || *theirs.Settings.MaxAge >= 0 {
		t.Errorf("what TopicCommand made is %+v", theirs)
	}
	want := strings.Fields(a.tool(topicTool, "--list"))
	slices.Sort(want)
	if got := listed(t, a.StreamNames(t.Context())); !slices.Equal(got, want) {
		t.Errorf("names %q, and TopicCommand says %q", got, want)
	}
	if out, err := exec.Command("kcat", "-L", "-b", a.cluster.Brokers()[0]).CombinedOutput(); err != nil || !strings.Contains(string(out), `topic "`+name+`" with 2 partitions`) {
		t.Errorf("kcat -L: %v\n%s", err, out)
	}

	start := time.Now().Add(-20 * time.Minute).Truncate(time.Second)
	adminMessages(t, a, name, start)
	adminLookups(t, a, name, start)

	// Settings.
	day := 24 * time.Hour
	if err := a.SetStream(t.Context(), name, driver.Settings{MaxAge: &day, MinInSync: new(1), Native: map[string]*string{"segment.bytes": nil}}); err != nil {
		t.Fatal(err)
	}
	said := a.says(configTool, []string{"--describe", "--entity-type", "topics", "--entity-name", name}, "retention.ms=86400000", "min.insync.replicas=1")
	if strings.Contains(said, "segment.bytes=1048576") {
		t.Errorf("segment.bytes was taken back, and ConfigCommand says\n%s", said)
	}
	a.tool(configTool, "--alter", "--entity-type", "topics", "--entity-name", name, "--add-config", "max.message.bytes=54321")
	var info driver.StreamInfo
	a.until("the driver sees what ConfigCommand set", func() bool {
		info = a.describe(name)
		return info.Settings.MaxMessage != nil && *info.Settings.MaxMessage == 54321
	})
	sources := map[string]string{}
	for _, e := range info.Config {
		sources[e.Name] = e.Source
	}
	if sources["retention.ms"] != "stream" || sources["flush.ms"] != "default" || sources["min.insync.replicas"] != "stream" {
		t.Errorf("sources %q", sources)
	}
	wants(t, "the number of replicas", a.SetStream(t.Context(), name, driver.Settings{Replicas: new(1)}), errors.ErrUnsupported)
	wants(t, "an age of what is compacted", a.SetStream(t.Context(), "admin-theirs", driver.Settings{MaxAge: &day}), driver.ErrInvalid)
	wants(t, "settings of nothing", a.SetStream(t.Context(), "admin-none", driver.Settings{MaxAge: &day}), driver.ErrNotFound)
	if err := a.SetStream(t.Context(), "admin-theirs", driver.Settings{MaxAge: &day, Compact: new(true)}); err != nil {
		t.Error(err)
	}
	a.says(configTool, []string{"--describe", "--entity-type", "topics", "--entity-name", "admin-theirs"}, "cleanup.policy=compact,delete", "retention.ms=86400000")

	if err := a.AddShards(t.Context(), name, 4); err != nil {
		t.Error(err)
	}
	a.says(topicTool, []string{"--describe", "--topic", name}, "PartitionCount: 4")
	wants(t, "fewer shards", a.AddShards(t.Context(), name, 3), driver.ErrInvalid)

	if err := a.DeleteStream(t.Context(), name); err != nil {
		t.Error(err)
	}
	wants(t, "deleting it again", a.DeleteStream(t.Context(), name), driver.ErrNotFound)
	wants(t, "deleting what Kafka needs", a.DeleteStream(t.Context(), "__consumer_offsets"), driver.ErrInvalid)
	if said := strings.Fields(a.tool(topicTool, "--list")); slices.Contains(said, name) || slices.Contains(said, "admin-bad") {
		t.Errorf("TopicCommand still lists %q", said)
	}
}

// adminMessages: ten plain messages, ten that are aborted and ten that are
// committed in shard 1; the bounds, times and sizes of what is there.
func adminMessages(t *testing.T, a *administration, name string, start time.Time) {
	t.Helper()
	send := func(cl *kgo.Client, from int) {
		for i := range 10 {
			cl.Produce(t.Context(), &kgo.Record{Topic: name, Partition: 1, Value: make([]byte, 100), Timestamp: start.Add(time.Duration(from+i) * time.Second)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := cl.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	send(producing(t, a.cluster), 0)
	tx := producing(t, a.cluster, kgo.TransactionalID("admin-tx"))
	for i, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		send(tx, 10+10*i)
		if err := tx.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	// The stable end follows the marker.
	shard := driver.Shard{Stream: name, Index: 1}
	var s driver.ShardInfo
	a.until("the last transaction is stable", func() bool {
		s = a.describe(name).Shards[1]
		return s.Bound.Next == driver.SeqOf(32)
	})
	if first, end := a.offsets(name, "earliest")[shard], a.offsets(name, "latest")[shard]; s.Bound.First.String() != first || s.Bound.Next.String() != end || end != "32" {
		t.Errorf("bound %v, and GetOffsetShell says %s to %s", s.Bound, first, end)
	}
	if s.Messages.N != 32 || s.Messages.Estimated {
		t.Errorf("messages %+v, want 32 offsets", s.Messages)
	}
	if !s.FirstTime.Equal(start) {
		t.Errorf("first time %v, want %v", s.FirstTime, start)
	}
	// The last that there is may be a control record, which has the broker's time.
	if s.LastTime.Before(start.Add(29 * time.Second)) {
		t.Errorf("last time %v, want %v or later", s.LastTime, start.Add(29*time.Second))
	}
	var dirs struct {
		Brokers []struct {
			LogDirs []struct {
				LogDir     string
				Partitions []struct {
					Partition string
					Size      int64
				}
			}
		}
	}
	said := a.tool(dirTool, "--describe", "--topic-list", name)
	if err := json.Unmarshal([]byte(said[strings.Index(said, "{"):]), &dirs); err != nil {
		t.Fatalf("LogDirsCommand: %v\n%s", err, said)
	}
	for _, p := range dirs.Brokers[0].LogDirs[0].Partitions {
		if p.Partition == name+"-1" && (p.Size != s.Bytes || p.Size == 0) {
			t.Errorf("bytes %d, and LogDirsCommand says %d", s.Bytes, p.Size)
		}
	}
}

// adminLookups follows adminMessages.
func adminLookups(t *testing.T, a *administration, name string, start time.Time) {
	t.Helper()
	shard := driver.Shard{Stream: name, Index: 1}
	second := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
	var at []driver.Position
	want := []time.Time{second(0), second(9), second(20), second(20), second(20), second(29), {}, {}, {}}
	for _, o := range []uint64{0, 9, 10, 20, 21, 30, 31, 32, 1000} { // 20 and 31 are control records
		at = append(at, driver.Position{Shard: shard, Next: driver.SeqOf(o)})
	}
	got, err := a.Times(t.Context(), at)
	if err != nil || !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("times %v, %v, want %v", got, err, want)
	}
	for _, when := range []time.Time{second(0), second(5), second(25)} {
		ps, err := a.Resolve(t.Context(), name, driver.Since(when))
		if err != nil {
			t.Fatal(err)
		}
		if want := a.offsets(name, fmt.Sprint(when.UnixMilli()))[shard]; ps[1].Next.String() != want {
			t.Errorf("%v is at %v, and GetOffsetShell says %s", when, ps[1].Next, want)
		}
	}
	if ps, err := a.Resolve(t.Context(), name, driver.Since(time.Now().Add(time.Hour))); err != nil || ps[1].Next != driver.SeqOf(32) {
		t.Errorf("a time to come is at %v, %v, want the end", ps, err)
	}
	after, err := a.Trim(t.Context(), []driver.Position{{Shard: shard, Next: driver.SeqOf(7)}})
	if err != nil || after[0].Next != driver.SeqOf(7) {
		t.Errorf("trim: %v, %v", after, err)
	}
	if got := a.offsets(name, "earliest")[shard]; got != "7" {
		t.Errorf("after trim GetOffsetShell says %s, want 7", got)
	}
	if got, err := a.Times(t.Context(), at[:1]); err != nil || !got[0].Equal(second(7)) {
		t.Errorf("the time at what was trimmed: %v, %v, want %v", got, err, second(7))
	}
	_, err = a.Trim(t.Context(), []driver.Position{{Shard: driver.Shard{Stream: "admin-none"}, Next: driver.SeqOf(7)}})
	wants(t, "trimming nothing", err, driver.ErrNotFound)
}

// Batches that do not fit into what is asked for of many shards, and aborted
// ones before the first message that counts, are found all the same.
func TestKafkaAdminTimesOfLargeBatches(t *testing.T) {
	c := apachekafka.ForTest(t)
	a := administer(t, c)
	const name, shards = "admin-large", 6
	if err := a.CreateStream(t.Context(), driver.StreamSpec{Name: name, Shards: shards}); err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	large := kgo.ProducerBatchCompression(kgo.NoCompression())
	tx := producing(t, c, large, kgo.TransactionalID("admin-large"))
	send := func(cl *kgo.Client, shard int32, at time.Time) {
		for range 3 {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: name, Partition: shard, Value: make([]byte, 300_000), Timestamp: at}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for i := range int32(shards) {
		send(tx, i, start)
	}
	if err := tx.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	plain := producing(t, c, large)
	var at []driver.Position
	var want []time.Time
	for i := range int32(shards) {
		when := start.Add(time.Duration(i+1) * time.Minute)
		if i != 3 { // which has aborted messages only
			send(plain, i, when)
		} else {
			when = time.Time{}
		}
		at = append(at, driver.Position{Shard: driver.Shard{Stream: name, Index: i}})
		want = append(want, when)
	}
	a.until("the end of the transaction is marked in each shard", func() bool {
		return !slices.ContainsFunc(a.describe(name).Shards, func(s driver.ShardInfo) bool { return s.Bound.Next.Lo < 4 }) // three records and the mark
	})
	got, err := a.Times(t.Context(), at)
	if err != nil || !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("times %v, %v, want %v", got, err, want)
	}
}

func TestKafkaAdminGroups(t *testing.T) {
	a := administer(t, apachekafka.ForTest(t))
	for _, s := range []string{"admin-g1", "admin-g2"} {
		if err := a.CreateStream(t.Context(), driver.StreamSpec{Name: s, Shards: 2}); err != nil {
			t.Fatal(err)
		}
	}
	cl := producing(t, a.cluster)
	for i := range 20 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "admin-g1", Partition: int32(i % 2), Value: []byte("m")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	shard := driver.Shard{Stream: "admin-g1", Index: 1}
	if err := a.SetPositions(t.Context(), "admin-ours", []driver.Position{{Shard: shard, Next: driver.SeqOf(4)}}); err != nil {
		t.Fatal(err)
	}
	// GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …
	if said := a.tool(groupTool, "--describe", "--group", "admin-ours"); !regexp.MustCompile(`admin-ours\s+admin-g1\s+1\s+4\s+10\s+6\s`).MatchString(said) {
		t.Errorf("ConsumerGroupCommand says\n%s", said)
	}
	a.tool(groupTool, "--reset-offsets", "--group", "admin-theirs", "--topic", "admin-g1", "--to-offset", "3", "--execute")

	members := map[string]*kgo.Client{}
	for group, more := range map[string][]kgo.Opt{"admin-classic": nil, "admin-new": {kgo.ServerSideBalancer()}} {
		m, err := kgo.NewClient(append(more, kgo.SeedBrokers(a.cluster.Brokers()...), kgo.ConsumerGroup(group), kgo.ConsumeTopics("admin-g2"), kgo.ClientID("witness"), kgo.DisableAutoCommit())...)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		members[group] = m
	}
	all := []string{"admin-ours", "admin-theirs", "admin-classic", "admin-new", "admin-none"}
	var gs []driver.GroupInfo
	a.until("the groups with a member are stable", func() bool {
		var err error
		if gs, err = a.DescribeGroups(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(gs[2:4], func(g driver.GroupInfo) bool {
			return g.State != "stable" || len(g.Members) != 1 || len(g.Members[0].Shards) != 2
		})
	})
	wants(t, "a group that there is not", gs[4].Err, driver.ErrNotFound)
	for i, kind := range []string{"classic", "classic", "classic", "consumer"} {
		if g := gs[i]; g.Err != nil || g.Kind != kind {
			t.Errorf("group %+v, want kind %s", g, kind)
		}
	}
	if g := gs[0]; g.State != "empty" || len(g.Positions) != 1 || g.Positions[0].Shard != shard || g.Positions[0].Next != driver.SeqOf(4) || g.Positions[0].Behind.N >= 0 {
		t.Errorf("the group that the driver made is %+v", g)
	}
	if g := gs[1]; len(g.Positions) != 2 || g.Positions[0].Next != driver.SeqOf(3) {
		t.Errorf("the group that ConsumerGroupCommand made is %+v", g)
	}
	for _, g := range gs[2:4] {
		if g.State != "stable" || len(g.Members) != 1 || len(g.Members[0].Shards) != 2 {
			t.Errorf("a group with a member is %+v", g)
			continue
		}
		said := a.tool(groupTool, "--describe", "--group", g.Name, "--members", "--verbose")
		mentions(t, "ConsumerGroupCommand", said, g.Members[0].ID, g.Members[0].Client, g.Members[0].Host, "admin-g2")
		s := g.Members[0].Shards[0]
		wants(t, "moving "+g.Name, a.SetPositions(t.Context(), g.Name, []driver.Position{{Shard: s, Next: driver.SeqOf(1)}}), driver.ErrFenced)
		wants(t, "deleting "+g.Name, a.DeleteGroup(t.Context(), g.Name), driver.ErrFenced)
	}
	commit := map[string]map[int32]kgo.EpochOffset{"admin-g2": {0: {Epoch: -1, Offset: 0}}}
	for name, m := range members {
		var failed error
		m.CommitOffsetsSync(t.Context(), commit, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
			failed = err
		})
		if failed != nil {
			t.Fatal(failed)
		}
		err := a.DeletePositions(t.Context(), name, []driver.Shard{{Stream: "admin-g2"}})
		wants(t, "what members read", err, driver.ErrFenced)
	}
	if gs, err := a.DescribeGroups(t.Context(), []string{"admin-new"}); err != nil || len(gs[0].Positions) != 1 || gs[0].Positions[0].Member != gs[0].Members[0].ID {
		t.Errorf("after the member committed: %+v, %v", gs, err)
	}

	want := strings.Fields(a.tool(groupTool, "--list"))
	slices.Sort(want)
	if got := listed(t, a.GroupNames(t.Context(), nil)); !slices.Equal(got, want) {
		t.Errorf("groups %q, and ConsumerGroupCommand says %q", got, want)
	}
	if got, want := listed(t, a.GroupNames(t.Context(), []string{"admin-g1"})), []string{"admin-ours", "admin-theirs"}; !slices.Equal(got, want) {
		t.Errorf("groups of admin-g1 %q, want %q", got, want)
	}
	if got, want := listed(t, a.GroupNames(t.Context(), []string{"admin-g2"})), []string{"admin-classic", "admin-new"}; !slices.Equal(got, want) {
		t.Errorf("groups of admin-g2 %q, want %q", got, want)
	}

	if err := a.DeletePositions(t.Context(), "admin-theirs", []driver.Shard{shard}); err != nil {
		t.Error(err)
	}
	if said := a.tool(groupTool, "--describe", "--group", "admin-theirs"); !regexp.MustCompile(`admin-g1\s+0\s+3\s`).MatchString(said) || regexp.MustCompile(`admin-g1\s+1\s`).MatchString(said) {
		t.Errorf("after one position was deleted ConsumerGroupCommand says\n%s", said)
	}
	if err := a.DeleteGroup(t.Context(), "admin-ours"); err != nil {
		t.Error(err)
	}
	wants(t, "deleting it again", a.DeleteGroup(t.Context(), "admin-ours"), driver.ErrNotFound)
	if said := strings.Fields(a.tool(groupTool, "--list")); slices.Contains(said, "admin-ours") {
		t.Errorf("ConsumerGroupCommand still lists %q", said)
	}
	// A group of the new kind without members can be moved like the other.
	members["admin-new"].Close()
	a.until("a group of the new kind can be moved whose member has left", func() bool {
		return a.SetPositions(t.Context(), "admin-new", []driver.Position{{Shard: driver.Shard{Stream: "admin-g2"}, Next: driver.SeqOf(0)}}) == nil
	})
}
