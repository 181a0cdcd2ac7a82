// Package journal keeps how to undo what commands have changed: a file in the
// user's state folder with a line of JSON for each change that can be undone, the
// oldest first.
package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// keep is how many entries the file holds; older ones go.
const keep = 1000

// An Entry is one change and the one that undoes it.
type Entry struct {
	Time   time.Time       `json:"time"`
	Broker string          `json:"broker"` // without secrets
	Kind   string          `json:"kind"`   // of the change that was made
	Target string          `json:"target"`
	Undo   json.RawMessage `json:"undo"` // as admin.MarshalChange writes it
}

// Change is the change that undoes the entry's.
func (e Entry) Change() (admin.Change, error) { return admin.UnmarshalChange(e.Undo) }

// A Journal is the file. One process at a time changes it.
type Journal struct{ path string }

// Open is the journal of the user. Nothing is created yet but its folder.
func Open(f *factory.Factory) (*Journal, error) {
	dir, err := f.StateDir("undo")
	if err != nil {
		return nil, err
	}
	return &Journal{filepath.Join(dir, "journal.ndjson")}, nil
}

// Add keeps how to undo a plan, an entry for each thing that can be had back. It
// is called before the plan is applied: whoever dies in between has an entry too
// many, whose undo finds nothing to do, and never one too few.
func (j *Journal) Add(broker string, p *admin.Plan) ([]Entry, error) {
	var added []Entry
	for _, u := range p.Undos() {
		undo, err := admin.MarshalChange(u.Change)
		if err != nil {
			return nil, err
		}
		added = append(added, Entry{Time: time.Now().UTC().Truncate(time.Millisecond), Broker: broker, Kind: p.Change, Target: u.Target, Undo: undo})
	}
	if len(added) == 0 {
		return nil, nil
	}
	return added, j.change(func(all []Entry) ([]Entry, error) { return append(all, added...), nil })
}

// Of are the entries about a target on a broker, the newest first.
func (j *Journal) Of(broker, target string, kinds ...string) (some []Entry, err error) {
	all, err := j.read()
	for _, e := range slices.Backward(all) { // the newest last, whatever the clocks said
		if e.Broker == broker && e.Target == target && slices.Contains(kinds, e.Kind) {
			some = append(some, e)
		}
	}
	return some, err
}

// Remove takes entries out of which nothing was done. Those that are gone already
// are left.
func (j *Journal) Remove(some ...Entry) error {
	if len(some) == 0 {
		return nil
	}
	return j.change(func(all []Entry) ([]Entry, error) {
		for _, e := range some {
			if i := find(all, e); i >= 0 {
				all = slices.Delete(all, i, i+1)
			}
		}
		return all, nil
	})
}

// ErrUndone is the error of Undo where the entry is gone.
var ErrUndone = errors.New("another process has undone it")

// Undo has do undo an entry and takes the entry out, if do succeeds. Undos come one
// behind the other, so that of two that undo the same entry one gets ErrUndone and
// has not done anything; waits is called where another one is under way, which may
// take as long as its broker, and the waiting ends with ctx. Other changes to the
// journal are not held up. A process that dies behind do and before the entry is
// gone leaves an entry whose undo finds nothing to do.
func (j *Journal) Undo(ctx context.Context, e Entry, waits func(), do func() error) error {
	lock, err := os.OpenFile(j.path+".undo", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // which unlocks it
	if err := await(ctx, lock, waits); err != nil {
		return err
	}
	all, err := j.read()
	if err != nil {
		return err
	}
	if find(all, e) < 0 {
		return ErrUndone
	}
	if err := do(); err != nil {
		return err
	}
	return j.Remove(e)
}

// await gets the lock of a file, and looks again now and then while another process
// has it.
func await(ctx context.Context, lock *os.File, waits func()) error {
	for first := true; ; first = false {
		if ok, err := tryLock(lock); ok || err != nil {
			return err
		}
		if first {
			waits()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// find is where the newest entry like e is; below zero: nowhere.
func find(all []Entry, e Entry) int {
	for i, o := range slices.Backward(all) {
		if o.Time.Equal(e.Time) && o.Broker == e.Broker && o.Kind == e.Kind && o.Target == e.Target && bytes.Equal(o.Undo, e.Undo) {
			return i
		}
	}
	return -1
}

func (j *Journal) read() ([]Entry, error) {
	b, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(j.path, b)
}

// parse reads the lines of the file at path.
func parse(path string, b []byte) ([]Entry, error) {
	var all []Entry
	r := bufio.NewReader(bytes.NewReader(b))
	for {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e Entry
			if err := json.Unmarshal(line, &e); err != nil {
				return nil, &exit.Error{Code: exit.BadData, Item: path, Msg: "the journal " + path + " is damaged", Err: err, Hint: "move it away"}
			}
			all = append(all, e)
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
	}
}

// change replaces the file, under a lock, for good: whoever loses power has the
// old or the new one.
func (j *Journal) change(edit func([]Entry) ([]Entry, error)) error {
	lock, err := os.OpenFile(j.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // which unlocks it
	if err := lockFile(lock); err != nil {
		return err
	}
	all, err := j.read()
	if err != nil {
		return err
	}
	if all, err = edit(all); err != nil {
		return err
	}
	all = all[max(0, len(all)-keep):]
	b, err := format(all)
	if err != nil {
		return err
	}
	next, err := os.OpenFile(j.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(b)
	err = errors.Join(err, next.Sync(), next.Close())
	if err != nil {
		return err
	}
	return os.Rename(j.path+".new", j.path)
}

// format is the file.
func format(all []Entry) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // what was read is written as it was
	for _, e := range all {
		if err := enc.Encode(e); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
