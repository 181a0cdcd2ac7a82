package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// Nodes are the servers that a node of the cluster, the sentinels or the server
// itself know, replicas and sentinels included; each is asked by INFO. Their
// ids are those of CLUSTER NODES; elsewhere servers go by their addresses. Leads
// and Holds are slots. A node that is down, or does not let us ask, is listed
// with its Err.
func (c *client) Nodes(ctx context.Context) ([]driver.NodeInfo, error) {
	top, err := c.topology(ctx)
	if err != nil {
		return nil, err
	}
	infos := make([]driver.NodeInfo, len(top.servers))
	atOnce(len(infos), func(i int) { infos[i], _ = c.nodeInfo(ctx, top, top.servers[i]) })
	return infos, nil
}

// nodeInfo asks a server, and returns all that it says.
func (c *client) nodeInfo(ctx context.Context, top *topology, s *server) (driver.NodeInfo, map[string]string) {
	n := driver.NodeInfo{ID: s.id, Addr: s.addr, Roles: []string{s.role}, Of: s.of, Leads: -1, Holds: -1, Bytes: -1}
	switch {
	case s.role == "sentinel":
		n.Leads, n.Holds = 0, 0
	case top.kind == "cluster" && s.role == "master":
		n.Leads, n.Holds = s.leads(), s.leads()
	case top.kind == "cluster":
		n.Leads, n.Holds = 0, 0
		if m := top.find(s.of); m != nil {
			n.Holds = m.leads()
		}
	case s.role == "replica":
		n.Leads = 0
	}
	info, up, err := c.info(ctx, s)
	n.Up, n.Err = up, err
	if err != nil {
		return n, info
	}
	n.Version, n.Rack = info["redis_version"], info["availability_zone"]
	if s.role != "sentinel" {
		n.Bytes = infoNumber(info, "used_memory")
	}
	return n, info
}

// info is what a server says of itself. One that refuses to is up.
func (c *client) info(ctx context.Context, s *server) (info map[string]string, up bool, err error) {
	cmds := [][]string{{"INFO"}}
	if s.role == "master" {
		cmds = append(cmds, []string{"CONFIG", "GET", minReplicas})
	}
	answers, err := c.talk(ctx, s.addr, s.role, cmds...)
	if err != nil {
		return nil, false, err
	}
	text, err := answers[0].text()
	if r, ok := answer(err); ok {
		kind, said := c.describeText(s.addr, r.Error())
		return nil, true, &driver.Error{Kind: kind, Err: &answered{said, err}}
	}
	info = infoFields(text)
	if len(answers) > 1 {
		if m, err := answers[1].table(); err == nil {
			info[minReplicas], _ = m[minReplicas].text()
		}
	}
	return info, true, nil
}

// minReplicas is a setting that INFO does not have and we put beside it.
const minReplicas = "min-replicas-to-write"

