package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"

	"github.com/seastreamer/seastreamer/driver"
)

func unitsDir(name string) string { return path.Join("units", folderName(name)) }

// A unitFile is the open record file of a name. Who changes it has its lock.
type unitFile struct {
	dir string
	f   *os.File
	key fileLock
	id  uint64
	env *env

	// What follows belongs to the holder of the lock.
	slot unitSlot // the current one
	at   unitSlot // the one whose record is good: slot but after power loss
	rec  *unitRecord
	buf  []byte
}

// openUnits opens the record in the folder dir; fs.ErrNotExist where there is
// none.
func openUnits(root *os.Root, dir string, e *env) (*unitFile, error) {
	f, err := root.OpenFile(path.Join(dir, "record"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	u := &unitFile{dir: dir, f: f, key: newFileLock(f), env: e}
	b := make([]byte, slotSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		f.Close()
		return nil, u.damaged(err)
	}
	var ok bool
	if u.id, ok = decodeUnitsHeader(b); !ok {
		f.Close()
		return nil, u.damaged(errors.New("its header is not one of this version"))
	}
	return u, nil
}

// damaged is ErrLost: only the user can say where to go on.
func (u *unitFile) damaged(err error) error {
	return driver.Errorf(driver.ErrLost, "", "%s/record holds the positions and is damaged: %w", u.dir, err)
}

// load reads the current record. Without the lock another owner may change it
// meanwhile, and then it is read again: the result was the current one at some
// instant of the call. It must not be changed.
func (u *unitFile) load(locked bool) (*unitRecord, error) {
	var pair [pairSize]byte
	for try := 0; ; try++ {
		if _, err := u.f.ReadAt(pair[:], unitsSlots); err != nil {
			return nil, u.damaged(err)
		}
		s, _, sure := chooseUnitSlot(pair[:])
		err := errors.New("a slot cannot be read")
		if sure {
			if locked && u.rec != nil && s.gen == u.slot.gen {
				return u.rec, nil
			}
			var rec *unitRecord
			at := s
			rec, err = u.body(at)
			if err != nil && s.boot != u.env.boot && s.flags&unitDurable == 0 {
				// The power has gone, and nothing had been synced: the slot
				// was written back before what it points to. The record
				// before it may be whole.
				var ok bool
				at, ok = decodeUnitSlot(pair[(s.gen+1)&1*slotSize:])
				if ok && at.gen+1 == s.gen {
					rec, err = u.body(at)
				}
			}
			if err == nil {
				u.slot, u.at, u.rec = s, at, rec
				return rec, nil
			}
		}
		if locked || try > 1000 {
			return nil, u.damaged(err)
		}
		runtime.Gosched()
	}
}

func (u *unitFile) body(s unitSlot) (*unitRecord, error) {
	if cap(u.buf) < int(s.size) {
		u.buf = make([]byte, s.size)
	}
	b := u.buf[:s.size]
	if _, err := u.f.ReadAt(b, s.off); err != nil {
		return nil, err
	}
	if checksum(b) != s.crc {
		return nil, errors.New("its checksum is wrong")
	}
	return parseUnitRecord(b)
}

// publish makes rec the current record. A failure that is not ErrUnknown has
// changed nothing.
func (u *unitFile) publish(rec *unitRecord, durable bool) error {
	body := rec.append(u.buf[:0])
	u.buf = body
	if len(body) > maxUnitsBody {
		return driver.Errorf(driver.ErrTooLarge, "", "the record of its units has %d bytes: too many shards", len(body))
	}
	s := unitSlot{gen: u.slot.gen + 1, off: unitsHeader, size: uint32(len(body)), crc: checksum(body), time: now(), boot: u.env.boot}
	// In front of the current record if it fits there, else behind it.
	if u.at.off < s.off+int64(len(body)) {
		s.off = (u.at.off + int64(u.at.size) + 511) &^ 511
	}
	u.step(stepUnitStaged)
	half := len(body) / 2
	if u.env.at == nil {
		half = 0
	}
	if _, err := u.f.WriteAt(body[:half], s.off); err != nil {
		return fmt.Errorf("write %s/record: %w", u.dir, err)
	}
	u.step(stepUnitHalf)
	if _, err := u.f.WriteAt(body[half:], s.off+int64(half)); err != nil {
		return fmt.Errorf("write %s/record: %w", u.dir, err)
	}
	if durable {
		s.flags |= unitDurable
		if err := u.env.sync(u.f); err != nil {
			return fmt.Errorf("sync %s/record: %w", u.dir, err)
		}
	}
	u.step(stepUnitWritten)
	var b [slotSize]byte
	s.encode(b[:])
	u.rec = nil
	if _, err := u.f.WriteAt(b[:], unitsSlots+int64(s.gen&1)*slotSize); err != nil {
		return unknown(fmt.Errorf("publish %s/record: %w", u.dir, err))
	}
	u.step(stepUnitCommitted)
	if durable {
		if err := u.env.sync(u.f); err != nil {
			return unknown(fmt.Errorf("sync %s/record: %w", u.dir, err))
		}
	}
	u.step(stepUnitSynced)
	u.slot, u.at, u.rec = s, s, rec
	return nil
}

// resync makes the record durable that load found, for an owner that died or
// failed before it could. It writes everything again: after a sync that failed
// the system may take it for clean, and the next one would prove nothing.
func (u *unitFile) resync() error {
	body := u.rec.append(nil)
	var b [slotSize]byte
	u.slot.encode(b[:])
	_, err := u.f.WriteAt(body, u.at.off)
	if err == nil {
		_, err = u.f.WriteAt(b[:], unitsSlots+int64(u.slot.gen&1)*slotSize)
	}
	if err == nil {
		err = u.env.sync(u.f)
	}
	return err
}

func (u *unitFile) step(s step) {
	if u.env.at != nil {
		u.env.at(s)
	}
}

// deleted reports whether somebody has removed the file.
func (u *unitFile) deleted() bool {
	_, links, err := fstat(u.f)
	return err == nil && links == 0
}

// createUnits makes the record of a name that has none, whole and on stable
// storage, in a folder that may be there.
func createUnits(root *os.Root, dir string, boot uint64) error {
	if err := makeDir(root, "units"); err != nil {
		return err
	}
	if err := makeDir(root, dir); err != nil {
		return err
	}
	tmp := path.Join(dir, ".record-"+randomHex())
	err := writeFile(root, tmp, newUnits(randomID(), boot))
	if err == nil {
		// A link, which does not replace what another process has made.
		err = root.Link(tmp, path.Join(dir, "record"))
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	root.Remove(tmp)
	for _, d := range []string{dir, "units", "."} {
		if err == nil {
			err = syncDir(root, d)
		}
	}
	return err
}
