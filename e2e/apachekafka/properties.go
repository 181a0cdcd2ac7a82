//go:build unix

package apachekafka

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seastreamer/seastreamer/internal/testserver"
)

// ports are one node's. sasl and mtls are 0 without Options.Secure.
type ports struct {
	plain, controller, sasl, mtls int
}

func addr(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// properties is what stands in node i's server.properties (i counts from 1).
func properties(i int, all []ports, dir string, o Options, s *testserver.Secrets) map[string]string {
	n := len(all)
	me := all[i-1]
	voters := make([]string, n)
	for j, p := range all {
		voters[j] = fmt.Sprintf("%d@%s", j+1, addr(p.controller))
	}
	copies := strconv.Itoa(n)
	inSync := strconv.Itoa(n/2 + 1)
	p := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          strconv.Itoa(i),
		"controller.quorum.voters":                         strings.Join(voters, ","),
		"controller.listener.names":                        "CONTROLLER",
		"inter.broker.listener.name":                       "PLAINTEXT",
		"listeners":                                        "PLAINTEXT://" + addr(me.plain) + ",CONTROLLER://" + addr(me.controller),
		"advertised.listeners":                             "PLAINTEXT://" + addr(me.plain),
		"listener.security.protocol.map":                   "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                                         filepath.Join(dir, "data"),
		"default.replication.factor":                       copies,
		"min.insync.replicas":                              inSync,
		"offsets.topic.replication.factor":                 copies,
		"transaction.state.log.replication.factor":         copies,
		"transaction.state.log.min.isr":                    inSync,
		"share.coordinator.state.topic.replication.factor": copies,
		"share.coordinator.state.topic.min.isr":            inSync,
		// 50 and 50 partitions by default: seconds of a test's first commit.
		"offsets.topic.num.partitions":                 "4",
		"transaction.state.log.num.partitions":         "4",
		"share.coordinator.state.topic.num.partitions": "4",
		"group.initial.rebalance.delay.ms":             "0",
		// A killed node may not register again before its session has ended.
		"broker.heartbeat.interval.ms": "500",
		"broker.session.timeout.ms":    "3000",
	}
	if s != nil {
		p["listeners"] += ",SASL://" + addr(me.sasl) + ",MTLS://" + addr(me.mtls)
		p["advertised.listeners"] += ",SASL://" + addr(me.sasl) + ",MTLS://" + addr(me.mtls)
		p["listener.security.protocol.map"] += ",SASL:SASL_SSL,MTLS:SSL"
		p["ssl.keystore.type"] = "PEM"
		p["ssl.keystore.location"] = s.Keystore
		p["ssl.truststore.type"] = "PEM"
		p["ssl.truststore.location"] = s.CA
		p["listener.name.mtls.ssl.client.auth"] = "required"
		p["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		plain := []string{"org.apache.kafka.common.security.plain.PlainLoginModule required"}
		for _, user := range slices.Sorted(maps.Keys(o.Users)) {
			plain = append(plain, fmt.Sprintf(`user_%s="%s"`, user, o.Users[user]))
		}
		p["listener.name.sasl.plain.sasl.jaas.config"] = strings.Join(plain, " ") + ";"
		for _, m := range []string{"scram-sha-256", "scram-sha-512"} {
			p["listener.name.sasl."+m+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
	}
	maps.Copy(p, o.Properties)
	return p
}

// render writes the properties in the form of java.util.Properties, where a
// backslash begins an escape.
func render(p map[string]string) []byte {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", k, strings.ReplaceAll(p[k], `\`, `\\`))
	}
	return []byte(b.String())
}
