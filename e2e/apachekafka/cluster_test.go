//go:build unix

package apachekafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestVersionIsThePomsVersion(t *testing.T) {
	if want := "<artifactId>kafka_2.13</artifactId>\n      <version>" + Version + "</version>"; !bytes.Contains(pom, []byte(want)) {
		t.Errorf("pom.xml does not contain %q", want)
	}
}

func TestKcatReadsWhatFranzGoWrote(t *testing.T) {
	c := ForTest(t)
	cl := client(t, c.Brokers())
	createTopic(t, cl, "plain", 1, 1)
	var want strings.Builder
	for i := range 1000 {
		value := fmt.Sprintf("line %d", i)
		want.WriteString(value + "\n")
		cl.Produce(t.Context(), &kgo.Record{Topic: "plain", Value: []byte(value)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := kcat(t, "-C", "-e", "-q", "-b", c.Brokers()[0], "-t", "plain"); got != want.String() {
		t.Errorf("kcat read %d bytes, want %d, the same", len(got), want.Len())
	}
}

func TestForTestIsOneBroker(t *testing.T) {
	if a, b := ForTest(t), ForTest(t); a != b {
		t.Error("two calls started two brokers")
	}
}

// A node that is killed comes back on its port with what was acknowledged
// before, and the others go on without it.
func TestKillAndRestartOneOfThree(t *testing.T) {
	c := start(t, Options{Nodes: 3})
	if got := len(c.Brokers()); got != 3 {
		t.Fatalf("%d brokers, want 3", got)
	}
	cl := client(t, c.Brokers())
	createTopic(t, cl, "copied", 3, 3)
	produce := func(from, to int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		for i := from; i < to; i++ {
			cl.Produce(ctx, &kgo.Record{Topic: "copied", Value: fmt.Append(nil, i)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := cl.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	produce(0, 1000)
	before := c.PID(2)
	c.Kill(2)
	if got := c.PID(2); got != 0 {
		t.Fatalf("node 2 has process %d after Kill", got)
	}
	if conn, err := net.Dial("tcp", c.Brokers()[1]); err == nil {
		conn.Close()
		t.Fatal("node 2 still listens after Kill")
	}
	produce(1000, 2000)
	begun := time.Now()
	if err := c.Restart(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	t.Logf("restarted in %v", time.Since(begun))
	if got := c.PID(2); got == 0 || got == before {
		t.Fatalf("node 2 has process %d after Restart, before it had %d", got, before)
	}
	produce(2000, 3000)
	out := kcat(t, "-C", "-e", "-q", "-b", c.Brokers()[1], "-t", "copied")
	if got := strings.Count(out, "\n"); got != 3000 {
		t.Errorf("kcat read %d lines through the restarted node, want 3000", got)
	}
	if err := c.Restart(t.Context(), 2); err == nil {
		t.Error("Restart of a running node: no error")
	}
}

func TestKillAndRestartTheOnlyNode(t *testing.T) {
	c := start(t, Options{})
	cl := client(t, c.Brokers())
	createTopic(t, cl, "kept", 1, 1)
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Value: []byte("acknowledged")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	c.Kill(1)
	begun := time.Now()
	if err := c.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("restarted in %v", time.Since(begun))
	if got, want := kcat(t, "-C", "-e", "-q", "-b", c.Brokers()[0], "-t", "kept"), "acknowledged\n"; got != want {
		t.Errorf("after kill and restart kcat read %q, want %q", got, want)
	}
}

func TestSecureListeners(t *testing.T) {
	c := start(t, Options{Secure: true, Users: map[string]string{"alice": "opensesame"}})
	scramAuth := scram.Auth{User: "alice", Pass: "opensesame"}
	wrong := scram.Auth{User: "alice", Pass: "guess"}
	trusting := &tls.Config{RootCAs: c.TLS().RootCAs}
	for _, test := range []struct {
		name    string
		brokers []string
		tls     *tls.Config
		sasl    sasl.Mechanism
		refused bool
	}{
		{"SCRAM-SHA-256", c.SASLBrokers(), trusting, scramAuth.AsSha256Mechanism(), false},
		{"SCRAM-SHA-512", c.SASLBrokers(), trusting, scramAuth.AsSha512Mechanism(), false},
		{"PLAIN", c.SASLBrokers(), trusting, plain.Auth{User: "alice", Pass: "opensesame"}.AsMechanism(), false},
		{"SCRAM with a wrong password", c.SASLBrokers(), trusting, wrong.AsSha256Mechanism(), true},
		{"PLAIN with a wrong password", c.SASLBrokers(), trusting, plain.Auth{User: "alice", Pass: "guess"}.AsMechanism(), true},
		{"SASL with an authority nobody trusts", c.SASLBrokers(), &tls.Config{}, scramAuth.AsSha256Mechanism(), true},
		{"mTLS", c.MTLSBrokers(), c.TLS(), nil, false},
		{"mTLS without a certificate", c.MTLSBrokers(), trusting, nil, true},
		{"plaintext to TLS", c.SASLBrokers(), nil, scramAuth.AsSha256Mechanism(), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var o []kgo.Opt
			if test.tls != nil {
				o = append(o, kgo.DialTLSConfig(test.tls))
			}
			if test.sasl != nil {
				o = append(o, kgo.SASL(test.sasl))
			}
			cl := client(t, test.brokers, o...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if test.refused {
				ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
			}
			defer cancel()
			err := cl.Ping(ctx)
			if refused := err != nil; refused != test.refused {
				t.Errorf("error %v, want refused %v", err, test.refused)
			}
		})
	}

	t.Run("kcat", func(t *testing.T) {
		ca, cert, key := c.Files()
		// Not SCRAM: librdkafka before 2.6.1, so Debian 12's, sends a nonce
		// that Kafka 4 rightly refuses (confluentinc/librdkafka#4895).
		for name, args := range map[string][]string{
			"plain": {"-b", c.SASLBrokers()[0], "-X", "security.protocol=SASL_SSL", "-X", "ssl.ca.location=" + ca,
				"-X", "sasl.mechanism=PLAIN", "-X", "sasl.username=alice", "-X", "sasl.password=opensesame"},
			"mtls": {"-b", c.MTLSBrokers()[0], "-X", "security.protocol=SSL", "-X", "ssl.ca.location=" + ca,
				"-X", "ssl.certificate.location=" + cert, "-X", "ssl.key.location=" + key},
		} {
			if got := kcat(t, append(args, "-L")...); !strings.Contains(got, "1 brokers:") {
				t.Errorf("%s: kcat -L said %q", name, got)
			}
		}
	})
}

func TestPropertiesReachTheBroker(t *testing.T) {
	c := start(t, Options{Properties: map[string]string{"auto.create.topics.enable": "false"}})
	configs, err := kadm.NewClient(client(t, c.Brokers())).DescribeBrokerConfigs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range configs[0].Configs {
		if config.Key == "auto.create.topics.enable" {
			if got := config.MaybeValue(); got != "false" {
				t.Errorf("auto.create.topics.enable is %q, want false", got)
			}
			return
		}
	}
	t.Error("the broker does not say what auto.create.topics.enable is")
}

func TestATakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	c, err := Start(t.Context(), Options{Port: port})
	if err == nil {
		c.Stop()
		t.Fatal("no error")
	}
	if want := fmt.Sprintf("port %d is taken", port); !strings.Contains(err.Error(), want) {
		t.Errorf("error %q, want one with %q", err, want)
	}
}

// The process that started a broker may be killed at any time: the broker ends
// with it and the temporary folder goes.
func TestNothingOutlivesAKilledParent(t *testing.T) {
	if os.Getenv("APACHEKAFKA_CHILD") != "" {
		c, err := Start(context.Background(), Options{})
		if err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		fmt.Println("ready", c.PID(1))
		select {}
	}
	temp := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "APACHEKAFKA_CHILD=1", "TMPDIR="+temp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var pid int
	if _, err := fmt.Fscanf(out, "ready %d\n", &pid); err != nil {
		t.Fatalf("the child did not start a broker: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		left, err := filepath.Glob(filepath.Join(temp, "*"))
		if err != nil {
			t.Fatal(err)
		}
		running := runs(pid)
		if !running && len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute after the parent was killed: broker runs: %v, folders left: %q", running, left)
		}
	}
}

// runs reports whether the process exists and is not a zombie, which nobody in
// a container may be there to bury.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(after, []byte("Z"))
}

func start(t *testing.T, o Options) *Cluster {
	t.Helper()
	begun := time.Now()
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %v", time.Since(begun))
	t.Cleanup(func() {
		begun := time.Now()
		c.Stop()
		t.Logf("stopped in %v", time.Since(begun))
		if _, err := os.Stat(c.Dir()); !os.IsNotExist(err) {
			t.Errorf("after Stop the folder %s is still there: %v", c.Dir(), err)
		}
	})
	return c
}

func client(t *testing.T, brokers []string, o ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(o, kgo.SeedBrokers(brokers...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(t *testing.T, cl *kgo.Client, topic string, partitions int32, copies int16) {
	t.Helper()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), partitions, copies, nil, topic); err != nil {
		t.Fatal(err)
	}
}

func kcat(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kcat", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kcat: %v: %s (is kcat installed? scripts/setup installs it)", err, stderr.Bytes())
	}
	return string(out)
}
