package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"

	"github.com/seastreamer/seastreamer/driver"
)

var _ driver.StreamAdmin = (*fileDriver)(nil)

// nodeID is the one node there is.
const nodeID = "local"

// pageSize is how many names are read from a folder at once.
const pageSize = 1024

// folder is the directory, or nil where nothing has made it yet.
func (d *fileDriver) folder() (*os.Root, error) {
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return nil, driver.ErrClosed
	}
	root, err := d.store.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return root, err
}

// folders yields the names of the folders in dir, page by page; none where
// there is no dir.
func folders(ctx context.Context, root *os.Root, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		f, err := root.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield("", err)
			return
		}
		defer f.Close()
		for {
			if ctx.Err() != nil {
				yield("", context.Cause(ctx))
				return
			}
			es, err := f.ReadDir(pageSize)
			for _, e := range es {
				if e.IsDir() && !yield(e.Name(), nil) {
					return
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield("", err)
				}
				return
			}
		}
	}
}

// streamIn is the stream whose folder is called folder; false where it is not
// one of a stream.
func streamIn(root *os.Root, folder string) (string, bool) {
	name, ok := unfolder(folder)
	if isCut(folder) {
		b, err := root.ReadFile(path.Join(folder, "meta"))
		if err != nil {
			return "", false
		}
		m, err := parseMeta(b)
		return m.Name, err == nil && folderName(m.Name) == folder
	}
	if ok {
		_, err := root.Stat(path.Join(folder, "meta"))
		ok = err == nil
	}
	return name, ok
}

// StreamNames implements [driver.StreamAdmin]. It costs a look at the
// directory and one at each stream's folder, and opens no shard.
func (d *fileDriver) StreamNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		root, err := d.folder()
		if err != nil {
			yield("", wrap("list the streams in "+d.store.dir, driver.Shard{}, err))
			return
		}
		if root == nil {
			return
		}
		for folder, err := range folders(ctx, root, ".") {
			if err != nil {
				yield("", wrap("list the streams in "+d.store.dir, driver.Shard{}, err))
				return
			}
			if name, ok := streamIn(root, folder); ok && !yield(name, nil) {
				return
			}
		}
	}
}

// DescribeStreams implements [driver.StreamAdmin]. Everything is exact, but for
// a message that is damaged: it counts, and has no time. Details other than
// DetailReplicas and DetailSettings open the shards, which are recovered if that
// is due after a power loss.
func (d *fileDriver) DescribeStreams(ctx context.Context, names []string, detail driver.Detail) ([]driver.StreamInfo, error) {
	infos := make([]driver.StreamInfo, len(names))
	for i, name := range names {
		if ctx.Err() != nil {
			return nil, wrap("describe streams in "+d.store.dir, driver.Shard{}, context.Cause(ctx))
		}
		infos[i] = d.describeStream(ctx, name, detail)
		if errors.Is(infos[i].Err, driver.ErrClosed) {
			return nil, infos[i].Err
		}
	}
	return infos, nil
}

func (d *fileDriver) describeStream(ctx context.Context, name string, detail driver.Detail) driver.StreamInfo {
	info := driver.StreamInfo{Name: name}
	root, m, err := d.meta(name)
	if err != nil {
		info.Err = wrap("describe stream "+name, driver.Shard{}, err)
		return info
	}
	if detail.Has(driver.DetailSettings) {
		info.Settings, info.Config = m.settings(), m.config()
	}
	node := []string{nodeID}
	info.Shards = make([]driver.ShardInfo, m.Shards)
	for i := range info.Shards {
		s := &info.Shards[i]
		*s = driver.ShardInfo{Index: int32(i), Messages: driver.Count{N: -1}, Bytes: -1}
		if detail.Has(driver.DetailReplicas) {
			s.Leader, s.Replicas, s.InSync = nodeID, node, node
		}
		if detail&(driver.DetailBounds|driver.DetailTimes|driver.DetailBytes) == 0 {
			continue
		}
		shard := driver.Shard{Stream: name, Index: s.Index}
		err := ctx.Err()
		if err == nil {
			err = d.describeShard(root, shard, m, detail, s)
		}
		if err != nil && info.Err == nil {
			info.Err = wrap("describe", shard, err)
		}
	}
	return info
}

func (d *fileDriver) describeShard(root *os.Root, shard driver.Shard, m meta, detail driver.Detail, s *driver.ShardInfo) error {
	if detail.Has(driver.DetailBytes) {
		n, err := folderBytes(root, shardDir(shard))
		if err != nil {
			return err
		}
		s.Bytes = n
	}
	if detail&(driver.DetailBounds|driver.DetailTimes) == 0 {
		return nil
	}
	v, err := d.view(root, shard, m)
	if err != nil {
		return err
	}
	defer v.close()
	if detail.Has(driver.DetailBounds) {
		s.Bound = v.bound()
		if s.Messages, err = v.count(v.first, v.next); err != nil {
			return err
		}
	}
	if detail.Has(driver.DetailTimes) {
		if s.FirstTime, s.LastTime, err = v.times(); err != nil {
			return err
		}
	}
	return nil
}

// folderBytes is the size of the files in a folder. Blocks that the system has
// reserved behind the end of a segment do not count.
func folderBytes(root *os.Root, dir string) (int64, error) {
	f, err := root.Open(dir)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var total int64
	for {
		es, err := f.ReadDir(pageSize)
		for _, e := range es {
			if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
				total += st.Size() // one that is gone meanwhile takes nothing
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
