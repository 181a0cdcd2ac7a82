package file

// ctl is 4,096 bytes, created whole:
//
//	  0 magic u32 · 4 version u32 · 8 log id [16]byte · 24 zero · 60 CRC u32 of 0–59
//	 64, 128 the end of the log      (a pair of slots, see [slot])
//	256 zero
//	384, 448 the start of the log    (a pair of slots, see [startSlot])
//	512 a unit that is pending       (see [pendingUnit])
//
// A pair of slots holds one value that changes without ever being torn: the
// value of generation g is in slot g&1, so that writing the next one leaves
// the current one alone. Under the lock the highest valid generation wins.
// Without it a slot counts only if both are valid and consecutive: a reader
// that is preempted in the middle of its copy while two publications happen
// sees an old A and a torn B, and would go back a generation.
const (
	ctlSize    = 4096
	ctlEnd     = 64
	ctlStart   = 384
	ctlPending = 512
	slotSize   = 64
	pairSize   = 2 * slotSize
	ctlHeader  = 64
)

// Flags of the end slot.
const (
	// flagPoisoned: a sync failed. What lies between synced and next is in
	// memory and maybe not on the disk, and a later sync may falsely succeed.
	flagPoisoned = 1 << 0

	// flagPending: a unit was written behind the end, and ctl says at
	// ctlPending which. Whoever has the lock and finds this makes it part of
	// the log or removes it.
	flagPending = 1 << 1

	// flagDirty: something was appended since the last recovery. It is set,
	// and ctl synced, before the first append of a boot, so that a log that
	// nobody wrote to is not recovered after the next one.
	flagDirty = 1 << 2

	// flagDeleted: the stream is being removed (see [fileDriver.DeleteStream]).
	// Nothing is written to the log any more, also by who has it open and could
	// go on for ever.
	flagDeleted = 1 << 3
)

// A slot is the published end of a log, 64 bytes:
//
//	 0 generation u64 · 8 next sequence u64 · 16 tail position u64
//	24 tail segment base u64 · 32 maximum time i64 · 40 synced sequence u64
//	48 boot id hash u64 · 56 flags u32 · 60 CRC u32 of 0–59
type slot struct {
	gen     uint64
	next    uint64 // sequence of the next record
	pos     int64  // where the next batch goes in the tail segment
	base    uint64 // names the tail segment
	maxTime int64  // largest time of any record ever written
	synced  uint64 // everything below is on stable storage
	boot    uint64 // hash of the id of the boot that it was written under
	flags   uint32
}

func (s *slot) encode(b []byte) {
	le.PutUint64(b[0:], s.gen)
	le.PutUint64(b[8:], s.next)
	le.PutUint64(b[16:], uint64(s.pos))
	le.PutUint64(b[24:], s.base)
	le.PutUint64(b[32:], uint64(s.maxTime))
	le.PutUint64(b[40:], s.synced)
	le.PutUint64(b[48:], s.boot)
	le.PutUint32(b[56:], s.flags)
	seal(b[:slotSize])
}

// decodeSlot reads one slot; false says that it is not one.
func decodeSlot(b []byte) (slot, bool) {
	if len(b) < slotSize || !sealed(b) {
		return slot{}, false
	}
	s := slot{
		gen:     le.Uint64(b[0:]),
		next:    le.Uint64(b[8:]),
		pos:     int64(le.Uint64(b[16:])),
		base:    le.Uint64(b[24:]),
		maxTime: int64(le.Uint64(b[32:])),
		synced:  le.Uint64(b[40:]),
		boot:    le.Uint64(b[48:]),
		flags:   le.Uint32(b[56:]),
	}
	return s, s.pos >= headerSize && s.next >= s.base
}

// A startSlot says where a log begins, 64 bytes: 0 generation u64 · 8 first
// sequence u64 · 16 time of the trim i64 · 24 cause u32 · 60 CRC u32 of 0–59.
type startSlot struct {
	gen   uint64
	first uint64
	time  int64
	cause uint32 // a driver.GapCause
}

