package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/seastreamer/seastreamer/driver"
)

// SetPositions implements [driver.GroupAdmin]. It holds the leases of the
// shards while it writes, so no member reads one of them from another place: a
// shard that a member reads is ErrFenced, and then nothing is stored.
func (d *fileDriver) SetPositions(ctx context.Context, group string, at []driver.Position) error {
	return wrap("set the positions of group "+group, driver.Shard{}, d.setPositions(ctx, group, at))
}

func (d *fileDriver) setPositions(ctx context.Context, group string, at []driver.Position) error {
	if group == "" {
		return driver.Errorf(driver.ErrInvalid, "", "the name of the group is empty")
	}
	logs := make([]uint64, len(at))
	for i, p := range at {
		if p.Next.Hi != 0 {
			return driver.Errorf(driver.ErrInvalid, "", "%s: sequence numbers of files have 64 bits, and %v has more", p.Shard, p.Next)
		}
		root, _, err := d.shardOf(p.Shard)
		if err != nil {
			return wrap("find", p.Shard, err)
		}
		l, err := openLog(root, p.Shard)
		if err != nil {
			return wrap("find", p.Shard, err)
		}
		logs[i] = l.id.hash()
		_ = l.close()
	}
	if len(at) == 0 {
		return nil
	}
	var streams []string
	for _, p := range at {
		if !slices.Contains(streams, p.Stream) {
			streams = append(streams, p.Stream)
		}
	}
	all, unlock, err := d.openGroup(ctx, group, streams)
	if err != nil {
		return err
	}
	defer unlock()
	open := make(map[string]*groupStream)
	for _, s := range all {
		defer s.closeFiles()
		open[s.name] = s
	}
	taken := make(map[driver.Shard]bool)
	for _, p := range at {
		if taken[p.Shard] {
			continue
		}
		ok, err := open[p.Stream].leases.try(int64(p.Index))
		if err != nil {
			return err
		}
		if !ok {
			return fenced(p.Shard)
		}
		taken[p.Shard] = true
	}
	errs := make([]error, len(at))
	for i, p := range at {
		s := open[p.Stream]
		k := &lease{}
		err := s.load(p.Index, k)
		if err == nil || errors.Is(err, driver.ErrLost) {
			k.log = logs[i]
			err = s.store(p.Index, k, p.Next.Lo)
		}
		if err != nil {
			errs[i] = wrap("write the position of", p.Shard, err)
		}
	}
	for _, s := range open {
		if s.durable {
			if err := d.env.sync(s.progress); err != nil {
				return err
			}
		}
		for sh := range taken {
			if sh.Stream == s.name {
				_ = s.leases.unlock(int64(sh.Index))
			}
		}
		s.ring() // members that want shards have found these taken
	}
	return driver.Partial(errs)
}

func fenced(shard driver.Shard) error {
	return driver.Errorf(driver.ErrFenced, "", "a member reads %s: stop the members of the group first", shard)
}

// groupFiles opens what a group has for a stream; nil where it has nothing. The
// lock of the group's folder is held.
func groupFiles(root *os.Root, dir, stream string) (*groupStream, error) {
	file := folderName(stream)
	leases, err := openExisting(root, path.Join(dir, leasesFolder, file))
	if leases == nil {
		return nil, err
	}
	s := &groupStream{name: stream, leases: leases}
	s.progress, err = root.OpenFile(path.Join(dir, progressFolder, file), os.O_RDWR, 0)
	if err != nil {
		s.closeFiles()
		return nil, absent(err)
	}
	return s, nil
}

// openExisting opens a lock file for locking; nil where there is none.
func openExisting(root *os.Root, name string) (*leaseFile, error) {
	if _, err := root.Lstat(name); err != nil {
		return nil, absent(err)
	}
	return openLeases(root, name)
}

// busy reports whether the stream has members in the group.
func (s *groupStream) busy() (bool, error) {
	found := false
	err := s.leases.others(memberBase, memberBase+1<<32, func(int64) { found = true })
	return found, err
}

// DeleteGroup implements [driver.GroupAdmin]. Members mark themselves with the
// lock of the group's folder, so none comes while it is removed; one that wants
// in finds the group gone and makes it anew.
func (d *fileDriver) DeleteGroup(ctx context.Context, group string) error {
	return wrap("delete group "+group, driver.Shard{}, d.deleteGroup(ctx, group))
}

