package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"

	"github.com/seastreamer/seastreamer/driver"
)

var (
	_ driver.NodeAdmin    = (*fileDriver)(nil)
	_ driver.ClusterAdmin = (*fileDriver)(nil)
)

// checkNode refuses every node but the one there is.
func (d *fileDriver) checkNode(id string, all bool) error {
	if _, err := d.folder(); err != nil {
		return err
	}
	if id == nodeID || all && id == "" {
		return nil
	}
	return driver.Errorf(driver.ErrNotFound, "", "files have one node, %q, and no node %q", nodeID, id)
}

// Nodes implements [driver.NodeAdmin]: this machine. What it holds is not
// counted; LogDirs does that.
func (d *fileDriver) Nodes(context.Context) ([]driver.NodeInfo, error) {
	if err := d.checkNode(nodeID, false); err != nil {
		return nil, wrap("describe the node of "+d.store.dir, driver.Shard{}, err)
	}
	return []driver.NodeInfo{{
		ID: nodeID, Addr: d.store.dir, Version: formatVersion, Up: true, Leads: -1, Holds: -1, Bytes: -1,
	}}, nil
}

var formatVersion = fmt.Sprintf("format %d", version)

// NodeConfig implements [driver.NodeAdmin]: the options of this process, by
// their names in a URL.
func (d *fileDriver) NodeConfig(_ context.Context, id string) ([]driver.ConfigEntry, error) {
	err := d.checkNode(id, true)
	if err == nil && id == "" {
		err = errNoServer
	}
	if err != nil {
		return nil, wrap("read the settings of node "+id, driver.Shard{}, err)
	}
	return d.opts.nodeConfig(), nil
}

var errNoServer = driver.Errorf(errors.ErrUnsupported, "", "files have no server: the options of a process are in the URL that it opens, and SetStream has those of a stream")

// SetNodeConfig implements [driver.NodeAdmin]. There is no server that could
// change while it runs.
func (d *fileDriver) SetNodeConfig(_ context.Context, id string, _ map[string]*string) error {
	err := d.checkNode(id, true)
	if err == nil {
		err = errNoServer
	}
	return wrap("change the settings of node "+id, driver.Shard{}, err)
}

// LogDirs implements [driver.NodeAdmin]: the directory, and how full its file
// system is. It looks at every file. A directory that is not there yet is
// empty.
func (d *fileDriver) LogDirs(ctx context.Context, id string) ([]driver.LogDir, error) {
	op := "describe the directory " + d.store.dir
	if err := d.checkNode(id, true); err != nil {
		return nil, wrap(op, driver.Shard{}, err)
	}
	dir := driver.LogDir{Node: nodeID, Path: d.store.dir, Total: -1, Free: -1}
	root, err := d.folder()
	if err != nil {
		return nil, wrap(op, driver.Shard{}, err)
	}
	if root == nil {
		return []driver.LogDir{dir}, nil
	}
	if total, free, err := volume(d.store.dir); err == nil {
		dir.Total, dir.Free = total, free
	} else {
		dir.Err = wrap(op, driver.Shard{}, err)
	}
	err = d.eachShard(ctx, func(shard driver.Shard) error {
		n, err := folderBytes(root, shardDir(shard))
		dir.Shards++
		dir.Bytes += n
		return absent(err)
	})
	if err != nil {
		return nil, wrap(op, driver.Shard{}, err)
	}
	return []driver.LogDir{dir}, nil
}

