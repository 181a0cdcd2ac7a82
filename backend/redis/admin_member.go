package redis

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Before 7.2 Redis does not know a consumer that waits and has never been given
// a message, and does not hear of one that waits. So the connections on which
// members read say in their names, which CLIENT LIST shows, whose they are:
//
//	sea-streamer/orders/sea-host-4711-0123456789ab
//
// client_name, the group and the member, the latter two percent-encoded.

// memberConn is the name of a connection on which a member of a group reads.
func (o *Options) memberConn(group, member string) string {
	return o.ClientName + "/" + url.QueryEscape(group) + "/" + url.QueryEscape(member)
}

// parseMemberConn reads what memberConn writes.
func parseMemberConn(name string) (client, group, member string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", "", "", false
	}
	k := strings.LastIndexByte(name[:i], '/')
	if k < 0 {
		return "", "", "", false
	}
	group, err0 := url.QueryUnescape(name[k+1 : i])
	member, err1 := url.QueryUnescape(name[i+1:])
	return name[:k], group, member, err0 == nil && err1 == nil && group != "" && member != ""
}

// A peerMember is a member whose connection a server has.
type peerMember struct {
	client, host string
	idle         time.Duration
}

// connected are the members of this library that are connected to the masters,
// by group and name. It is empty where the user may not ask for CLIENT LIST.
func (c *client) connected(ctx context.Context, rc rueidis.Client) map[string]map[string]peerMember {
	all := map[string]map[string]peerMember{}
	nodes, _ := c.masters(ctx, rc)
	for _, node := range nodes {
		answers, err := c.ask(ctx, node, node.B().Arbitrary("CLIENT", "LIST", "TYPE", "NORMAL").Build())
		if err != nil {
			continue
		}
		text, err := textOf(answers[0])
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			addClient(all, line)
		}
	}
	return all
}

// addClient adds the member that a line of CLIENT LIST is about, if it is.
// https://redis.io/docs/latest/commands/client-list/
func addClient(all map[string]map[string]peerMember, line string) {
	var name, addr string
	var idle time.Duration
	for field := range strings.FieldsSeq(line) {
		k, v, _ := strings.Cut(field, "=")
		switch k {
		case "name":
			name = v
		case "addr":
			addr = v
		case "idle":
			s, _ := strconv.Atoi(v)
			idle = time.Duration(s) * time.Second
		}
	}
	client, group, member, ok := parseMemberConn(name)
	if !ok {
		return
	}
	if all[group] == nil {
		all[group] = map[string]peerMember{}
	}
	p, known := all[group][member]
	if !known || idle < p.idle {
		all[group][member] = peerMember{client, hostOf(addr), idle}
	}
}