func (d *fileDriver) deleteGroup(ctx context.Context, group string) error {
	root, unlock, err := d.lockGroup(ctx, group)
	if err != nil {
		return err
	}
	defer unlock()
	dir := groupDir(group)
	files, err := listFiles(root, path.Join(dir, leasesFolder))
	if err != nil {
		return err
	}
	for _, file := range files {
		k, err := lookLeases(root, path.Join(dir, leasesFolder, file))
		if err != nil {
			return err
		}
		busy, err := (&groupStream{leases: k}).busy()
		_ = k.Close()
		if err != nil {
			return err
		}
		if busy {
			return driver.Errorf(driver.ErrFenced, "", "the group has members: stop them first")
		}
	}
	gone := path.Join("groups", goneFolder+randomHex())
	if err := root.Rename(dir, gone); err != nil {
		return err
	}
	if err := syncDir(root, "groups"); err != nil {
		return err
	}
	if err := removeGone(root, gone); err != nil {
		return err
	}
	sweepGone(root, "groups")
	return nil
}

// lockGroup takes the lock of the folder of a group that exists.
func (d *fileDriver) lockGroup(ctx context.Context, group string) (*os.Root, func(), error) {
	root, err := d.folder()
	if err == nil && root == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, d.noGroup(err)
	}
	unlock, err := d.lockFolder(ctx, root, groupDir(group))
	return root, unlock, d.noGroup(err)
}

func listFiles(root *os.Root, dir string) ([]string, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, absent(err)
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// DeletePositions implements [driver.GroupAdmin]. A stream of which nothing is
// left, and that nobody reads, the group forgets as a whole.
func (d *fileDriver) DeletePositions(ctx context.Context, group string, shards []driver.Shard) error {
	return wrap("delete positions of group "+group, driver.Shard{}, d.deletePositions(ctx, group, shards))
}

func (d *fileDriver) deletePositions(ctx context.Context, group string, shards []driver.Shard) error {
	root, unlock, err := d.lockGroup(ctx, group)
	if err != nil {
		return err
	}
	defer unlock()
	dir := groupDir(group)
	open := make(map[string]*groupStream)
	defer func() {
		for _, s := range open {
			s.closeFiles()
		}
	}()
	var known []driver.Shard
	for _, sh := range shards {
		s := open[sh.Stream]
		if s == nil {
			if s, err = groupFiles(root, dir, sh.Stream); err != nil {
				return err
			}
			if s == nil {
				continue // the group does not know it
			}
			open[sh.Stream] = s
		}
		if sh.Index < 0 || int(sh.Index) >= maxShards || slices.Contains(known, sh) {
			continue
		}
		ok, err := s.leases.try(int64(sh.Index))
		if err != nil {
			return err
		}
		if !ok {
			return fenced(sh)
		}
		known = append(known, sh)
	}
	for _, sh := range known {
		s := open[sh.Stream]
		size, _, err := fstat(s.progress)
		if err != nil {
			return err
		}
		if at := int64(sh.Index) * pairSize; at < size {
			if _, err := s.progress.WriteAt(make([]byte, pairSize), at); err != nil {
				return wrap("clear the position of", sh, err)
			}
		}
	}
	for _, s := range open {
		if err := d.env.sync(s.progress); err != nil {
			return err
		}
		busy, err := s.busy()
		if err != nil {
			return err
		}
		b, err := root.ReadFile(path.Join(dir, progressFolder, folderName(s.name)))
		if err != nil {
			return err
		}
		if !busy && !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
			if err := removeGroupFiles(root, dir, s.name); err != nil {
				return err
			}
		}
		for _, sh := range known {
			if sh.Stream == s.name {
				_ = s.leases.unlock(int64(sh.Index))
			}
		}
		s.ring()
	}
	return nil
}

// removeGroupFiles removes what a group has for a stream that no member reads.
// The lock of the group's folder is held.
func removeGroupFiles(root *os.Root, dir, stream string) error {
	for _, sub := range []string{progressFolder, membersFolder, leasesFolder} {
		if err := absent(root.Remove(path.Join(dir, sub, folderName(stream)))); err != nil {
			return err
		}
	}
	return nil
}

// forgetStream takes a stream that is being deleted from the group in dir,
// unless it has members there.
func (d *fileDriver) forgetStream(ctx context.Context, root *os.Root, dir, stream string) error {
	if _, err := root.Lstat(path.Join(dir, progressFolder, folderName(stream))); err != nil {
		return absent(err)
	}
	unlock, err := d.lockFolder(ctx, root, dir)
	if err != nil {
		return absent(err)
	}
	defer unlock()
	k, err := lookLeases(root, path.Join(dir, leasesFolder, folderName(stream)))
	if err == nil {
		busy, err := (&groupStream{leases: k}).busy()
		_ = k.Close()
		if busy || err != nil {
			return err
		}
	} else if absent(err) != nil {
		return err
	}
	return removeGroupFiles(root, dir, stream)
}