// eachShard calls f with every shard of every stream.
func (d *fileDriver) eachShard(ctx context.Context, f func(driver.Shard) error) error {
	for name, err := range d.StreamNames(ctx) {
		if err != nil {
			return err
		}
		_, m, err := d.meta(name)
		if err != nil {
			if errors.Is(err, driver.ErrNotFound) || errors.Is(err, driver.ErrInvalid) {
				continue // deleted meanwhile, or not one of this version
			}
			return err
		}
		for i := range int32(m.Shards) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := f(driver.Shard{Stream: name, Index: i}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Cluster implements [driver.ClusterAdmin]: one machine. It looks at the ctl
// file of every shard and repairs nothing. Problems are "disk-full" below 5 %
// of the volume, "failing" for a shard whose files were found damaged,
// "persistence" for one of which a sync has failed, and "transaction-hanging"
// for a unit whose committer died in the middle: the next write finishes it.
func (d *fileDriver) Cluster(ctx context.Context) (driver.ClusterInfo, error) {
	op := "describe " + d.store.dir
	info := driver.ClusterInfo{ID: d.store.dir, Kind: "single", Version: formatVersion, Controller: nodeID, Nodes: 1}
	root, err := d.folder()
	if err != nil || root == nil {
		return info, wrap(op, driver.Shard{}, err)
	}
	problem := func(what, item, format string, args ...any) {
		info.Problems = append(info.Problems, driver.Problem{What: what, Item: item, Detail: fmt.Sprintf(format, args...)})
	}
	if total, free, err := volume(d.store.dir); err == nil && free < total/20 {
		problem("disk-full", d.store.dir, "%d of %d bytes are free: lower retention, trim, or delete streams", free, total)
	}
	err = d.eachShard(ctx, func(shard driver.Shard) error {
		what, detail, err := d.illness(shard)
		if what != "" {
			problem(what, shard.String(), "%s", detail)
		}
		return err
	})
	if err != nil {
		return info, wrap(op, driver.Shard{}, err)
	}
	for folder, err := range folders(ctx, root, ".") {
		if err != nil {
			return info, wrap(op, driver.Shard{}, err)
		}
		if name, ok := unfolder(folder); ok {
			if _, err := root.Lstat(path.Join(folder, deletedMeta)); err == nil {
				problem("failing", name, "somebody died while deleting it: delete it again")
			}
		}
	}
	return info, nil
}

// illness is what is not well with a shard; what is "" where all is.
func (d *fileDriver) illness(shard driver.Shard) (what, detail string, err error) {
	root, err := d.store.open(false)
	if err != nil {
		return "", "", err
	}
	l, err := openLog(root, shard)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, _, err := d.shardOf(shard); errors.Is(err, driver.ErrNotFound) {
			return "", "", nil // deleted meanwhile
		}
		return "failing", "its ctl file is missing", nil
	case errors.Is(err, driver.ErrInvalid):
		return "failing", err.Error(), nil
	case err != nil:
		return "", "", err
	}
	defer func() { _ = l.close() }()
	end, err := (&tail{l: l}).load()
	if errors.Is(err, errSlots) || errors.Is(err, io.EOF) {
		return "failing", "its ctl file is damaged: the next reader or writer repairs it", nil
	}
	if err != nil {
		return "", "", err
	}
	start, err := l.start()
	switch {
	case err != nil:
		return "failing", err.Error(), nil
	case driver.GapCause(start.cause) == driver.GapCorrupt && start.first < end.next:
		return "failing", "its start was lost with a damaged ctl file: it begins at sequence " + strconv.FormatUint(start.first, 10), nil
	case end.flags&flagPoisoned != 0:
		return "persistence", "a sync has failed: the next writer copies what is not on the disk", nil
	case end.flags&flagPending != 0:
		k := newFileLock(l.ctl)
		ok, err := k.try()
		if !ok {
			return "", "", err // it is being committed
		}
		k.unlock()
		return "transaction-hanging", "a unit was left behind: the next write to the shard finishes it", nil
	}
	return "", "", nil
}

func oneNode(op string) error {
	return wrap(op, driver.Shard{}, driver.Errorf(errors.ErrUnsupported, "", "files are on this machine only, so there is nothing to choose from: to move them, copy the directory or relay the streams"))
}

// ElectLeaders implements [driver.ClusterAdmin]: it is refused.
func (d *fileDriver) ElectLeaders(context.Context, []driver.Shard, bool) ([]driver.Shard, error) {
	return nil, oneNode("elect leaders")
}

// Reassignments implements [driver.ClusterAdmin]: it is refused.
func (d *fileDriver) Reassignments(context.Context) ([]driver.Reassignment, error) {
	return nil, oneNode("list reassignments")
}

// Reassign implements [driver.ClusterAdmin]: it is refused.
func (d *fileDriver) Reassign(context.Context, []driver.Reassignment) error {
	return oneNode("reassign shards")
}
