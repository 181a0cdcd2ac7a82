package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/seastreamer/seastreamer/driver"
)

var _ driver.GroupAdmin = (*fileDriver)(nil)

// groupIn is the group whose folder is called folder; false where it is none.
func groupIn(root *os.Root, folder string) (string, bool) {
	if !isCut(folder) {
		return unfolder(folder)
	}
	b, err := root.ReadFile(path.Join("groups", folder, "name"))
	return string(b), err == nil && folderName(string(b)) == folder
}

// GroupNames implements [driver.GroupAdmin].
func (d *fileDriver) GroupNames(ctx context.Context, streams []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		root, err := d.folder()
		if err != nil {
			yield("", wrap("list the groups in "+d.store.dir, driver.Shard{}, err))
			return
		}
		if root == nil {
			return
		}
		knows := func(folder string) bool {
			return len(streams) == 0 || slices.ContainsFunc(streams, func(s string) bool {
				_, err := root.Lstat(path.Join("groups", folder, progressFolder, folderName(s)))
				return err == nil
			})
		}
		for folder, err := range folders(ctx, root, "groups") {
			if err != nil {
				yield("", wrap("list the groups in "+d.store.dir, driver.Shard{}, err))
				return
			}
			if name, ok := groupIn(root, folder); ok && knows(folder) && !yield(name, nil) {
				return
			}
		}
	}
}

// DescribeGroups implements [driver.GroupAdmin]. The locks tell how many
// members there are and which shards are read; who they are is what they have
// written down. They keep no count of what they hold, and are heard of by
// nothing but their locks, so Pending and Idle are not known.
//
// A position in a stream that was deleted and made anew is where members will
// go on: at its first message. Behind is exact.
func (d *fileDriver) DescribeGroups(ctx context.Context, names []string) ([]driver.GroupInfo, error) {
	infos := make([]driver.GroupInfo, len(names))
	root, err := d.folder()
	if err != nil {
		return nil, wrap("describe groups in "+d.store.dir, driver.Shard{}, err)
	}
	for i, name := range names {
		if ctx.Err() != nil {
			return nil, wrap("describe groups in "+d.store.dir, driver.Shard{}, context.Cause(ctx))
		}
		infos[i].Name = name
		if err := d.describeGroup(root, &infos[i]); err != nil {
			infos[i].Err = wrap("describe group "+name, driver.Shard{}, err)
		}
	}
	return infos, nil
}

// noGroup is an error that says that there is no such group, or err.
func (d *fileDriver) noGroup(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return driver.Errorf(driver.ErrNotFound, "", "there is no such group in %s", d.store.dir)
	}
	return err
}

// groupStreams are the streams that the group in dir has files for.
func groupStreams(root *os.Root, dir string) ([]string, error) {
	if _, err := root.Stat(dir); err != nil {
		return nil, err
	}
	f, err := root.Open(path.Join(dir, progressFolder))
	if err != nil {
		return nil, absent(err)
	}
	defer f.Close()
	files, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var streams []string
	for _, file := range files {
		name, ok := unfolder(file)
		if isCut(file) {
			name, ok = streamIn(root, file) // of one that was deleted it is not known
		}
		if ok {
			streams = append(streams, name)
		}
	}
	slices.Sort(streams)
	return streams, nil
}

func (d *fileDriver) describeGroup(root *os.Root, info *driver.GroupInfo) error {
	if root == nil {
		return d.noGroup(fs.ErrNotExist)
	}
	dir := groupDir(info.Name)
	streams, err := groupStreams(root, dir)
	if err != nil {
		return d.noGroup(err)
	}
	info.Kind, info.State = "leases", "empty"
	members := make(map[string]*driver.MemberInfo)
	free := false
	var failed error
	for _, stream := range streams {
		owners, all, err := d.membersOf(root, dir, stream, members)
		if err == nil {
			free = free || !all
			err = d.positions(root, dir, stream, owners, info)
		}
		if err != nil && failed == nil {
			failed = wrap("of stream "+stream, driver.Shard{}, err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(members)) {
		info.Members = append(info.Members, *members[id])
	}
	switch {
	case len(members) == 0:
	case free:
		info.State = "rebalancing"
	default:
		info.State = "stable"
	}
	return failed
}

// membersOf adds the members that read the stream, and returns which has which
// shard: "" for one that is not known. all says that there is no member, or
// every shard is taken.
func (d *fileDriver) membersOf(root *os.Root, dir, stream string, members map[string]*driver.MemberInfo) (owners map[int32]string, all bool, err error) {
	file := folderName(stream)
	k, err := lookLeases(root, path.Join(dir, leasesFolder, file))
	if err != nil {
		return nil, true, absent(err)
	}
	defer func() { _ = k.Close() }()
	var notes io.ReaderAt = nothing{}
	if f, err := root.Open(path.Join(dir, membersFolder, file)); err == nil {
		defer f.Close()
		notes = f
	}
	known := make(map[uint64]string)
	n := 0
	err = k.others(memberBase, memberBase+1<<32, func(at int64) {
		n++
		m := driver.MemberInfo{ID: fmt.Sprintf("%s#%d", stream, at-memberBase), Host: nodeID, Pending: -1, Idle: -1}
		if s, ok := memberAt(notes, at-memberBase); ok {
			m.ID, m.Client = memberID(s.id), fmt.Sprintf("%s[%d]", s.program, s.pid)
			known[s.id] = m.ID
		}
		if members[m.ID] == nil {
			members[m.ID] = &m
		}
	})
	_, m, merr := d.meta(stream)
	if err != nil || n == 0 || merr != nil {
		return nil, true, err
	}
	owners = make(map[int32]string)
	all = true
	for i := range int32(m.Shards) {
		held := false
		if err := k.others(int64(i), int64(i)+1, func(int64) { held = true }); err != nil {
			return nil, true, err
		}
		all = all && held
		if id, ok := known[signer(notes, i)]; held && ok {
			owners[i] = id
			members[id].Shards = append(members[id].Shards, driver.Shard{Stream: stream, Index: i})
		}
	}
	return owners, all, nil
}

// nothing is a file that is empty.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

// positions adds the positions of the group in a stream.
func (d *fileDriver) positions(root *os.Root, dir, stream string, owners map[int32]string, info *driver.GroupInfo) error {
	b, err := root.ReadFile(path.Join(dir, progressFolder, folderName(stream)))
	if err != nil {
		return absent(err)
	}
	var failed error
	for i := int32(0); len(b) > 0; i++ {
		pair := make([]byte, pairSize)
		b = b[copy(pair, b):]
		p, ok, _ := chooseProgress(pair)
		if !ok {
			if [pairSize]byte(pair) != [pairSize]byte{} && failed == nil {
				failed = errProgress
			}
			continue
		}
		at := driver.GroupPosition{Member: owners[i], Behind: driver.Count{N: -1}}
		at.Shard, at.Next = driver.Shard{Stream: stream, Index: i}, driver.SeqOf(p.next)
		err := d.viewShard(at.Shard, func(v *view) error {
			next := p.next
			if v.l.id.hash() != p.log {
				next = v.first
			}
			at.Next = driver.SeqOf(next)
			var err error
			at.Behind, err = v.count(next, v.next)
			return err
		})
		if err != nil && !errors.Is(err, driver.ErrNotFound) && failed == nil {
			failed = err
		}
		info.Positions = append(info.Positions, at)
	}
	return failed
}
