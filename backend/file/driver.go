package file

import (
	"context"
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// An Opener opens directories named by URLs such as file:///var/lib/logs?sync=always.
// Its Options count where the URL says nothing else.
type Opener struct{ Options Options }

// Open implements [driver.Opener]. The directory need not exist: the first
// stream that is written creates it.
func (o Opener) Open(ctx context.Context, u driver.URL) (driver.Driver, error) {
	op := "open " + u.String()
	if err := supported(); err != nil {
		return nil, wrap(op, driver.Shard{}, err)
	}
	opts, err := o.Options.query(u)
	if err == nil && (u.Scheme != "file" || len(u.Nodes) != 1 || u.User != nil) {
		err = driver.Errorf(driver.ErrInvalid, "", "name one directory, as in file:///var/lib/logs")
	}
	if err != nil {
		return nil, wrap(op, driver.Shard{}, err)
	}
	return OpenDriver(ctx, u.Nodes[0], opts)
}

// OpenDriver opens a directory for programs that work on the driver itself.
func OpenDriver(ctx context.Context, dir string, o Options) (driver.Driver, error) {
	boot, err := bootHash()
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return nil, wrap("open "+dir, driver.Shard{}, err)
	}
	return openDriver(dir, o, env{boot: boot, patience: 10 * time.Second, sync: datasync})
}

func openDriver(dir string, o Options, e env) (*fileDriver, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, wrap("open "+dir, driver.Shard{}, err)
	}
	if e.look == 0 {
		e.look, e.tick = lookEvery, tickEvery
	}
	d := &fileDriver{store: store{dir: abs}, opts: o, env: e, writers: make(map[string]*streamWriter)}
	// A directory that cannot be opened is said now; one that is not there
	// may come.
	if _, err := d.store.open(false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, wrap("open "+dir, driver.Shard{}, err)
	}
	return d, nil
}

// bootHash is the hash of the boot's id (FNV-1a): slots have eight bytes for it.
var bootHash = sync.OnceValues(func() (uint64, error) {
	if err := supported(); err != nil {
		return 0, err
	}
	name, err := bootName()
	if err != nil {
		return 0, err
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64(), nil
})

// A fileDriver is an open directory.
type fileDriver struct {
	store store
	opts  Options
	env   env

	creating sync.Mutex // one stream at a time; it is taken before mu

	mu      sync.Mutex
	closed  bool
	writers map[string]*streamWriter
	opened  []*lane // every lane there is
}

// Features implements [driver.Driver].
func (d *fileDriver) Features() driver.Features {
	f := driver.Features{
		Backend:      "file",
		Ack:          driver.AckPosition,
		SeekSeq:      true,
		SeekTime:     true,
		Shards:       true,
		Keys:         true,
		Headers:      true,
		Tombstones:   true,
		Timestamps:   true,
		TimeUnit:     time.Microsecond,
		Durabilities: []driver.Durability{driver.AtLeastOnce, driver.AtMostOnce, driver.ExactlyOnce},
		Classes:      []driver.Class{driver.ClassProcess},
		// The outcome of a local write is known: nothing is ever repeated.
		Dedup:        driver.Dedup{Retry: true},
		MaxRecord:    maxRecord,
		UnitMessages: unitMessages,
		UnitBytes:    unitBytes,
		UnitShared:   true,
		Autocreate:   true,
		Needs:        "a local file system on Linux (macOS: polling, not tested)",
	}
	if d.opts.Sync == SyncAlways {
		f.Classes = []driver.Class{driver.ClassSynced}
	}
	return f
}

// meta is the settings of a stream that exists.
func (d *fileDriver) meta(name string) (*os.Root, meta, error) {
	if err := driver.CheckStream(name); err != nil {
		return nil, meta{}, driver.Errorf(driver.ErrInvalid, "", "stream %q: %w", name, err)
	}
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return nil, meta{}, driver.ErrClosed
	}
	root, err := d.store.open(false)
	if err != nil {
		return nil, meta{}, d.missing(err)
	}
	m, err := readMeta(root, name)
	return root, m, d.missing(err)
}

// missing says which stream is not where.
func (d *fileDriver) missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return driver.Errorf(driver.ErrNotFound, "", "there is no such stream in %s: the first record sent to it creates it", d.store.dir)
	}
	return err
}

// openShard opens the log of a shard and recovers it where that is due.
func (d *fileDriver) openShard(root *os.Root, shard driver.Shard, m meta) (*shardLog, error) {
	l, err := openLog(root, shard)
	if err != nil {
		return nil, err
	}
	t := tail{l: l}
	s, err := t.load()
	if l.writable && (errors.Is(err, errSlots) || err == nil && (s.boot != d.env.boot || !t.sure)) {
		w := newAppender(l, m, d.opts, &d.env)
		if err := w.lock(); err != nil {
			w.key.discard()
			return nil, err
		}
		err := w.begin()
		w.unlock()
		w.closeTail()
		if err != nil {
			_ = l.close()
			return nil, err
		}
	}
	if err == nil && s.flags&flagPending != 0 {
		d.settleIdle(l, m)
	}
	return l, nil
}

