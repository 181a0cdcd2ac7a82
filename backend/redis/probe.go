package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// probeEvery is how often servers are asked what they are without a cause: an
// operator may switch the AOF off while we are connected.
const probeEvery = 30 * time.Second

// probeRest is how long they are left in peace after an answer.
const probeRest = 500 * time.Millisecond

// oldest is the version that this backend needs, for NOMKSTREAM, MINID and
// XAUTOCLAIM.
var oldest = version{6, 2, 0}

// A version is that of a server.
type version [3]int

func (v version) less(o version) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// parseVersion reads as much of a version as there is.
func parseVersion(s string) (v version) {
	for i, part := range strings.SplitN(s, ".", 3) {
		n := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if n < 0 {
			n = len(part)
		}
		v[i], _ = strconv.Atoi(part[:n])
	}
	return v
}

// A serverInfo is what is known of the servers; where there are several
// masters it is what holds for all of them. The zero value is nothing.
type serverInfo struct {
	known    bool // a server has said so
	version  version
	cluster  bool
	sentinel bool
	class    driver.Class // of a plain write
	always   bool         // appendfsync always
	waitAOF  bool         // it knows WAITAOF, and has an AOF to wait for
	idmp     bool         // it knows XADD … IDMP
}

// A state is what is known of the servers, and whether to believe it.
type state struct {
	info    atomic.Pointer[serverInfo]
	losses  atomic.Uint64 // of connections
	seen    atomic.Uint64 // of these, when the servers were asked for info; stored after it
	changed chan struct{} // one is pending where connections came or went
}

// server is what is known of the servers, without asking.
func (c *client) server() serverInfo {
	if i := c.state.info.Load(); i != nil {
		return *i
	}
	return serverInfo{class: driver.ClassMemory}
}

// class is what a plain write that is acknowledged now survives. It is memory,
// the least, until the servers have said more, and again from when a
// connection is lost until they have said so again: who comes back may be
// another server, or the same one without its AOF.
func (c *client) class() driver.Class {
	if c.state.doubtful() {
		return driver.ClassMemory
	}
	i := c.state.info.Load()
	if i == nil {
		return driver.ClassMemory
	}
	return i.class
}

// doubtful reports whether a connection was lost since the servers were asked.
// What is loaded after it is at least as new as what it is about.
func (s *state) doubtful() bool { return s.seen.Load() != s.losses.Load() }

// suspect says that a connection was made, or lost.
func (c *client) suspect(lost bool) {
	if lost {
		c.state.losses.Add(1)
	}
	select {
	case c.state.changed <- struct{}{}:
	default:
	}
}

// greet finds out what the servers are when the client is made, and refuses
// what it cannot work with.
func (c *client) greet(rc rueidis.Client) error {
	ctx, cancel := context.WithTimeout(c.life, c.o.ConnectTimeout)
	defer cancel()
	i, err := c.probe(ctx, rc)
	if r, ok := answer(err); ok && code(r) == "NOPERM" {
		c.log.Warn(c.where() + " does not let us ask what it is: receipts say that records survive nothing but in memory; allow +info, and +config|get")
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case i.sentinel && !c.sentinel:
		return driver.Errorf(driver.ErrInvalid, "", "%s is a Sentinel: write %s://%s/?master=NAME", c.where(), SchemeSentinel, c.where())
	case i.version.less(oldest):
		return driver.Errorf(errors.ErrUnsupported, "", "%s is Redis %v: %v or later is needed", c.where(), i.version, oldest)
	case i.cluster && rc.Mode() != rueidis.ClientModeCluster && c.unix:
		return driver.Errorf(errors.ErrUnsupported, "", "%s is a node of a cluster, whose other nodes have no socket here: write redis://host", c.where())
	case i.cluster && rc.Mode() != rueidis.ClientModeCluster:
		return driver.Errorf(driver.ErrDenied, "", "%s is a node of a cluster and does not tell us of the others: allow %s +cluster|slots and +cluster|shards", c.where(), c.who())
	}
	c.state.info.Store(&i)
	return nil
}

