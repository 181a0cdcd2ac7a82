package file

import (
	"hash/fnv"
	"math/rand/v2"
	"sync/atomic"

	"github.com/seastreamer/seastreamer/driver"
)

// A router finds the lane for each record. It may be used by any number of
// goroutines.
type router struct {
	d    *fileDriver
	last atomic.Pointer[streamWriter]
	turn atomic.Uint32 // for records without a key
}

func newRouter(d *fileDriver) *router {
	r := &router{d: d}
	r.turn.Store(rand.Uint32())
	return r
}

// lane is where rec goes. It creates a stream that is missing, and refuses
// what cannot be stored.
func (r *router) lane(rec *driver.Record) (*lane, error) {
	s := r.last.Load()
	if s == nil || s.name != rec.Stream || s.over() {
		var err error
		if s, err = r.d.writerOf(rec.Stream); err != nil {
			return nil, wrap("send to stream "+rec.Stream, driver.Shard{}, err)
		}
		r.last.Store(s)
	}
	i, ok := rec.Shard.Index()
	if !ok {
		i = r.choose(rec.Key, len(s.lanes))
	}
	l, err := s.lane(i)
	if err == nil && userSize(rec) > maxRecord {
		err = driver.Errorf(driver.ErrTooLarge, "", "the record has %d bytes, and at most %d (key, value and headers) are allowed", userSize(rec), maxRecord)
	}
	if err != nil {
		return nil, wrap("send to", driver.Shard{Stream: rec.Stream, Index: i}, err)
	}
	return l, nil
}

// choose is the shard for a record that names none: by the key's hash (FNV-1a)
// where there is a key, else in turn.
func (r *router) choose(key []byte, shards int) int32 {
	if shards == 1 {
		return 0
	}
	if key == nil {
		return int32(r.turn.Add(1) % uint32(shards))
	}
	h := fnv.New32a()
	h.Write(key)
	return int32(h.Sum32() % uint32(shards))
}
