package file

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// A scanner walks over the batches of one segment. It is for searching and for
// recovery; readers have their own loop.
type scanner struct {
	f     io.ReaderAt
	seed  uint32
	limit int64 // nothing at or behind it is looked at
	win   []byte
	at    int64 // of win
}

const scanWindow = 128 << 10

func newScanner(f *os.File, seed uint32, limit int64) *scanner {
	return &scanner{f: f, seed: seed, limit: limit}
}

// bytes returns n bytes at pos, or fewer at the limit. They are valid until
// the next call.
func (s *scanner) bytes(pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), s.limit-pos))
	if n <= 0 {
		return nil, nil
	}
	if off := pos - s.at; off < 0 || off+int64(n) > int64(len(s.win)) {
		size := int(min(max(int64(n), scanWindow), s.limit-pos))
		if cap(s.win) < size {
			s.win = make([]byte, size)
		}
		s.win = s.win[:size]
		m, err := s.f.ReadAt(s.win, pos)
		s.win, s.at = s.win[:m], pos
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("read segment: %w", err)
		}
		n = min(n, m)
	}
	off := int(pos - s.at)
	return s.win[off : off+n], nil
}

// header reads the batch header at pos; ok says that there is one and that its
// payload ends within the limit.
func (s *scanner) header(pos int64) (h batchHeader, ok bool, err error) {
	b, err := s.bytes(pos, headerSize)
	if err != nil {
		return h, false, err
	}
	h, ok = decodeBatchHeader(b, s.seed)
	return h, ok && pos+h.size() <= s.limit, nil
}

// payload reads the payload of the batch at pos; ok says that its CRC is right.
func (s *scanner) payload(pos int64, h *batchHeader) (b []byte, ok bool, err error) {
	b, err = s.bytes(pos+headerSize, int(h.length))
	if err != nil {
		return nil, false, err
	}
	return b, len(b) == int(h.length) && checksum(b) == h.payload, nil
}

// find looks for the first batch header at or behind pos whose base is at
// least base, byte by byte. Its CRC, seeded with the log's id, is the proof.
func (s *scanner) find(pos int64, base uint64) (int64, batchHeader, bool, error) {
	var magic [4]byte
	le.PutUint32(magic[:], magicBatch)
	for pos+headerSize <= s.limit {
		b, err := s.bytes(pos, scanWindow)
		if err != nil || len(b) < headerSize {
			return 0, batchHeader{}, false, err
		}
		i := bytes.Index(b[:len(b)-headerSize+len(magic)], magic[:])
		if i < 0 {
			pos += int64(len(b) - headerSize + 1)
			continue
		}
		pos += int64(i)
		h, ok, err := s.header(pos)
		if err != nil || ok && h.base >= base {
			return pos, h, ok, err
		}
		pos++
	}
	return 0, batchHeader{}, false, nil
}
