package file

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/seastreamer/seastreamer/driver"
)

// A producer sends to the lanes of its driver, which it shares with the
// driver's other producers, so that their records are written together.
type producer struct {
	d      *fileDriver
	cfg    driver.ProducerConfig
	blind  bool // at most once: receipts say nothing
	max    int64
	closed atomic.Bool
	to     *router

	bytes   atomic.Int64 // in flight
	waiting atomic.Int32
	mu      sync.Mutex
	room    chan struct{} // closed and made anew when bytes were given back
}

func newProducer(d *fileDriver, cfg driver.ProducerConfig) *producer {
	p := &producer{d: d, to: newRouter(d), cfg: cfg, blind: cfg.Durability == driver.AtMostOnce, max: int64(cfg.MaxBytes), room: make(chan struct{})}
	if p.max <= 0 {
		p.max = d.opts.Buffer
	}
	if p.max <= 0 {
		p.max = defaultBuffer
	}
	return p
}

// Produce implements [driver.Producer]. The record is copied before it
// returns. It creates a stream that is missing.
func (p *producer) Produce(ctx context.Context, rec driver.Record, done func(driver.Receipt, error)) error {
	if p.closed.Load() {
		return wrap("send to", driver.Shard{Stream: rec.Stream}, driver.ErrClosed)
	}
	l, err := p.to.lane(&rec)
	if err != nil {
		return err
	}
	size := int64(recordSize(&rec))
	if !p.reserve(size) {
		if err := p.wait(ctx, size); err != nil {
			return wrap("send to", l.shard, err)
		}
	}
	if err := l.take(&rec, pending{done: done, p: p, size: size}, p.cfg.Linger); err != nil {
		p.release(size)
		return wrap("send to", l.shard, err)
	}
	return nil
}

// reserve counts size as in flight where it fits, or nothing else is. What does
// not fit is never counted: another one that is refused because of it would not
// be woken when it is taken back.
func (p *producer) reserve(size int64) bool {
	for {
		n := p.bytes.Load()
		if n > 0 && n+size > p.max {
			return false
		}
		if p.bytes.CompareAndSwap(n, n+size) {
			return true
		}
	}
}

// wait is the slow path of Produce: it reserves size once there is room.
func (p *producer) wait(ctx context.Context, size int64) error {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	for {
		// First the channel, then the looks: whoever gives back or closes
		// afterwards closes it.
		p.mu.Lock()
		room := p.room
		p.mu.Unlock()
		if p.closed.Load() {
			return driver.ErrClosed
		}
		if p.reserve(size) {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release gives back bytes that are not in flight any more.
func (p *producer) release(n int64) {
	p.bytes.Add(-n)
	if p.waiting.Load() > 0 {
		p.wakeAll()
	}
}

func (p *producer) wakeAll() {
	p.mu.Lock()
	close(p.room)
	p.room = make(chan struct{})
	p.mu.Unlock()
}

// Flush implements [driver.Producer]. It also waits for what other producers
// of the driver have sent to the same shards.
func (p *producer) Flush(ctx context.Context) error {
	for _, l := range p.d.allLanes() {
		done := l.flush()
		if done == nil {
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
			return wrap("flush", l.shard, context.Cause(ctx))
		}
	}
	return nil
}

// Close implements [driver.Producer].
func (p *producer) Close(ctx context.Context) error {
	if p.closed.Swap(true) {
		return nil
	}
	p.wakeAll()
	// A Produce that saw the producer open holds the lock of its lane, and
	// Flush takes each of them after it.
	err := p.Flush(ctx)
	if err != nil {
		for _, l := range p.d.allLanes() {
			l.giveUp(p, wrap("send to", l.shard, unknown(context.Cause(ctx))))
		}
	}
	return err
}

// A streamWriter is a stream that the driver writes to.
type streamWriter struct {
	d     *fileDriver
	name  string
	meta  meta
	lanes []*atomic.Pointer[lane] // each made when it is first needed
	life  *streamLife
	stale atomic.Bool // another one took its place, with these lanes and other settings
}

// A streamLife is what the streamWriters of one stream have in common that
// follow each other when its settings change.
type streamLife struct {
	gone   atomic.Bool  // the stream was deleted
	looked atomic.Int64 // when its settings were last looked at, in microseconds
}

// over reports whether writerOf has a better one.
func (s *streamWriter) over() bool { return s.stale.Load() || s.life.gone.Load() }

// newStreamWriter has the lanes of was, which may be nil, and those that m has
// more.
func newStreamWriter(d *fileDriver, m meta, was *streamWriter) *streamWriter {
	s := &streamWriter{d: d, name: m.Name, meta: m, life: new(streamLife)}
	s.life.looked.Store(now())
	if was != nil {
		s.lanes, s.life = slices.Clone(was.lanes), was.life
	}
	for len(s.lanes) < m.Shards {
		s.lanes = append(s.lanes, new(atomic.Pointer[lane]))
	}
	return s
}

// refresh looks every few seconds at the settings of a stream that is written
// to, and has its lanes go by them; routers come for the shards that are new.
// Lanes stay, so that what was sent to a shard before stays before.
func (d *fileDriver) refresh(name string, life *streamLife) {
	at, last := now(), life.looked.Load()
	if at-last < d.env.look.Microseconds() && at >= last || !life.looked.CompareAndSwap(last, at) {
		return
	}
	root, m, err := d.meta(name)
	if errors.Is(err, driver.ErrNotFound) && root != nil {
		// If it was deleted its logs say so, unless who deleted it died first.
		_, _ = d.finishDelete(context.Background(), root, name)
	}
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.writers[name]
	if s == nil || s.life != life || s.meta == m || m.Shards < len(s.lanes) {
		return
	}
	for _, p := range s.lanes {
		if l := p.Load(); l != nil {
			l.w.configure(m.with(d.opts))
		}
	}
	d.writers[name] = newStreamWriter(d, m, s)
	s.stale.Store(true)
}

func (s *streamWriter) lane(i int32) (*lane, error) {
	if int(i) >= len(s.lanes) {
		return nil, driver.Errorf(driver.ErrInvalid, "", "the stream has %d shards, counted from 0", len(s.lanes))
	}
	if l := s.lanes[i].Load(); l != nil {
		return l, nil
	}
	return s.d.newLane(s, i)
}

// wrap makes err one line that says what was tried, with its kind, unless it
// says that already.
func wrap(op string, shard driver.Shard, err error) error {
	if e, ok := err.(*driver.Error); err == nil || ok && e.Op != "" { //nolint:errorlint // only the outermost says what was tried
		return err
	}
	var kind error
	var e *driver.Error
	switch {
	case errors.Is(err, driver.ErrUnknown):
		kind = driver.ErrUnknown
	case errors.As(err, &e):
		kind = e.Kind
	case errors.Is(err, driver.ErrClosed), errors.Is(err, fs.ErrClosed):
		kind = driver.ErrClosed
	case errors.Is(err, fs.ErrNotExist):
		kind = driver.ErrNotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		kind = driver.ErrDenied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		kind = driver.ErrUnavailable
	}
	return &driver.Error{Op: op, Shard: shard, Kind: kind, Err: err}
}
