package redis

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// rueidis panics where keys of one command are in different slots, and has
// done so when a cluster was down. Callers check slots first; what is left
// becomes an error here, whose outcome is not known.

// guarded is a client whose calls of these methods do not panic; this package
// uses no others for commands.
type guarded struct{ rueidis.Client }

func (g guarded) Do(ctx context.Context, cmd rueidis.Completed) (r rueidis.RedisResult) {
	defer recovered(func(err error) { r = rueidis.NewErrorResult(err) })
	return g.Client.Do(ctx, cmd)
}

func (g guarded) DoMulti(ctx context.Context, cmds ...rueidis.Completed) (rs []rueidis.RedisResult) {
	defer recovered(func(err error) { rs = failed(len(cmds), err) })
	return g.Client.DoMulti(ctx, cmds...)
}

// Nodes are guarded, too. There are none where rueidis has lost them all.
func (g guarded) Nodes() (nodes map[string]rueidis.Client) {
	defer recovered(func(error) { nodes = nil })
	nodes = g.Client.Nodes()
	for addr, n := range nodes {
		nodes[addr] = guarded{n}
	}
	return nodes
}

func failed(n int, err error) []rueidis.RedisResult {
	rs := make([]rueidis.RedisResult, n)
	for i := range rs {
		rs[i] = rueidis.NewErrorResult(err)
	}
	return rs
}

// recovered turns a panic of the caller's callee into an error.
func recovered(set func(error)) {
	if p := recover(); p != nil {
		set(fmt.Errorf("%w: %v", errPanic, p))
	}
}
