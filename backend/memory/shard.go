package memory

import (
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

const (
	blockLen = 512     // messages a block holds
	arenaLen = 1 << 16 // bytes that messages are copied to come in pieces of this size
)

// message is a stored message. It never changes.
type message struct {
	key, value []byte
	headers    []driver.Header
	time       time.Time
	sum        int // sizes of this message and all before it in the shard
}

func (m *message) size() int {
	n := len(m.key) + len(m.value)
	for i := range m.headers {
		n += len(m.headers[i].Key) + len(m.headers[i].Value)
	}
	return n
}

// messageOverhead is what a message costs besides its bytes.
const messageOverhead = 96

// shard is a log of blocks, each of blockLen messages but for the last. A
// block's array is made once at full length, so that what readers hold stays
// where it is while the writer fills the rest: the writer touches only entries
// that no reader has been given, and readers learn of entries under mu.
type shard struct {
	id     driver.Shard
	retain uint64      // messages kept; zero keeps all
	gone   atomic.Bool // its stream is deleted: no group is to know it any more

	mu     sync.Mutex
	blocks [][]message
	base   uint64 // the sequence number of blocks[0][0], a multiple of blockLen
	first  uint64 // the first message that is still there
	next   uint64 // one past the last
	sum    int    // of the last message
	arena  []byte
	subs   []chan struct{} // woken by an append, each with room for one signal
}

func (s *shard) bounds() (first, next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, s.next
}

// append stores a copy of rec and returns its sequence number.
func (s *shard) append(rec *driver.Record) uint64 {
	m := message{time: rec.Time}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.key = s.keep(rec.Key)
	m.value = s.keep(rec.Value)
	if len(rec.Headers) > 0 {
		m.headers = make([]driver.Header, len(rec.Headers))
		for i, h := range rec.Headers {
			m.headers[i] = driver.Header{Key: strings.Clone(h.Key), Value: s.keep(h.Value)}
		}
	}
	last := len(s.blocks) - 1
	if last < 0 || len(s.blocks[last]) == blockLen {
		s.blocks = append(s.blocks, make([]message, 0, blockLen))
		last++
	}
	s.blocks[last] = append(s.blocks[last], m)
	s.sum += m.size() + messageOverhead
	s.blocks[last][len(s.blocks[last])-1].sum = s.sum
	seq := s.next
	s.next++
	if s.retain > 0 && s.next-s.first > s.retain {
		s.trimLocked(s.next - s.retain)
	}
	for _, c := range s.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	return seq
}

// keep copies b; nil stays nil and empty stays empty.
func (s *shard) keep(b []byte) []byte {
	if b == nil {
		return nil
	}
	if len(b) > arenaLen/4 {
		return slices.Clone(b)
	}
	if cap(s.arena)-len(s.arena) < len(b) || s.arena == nil {
		s.arena = make([]byte, 0, arenaLen)
	}
	from := len(s.arena)
	s.arena = append(s.arena, b...)
	return s.arena[from:len(s.arena):len(s.arena)]
}

func (s *shard) trim(before uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trimLocked(before)
}

func (s *shard) trimLocked(before uint64) {
	s.first = max(s.first, min(before, s.next))
	for len(s.blocks) > 0 && len(s.blocks[0]) == blockLen && s.base+blockLen <= s.first {
		s.blocks[0] = nil
		s.blocks = s.blocks[1:]
		s.base += blockLen
	}
}

// read is a window of the messages from sequence number from on, as far as
// they lie in one block and hold at most budget bytes, but one at least. What
// lies below first is gone: then there is no window. size is what the window
// holds; sums spare it a look at each message.
func (s *shard) read(from uint64, budget int) (window []message, size int, first uint64) {
	s.mu.Lock()
	if from >= s.first && from < s.next {
		i := from - s.base
		window = s.blocks[i/blockLen][i%blockLen:]
	}
	first = s.first
	s.mu.Unlock()
	if len(window) == 0 {
		return nil, 0, first
	}
	before := window[0].sum - window[0].size() - messageOverhead
	n := len(window)
	if window[n-1].sum-before > budget {
		n = max(1, sort.Search(n, func(i int) bool { return window[i].sum-before > budget }))
	}
	return window[:n:n], window[n-1].sum - before, first
}

// resolve turns a start into the number where reading begins.
func (s *shard) resolve(at driver.Start) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch at.At {
	case driver.AtEarliest:
		return s.first
	case driver.AtSeq:
		return max(number(at.Seq), s.first)
	case driver.AtTime:
		// Timestamps are the senders' and need not ascend, so that only looking
		// at each finds the first.
		for i, b := range s.blocks {
			for j := range b {
				if seq := s.base + uint64(i*blockLen+j); seq >= s.first && !b[j].time.Before(at.Time) {
					return seq
				}
			}
		}
	case driver.AtLatest:
	}
	return s.next
}

// subscribe has c signalled by every append, and once at once.
func (s *shard) subscribe(c chan struct{}) {
	s.mu.Lock()
	s.subs = append(s.subs, c)
	s.mu.Unlock()
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *shard) unsubscribe(c chan struct{}) {
	s.mu.Lock()
	s.subs = slices.DeleteFunc(s.subs, func(o chan struct{}) bool { return o == c })
	s.mu.Unlock()
}
