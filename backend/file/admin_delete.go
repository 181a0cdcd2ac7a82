package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"

	"github.com/seastreamer/seastreamer/driver"
)

// How a stream is deleted while any number of processes read and write it, in
// steps that whoever comes next can finish. All of them happen with the lock of
// the stream's folder.
//
//  1. It takes the locks of all shards. Nobody is in the middle of an append.
//     Killed here: nothing has changed.
//  2. It renames meta to deleted. From here on there is no such stream for who
//     opens one, and none of that name can be created before the end of this.
//     Killed here or later: who creates the stream, or deletes it again,
//     finishes the work.
//  3. It publishes flagDeleted in each shard, and gives the locks back. Writers
//     that have the log open find it with their next append, which fails; so
//     none writes to files without a name, or by a path that is another
//     stream's by then.
//  4. Groups without members and owners of units forget the stream. This is
//     before the name is free, so that what they know of the next stream of the
//     name is not taken for that of this one. Members stay: their progress
//     says which log it counts in.
//  5. It renames the folder, which frees the name, and removes it. What is left
//     of that is removed when a stream is created.
const (
	deletedMeta = "deleted"
	goneFolder  = ".gone-"
)

// DeleteStream implements [driver.StreamAdmin]. Producers that have the stream
// open get ErrNotFound for what they send next, and create it anew with what
// they send after that; consumers without a group get ErrNotFound within five
// seconds, and members of groups wait for it to come again. A writer that is
// stopped in the middle of an append is ErrUnavailable after ten seconds, and
// nothing has changed.
func (d *fileDriver) DeleteStream(ctx context.Context, name string) error {
	err := d.changeStream(ctx, name, func(root *os.Root, m meta) error {
		return d.remove(ctx, root, name, func() error {
			dir := folderName(name)
			if err := root.Rename(path.Join(dir, "meta"), path.Join(dir, deletedMeta)); err != nil {
				return err
			}
			return syncDir(root, dir)
		})
	})
	if errors.Is(err, driver.ErrNotFound) {
		if root, rerr := d.folder(); rerr == nil && root != nil && driver.CheckStream(name) == nil {
			if freed, ferr := d.finishDelete(ctx, root, name); freed || ferr != nil {
				err = ferr
			}
		}
	}
	return wrap("delete stream "+name, driver.Shard{}, err)
}

// finishDelete brings the deletion of a stream to its end that somebody else
// has begun; false says that there is none.
func (d *fileDriver) finishDelete(ctx context.Context, root *os.Root, name string) (bool, error) {
	mark := path.Join(folderName(name), deletedMeta)
	if _, err := root.Lstat(mark); err != nil {
		return false, absent(err)
	}
	unlock, err := d.lockFolder(ctx, root, folderName(name))
	if err != nil {
		return true, absent(err) // or the other one has just done it
	}
	defer unlock()
	if _, err := root.Lstat(mark); err != nil {
		return true, absent(err)
	}
	return true, d.remove(ctx, root, name, func() error { return nil })
}

// absent is err, but nil where it says that something is not there.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// remove is what the comment above says; commit is step 2.
func (d *fileDriver) remove(ctx context.Context, root *os.Root, name string, commit func() error) error {
	if err := d.markDeleted(ctx, root, name, commit); err != nil {
		return err
	}
	d.step(stepDeleteMarked)
	if err := d.forget(ctx, root, name); err != nil {
		return fmt.Errorf("the stream is gone, but not what groups and owners know of it; delete it again: %w", err)
	}
	d.step(stepDeleteForgotten)
	gone := goneFolder + randomHex()
	if err := root.Rename(folderName(name), gone); err != nil {
		return err
	}
	if err := syncDir(root, "."); err != nil {
		return err
	}
	d.step(stepDeleteRenamed)
	return removeGone(root, gone)
}

func (d *fileDriver) step(s step) {
	if d.env.at != nil {
		d.env.at(s)
	}
}

