package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A store is the directory. Every file is reached through an os.Root, so that
// neither a name nor a symbolic link leads out of it. The directory is made by
// the first stream that is created in it, not by looking at it.
type store struct {
	dir  string
	mu   sync.Mutex
	root *os.Root
}

// open returns the directory's root; without create a directory that does not
// exist is fs.ErrNotExist.
func (s *store) open(create bool) (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root != nil {
		return s.root, nil
	}
	r, err := os.OpenRoot(s.dir)
	if create && errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(s.dir, 0o700); err != nil {
			return nil, err
		}
		if err = os.Chmod(s.dir, 0o700); err != nil {
			return nil, err
		}
		r, err = os.OpenRoot(s.dir)
	}
	if err != nil {
		return nil, err
	}
	s.root = r
	return r, nil
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		return nil
	}
	return s.root.Close()
}

// createFile opens a file that may be new; its mode is 0600 whatever the umask.
func createFile(root *os.Root, name string, flags int) (*os.File, error) {
	f, err := root.OpenFile(name, flags|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err == nil && st.Mode().Perm() != 0o600 && st.Size() == 0 {
		if err := f.Chmod(0o600); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// makeDir makes a directory that may exist; its mode is 0700 whatever the umask.
func makeDir(root *os.Root, name string) error {
	err := root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return root.Chmod(name, 0o700)
}

// writeFile makes a file with its content on stable storage.
func writeFile(root *os.Root, name string, content []byte) error {
	f, err := createFile(root, name, os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes the names in a directory durable.
func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// shardDir is the folder of a shard, below the root.
func shardDir(sh driver.Shard) string {
	return path.Join(folderName(sh.Stream), strconv.Itoa(int(sh.Index)))
}

func segmentName(base uint64) string { return fmt.Sprintf("%020d.log", base) }
func indexName(base uint64) string   { return fmt.Sprintf("%020d.idx", base) }

// parseSegmentName is the base in the name of a segment or, with suffix .idx,
// of an index.
func parseSegmentName(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && digits[0] != '+'
}

// readMeta is the settings of a stream; fs.ErrNotExist where there is none.
func readMeta(root *os.Root, name string) (meta, error) {
	b, err := root.ReadFile(path.Join(folderName(name), "meta"))
	if err != nil {
		return meta{}, err
	}
	m, err := parseMeta(b)
	if err == nil && m.Name != name {
		err = fmt.Errorf("it names the stream %q", m.Name)
	}
	if err != nil {
		return meta{}, driver.Errorf(driver.ErrInvalid, "", "file meta of stream %s: %w", name, err)
	}
	return m, nil
}

func parseMeta(b []byte) (meta, error) {
	var m meta
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&m); err != nil {
		return m, err
	}
	return m, m.check()
}

func writeMeta(root *os.Root, dir string, m meta) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	tmp := path.Join(dir, ".meta-"+randomHex())
	if err := writeFile(root, tmp, append(b, '\n')); err != nil {
		root.Remove(tmp)
		return err
	}
	return root.Rename(tmp, path.Join(dir, "meta"))
}

func randomHex() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// createStream makes a stream that is not there, with all its shards: in a
// folder of another name, which then gets its own name. So a stream exists
// whole or not at all, and of two processes that create it one wins and both
// go on with what the winner made; it is the one for which made is true.
func (d *fileDriver) createStream(root *os.Root, m meta) (made bool, err error) {
	sweep(root)
	for {
		tmp := ".new-" + randomHex()
		err := fillStream(root, tmp, m, d.env.boot)
		if err == nil {
			err = root.Rename(tmp, folderName(m.Name))
		}
		if err == nil {
			return true, syncDir(root, ".")
		}
		root.RemoveAll(tmp)
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return false, err
		}
		// It exists, or somebody has not got to the end of deleting it.
		if freed, err := d.finishDelete(context.Background(), root, m.Name); !freed || err != nil {
			return false, err
		}
	}
}

func fillStream(root *os.Root, dir string, m meta, boot uint64) error {
	if err := makeDir(root, dir); err != nil {
		return err
	}
	for i := range m.Shards {
		if err := fillShard(root, path.Join(dir, strconv.Itoa(i)), boot); err != nil {
			return err
		}
	}
	if err := writeMeta(root, dir, m); err != nil {
		return err
	}
	return syncDir(root, dir)
}

// fillShard makes the folder of a shard with an empty log.
func fillShard(root *os.Root, dir string, boot uint64) error {
	if err := makeDir(root, dir); err != nil {
		return err
	}
	var id logID
	rand.Read(id[:])
	h := segmentHeader{base: 0, created: now(), id: id}.encode()
	if err := writeFile(root, path.Join(dir, segmentName(0)), h[:]); err != nil {
		return err
	}
	first := indexEntry{seq: 0, pos: headerSize, maxTime: minTime}
	if err := writeFile(root, path.Join(dir, indexName(0)), first.append(nil)); err != nil {
		return err
	}
	if err := writeFile(root, path.Join(dir, "ctl"), newCtl(id, boot)); err != nil {
		return err
	}
	return syncDir(root, dir)
}

// sweep removes what creations that were killed left, an hour ago or more, and
// what deletions left, at once.
func sweep(root *os.Root) {
	sweepGone(root, ".")
	for name, err := range folders(context.Background(), root, ".") {
		if err != nil {
			return
		}
		if !strings.HasPrefix(name, ".new-") {
			continue
		}
		if st, err := root.Lstat(name); err == nil && time.Since(st.ModTime()) > time.Hour {
			root.RemoveAll(name)
		}
	}
}

// removeGone removes a folder that has lost its name. A process that had looked
// the name up just before may still put something into it; then it is not empty
// when it should go, and is removed again.
func removeGone(root *os.Root, name string) error {
	for try := 1; ; try++ {
		err := root.RemoveAll(name)
		if try == 100 || !errors.Is(err, syscall.ENOTEMPTY) {
			return absent(err)
		}
	}
}

// sweepGone removes what deletions in a folder have left that were killed.
func sweepGone(root *os.Root, dir string) {
	for name, err := range folders(context.Background(), root, dir) {
		if err == nil && strings.HasPrefix(name, goneFolder) {
			root.RemoveAll(path.Join(dir, name))
		}
	}
}

// segments lists the bases of the segments in a shard's folder, ascending.
func segments(root *os.Root, dir string) ([]uint64, error) { return listBases(root, dir, ".log") }

func listBases(root *os.Root, dir, suffix string) ([]uint64, error) {
	d, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	var bases []uint64
	for _, n := range names {
		if b, ok := parseSegmentName(n, suffix); ok {
			bases = append(bases, b)
		}
	}
	slices.Sort(bases)
	return bases, nil
}

func now() int64 { return time.Now().UnixMicro() }

// randomID is a number that is not zero and that nobody else has.
func randomID() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return le.Uint64(b[:]) | 1
}
