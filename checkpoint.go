package seastreamer

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Checkpoint says how far each shard was processed: everything below its
// sequence number is done, and it is where to go on. Store it in your own
// transaction, or give it to ConsumerConfig.Until.
type Checkpoint map[Shard]Seq

// MarshalText writes stream:shard=next items, sorted, with commas between
// them; the stream is percent-encoded.
func (c Checkpoint) MarshalText() ([]byte, error) {
	shards := make([]Shard, 0, len(c))
	for s := range c {
		shards = append(shards, s)
	}
	slices.SortFunc(shards, Shard.Compare)
	var b []byte
	for i, s := range shards {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, url.QueryEscape(s.Stream)...)
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(s.Index), 10)
		b = append(b, '=')
		b = c[s].Append(b)
	}
	return b, nil
}

// UnmarshalText replaces c by what MarshalText wrote.
func (c *Checkpoint) UnmarshalText(t []byte) error {
	m := Checkpoint{}
	if len(bytes.TrimSpace(t)) == 0 {
		*c = m
		return nil
	}
	for item := range strings.SplitSeq(string(t), ",") {
		name, seq, ok := strings.Cut(strings.TrimSpace(item), "=")
		i := strings.LastIndexByte(name, ':')
		if !ok || i < 0 {
			return fmt.Errorf("checkpoint item %q: stream:shard=sequence is wanted", item)
		}
		stream, err := url.QueryUnescape(name[:i])
		if err != nil {
			return fmt.Errorf("checkpoint item %q: percent-encoding is broken", item)
		}
		n, err := strconv.ParseInt(name[i+1:], 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("checkpoint item %q: %q is not a shard", item, name[i+1:])
		}
		var next Seq
		if err := next.UnmarshalText([]byte(seq)); err != nil {
			return fmt.Errorf("checkpoint item %q: %w", item, err)
		}
		sh := Shard{Stream: stream, Index: int32(n)}
		if _, ok := m[sh]; ok {
			return fmt.Errorf("checkpoint item %q: the shard is named twice", item)
		}
		m[sh] = next
	}
	*c = m
	return nil
}
