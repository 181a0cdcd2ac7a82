package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"

	"github.com/seastreamer/seastreamer/driver"
)

// A shardLog is one shard on disk, as readers and writers see it. Its methods
// may be called from any goroutine.
type shardLog struct {
	root     *os.Root
	dir      string // below root
	shard    driver.Shard
	ctl      *os.File
	writable bool // ctl is open for writing
	id       logID
	seed     uint32
}

// openLog opens a shard that exists; a process that may not write gets one
// that is only readable.
func openLog(root *os.Root, shard driver.Shard) (*shardLog, error) {
	l := &shardLog{root: root, dir: shardDir(shard), shard: shard, writable: true}
	name := path.Join(l.dir, "ctl")
	f, err := root.OpenFile(name, os.O_RDWR, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.writable = false
		f, err = root.Open(name)
	}
	if err != nil {
		return nil, err
	}
	var b [ctlHeader]byte
	if _, err = f.ReadAt(b[:], 0); err == nil || errors.Is(err, io.EOF) {
		var ok bool
		err = nil
		if l.id, ok = decodeCtlHeader(b[:]); !ok {
			err = driver.Errorf(driver.ErrInvalid, "", "file %s is damaged or of another version", name)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	l.ctl, l.seed = f, l.id.seed()
	return l, nil
}

// deleted reports whether the log is none any more: its stream was deleted, or
// somebody has removed its files.
func (l *shardLog) deleted() bool {
	if _, links, err := fstat(l.ctl); err == nil && links == 0 {
		return true
	}
	s, err := (&tail{l: l}).load()
	return err == nil && s.flags&flagDeleted != 0
}

func (l *shardLog) close() error { return l.ctl.Close() }

// errSlots says that neither slot can be read.
var errSlots = errors.New("both slots of ctl are damaged")

// A tail follows the published end of a log without taking its lock. It
// belongs to one goroutine at a time.
type tail struct {
	l    *shardLog
	last slot
	some bool
	sure bool // both slots were good the last time
	buf  [pairSize]byte
}

// load returns the newest end that it can prove, never an older one than
// before.
func (t *tail) load() (slot, error) {
	for try := 0; ; try++ {
		if _, err := t.l.ctl.ReadAt(t.buf[:], ctlEnd); err != nil {
			return slot{}, fmt.Errorf("read ctl: %w", err)
		}
		s, ok, sure := chooseSlot(t.buf[:])
		// One valid slot is enough only when it stays that way: it was not a
		// publication that made the other one unreadable.
		if !sure && try < 16 {
			runtime.Gosched()
			continue
		}
		if !ok {
			return slot{}, errSlots
		}
		t.sure = sure
		if !t.some || s.gen > t.last.gen {
			t.last, t.some = s, true
		}
		return t.last, nil
	}
}

// start is where the log begins.
func (l *shardLog) start() (startSlot, error) {
	var b [pairSize]byte
	for try := 0; ; try++ {
		if _, err := l.ctl.ReadAt(b[:], ctlStart); err != nil {
			return startSlot{}, fmt.Errorf("read ctl: %w", err)
		}
		s, ok, sure := chooseStart(b[:])
		if !sure && try < 16 {
			runtime.Gosched()
			continue
		}
		if ok {
			return s, nil
		}
		// Both are damaged: the first segment that there is begins the log.
		bases, err := segments(l.root, l.dir)
		if err != nil || len(bases) == 0 {
			return startSlot{}, fmt.Errorf("the start of the log cannot be found: %w", errSlots)
		}
		return startSlot{first: bases[0]}, nil
	}
}

// A segment is an open segment file.
type segment struct {
	f    *os.File
	base uint64
	jump bool // the sequences before base were given up
}

// openSegment opens the segment with that base and checks its header.
func (l *shardLog) openSegment(base uint64, flags int) (*segment, error) {
	name := path.Join(l.dir, segmentName(base))
	f, err := l.root.OpenFile(name, flags, 0)
	if err != nil {
		return nil, err
	}
	var b [headerSize]byte
	_, err = f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		f.Close()
		return nil, err
	}
	h, ok := decodeSegmentHeader(b[:])
	// A damaged header loses nothing: the name has the base, and the batches
	// prove themselves.
	if ok && (h.id != l.id || h.base != base) {
		f.Close()
		return nil, driver.Errorf(driver.ErrInvalid, "", "segment %s belongs to another log", name)
	}
	return &segment{f, base, ok && h.flags&flagJump != 0}, nil
}

func (s *segment) size() (int64, error) {
	n, _, err := fstat(s.f)
	return n, err
}
