package file

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The locks of a group say that there are members and that shards are leased,
// and cannot say whose they are. So members write that down, in
// groups/<group>/members/<stream>, for people who look: nothing else depends
// on it. What is there counts only while the lock is held that it belongs to.
//
// 16 bytes at 16·i say who took the lease of shard i last: id of the member
// u64 · CRC u32 of 0–7 · zero. 256 bytes behind 1 MiB, at 256·k, are the member
// with the mark k: id u64 · process id u32 · length u32 · time of joining i64 ·
// name of the program · 252 CRC u32 of 0–251.
const (
	leaseNote   = 16
	memberNotes = maxShards * leaseNote
	memberNote  = 256
)

// A memberSlot is what a member says about itself.
type memberSlot struct {
	id      uint64
	pid     uint32
	joined  int64
	program string
}

func (m *memberSlot) encode() []byte {
	b := make([]byte, memberNote)
	le.PutUint64(b[0:], m.id)
	le.PutUint32(b[8:], m.pid)
	n := copy(b[24:252], m.program)
	le.PutUint32(b[12:], uint32(n))
	le.PutUint64(b[16:], uint64(m.joined))
	le.PutUint32(b[252:], checksum(b[:252]))
	return b
}

func decodeMember(b []byte) (memberSlot, bool) {
	if len(b) < memberNote || le.Uint32(b[252:]) != checksum(b[:252]) || le.Uint32(b[12:]) > 252-24 {
		return memberSlot{}, false
	}
	return memberSlot{le.Uint64(b), le.Uint32(b[8:]), int64(le.Uint64(b[16:])), string(b[24 : 24+le.Uint32(b[12:])])}, true
}

// introduce writes down who has the mark.
func (s *groupStream) introduce(id uint64) {
	m := memberSlot{id: id, pid: uint32(os.Getpid()), joined: now(), program: filepath.Base(os.Args[0])}
	_, _ = s.members.WriteAt(m.encode(), memberNotes+s.number*memberNote)
}

// sign writes down who has taken the lease of a shard.
func (s *groupStream) sign(i int32, id uint64) {
	b := make([]byte, leaseNote)
	le.PutUint64(b, id)
	le.PutUint32(b[8:], checksum(b[:8]))
	_, _ = s.members.WriteAt(b, int64(i)*leaseNote)
}

// memberAt is what the member with the mark k says of itself.
func memberAt(f io.ReaderAt, k int64) (memberSlot, bool) {
	b := make([]byte, memberNote)
	if _, err := f.ReadAt(b, memberNotes+k*memberNote); err != nil && err != io.EOF {
		return memberSlot{}, false
	}
	return decodeMember(b)
}

// signer is who took the lease of a shard last, or zero.
func signer(f io.ReaderAt, i int32) uint64 {
	b := make([]byte, leaseNote)
	if _, err := f.ReadAt(b, int64(i)*leaseNote); err != nil && err != io.EOF || le.Uint32(b[8:]) != checksum(b[:8]) {
		return 0
	}
	return le.Uint64(b)
}

func memberID(id uint64) string { return fmt.Sprintf("%016x", id) }