// watch asks the servers again, now and then and when connections came or
// went, until the driver is closed.
func (c *client) watch(rc rueidis.Client) {
	defer c.work.Done()
	last := time.Now()
	for wait := probeEvery; ; {
		select {
		case <-c.life.Done():
			return
		case <-c.state.changed:
		case <-time.After(wait):
		}
		if time.Since(last) < probeRest { // many connections come and go together
			select {
			case <-c.life.Done():
				return
			case <-time.After(probeRest):
			}
		}
		// If one is lost between the question and the answer, the doubt stays:
		// the answer may come from before.
		wait, last = probeEvery, time.Now()
		losses := c.state.losses.Load()
		ctx, cancel := context.WithTimeout(c.life, c.o.RequestTimeout)
		i, err := c.probe(ctx, rc)
		cancel()
		if err != nil {
			if c.state.doubtful() {
				wait = time.Second
			}
			continue
		}
		c.state.info.Store(&i)
		c.state.seen.Store(losses)
	}
}

// probe asks all masters what they are, and sums it up.
func (c *client) probe(ctx context.Context, rc rueidis.Client) (sum serverInfo, err error) {
	var asked bool
	var replica *serverInfo
	for _, node := range rc.Nodes() {
		i, master, e := c.probeNode(ctx, node)
		if e != nil {
			err = e
			continue
		}
		if !master {
			replica = &i
			continue
		}
		if !asked {
			sum, asked = i, true
			continue
		}
		if i.version.less(sum.version) {
			sum.version = i.version
		}
		sum.class = min(sum.class, i.class)
		sum.always = sum.always && i.always
		sum.waitAOF = sum.waitAOF && i.waitAOF
		sum.idmp = sum.idmp && i.idmp
	}
	switch {
	case asked: // a node that is away does not change what the others are
		return sum, nil
	case replica != nil: // it can be read
		return *replica, nil
	case err == nil:
		err = driver.Errorf(driver.ErrUnavailable, "", "%s: no node can be asked", c.where())
	}
	return sum, err
}

// probeNode asks one node. Who may not ask for CONFIG or COMMAND gets what
// INFO says.
func (c *client) probeNode(ctx context.Context, node rueidis.Client) (i serverInfo, master bool, err error) {
	answers := node.DoMulti(ctx,
		node.B().Info().Build(),
		node.B().ConfigGet().Parameter("appendfsync").Build(),
		node.B().CommandInfo().CommandName("WAITAOF", "XCFGSET").Build())
	text, err := answers[0].ToString()
	if err != nil {
		return i, false, err
	}
	config, _ := answers[1].AsStrMap()
	commands, err := answers[2].ToArray()
	known := func(n int) bool { return err == nil && n < len(commands) && !commands[n].IsNil() }
	i = parseInfo(text, config["appendfsync"])
	if err != nil {
		i.waitAOF = i.waitAOF && !i.version.less(version{7, 2})
		i.idmp = !i.version.less(version{8, 6})
	} else {
		i.waitAOF = i.waitAOF && known(0)
		i.idmp = known(1)
	}
	return i, i.sentinel || !strings.Contains(text, "\nrole:slave"), nil
}

// parseInfo reads what INFO answers. What the server is, it says in lines of
// a name, a colon and a value.
func parseInfo(text, fsync string) serverInfo {
	i := serverInfo{known: true, class: driver.ClassMemory}
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		switch name {
		case "redis_version":
			i.version = parseVersion(value)
		case "redis_mode":
			i.cluster, i.sentinel = value == "cluster", value == "sentinel"
		case "cluster_enabled":
			i.cluster = i.cluster || value == "1"
		case "aof_enabled":
			if value == "1" {
				i.class, i.waitAOF = driver.ClassProcess, true
			}
		}
	}
	if i.class == driver.ClassProcess && fsync == "always" {
		i.class, i.always = driver.ClassSynced, true
	}
	return i
}
