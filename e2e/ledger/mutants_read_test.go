//go:build unix

package ledger

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// M-7: where messages have been trimmed the reader goes to the end, and not to
// where the gap ends.
func resetOnGap(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	b.write(b.s)
	first, err := b.s.Bounds(t.Context(), "in")
	b.must(err)
	done := seastreamer.Checkpoint{}
	for s, bound := range first {
		done[s] = bound.First
	}
	n := 0
	for m := range b.until(b.s, "in") {
		if n++; n > 40 {
			break
		}
		b.saw.Saw(m.Shard().Index, m.Key(), m.Value())
		done[m.Shard()] = m.Seq().Succ()
	}
	for s, bound := range first {
		b.must(b.store.Trim(s, bound.First.Add(60)))
	}
	c, err := b.s.Consumer(t.Context(), seastreamer.ConsumerConfig{Streams: []string{"in"}, Start: seastreamer.Earliest, Until: b.end("in"),
		Assigned: func(context.Context, []seastreamer.Shard) (seastreamer.Checkpoint, error) { return done, nil }})
	b.must(err)
	for again := true; again; {
		again = false
		for m, err := range c.Messages(t.Context()) {
			var gap *seastreamer.GapError
			if errors.As(err, &gap) {
				b.saw.Gap(gap.Shard.Index, int64(gap.From.Lo-first[gap.Shard].First.Lo), int64(gap.To.Lo-gap.From.Lo))
				if bug {
					return b.found() // at the end there is nothing that is old
				}
				again = true
				break
			}
			b.must(err)
			b.saw.Saw(m.Shard().Index, m.Key(), m.Value())
		}
	}
	return b.found()
}