func (s *startSlot) encode(b []byte) {
	clear(b[:slotSize])
	le.PutUint64(b[0:], s.gen)
	le.PutUint64(b[8:], s.first)
	le.PutUint64(b[16:], uint64(s.time))
	le.PutUint32(b[24:], s.cause)
	seal(b[:slotSize])
}

func decodeStartSlot(b []byte) (startSlot, bool) {
	if len(b) < slotSize || !sealed(b) {
		return startSlot{}, false
	}
	return startSlot{le.Uint64(b[0:]), le.Uint64(b[8:]), int64(le.Uint64(b[16:])), le.Uint32(b[24:])}, true
}

// A progressSlot is how far a group has come in one shard, 64 bytes:
// 0 generation u64 · 8 epoch u64 · 16 next sequence u64 · 24 time i64 ·
// 32 log id hash u64 · 60 CRC u32 of 0–59. Pair i is at byte 128·i.
type progressSlot struct {
	gen   uint64
	epoch uint64
	next  uint64
	time  int64
	log   uint64 // which log it counts in: a stream made anew has another
}

func (s *progressSlot) encode(b []byte) {
	clear(b[:slotSize])
	le.PutUint64(b[0:], s.gen)
	le.PutUint64(b[8:], s.epoch)
	le.PutUint64(b[16:], s.next)
	le.PutUint64(b[24:], uint64(s.time))
	le.PutUint64(b[32:], s.log)
	seal(b[:slotSize])
}

func decodeProgressSlot(b []byte) (progressSlot, bool) {
	if len(b) < slotSize || !sealed(b) {
		return progressSlot{}, false
	}
	return progressSlot{le.Uint64(b[0:]), le.Uint64(b[8:]), le.Uint64(b[16:]), int64(le.Uint64(b[24:])), le.Uint64(b[32:])}, true
}

// choose reads a pair of slots. The value is that of the higher valid
// generation, ok says that there is one, and sure that both are valid and
// consecutive.
func choose[S any](pair []byte, decode func([]byte) (S, bool), gen func(S) uint64) (s S, ok, sure bool) {
	a, aok := decode(pair[:slotSize])
	b, bok := decode(pair[slotSize:pairSize])
	aok = aok && gen(a)&1 == 0
	bok = bok && gen(b)&1 == 1
	switch {
	case aok && bok:
		ga, gb := gen(a), gen(b)
		if ga > gb {
			return a, true, ga == gb+1
		}
		return b, true, gb == ga+1
	case aok:
		return a, true, false
	default:
		return b, bok, false
	}
}

func chooseSlot(pair []byte) (slot, bool, bool) {
	return choose(pair, decodeSlot, func(s slot) uint64 { return s.gen })
}

func chooseStart(pair []byte) (startSlot, bool, bool) {
	return choose(pair, decodeStartSlot, func(s startSlot) uint64 { return s.gen })
}

func chooseProgress(pair []byte) (progressSlot, bool, bool) {
	return choose(pair, decodeProgressSlot, func(s progressSlot) uint64 { return s.gen })
}

// newCtl is the whole ctl of a log that is empty and begins at 0.
func newCtl(id logID, boot uint64) []byte {
	b := make([]byte, ctlSize)
	le.PutUint32(b[0:], magicCtl)
	le.PutUint32(b[4:], version)
	copy(b[8:24], id[:])
	seal(b)
	for g := range uint64(2) {
		(&slot{gen: g, pos: headerSize, boot: boot, flags: flagDirty, maxTime: minTime}).encode(b[ctlEnd+g*slotSize:])
		(&startSlot{gen: g}).encode(b[ctlStart+g*slotSize:])
	}
	return b
}

// decodeCtlHeader reads the log's id.
func decodeCtlHeader(b []byte) (logID, bool) {
	if len(b) < ctlHeader || le.Uint32(b) != magicCtl || le.Uint32(b[4:]) != version || !sealed(b) {
		return logID{}, false
	}
	return logID(b[8:24]), true
}