// settleIdle finishes a unit that a committer which is gone has left in the
// log, so that it is read also where nobody writes any more. One that is alive
// has the lock.
func (d *fileDriver) settleIdle(l *shardLog, m meta) {
	if !l.writable {
		return
	}
	w := newAppender(l, m, d.opts, &d.env)
	if ok, _ := w.key.try(); !ok {
		return
	}
	_ = w.begin() // it is looked at again, and writers say what is wrong
	w.unlock()
	w.closeTail()
}

// Bounds implements [driver.Driver].
func (d *fileDriver) Bounds(ctx context.Context, streams []string) (map[driver.Shard]driver.Bound, error) {
	bounds := make(map[driver.Shard]driver.Bound)
	for _, name := range streams {
		root, m, err := d.meta(name)
		if err != nil {
			return nil, wrap("read the bounds of stream "+name, driver.Shard{}, err)
		}
		for i := range m.Shards {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			shard := driver.Shard{Stream: name, Index: int32(i)}
			b, err := d.bound(root, shard, m)
			if err != nil {
				return nil, wrap("read the bounds of", shard, err)
			}
			bounds[shard] = b
		}
	}
	return bounds, nil
}

func (d *fileDriver) bound(root *os.Root, shard driver.Shard, m meta) (driver.Bound, error) {
	v, err := d.view(root, shard, m)
	if err != nil {
		return driver.Bound{}, err
	}
	defer v.close()
	return v.bound(), nil
}

// visible is the end for readers.
func (s *slot) visible(strict bool) uint64 {
	if strict {
		return s.synced
	}
	return s.next
}

// Producer implements [driver.Driver].
func (d *fileDriver) Producer(ctx context.Context, cfg driver.ProducerConfig) (driver.Producer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, wrap("open a producer", driver.Shard{}, driver.ErrClosed)
	}
	return newProducer(d, cfg), nil
}

// writerOf opens a stream for writing, creating it where it is missing. That may
// wait for somebody who is deleting it, so it is not done under mu.
func (d *fileDriver) writerOf(name string) (*streamWriter, error) {
	s, root, err := d.findWriter(name)
	if root == nil || !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	d.creating.Lock()
	defer d.creating.Unlock()
	for try := 0; ; try++ {
		s, root, err := d.findWriter(name) // of another's making, if it was not deleted since
		if root == nil || !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		if try > 100 {
			return nil, driver.Errorf(driver.ErrUnavailable, "", "%s has a folder %s without a stream, or one that is deleted all the time", d.store.dir, folderName(name))
		}
		if _, err = d.createStream(root, d.opts.newMeta(name)); err != nil {
			return nil, err
		}
	}
}

// findWriter is writerOf for a stream that exists. Where it does not that is
// fs.ErrNotExist, and the directory, in which it can be created.
func (d *fileDriver) findWriter(name string) (*streamWriter, *os.Root, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, nil, driver.ErrClosed
	}
	if s := d.writers[name]; s != nil && !s.over() {
		return s, nil, nil
	}
	if err := driver.CheckStream(name); err != nil {
		return nil, nil, driver.Errorf(driver.ErrInvalid, "", "%w", err)
	}
	root, err := d.store.open(true)
	if err != nil {
		return nil, nil, err
	}
	m, err := readMeta(root, name)
	if err != nil {
		return nil, root, err
	}
	s := newStreamWriter(d, m, nil)
	d.writers[name] = s
	return s, root, nil
}

func (d *fileDriver) newLane(s *streamWriter, i int32) (*lane, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := s.lanes[i].Load(); l != nil {
		return l, nil
	}
	if d.closed {
		return nil, driver.ErrClosed
	}
	root, err := d.store.open(false)
	if err != nil {
		return nil, err
	}
	shard := driver.Shard{Stream: s.name, Index: i}
	log, err := openLog(root, shard)
	if errors.Is(err, fs.ErrNotExist) {
		s.life.gone.Store(true)
		return nil, errDeleted
	}
	if err != nil {
		return nil, err
	}
	if !log.writable {
		_ = log.close()
		return nil, fs.ErrPermission
	}
	if cur := d.writers[s.name]; cur != nil && cur.life == s.life {
		s = cur // its settings are newer
	}
	l := &lane{w: newAppender(log, s.meta, d.opts, &d.env), shard: shard}
	l.gone = func() { s.life.gone.Store(true) }
	l.look = func() { d.refresh(s.name, s.life) }
	s.lanes[i].Store(l)
	d.opened = append(d.opened, l)
	return l, nil
}

// allLanes is every lane of the driver.
func (d *fileDriver) allLanes() []*lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened[:len(d.opened):len(d.opened)]
}

// Close implements [driver.Driver]. A write that waits for the lock of a
// shard is left behind when ctx ends.
func (d *fileDriver) Close(ctx context.Context) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	var failed error
	for _, l := range d.allLanes() {
		if err := l.close(ctx); err != nil {
			failed = err
		}
	}
	if err := d.store.close(); err != nil {
		failed = wrap("close "+d.store.dir, driver.Shard{}, err)
	}
	return failed
}
