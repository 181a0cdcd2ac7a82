package file

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"github.com/seastreamer/seastreamer/driver"
)

// How a unit becomes part of the logs, and of none of them before that of all.
// The committer holds the lock of its name's record and those of all shards
// that it writes to, from the first of these steps to the last:
//
//  1. It compares its number and the positions with the record.
//  2. It writes each shard's batches behind the end of the log, where they do
//     not exist. Killed here or before: the next writer cuts them off.
//  3. It writes to each shard's ctl which unit waits there and to where the
//     log will reach with it, and publishes the end with flagPending. Killed
//     here: the next who has the shard's lock asks the record, does not find
//     the unit there, clears the flag, and cuts.
//  4. It publishes the record, which has the positions and names the unit for
//     each shard. This is the commit. Killed here: who has a shard's lock next
//     finds the unit in the record and publishes the end that ctl has for it.
//  5. It publishes the end of each shard, without the flag.
//
// Between 3 and 5 a shard can only be locked by somebody else once the
// committer is dead or has given up, so the record's answer about this shard
// cannot change under who asks: it is read without its lock. (Taking that lock
// would be in the wrong order.)
//
// With the policy "always" the batches are synced after 2, and the record
// before and after 4. After another boot ctl says nothing that can be relied
// on, so recovery goes by the batches: those of a unit are marked as such, and
// exist if the record says that the owner's last unit in this shard ends at or
// behind them.
const maxPending = 512

// A pendingUnit is at ctlPending of a ctl whose end has flagPending, 80 bytes
// and a name:
//
//	 0 magic u32 · 4 CRC u32 of all from 8 on · 8 unit u64 · 16 owner's id u64
//	24 next sequence before the unit u64 · 32 next sequence u64
//	40 tail position u64 · 48 tail segment base u64 · 56 maximum time i64
//	64 synced sequence u64 · 72 flags u32 (1: durable) · 76 length u32
//	80 the folder of the owner's record
//
// 32 to 64 are the end of the log with the unit.
type pendingUnit struct {
	unit    uint64
	owner   uint64
	from    uint64
	to      slot
	durable bool
	dir     string
}

const magicPending = 0x444e5053 // "SPND"

func (p *pendingUnit) encode() []byte {
	b := make([]byte, 80, maxPending)
	le.PutUint32(b[0:], magicPending)
	for i, n := range [...]uint64{p.unit, p.owner, p.from, p.to.next, uint64(p.to.pos), p.to.base, uint64(p.to.maxTime), p.to.synced} {
		le.PutUint64(b[8+8*i:], n)
	}
	if p.durable {
		b[72] = 1
	}
	le.PutUint32(b[76:], uint32(len(p.dir)))
	b = append(b, p.dir...)
	le.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

func decodePending(b []byte) (p pendingUnit, ok bool) {
	if len(b) < 80 || le.Uint32(b) != magicPending || le.Uint32(b[76:]) > uint32(len(b)-80) {
		return p, false
	}
	b = b[:80+le.Uint32(b[76:])]
	if le.Uint32(b[4:]) != checksum(b[8:]) {
		return p, false
	}
	p.unit, p.owner, p.from = le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:])
	p.to = slot{next: le.Uint64(b[32:]), pos: int64(le.Uint64(b[40:])), base: le.Uint64(b[48:]), maxTime: int64(le.Uint64(b[56:])), synced: le.Uint64(b[64:])}
	p.durable, p.dir = b[72] == 1, string(b[80:])
	return p, p.to.pos >= headerSize && p.to.next >= p.from
}

// mark publishes that p waits behind the end.
func (w *appender) mark(p *pendingUnit) error {
	if _, err := w.l.ctl.WriteAt(p.encode(), ctlPending); err != nil {
		return fmt.Errorf("write ctl: %w", err)
	}
	s := w.end
	s.flags |= flagPending
	return w.publish(s)
}