// M-9: a reader takes itself for complete when it has seen the last record; but
// a log may end in records that nobody may see.
func waitForLast(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	b.write(b.s)
	type entry struct {
		shard     int32
		key, body []byte
	}
	var log []entry // of committed records; two of an aborted unit follow
	for m := range b.until(b.s, "in") {
		log = append(log, entry{m.Shard().Index, m.Key(), m.Value()})
	}
	end := len(log) + 2
	var progress atomic.Int64
	complete := make(chan struct{})
	stop := make(chan struct{})
	left := make(chan struct{})
	go func() {
		defer close(left)
		next, last := 0, -1
		for {
			if next < len(log) {
				e := log[next]
				b.saw.Saw(e.shard, e.key, e.body)
				last = next
				next++
				progress.Add(1)
			} else {
				next = end // the client passes over what is not to be seen
			}
			if bug && last == end-1 || !bug && next >= end {
				close(complete)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	limit := time.Minute // which only a reader that stands still comes to
	if bug {
		limit = 300 * time.Millisecond
	}
	_, stalled := Watch(complete, limit, func() bool { return true }, progress.Load)
	close(stop)
	<-left
	f := b.found()
	f.stalled = stalled
	return f
}

// M-11: a record's checksum covers its value and not its key, and a bit flips.
func crcSkipsHeader(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	frame := func(key, value []byte) []byte {
		f := binary.BigEndian.AppendUint32(nil, uint32(len(key)))
		f = append(append(f, key...), value...)
		covered := f
		if bug {
			covered = value
		}
		return binary.BigEndian.AppendUint32(f, crc32.Checksum(covered, castagnoli))
	}
	for id := range b.books.Plan.Messages {
		r := b.record("in", id)
		f := frame(r.Key, r.Value)
		b.books.Sent(0, id, nil)
		if id == 123 {
			f[4] ^= 1 // the first byte of the key
		}
		shard := b.books.Plan.Shard(id)
		n := binary.BigEndian.Uint32(f)
		key, value := f[4:4+n], f[4+n:len(f)-4]
		if string(frame(key, value)) != string(f) {
			b.saw.Gap(shard, id/int64(b.books.Plan.Shards), 1) // a reader reports it
			continue
		}
		b.saw.Saw(shard, key, value)
	}
	return b.found()
}

// M-13: a shard that was added is read from its end, because that is where the
// reader began with the others.
func newShardFromEnd(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	p, err := b.s.Producer(t.Context(), seastreamer.ProducerConfig{})
	b.must(err)
	send := func(from, to int64) {
		for id := from; id < to; id++ {
			r := b.record("", id)
			i, _ := r.Shard.Index()
			r.Stream, r.Shard = []string{"in.0", "in.1"}[i], seastreamer.On(0)
			_, err := p.Send(t.Context(), r)
			b.books.Sent(0, id, err)
		}
	}
	follow := func(shard int32, start seastreamer.Start) *seastreamer.Consumer {
		c, err := b.s.Consumer(t.Context(), seastreamer.ConsumerConfig{Streams: []string{[]string{"in.0", "in.1"}[shard]}, Start: start})
		b.must(err)
		return c
	}
	first := follow(0, seastreamer.Latest) // before there is anything
	send(0, 100)                           // to both: the reader does not know of the second yet
	start := seastreamer.Earliest
	if bug {
		start = seastreamer.Latest
	}
	second := follow(1, start)
	send(100, b.books.Plan.Messages)
	for shard, c := range []*seastreamer.Consumer{first, second} {
		left := b.books.Plan.Messages / 2
		if bug && shard == 1 {
			left -= 50
		}
		for m, err := range c.Messages(t.Context()) {
			b.must(err)
			b.saw.Saw(int32(shard), m.Key(), m.Value())
			if left--; left == 0 {
				break
			}
		}
	}
	return b.found()
}

// M-14: a member of a Redis group is removed for being silent, and what it had
// not acknowledged goes with it. On a real server.
func deletePending(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	s := redistest.ForTest(t, redistest.Options{})
	for id := range b.books.Plan.Messages {
		s.Call(t, 1, "XADD", "in", "*", "msg", string(b.record("in", id).Value))
		b.books.Sent(0, id, nil)
	}
	s.Call(t, 1, "XGROUP", "CREATE", "in", "g", "0")
	s.Call(t, 1, "XREADGROUP", "GROUP", "g", "dies", "COUNT", "50", "STREAMS", "in", ">")
	if bug {
		s.Call(t, 1, "XGROUP", "DELCONSUMER", "in", "g", "dies")
	}
	take := func(reply string) (n int) {
		for line := range strings.SplitSeq(reply, "\n") {
			if m, err := Parse([]byte(line)); err == nil {
				b.saw.Saw(b.books.Plan.Shard(m.ID), []byte(b.books.Plan.Key(m.ID)), []byte(line))
				n++
			}
		}
		return n
	}
	take(s.Call(t, 1, "XAUTOCLAIM", "in", "g", "lives", "0", "0", "COUNT", "1000"))
	for take(s.Call(t, 1, "XREADGROUP", "GROUP", "g", "lives", "COUNT", "100", "STREAMS", "in", ">")) > 0 {
	}
	return b.found()
}

// M-15: a writer leaves a pipe without ending its last line, and the reader
// throws away what is not a line. On a real named pipe.
func swallowPartial(t *testing.T, bug bool) finding {
	b := newTestbed(t)
	path := filepath.Join(t.TempDir(), "pipe")
	b.must(syscall.Mkfifo(path, 0o600))
	wrote := make(chan error, 1)
	go func() {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			wrote <- err
			return
		}
		for id := range b.books.Plan.Messages {
			line := string(b.record("in", id).Value)
			if id < b.books.Plan.Messages-1 {
				line += "\n"
			}
			_, err := io.WriteString(w, line)
			b.books.Sent(0, id, err)
		}
		wrote <- w.Close()
	}()
	f, err := os.Open(path)
	b.must(err)
	defer f.Close()
	var lines []string
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadString('\n')
		if err == nil || !bug && line != "" {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
		if err != nil {
			break
		}
	}
	b.must(<-wrote)
	for _, line := range lines {
		m, _ := Parse([]byte(line))
		b.saw.Saw(b.books.Plan.Shard(m.ID), []byte(b.books.Plan.Key(m.ID)), []byte(line))
	}
	return b.found()
}
