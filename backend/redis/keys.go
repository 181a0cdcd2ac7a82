package redis

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// A layout is where a stream's entries are: in its bare key, which is shard 0,
// or in one key per shard.
type layout struct {
	stream  string
	sharded bool
	shards  []int32 // ascending; just 0 where it is not sharded; none where it does not exist
}

// exists reports whether the stream has a key.
func (l *layout) exists() bool { return len(l.shards) > 0 }

// key is the key of shard i, which need not exist.
func (c *client) key(l *layout, i int32) string {
	if !l.sharded {
		return c.o.bareKey(l.stream)
	}
	return c.o.shardKey(l.stream, i)
}

// bareKey is the key of a stream that is not sharded.
func (o *Options) bareKey(stream string) string {
	base, n, one := cutShard(stream)
	switch {
	case one && o.HashTag == "stream":
		return tagged(base) + ":" + n
	case one && o.HashTag == "shard":
		if _, _, has := hashTag(base); !has {
			return base + ":{" + n + "}"
		}
	case o.HashTag == "stream":
		return tagged(stream)
	}
	return stream
}

// shardKey is the key of shard i of a sharded stream.
func (o *Options) shardKey(stream string, i int32) string {
	n := strconv.Itoa(int(i))
	switch o.HashTag {
	case "stream":
		return tagged(stream) + ":" + n
	case "shard":
		if _, _, has := hashTag(stream); !has {
			return stream + ":{" + n + "}"
		}
	}
	return stream + ":" + n
}

// tagged is s in braces, or s where it has a tag of its own.
func tagged(s string) string {
	if _, _, has := hashTag(s); has {
		return s
	}
	return "{" + s + "}"
}

// cutShard takes a name apart that names one key of a sharded stream, such as
// trades:0. It has no shards below it.
func cutShard(stream string) (base, n string, ok bool) {
	i := strings.LastIndexByte(stream, ':')
	if i < 1 || !isShard(stream[i+1:]) {
		return stream, "", false
	}
	return stream[:i], stream[i+1:], true
}

// isShard reports whether s is a shard's number as keys spell it: decimal,
// without leading zeros.
func isShard(s string) bool {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return false
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return err == nil && n < 1<<31-1 && s[0] != '+'
}

// discover finds the keys of a stream. A stream without any is a layout that
// does not exist, and no error.
func (c *client) discover(ctx context.Context, stream string) (layout, error) {
	l := layout{stream: stream}
	rc, err := c.connect(ctx)
	if err != nil {
		return l, err
	}
	if _, _, one := cutShard(stream); one {
		found, err := c.existing(ctx, rc, c.o.bareKey(stream))
		if err == nil && found[0] {
			l.shards = []int32{0}
		}
		return l, err
	}
	if c.o.Discover == "scan" {
		return c.scan(ctx, rc, l)
	}
	// One round trip answers for the bare key and the first shards; streams
	// with more of them take one more each time their number doubles.
	keys := []string{c.o.bareKey(stream)}
	for step := 8; ; step = min(2*step, 1024) {
		first := len(l.shards)
		for i := range step {
			keys = append(keys, c.o.shardKey(stream, int32(first+i))) //nolint:gosec // far below the limit
		}
		found, err := c.existing(ctx, rc, keys...)
		if err != nil {
			return l, err
		}
		if first == 0 {
			if !found[1] {
				if found[0] {
					l.shards = []int32{0}
				}
				return l, nil
			}
			l.sharded = true
			found = found[1:]
		}
		n := slices.Index(found, false)
		if n < 0 {
			n = len(found)
		}
		for i := range n {
			l.shards = append(l.shards, int32(first+i)) //nolint:gosec // far below the limit
		}
		if n < len(found) {
			return l, nil
		}
		keys = keys[:0]
	}
}

// existing says which keys there are.
func (c *client) existing(ctx context.Context, rc rueidis.Client, keys ...string) ([]bool, error) {
	cmds := make([]rueidis.Completed, len(keys))
	for i, k := range keys {
		cmds[i] = rc.B().Exists().Key(k).Build()
	}
	found := make([]bool, len(keys))
	answers, err := c.ask(ctx, rc, cmds...)
	if err != nil {
		return nil, err
	}
	for i, a := range answers {
		n, err := a.AsInt64()
		if err != nil {
			return nil, c.keyFailure("", driver.Shard{}, keys[i], err)
		}
		found[i] = n > 0
	}
	return found, nil
}

// hashTag is what of a key decides about its slot: what is between the first
// brace and the next closing one, if that is not empty.
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
func hashTag(key string) (from, to int, has bool) {
	from = strings.IndexByte(key, '{') + 1
	if from > 0 {
		if n := strings.IndexByte(key[from:], '}'); n > 0 {
			return from, from + n, true
		}
	}
	return 0, len(key), false
}

// slot is the cluster slot of a key: CRC-16/XMODEM of its hash tag, modulo
// 16,384.
func slot(key string) uint16 {
	from, to, _ := hashTag(key)
	var crc uint16
	for _, b := range []byte(key[from:to]) {
		crc = crc<<8 ^ crc16[byte(crc>>8)^b]
	}
	return crc & 0x3fff
}

var crc16 = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8 //nolint:gosec // a byte
		for range 8 {
			high := crc&0x8000 != 0
			if crc <<= 1; high {
				crc ^= 0x1021
			}
		}
		t[i] = crc
	}
	return t
}()
