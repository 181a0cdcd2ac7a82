package file

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/seastreamer/seastreamer/driver"
)

// A jobRecord is units/<name>/shards, as JSON: the name, and every shard of
// the input that it has, or had, a position for. It is kept apart from the
// positions, so that a position that was lost is not taken for a shard that
// was never read. Where both are gone nothing tells that.
type jobRecord struct {
	Version int        `json:"version"`
	Name    string     `json:"name"`
	Shards  []jobShard `json:"shards"`
}

type jobShard struct {
	Stream string `json:"stream"`
	Index  int32  `json:"index"`
}

func (j *jobRecord) lists(sh driver.Shard) bool {
	return slices.Contains(j.Shards, jobShard{sh.Stream, sh.Index})
}

func readJob(root *os.Root, dir string) (jobRecord, error) {
	var j jobRecord
	b, err := root.ReadFile(path.Join(dir, "shards"))
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &j)
		if err == nil && j.Version != version {
			err = errors.New("it is not of this version")
		}
		if err != nil {
			err = driver.Errorf(driver.ErrLost, "", "%s/shards lists the shards that have a position and cannot be read: %w", dir, err)
		}
	}
	return j, err
}

// writeJob replaces the list, on stable storage. The lock of the name's record
// is held.
func writeJob(root *os.Root, dir string, j jobRecord) error {
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	tmp := path.Join(dir, ".shards-"+randomHex())
	if err = writeFile(root, tmp, append(b, '\n')); err == nil {
		err = root.Rename(tmp, path.Join(dir, "shards"))
	}
	if err != nil {
		root.Remove(tmp)
		return err
	}
	return syncDir(root, dir)
}
