package file

import (
	"fmt"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// A Sync says when written records are forced to stable storage.
type Sync string

// The sync policies.
const (
	SyncNever    Sync = "never"    // when the system likes: receipts are "process"
	SyncInterval Sync = "interval" // a second after they were written: receipts are "process"
	SyncAlways   Sync = "always"   // before the receipt, which is "synced"
)

// rank orders the policies; of a stream's and a writer's the stricter counts.
func (s Sync) rank() int {
	switch s {
	case SyncInterval:
		return 1
	case SyncAlways:
		return 2
	}
	return 0
}

// Options are the settings of the backend. A URL's query spells them in lower
// case with underscores, as in file:///dir?shards=4&sync=always, and wins over
// the struct. The zero value is a good start.
//
// All but Buffer and the embedded Options are settings of streams: they are stored with a
// stream when it is created. For a stream that exists, those given here count
// for what this process writes, except that Shards stays what it is and Sync
// can only become stricter. For retention zero means the stream's own setting.
type Options struct {
	// Shards of a stream that is created; zero is 1.
	Shards int
	// SegmentSize is the size in bytes at which a new segment file begins;
	// zero is 256 MiB.
	SegmentSize int64
	// Sync is the sync policy; empty is SyncNever. Readers of a stream that
	// was created with SyncAlways see nothing that is not synced.
	Sync Sync
	// Retention removes segments whose every message is older; zero keeps
	// them. It is looked at when a segment is full, by who fills it.
	Retention time.Duration
	// RetentionBytes removes the oldest segments of a shard that holds more;
	// zero keeps them. It is looked at when a segment is full.
	RetentionBytes int64
	// Buffer is how many bytes of records a producer takes before it waits,
	// where the producer's own configuration says nothing; zero is 2 MiB.
	Buffer int64

	// Options are the observer and the logger of what Open returns. The logger
	// is also told that readers have to poll. They have no name in a URL.
	seastreamer.Options
}

const (
	defaultSegment = 256 << 20
	defaultBuffer  = 2 << 20
	minSegment     = 4 << 10
	maxShards      = 1 << 16
	// maxRecord limits key, value and headers of a record together.
	maxRecord = 16 << 20
)

// query is o with what the URL says.
func (o Options) query(u driver.URL) (Options, error) {
	q := u.Options()
	o.Shards = q.Int("shards", o.Shards)
	o.SegmentSize = q.Size("segment_size", o.SegmentSize)
	o.Sync = Sync(q.OneOf("sync", string(o.Sync), string(SyncNever), string(SyncInterval), string(SyncAlways)))
	o.Retention = q.Duration("retention", o.Retention)
	o.RetentionBytes = q.Size("retention_bytes", o.RetentionBytes)
	o.Buffer = q.Size("buffer", o.Buffer)
	if err := q.Err(); err != nil {
		return o, err
	}
	return o, o.check()
}

func (o Options) check() error {
	bad := func(format string, args ...any) error {
		return driver.Errorf(driver.ErrInvalid, "", format, args...)
	}
	switch {
	case o.Shards < 0 || o.Shards > maxShards:
		return bad("option shards is %d: 1 to %d are allowed", o.Shards, maxShards)
	case o.SegmentSize != 0 && o.SegmentSize < minSegment:
		return bad("option segment_size is %d bytes: at least %d are needed", o.SegmentSize, minSegment)
	case o.Sync != "" && o.Sync != SyncNever && o.Sync != SyncInterval && o.Sync != SyncAlways:
		return bad("option sync is %q: never, interval or always is wanted", string(o.Sync))
	case o.Retention < 0 || o.RetentionBytes < 0 || o.Buffer < 0:
		return bad("options retention, retention_bytes and buffer must not be negative")
	}
	return nil
}

// A meta is what the file of that name in a stream's folder says, as JSON. It
// is written whole and then moved into place.
type meta struct {
	Version        int           `json:"version"`
	Name           string        `json:"name"`
	Shards         int           `json:"shards"`
	SegmentSize    int64         `json:"segment_size"`
	Sync           Sync          `json:"sync"`
	Retention      time.Duration `json:"retention_ns,omitempty"`
	RetentionBytes int64         `json:"retention_bytes,omitempty"`
}

// newMeta is the settings of a stream that o creates.
func (o Options) newMeta(name string) meta {
	m := meta{version, name, o.Shards, o.SegmentSize, o.Sync, o.Retention, o.RetentionBytes}
	if m.Shards == 0 {
		m.Shards = 1
	}
	if m.SegmentSize == 0 {
		m.SegmentSize = defaultSegment
	}
	if m.Sync == "" {
		m.Sync = SyncNever
	}
	return m
}

// check refuses what no version of this package wrote.
func (m meta) check() error {
	if m.Version != version {
		return fmt.Errorf("it has format version %d and this program knows %d", m.Version, version)
	}
	if m.Shards < 1 || m.Shards > maxShards || m.SegmentSize < minSegment || m.Retention < 0 || m.RetentionBytes < 0 {
		return fmt.Errorf("it holds impossible settings: %+v", m)
	}
	return nil
}

// with is the settings that count for a process with the options o.
func (m meta) with(o Options) meta {
	if o.SegmentSize != 0 {
		m.SegmentSize = o.SegmentSize
	}
	if o.Sync.rank() > m.Sync.rank() {
		m.Sync = o.Sync
	}
	if o.Retention != 0 {
		m.Retention = o.Retention
	}
	if o.RetentionBytes != 0 {
		m.RetentionBytes = o.RetentionBytes
	}
	return m
}
