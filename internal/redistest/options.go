package redistest

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options say what to start. The zero value keeps nothing on disk, lets
// everybody in and listens on TCP without TLS.
type Options struct {
	// AppendOnly is the append-only file: what was written survives Kill, with
	// everysec only while the disk is not busy: Redis answers then, and writes later.
	AppendOnly bool
	Fsync      string // appendfsync: always, everysec (Redis's default) or no

	// Directives are lines of redis.conf for every data node, such as
	// "maxmemory 1mb". They win over what this package writes there.
	Directives []string

	Password string            // of the default user; "" lets everybody in
	Users    map[string]string // user → ACL rules, such as "on >secret ~news* +@all"

	// SentinelPassword is what sentinels want from their clients; it is not
	// the data nodes' Password.
	SentinelPassword string

	Socket bool // a Unix socket besides TCP, see Servers.Socket

	// TLS makes the ports TLS ports; clients may have a certificate.
	// ClientCerts means TLS, and that clients must.
	TLS, ClientCerts bool

	// OwnAddresses gives each node of a cluster an address of its own,
	// 127.0.1.1, 127.0.1.2 and so on, from which it also connects, so that a
	// firewall can part nodes from each other and not from their clients.
	OwnAddresses bool
	// NodeTimeout is after how much silence the others take a node for dead: a
	// cluster's cluster-node-timeout, the sentinels' down-after-milliseconds.
	// Zero is a second, which a busy machine may well make of a node that lives:
	// Patient is for tests in which none dies.
	NodeTimeout time.Duration
}

// Patient is a NodeTimeout that no stall of the machine comes up to.
const Patient = 15 * time.Second

// MasterName is the name by which sentinels know the master.
const MasterName = "mymaster"

// admin is the user by which this package, replicas and sentinels log in,
// whatever the tests do to the others.
const admin = "redistest"

// kind is what a set of servers is.
type kind int

const (
	single kind = iota
	sentinel
	cluster
)

// config is the redis.conf of data node n.
func (s *Servers) config(n *node) string {
	o := s.o
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	s.listen(n, line)
	line("dir", n.dir)
	line(`save ""`)
	line("appendonly", yesNo(o.AppendOnly))
	if o.Fsync != "" {
		line("appendfsync", o.Fsync)
	}
	// Replicas are there at once: no waiting for others to synchronise
	// together, no file between.
	line("repl-diskless-sync yes")
	line("repl-diskless-sync-delay 0")
	if o.Password != "" {
		line("requirepass", o.Password)
	}
	for _, user := range slices.Sorted(maps.Keys(o.Users)) {
		line("user", user, o.Users[user])
	}
	line("user", admin, "on", ">"+s.secret, "~*", "&*", "+@all")
	line("masteruser", admin)
	line("masterauth", s.secret)
	if o.Socket {
		line("unixsocket", filepath.Join(n.dir, "redis.sock"))
	}
	switch {
	case s.kind == cluster:
		line("cluster-enabled yes")
		line("cluster-config-file nodes.conf")
		line("cluster-node-timeout", strconv.FormatInt(s.nodeTimeout().Milliseconds(), 10))
	case s.kind == sentinel && n.id > 1:
		line("replicaof", s.nodes[0].host, strconv.Itoa(s.nodes[0].port))
	}
	for _, d := range o.Directives {
		line(d)
	}
	return b.String()
}

// sentinelConfig is the sentinel.conf of node n. The sentinels and replicas
// are written there as a sentinel itself writes them, so that nobody waits for
// them to find each other.
func (s *Servers) sentinelConfig(n *node) string {
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	s.listen(n, line)
	line("dir", n.dir)
	if s.o.SentinelPassword != "" {
		line("requirepass", s.o.SentinelPassword)
	}
	line("user", admin, "on", ">"+s.secret, "~*", "&*", "+@all")
	line("sentinel myid", sentinelID(n.id))
	line("sentinel monitor", MasterName, s.nodes[0].host, strconv.Itoa(s.nodes[0].port), "2")
	line("sentinel down-after-milliseconds", MasterName, strconv.FormatInt(s.nodeTimeout().Milliseconds(), 10))
	line("sentinel failover-timeout", MasterName, "3000")
	line("sentinel auth-user", MasterName, admin)
	line("sentinel auth-pass", MasterName, s.secret)
	line("sentinel sentinel-user", admin)
	line("sentinel sentinel-pass", s.secret)
	for _, o := range s.nodes {
		switch {
		case o.sentinel && o != n:
			line("sentinel known-sentinel", MasterName, o.host, strconv.Itoa(o.port), sentinelID(o.id))
		case !o.sentinel && o.id > 1:
			line("sentinel known-replica", MasterName, o.host, strconv.Itoa(o.port))
		}
	}
	return b.String()
}

func sentinelID(id int) string { return fmt.Sprintf("%040x", id) }

// listen writes where a node listens, and with which certificates.
func (s *Servers) listen(n *node, line func(...string)) {
	line("bind", n.host)
	if s.o.OwnAddresses {
		line("bind-source-addr", n.host)
	}
	// It would refuse other loopback addresses than 127.0.0.1.
	line("protected-mode no")
	line("daemonize no")
	if s.secrets == nil {
		line("port", strconv.Itoa(n.port))
		return
	}
	line("port 0")
	line("tls-port", strconv.Itoa(n.port))
	line("tls-ca-cert-file", s.secrets.CA)
	line("tls-cert-file", s.secrets.ServerCert)
	line("tls-key-file", s.secrets.ServerKey)
	line("tls-replication yes")
	line("tls-cluster", yesNo(s.kind == cluster))
	if s.o.ClientCerts {
		line("tls-auth-clients yes")
	} else {
		line("tls-auth-clients optional")
	}
}

func (s *Servers) nodeTimeout() time.Duration {
	if s.o.NodeTimeout > 0 {
		return s.o.NodeTimeout
	}
	return time.Second
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