// settleUnit publishes the end that a unit has reached.
func (w *appender) settleUnit(to slot) error {
	s := w.end
	s.next, s.pos, s.base, s.maxTime = to.next, to.pos, to.base, to.maxTime
	s.synced = max(s.synced, to.synced)
	s.flags &^= flagPending
	return w.reach(s)
}

// dropUnit takes the mark away again, and cuts off what was staged. Where it
// cannot, the next holder of the lock does.
func (w *appender) dropUnit() {
	s := w.end
	if s.flags&flagPending != 0 {
		s.flags &^= flagPending
		if w.publish(s) != nil {
			return
		}
	}
	if w.seg != nil && w.seg.base == s.base {
		_ = w.seg.f.Truncate(s.pos)
		w.reserve = 0
	}
}

// resolve brings a unit to its end that its committer has left pending. The
// lock is held, and w.end is the end with the flag.
func (w *appender) resolve() error {
	b := make([]byte, maxPending)
	if _, err := w.l.ctl.ReadAt(b, ctlPending); err != nil {
		return fmt.Errorf("read ctl: %w", err)
	}
	p, ok := decodePending(b)
	if !ok || p.from != w.end.next || p.to.base != w.end.base {
		// Not a writer that died: somebody else has written to the file. The
		// batches say what is there.
		return w.rescan(true)
	}
	w.idxBuf = w.idxBuf[:0] // of something that was never published
	u, err := openUnits(w.l.root, p.dir, w.env)
	if errors.Is(err, fs.ErrNotExist) {
		w.dropUnit()
		return w.still()
	}
	if err != nil {
		return err
	}
	defer u.f.Close()
	rec, err := u.load(false)
	if err != nil {
		return err
	}
	i, ok := rec.output(w.l.shard)
	if !ok || u.id != p.owner || rec.outputs[i].unit != p.unit || rec.outputs[i].log != w.l.id.hash() {
		w.dropUnit()
		return w.still()
	}
	seg, err := w.l.openSegment(p.to.base, os.O_RDONLY)
	if err != nil {
		return err
	}
	size, err := seg.size()
	seg.f.Close()
	if err != nil {
		return err
	}
	if size < p.to.pos {
		return w.rescan(true) // cut by somebody else
	}
	if p.durable {
		if err := u.resync(); err != nil {
			return fmt.Errorf("sync %s/record: %w", p.dir, err)
		}
	}
	return w.settleUnit(p.to)
}

// still is an error while the flag is there.
func (w *appender) still() error {
	if w.end.flags&flagPending != 0 {
		return errors.New("ctl cannot be written")
	}
	return nil
}

// pendingRecords answers, from the records in the directory, whether a batch
// of a unit that recovery finds behind what was synced was committed.
type pendingRecords struct {
	w      *appender
	boot   bool // the log was written under this boot
	loaded bool
	recs   map[uint64]*unitRecord
}

// committed reports whether the batch is there by its owner's record, and
// whether the record is sure to be as new as the log.
func (r *pendingRecords) committed(h *batchHeader) (known, sure bool, err error) {
	if h.flags&batchUnit == 0 {
		return true, true, nil
	}
	if !r.loaded {
		r.loaded = true
		if err := r.load(); err != nil {
			return false, false, err
		}
	}
	rec := r.recs[h.owner]
	if rec == nil {
		// Somebody has removed it. What it had committed stays; so may a unit
		// that it had not.
		return true, true, nil
	}
	i, ok := rec.output(r.w.l.shard)
	known = ok && rec.outputs[i].log == r.w.l.id.hash() && rec.outputs[i].next >= h.next()
	return known, r.boot || h.flags&batchDurable != 0, nil
}

func (r *pendingRecords) load() error {
	r.recs = make(map[uint64]*unitRecord)
	es, err := fs.ReadDir(r.w.l.root.FS(), "units")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range es {
		u, err := openUnits(r.w.l.root, "units/"+e.Name(), r.w.env)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, driver.ErrLost) {
				continue
			}
			return err
		}
		rec, err := u.load(false)
		u.f.Close()
		if err != nil {
			continue // damaged: its claims will say so
		}
		r.recs[u.id] = rec
	}
	return nil
}