// infoNumber is a number of INFO; below zero it is not known.
func infoNumber(info map[string]string, name string) int64 {
	n, err := strconv.ParseInt(info[name], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// theNode is the server of an id, or of an address.
func (c *client) theNode(ctx context.Context, id string) (*server, error) {
	if id == "" {
		return nil, unsupported("each node of Redis has its own settings: name one")
	}
	top, err := c.topology(ctx)
	if err != nil {
		return nil, err
	}
	if s := top.find(id); s != nil {
		return s, nil
	}
	return nil, driver.Errorf(driver.ErrNotFound, "", "%s has no node %q", c.where(), id)
}

// secrets are settings whose values nobody is shown.
var secrets = []string{"masterauth", "requirepass", "sentinel-pass", "tls-client-key-file-pass", "tls-key-file-pass"}

// fixed are settings that only a start can change, those of Redis 7.0; others
// are refused by the server.
var fixed = strings.Fields(`aclfile always-show-logo aof_rewrite_cpulist appenddirname appendfilename bgsave_cpulist
	bio_cpulist cluster-config-file cluster-enabled cluster-port daemonize databases dbfilename dir disable-thp
	enable-debug-command enable-module-command enable-protected-configs io-threads io-threads-do-reads logfile pidfile
	rdbchecksum replicaof server_cpulist set-proc-title slaveof socket-mark-id supervised syslog-enabled syslog-facility
	syslog-ident tcp-backlog unixsocket unixsocketperm`)

// NodeConfig is CONFIG GET * of a node, SENTINEL CONFIG GET * of a sentinel.
// Redis does not say where a setting comes from: Source is "node" for all.
// Passwords are left out.
func (c *client) NodeConfig(ctx context.Context, id string) ([]driver.ConfigEntry, error) {
	s, err := c.theNode(ctx, id)
	if err != nil {
		return nil, err
	}
	cmd := []string{"CONFIG", "GET", "*"}
	if s.role == "sentinel" {
		cmd = append([]string{"SENTINEL"}, cmd...)
	}
	answers, err := c.talk(ctx, s.addr, s.role, cmd)
	var config map[string]value
	if err == nil {
		config, err = answers[0].table()
	}
	if err != nil {
		return nil, c.configFailure(s, err)
	}
	protected := "no"
	if v, has := config["enable-protected-configs"]; has {
		protected, _ = v.text()
	}
	all := make([]driver.ConfigEntry, 0, len(config))
	for name, v := range config {
		e := driver.ConfigEntry{Name: name, Source: "node", Secret: slices.Contains(secrets, name), ReadOnly: s.role != "sentinel" && slices.Contains(fixed, name)}
		if (name == "dir" || name == "dbfilename") && protected != "no" {
			e.ReadOnly = false
		}
		if !e.Secret {
			e.Value, _ = v.text()
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b driver.ConfigEntry) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// configFailure is the error of a server that does not show its settings, or
// does not have them changed: those who rent servers out often keep that to
// themselves.
func (c *client) configFailure(s *server, err error) error {
	r, ok := answer(err)
	if !ok {
		return c.failure("", driver.Shard{}, err)
	}
	switch {
	case code(r) == "NOPERM":
		return &driver.Error{Kind: driver.ErrDenied, Err: &answered{s.addr + " does not allow " + c.who() + " to see or change settings: allow +config", err}}
	case strings.Contains(r.Error(), "unknown command"), strings.Contains(r.Error(), "unknown subcommand"):
		return &driver.Error{Kind: errors.ErrUnsupported, Err: &answered{s.addr + " does not let its settings be seen or changed (CONFIG is not there): its provider may have another way", err}}
	}
	return c.failure("", driver.Shard{}, err)
}

// SetNodeConfig is CONFIG SET: all of set at one moment from Redis 7.0 on, one
// after the other before. It lasts until the server ends, unless CONFIG REWRITE
// writes it down. Redis does not know defaults, so that a nil value is
// ErrUnsupported.
func (c *client) SetNodeConfig(ctx context.Context, id string, set map[string]*string) error {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] == nil {
			return unsupported("Redis does not say what the default of %s is: give a value", name)
		}
	}
	s, err := c.theNode(ctx, id)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(set))
	cmds := [][]string{{"CONFIG", "SET"}}
	if s.role == "sentinel" {
		cmds = nil
	}
	for _, name := range names {
		switch {
		case s.role == "sentinel":
			cmds = append(cmds, []string{"SENTINEL", "CONFIG", "SET", name, *set[name]})
		case c.server().version.less(version{7, 0}):
			cmds = append(cmds, []string{"CONFIG", "SET", name, *set[name]})
		default:
			cmds[0] = append(cmds[0], name, *set[name])
		}
	}
	cmds = slices.DeleteFunc(cmds, func(cmd []string) bool { return len(cmd) == 2 })
	if len(cmds) == 0 {
		return nil
	}
	answers, err := c.talk(ctx, s.addr, s.role, cmds...)
	if err != nil {
		return err
	}
	for _, a := range answers {
		if err := a.err(); err != nil {
			return c.configFailure(s, veiled(err, secretsOf(set)))
		}
	}
	return nil
}

// secretsOf are the values that no error may repeat.
func secretsOf(set map[string]*string) (all []string) {
	for name, v := range set {
		if slices.Contains(secrets, name) && *v != "" {
			all = append(all, *v)
		}
	}
	return all
}

// veiled is what a server said without what it must not repeat.
func veiled(err error, secrets []string) error {
	r, ok := answer(err)
	if !ok {
		return err
	}
	text := r.Error()
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	return refusal(text)
}

// onEach has something done on each server, a few at a time, and returns what
// failed as one error: "not done", on how many and why.
func onEach(to []*server, not string, f func(*server) error) error {
	errs := make([]error, len(to))
	atOnce(len(to), func(i int) { errs[i] = f(to[i]) })
	failed := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	if len(failed) == 0 || len(failed) == len(to) && allSame(failed) {
		return errors.Join(failed[:min(1, len(failed))]...)
	}
	return &driver.Error{Kind: kindOf(failed[0]), Err: &several{not, failed, driver.PartialError{Errs: errs}}}
}

func kindOf(err error) error {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return nil
}

func allSame(errs []error) bool {
	for _, err := range errs {
		if err.Error() != errs[0].Error() {
			return false
		}
	}
	return true
}

// several are the errors of some of a number of servers, in one line.
type several struct {
	not    string
	failed []error
	all    driver.PartialError // a thing is a server here
}

func (s *several) Error() string {
	texts := make([]string, len(s.failed))
	for i, err := range s.failed {
		texts[i] = err.Error()
	}
	return fmt.Sprintf("%s on %d of %d nodes: %s", s.not, len(s.failed), len(s.all.Errs), strings.Join(texts, "; "))
}

func (s *several) Unwrap() error { return &s.all }

// LogDirs are the memory of each node, which is where Redis has its data, and
// the folder of its files where it writes any. The size of the memory is
// maxmemory, or that of the machine where there is no such limit; of the files
// only the append-only one's size is known. How many shards there are a node
// does not count: Shards is -1.
func (c *client) LogDirs(ctx context.Context, id string) ([]driver.LogDir, error) {
	top, err := c.topology(ctx)
	if err != nil {
		return nil, err
	}
	of := top.data()
	if id != "" {
		s := top.find(id)
		if s == nil {
			return nil, driver.Errorf(driver.ErrNotFound, "", "%s has no node %q", c.where(), id)
		}
		of = []*server{s}
		if s.role == "sentinel" {
			return nil, nil
		}
	}
	dirs := make([][]driver.LogDir, len(of))
	atOnce(len(of), func(i int) { dirs[i] = c.logDirs(ctx, of[i]) })
	return slices.Concat(dirs...), nil
}

func (c *client) logDirs(ctx context.Context, s *server) []driver.LogDir {
	memory := driver.LogDir{Node: s.id, Path: "memory", Shards: -1, Bytes: -1, Total: -1, Free: -1}
	info, _, err := c.info(ctx, s)
	if err != nil {
		memory.Err = err
		return []driver.LogDir{memory}
	}
	memory.Bytes = infoNumber(info, "used_memory")
	if memory.Total = infoNumber(info, "maxmemory"); memory.Total <= 0 {
		memory.Total = infoNumber(info, "total_system_memory")
	}
	if memory.Total >= 0 && memory.Bytes >= 0 {
		memory.Free = max(0, memory.Total-memory.Bytes)
	}
	all := []driver.LogDir{memory}
	// From 6.2 to 6.9 CONFIG GET takes one pattern.
	answers, err := c.talk(ctx, s.addr, s.role, []string{"CONFIG", "GET", "dir"}, []string{"CONFIG", "GET", "save"})
	if err != nil {
		return all
	}
	dir := driver.LogDir{Node: s.id, Shards: -1, Bytes: -1, Total: -1, Free: -1}
	said := map[string]string{}
	for _, a := range answers {
		m, err := a.table()
		if err != nil {
			dir.Path, dir.Err = "dir", c.configFailure(s, err)
			break
		}
		for k, v := range m {
			said[k], _ = v.text()
		}
	}
	if dir.Err == nil {
		if dir.Path = said["dir"]; info["aof_enabled"] == "1" {
			dir.Bytes = infoNumber(info, "aof_current_size")
		} else if said["save"] == "" {
			return all // it writes nothing
		}
	}
	return append(all, dir)
}
