package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// lockFolder takes the lock of a folder, which is that of changes to what is
// in it as a whole: a stream's settings and shards, or the members of a group
// (see [groupStream.enter]). Whoever has it knows that the folder still has its
// name; fs.ErrNotExist says that it has not. It waits as long as for any lock.
func (d *fileDriver) lockFolder(ctx context.Context, root *os.Root, dir string) (unlock func(), err error) {
	for {
		f, err := root.Open(dir)
		if err != nil {
			return nil, err
		}
		k := newFileLock(f)
		if err := k.lock(ctx, d.env.patience); err != nil {
			k.discard()
			return nil, err
		}
		unlock := func() {
			k.unlock()
			f.Close()
		}
		if isAt(root, f, dir) {
			return unlock, nil
		}
		unlock() // it was renamed or removed while we waited
	}
}

// isAt reports whether the open file f is still what has the name.
func isAt(root *os.Root, f *os.File, name string) bool {
	is, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := root.Lstat(name)
	return err == nil && os.SameFile(is, there)
}

// changeStream calls change with the settings of a stream, alone.
func (d *fileDriver) changeStream(ctx context.Context, name string, change func(root *os.Root, m meta) error) error {
	if _, _, err := d.meta(name); err != nil {
		return err
	}
	root, err := d.store.open(false)
	if err != nil {
		return d.missing(err)
	}
	unlock, err := d.lockFolder(ctx, root, folderName(name))
	if err != nil {
		return d.missing(err)
	}
	defer unlock()
	m, err := readMeta(root, name)
	if err != nil {
		return d.missing(err)
	}
	return change(root, m)
}

// replaceMeta puts m in the place of a stream's settings, on stable storage.
// The lock of the folder is held, so what is left of others is of writers that
// died.
func replaceMeta(root *os.Root, m meta) error {
	dir := folderName(m.Name)
	if es, err := fs.ReadDir(root.FS(), dir); err == nil {
		for _, e := range es {
			if strings.HasPrefix(e.Name(), ".meta-") {
				root.Remove(path.Join(dir, e.Name()))
			}
		}
	}
	if err := writeMeta(root, dir, m); err != nil {
		return err
	}
	return syncDir(root, dir)
}

// CreateStream implements [driver.StreamAdmin]. What the spec leaves out is as
// for a stream that a producer of this driver creates.
func (d *fileDriver) CreateStream(ctx context.Context, spec driver.StreamSpec) error {
	return wrap("create stream "+spec.Name, driver.Shard{}, d.create(spec))
}

func (d *fileDriver) create(spec driver.StreamSpec) error {
	if err := driver.CheckStream(spec.Name); err != nil {
		return driver.Errorf(driver.ErrInvalid, "", "%w", err)
	}
	if _, err := d.folder(); err != nil {
		return err
	}
	if spec.Shards < 0 || spec.Shards > maxShards {
		return driver.Errorf(driver.ErrInvalid, "", "%d shards: 1 to %d are allowed", spec.Shards, maxShards)
	}
	m := d.opts.newMeta(spec.Name)
	if spec.Shards > 0 {
		m.Shards = spec.Shards
	}
	m, err := m.apply(spec.Settings)
	if err != nil {
		return err
	}
	root, err := d.store.open(true)
	if err != nil {
		return err
	}
	if _, err := readMeta(root, spec.Name); err == nil {
		return errExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made, err := d.createStream(root, m)
	if err == nil && !made {
		err = errExists
	}
	return err
}

var errExists = driver.Errorf(driver.ErrExists, "", "there is a stream of that name")

// SetStream implements [driver.StreamAdmin]. A process that writes to the
// stream goes by the new settings within five seconds of writing; its own
// options still win (see [Options]). Retention counts when the next segment is
// full. A stream whose readers see only what is synced stays one, and no other
// becomes one: whoever has it open has opened it as what it is.
func (d *fileDriver) SetStream(ctx context.Context, name string, s driver.Settings) error {
	err := d.changeStream(ctx, name, func(root *os.Root, m meta) error {
		if s.Replicas != nil {
			return driver.Errorf(errors.ErrUnsupported, "", "files are on this machine only: Replicas cannot be changed")
		}
		next, err := m.apply(s)
		if err != nil {
			return err
		}
		if (next.Sync == SyncAlways) != (m.Sync == SyncAlways) {
			return driver.Errorf(errors.ErrUnsupported, "", "sync cannot be changed from %s to %s: open the directory with sync=always to write so, or create another stream with it", m.Sync, next.Sync)
		}
		if next == m {
			return nil
		}
		return replaceMeta(root, next)
	})
	return wrap("change the settings of stream "+name, driver.Shard{}, err)
}

// AddShards implements [driver.StreamAdmin]. Consumers and members of groups
// find the new shards within five seconds, and read them from their start;
// producers use them within five seconds of writing. Keys go to other shards
// from then on.
func (d *fileDriver) AddShards(ctx context.Context, name string, total int) error {
	err := d.changeStream(ctx, name, func(root *os.Root, m meta) error {
		if total < m.Shards || total > maxShards {
			return driver.Errorf(driver.ErrInvalid, "", "it has %d shards and cannot have %d: they cannot be removed, and at most %d are allowed", m.Shards, total, maxShards)
		}
		if total == m.Shards {
			return nil
		}
		dir := folderName(name)
		for i := m.Shards; i < total; i++ {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			// What is there is of somebody who died before it counted.
			shard := path.Join(dir, strconv.Itoa(i))
			if err := root.RemoveAll(shard); err != nil {
				return err
			}
			if err := fillShard(root, shard, d.env.boot); err != nil {
				return err
			}
		}
		if err := syncDir(root, dir); err != nil {
			return err
		}
		m.Shards = total
		return replaceMeta(root, m)
	})
	return wrap("add shards to stream "+name, driver.Shard{}, err)
}
