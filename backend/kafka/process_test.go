package kafka

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A process is kfake in a process of its own, so that it can be killed, and so
// that its goroutines are not taken for ours. It ends when its standard input
// does, and so with the test.
type process struct {
	dir  string // of its data
	port int    // zero takes a free one

	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.Closer
	cl  *kgo.Client // for what tests do to the server
}

// childDir is the variable that makes the test binary a kfake with its data
// there.
const childDir = "KFAKE_CHILD_DIR"

// inMemory keeps no data: for more shards than a process may have files.
const inMemory = "-"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		port, _ := strconv.Atoi(os.Getenv("KFAKE_CHILD_PORT"))
		opts := []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(port), kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(1),
			kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"})}
		if dir != inMemory {
			opts = append(opts, kfake.DataDir(dir))
		}
		c, err := kfake.NewCluster(opts...)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(c.ListenAddrs()[0])
		_, _ = io.Copy(io.Discard, os.Stdin)
		c.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func startProcess(t testing.TB) *process {
	t.Helper()
	return startProcessIn(t, t.TempDir())
}

func startProcessIn(t testing.TB, dir string) *process {
	t.Helper()
	p := &process{dir: dir}
	p.start(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.addr()))
	if err != nil {
		t.Fatal(err)
	}
	p.cl = cl
	t.Cleanup(func() {
		cl.Close()
		p.stop(t)
	})
	return p
}

func (p *process) addr() string { return "127.0.0.1:" + strconv.Itoa(p.port) }

func (p *process) start(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+p.dir, "KFAKE_CHILD_PORT="+strconv.Itoa(p.port))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, port, _ := strings.Cut(strings.TrimSpace(line), ":")
		p.port, err = strconv.Atoi(port)
	}
	if err != nil {
		t.Fatalf("kfake said %q: %v", line, err)
	}
	p.cmd, p.in = cmd, in
}

// stop ends the process in good order.
func (p *process) stop(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func (p *process) restart(t testing.TB) {
	t.Helper()
	p.stop(t)
	p.start(t)
}

func (p *process) create(t testing.TB, stream string, shards int) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = stream, int32(shards), 1
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), p.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("create %s: %v", stream, err)
	}
}

func (p *process) trim(t testing.TB, s driver.Shard, before driver.Seq) {
	t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	part := kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Partition, part.Offset = s.Index, int64(before.Lo)
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic, topic.Partitions = s.Stream, append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), p.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil && err != kerr.OffsetOutOfRange { // below the start, which Kafka takes as done already
		t.Fatalf("trim %v before %v: %v", s, before, err)
	}
}

func (p *process) grow(t testing.TB, stream string, shards int) {
	t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = stream, int32(shards)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), p.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("grow %s: %v", stream, err)
	}
}

func (p *process) drop(t testing.TB, stream string) {
	t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &stream
	req.Topics, req.TopicNames = append(req.Topics, topic), []string{stream}
	resp, err := req.RequestWith(t.Context(), p.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("drop %s: %v", stream, err)
	}
}

// losePositions sends tombstones for where a name stands.
func (p *process) losePositions(t testing.TB, name string) {
	t.Helper()
	d, err := OpenDriver(t.Context(), url([]string{p.addr()}, ""), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(t.Context())
	c := d.(*client)
	st, err := c.readStanding(t.Context(), name, "", driver.Uncommitted)
	if err != nil {
		t.Fatal(err)
	}
	prod, err := c.newProducer(driver.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer prod.Close(t.Context())
	for key := range st.at {
		at := positionShard(name)
		r := &kgo.Record{Topic: at.Stream, Partition: explicit(at.Index), Key: []byte(name + "/" + key)}
		if err := prod.cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}
