package file

import (
	"os"
	"path"
	"sort"
)

// The index of a segment has an entry for its start and then one for the first
// batch behind each 64 KiB of it. It is advice: nothing syncs it, every entry
// is checked against the batch it points to before it is used, and what is
// missing is scanned.
//
// Entry, 24 bytes: sequence u64 · position u64 · running maximum time i64,
// which is that of everything before the position, so that all three ascend
// and one file serves searches by sequence and by time.
const (
	indexEntrySize = 24
	indexStripe    = 64 << 10
)

type indexEntry struct {
	seq     uint64
	pos     int64
	maxTime int64
}

func (e indexEntry) append(b []byte) []byte {
	b = le.AppendUint64(b, e.seq)
	b = le.AppendUint64(b, uint64(e.pos))
	return le.AppendUint64(b, uint64(e.maxTime))
}

func decodeIndexEntry(b []byte) indexEntry {
	return indexEntry{le.Uint64(b), int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:]))}
}

// wantsEntry reports whether the batch that ends at end, having begun at pos,
// is followed by an entry. It depends on nothing but the two, so writers of
// different processes need not agree on anything.
func wantsEntry(pos, end int64) bool { return pos/indexStripe != end/indexStripe }

// An index is an open index file.
type index struct {
	f *os.File
	n int // entries
}

// openIndex opens the index of a segment; nil where there is none.
func (l *shardLog) openIndex(base uint64) *index {
	f, err := l.root.Open(path.Join(l.dir, indexName(base)))
	if err != nil {
		return nil
	}
	n, _, err := fstat(f)
	if err != nil {
		f.Close()
		return nil
	}
	return &index{f, int(n / indexEntrySize)}
}

func (x *index) close() {
	if x != nil {
		x.f.Close()
	}
}

func (x *index) entry(i int) (indexEntry, bool) {
	var b [indexEntrySize]byte
	if _, err := x.f.ReadAt(b[:], int64(i)*indexEntrySize); err != nil {
		return indexEntry{}, false
	}
	return decodeIndexEntry(b[:]), true
}

// first is the entry for the segment's start.
func (x *index) first() (indexEntry, bool) {
	if x == nil || x.n == 0 {
		return indexEntry{}, false
	}
	return x.entry(0)
}

// last is the last entry that holds, where those that hold come first. It is
// false where there is none.
func (x *index) last(holds func(indexEntry) bool) (indexEntry, bool) {
	if x == nil {
		return indexEntry{}, false
	}
	i := sort.Search(x.n, func(i int) bool {
		e, ok := x.entry(i)
		return !ok || !holds(e)
	})
	if i == 0 {
		return indexEntry{}, false
	}
	return x.entry(i - 1)
}

// check reports whether e points to a batch, or to the place for the next one.
func (s *scanner) check(e indexEntry) bool {
	if e.pos < headerSize || e.pos > s.limit {
		return false
	}
	if e.pos == s.limit {
		return true // nothing is there yet, so nothing will be read there
	}
	h, ok, err := s.header(e.pos)
	return err == nil && ok && h.base == e.seq
}

// buildIndex is the index of the segment that s scans, and the running maximum
// time behind it. Before it that is maxTime.
func buildIndex(base uint64, s *scanner, maxTime int64) ([]byte, int64, error) {
	b := indexEntry{base, headerSize, maxTime}.append(nil)
	pos := int64(headerSize)
	for pos < s.limit {
		h, ok, err := s.header(pos)
		if err == nil && !ok {
			// The next batch that can be read goes on: an entry for it makes
			// the damage cheap for those who come after.
			if pos, h, ok, err = s.find(pos+1, base); ok {
				b = indexEntry{h.base, pos, maxTime}.append(b)
			}
		}
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			break
		}
		end := pos + h.size()
		maxTime = max(maxTime, h.maxTime())
		if wantsEntry(pos, end) {
			b = indexEntry{h.next(), end, maxTime}.append(b)
		}
		pos = end
	}
	return b, maxTime, nil
}

// replaceIndex puts b in place of a segment's index. Who has the old one open
// goes on with it.
func (l *shardLog) replaceIndex(base uint64, b []byte) error {
	tmp := path.Join(l.dir, ".idx-"+randomHex())
	f, err := createFile(l.root, tmp, os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	f.Close()
	if err == nil {
		err = l.root.Rename(tmp, path.Join(l.dir, indexName(base)))
	}
	if err != nil {
		l.root.Remove(tmp)
	}
	return err
}