// markDeleted does steps 1 to 3. A shard that cannot be opened is open in no
// writer either.
func (d *fileDriver) markDeleted(ctx context.Context, root *os.Root, name string, commit func() error) error {
	shards, err := shardFolders(root, folderName(name))
	if err != nil {
		return err
	}
	var held []*appender
	defer func() {
		for _, w := range held {
			w.unlock()
			_ = w.l.close()
		}
	}()
	for _, i := range shards {
		shard := driver.Shard{Stream: name, Index: i}
		l, err := openLog(root, shard)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, driver.ErrInvalid) {
			continue
		}
		if err != nil {
			return wrap("lock", shard, err)
		}
		if !l.writable {
			_ = l.close()
			return wrap("lock", shard, fs.ErrPermission)
		}
		w := newAppender(l, meta{}, d.opts, &d.env)
		if err := w.key.lock(ctx, d.env.patience); err != nil {
			w.key.discard()
			return wrap("lock", shard, err)
		}
		held = append(held, w)
	}
	d.step(stepDeleteLocked)
	if err := commit(); err != nil {
		return err
	}
	d.step(stepDeleteBegun)
	for _, w := range held {
		if err := w.markDeleted(); err != nil {
			return wrap("mark", w.l.shard, err)
		}
	}
	return nil
}

// markDeleted publishes flagDeleted. A unit that is pending is dropped: its log
// goes, and what its owner knows of it.
func (w *appender) markDeleted() error {
	var b [pairSize]byte
	if _, err := w.l.ctl.ReadAt(b[:], ctlEnd); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	s, ok, _ := chooseSlot(b[:])
	if !ok {
		s = slot{gen: uint64(now()), pos: headerSize, maxTime: minTime} // see appender.recover
	}
	w.end = s
	s.flags = s.flags&^flagPending | flagDeleted
	return w.publish(s)
}

// shardFolders are the indexes of the shards in a stream's folder, ascending.
func shardFolders(root *os.Root, dir string) ([]int32, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var shards []int32
	for _, name := range names {
		if n, err := strconv.ParseUint(name, 10, 16); err == nil && strconv.FormatUint(n, 10) == name {
			shards = append(shards, int32(n))
		}
	}
	slices.Sort(shards)
	return shards, nil
}

// forget is step 4.
func (d *fileDriver) forget(ctx context.Context, root *os.Root, name string) error {
	for group, err := range folders(ctx, root, "groups") {
		if err == nil {
			err = d.forgetStream(ctx, root, path.Join("groups", group), name)
		}
		if err != nil {
			return err
		}
	}
	for unit, err := range folders(ctx, root, "units") {
		if err == nil {
			err = d.forgetUnits(ctx, root, path.Join("units", unit), name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetUnits takes a stream from what an owner of units has committed: the
// list of its shards first, so that at no instant a shard is listed that has no
// position. An owner that is at work finds that it lost the shard.
func (d *fileDriver) forgetUnits(ctx context.Context, root *os.Root, dir, name string) error {
	u, err := openUnits(root, dir, &d.env)
	if err != nil {
		return skipLost(err)
	}
	if rec, err := u.load(false); err != nil || !rec.knows(name) {
		u.f.Close()
		return skipLost(err)
	}
	if err := u.key.lock(ctx, d.env.patience); err != nil {
		u.key.discard()
		return wrap("lock "+dir+"/record", driver.Shard{}, err)
	}
	defer u.f.Close()
	defer u.key.unlock()
	rec, err := u.load(true)
	if err != nil || u.deleted() {
		return skipLost(err)
	}
	job, err := readJob(root, dir)
	if err == nil {
		n := len(job.Shards)
		job.Shards = slices.DeleteFunc(job.Shards, func(s jobShard) bool { return s.Stream == name })
		if len(job.Shards) < n {
			if err := writeJob(root, dir, job); err != nil {
				return err
			}
		}
	}
	next := rec.clone()
	next.inputs = slices.DeleteFunc(next.inputs, func(in unitInput) bool { return in.shard.Stream == name })
	next.outputs = slices.DeleteFunc(next.outputs, func(out unitOutput) bool { return out.shard.Stream == name })
	return u.publish(next, true)
}

// skipLost is err, but nil for a record that is not there or damaged: its next
// claim says so.
func skipLost(err error) error {
	if errors.Is(err, driver.ErrLost) {
		return nil
	}
	return absent(err)
}

// knows reports whether the record names a shard of the stream.
func (r *unitRecord) knows(stream string) bool {
	return slices.ContainsFunc(r.inputs, func(in unitInput) bool { return in.shard.Stream == stream }) ||
		slices.ContainsFunc(r.outputs, func(out unitOutput) bool { return out.shard.Stream == stream })
}
