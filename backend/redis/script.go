package redis

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// A script is Lua that a server runs at one moment. It is sent
// with each call: it needs no cache at the server then, which would be empty
// after a fail-over, and costs some microseconds.
type script string

func (s script) build(b rueidis.Builder, key string, args ...string) rueidis.Completed {
	return s.buildFor(b, []string{key}, args...)
}

// buildFor is build for several keys, of one slot.
func (s script) buildFor(b rueidis.Builder, keys []string, args ...string) rueidis.Completed {
	return b.Eval().Script(string(s)).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

// askAll is ask for any number of commands, askAtOnce of them together. Where
// the way to the server fails it returns the answers until then as well.
func (c *client) askAll(ctx context.Context, rc rueidis.Client, cmds []rueidis.Completed) ([]rueidis.RedisResult, error) {
	answers := make([]rueidis.RedisResult, 0, len(cmds))
	for from := 0; from < len(cmds); from += askAtOnce {
		some, err := c.ask(ctx, rc, cmds[from:min(from+askAtOnce, len(cmds))]...)
		answers = append(answers, some...)
		if err != nil {
			return answers, err
		}
	}
	return answers, nil
}

// askEach is askAll for commands that change something, each of a shard: where
// some of them fail it says of each what became of it.
func (c *client) askEach(ctx context.Context, rc rueidis.Client, shards []driver.Shard, keys []string, cmds []rueidis.Completed, did func(i int, m rueidis.RedisMessage) error) error {
	answers, err := c.askAll(ctx, rc, cmds)
	errs := make([]error, len(cmds))
	for i := range cmds {
		if i >= len(answers) {
			errs[i] = err
			continue
		}
		m, err := answers[i].ToMessage()
		if err != nil {
			errs[i] = c.keyFailure("", shards[i], keys[i], err)
		} else if did != nil {
			errs[i] = did(i, m)
		}
	}
	return driver.Partial(errs)
}
