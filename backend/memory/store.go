package memory

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seastreamer/seastreamer/driver"
)

// A Store holds streams and the progress of groups. Its methods may be called
// by any number of goroutines.
type Store struct {
	mu      sync.RWMutex
	streams map[string]*stream
	groups  map[string]*group
	pools   map[string]*pool

	unitsMu sync.Mutex
	units   map[string]*progress // of owners, by name; see atomic.go
}

// NewStore is an empty store.
func NewStore() *Store {
	return &Store{streams: make(map[string]*stream), groups: make(map[string]*group), pools: make(map[string]*pool)}
}

// stream is immutable but for the counter.
type stream struct {
	shards []*shard
	turn   atomic.Uint32 // deals records without a key to the shards in turn
}

// Create makes a stream, which the first record sent does otherwise.
func (s *Store) Create(name string, o Options) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.streams[name]; ok {
		return driver.Errorf(driver.ErrExists, "create "+name, "there is such a stream already")
	}
	return s.create(name, o.withDefaults())
}

// create is called with the lock held.
func (s *Store) create(name string, o Options) error {
	if err := driver.CheckStream(name); err != nil {
		return driver.Errorf(driver.ErrInvalid, "", "stream %q: %w", name, err)
	}
	st := &stream{shards: make([]*shard, o.Shards)}
	for i := range st.shards {
		st.shards[i] = &shard{id: driver.Shard{Stream: strings.Clone(name), Index: int32(i)}, retain: uint64(o.Retain)}
	}
	s.streams[name] = st
	return nil
}

// stream finds the stream, creating it where it is missing.
func (s *Store) stream(name string, o Options) (*stream, error) {
	s.mu.RLock()
	st := s.streams[name]
	s.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[name]; st != nil {
		return st, nil
	}
	if err := s.create(name, o); err != nil {
		return nil, err
	}
	return s.streams[name], nil
}

// shards are all shards of the streams named, in order.
func (s *Store) shards(streams []string) ([]*shard, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []*shard
	for _, name := range streams {
		st, ok := s.streams[name]
		if !ok {
			return nil, driver.Errorf(driver.ErrNotFound, "", "there is no stream %q: send something to it first", name)
		}
		all = append(all, st.shards...)
	}
	slices.SortFunc(all, func(a, b *shard) int { return a.id.Compare(b.id) })
	return all, nil
}

// Trim removes the messages of a shard below the sequence number before, as
// retention does.
func (s *Store) Trim(id driver.Shard, before driver.Seq) error {
	shards, err := s.shards([]string{id.Stream})
	if err != nil {
		return err
	}
	if id.Index < 0 || int(id.Index) >= len(shards) {
		return driver.Errorf(driver.ErrNotFound, "trim", "there is no shard %v", id)
	}
	shards[id.Index].trim(number(before))
	return nil
}

// number is q as this backend counts, which is in 64 bits.
func number(q driver.Seq) uint64 {
	if q.Hi != 0 {
		return ^uint64(0)
	}
	return q.Lo
}
