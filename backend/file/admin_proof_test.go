//go:build linux

package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// lastPhase is added to the numbers of records that are sent when the parent
// has said that it deletes no more.
const lastPhase = 1 << 40

func childDriver() (*fileDriver, error) {
	boot, err := bootHash()
	if err != nil {
		return nil, err
	}
	e := env{boot: boot, patience: limit, sync: datasync, look: 100 * time.Millisecond, tick: 100 * time.Millisecond}
	return openDriver(os.Getenv("FILE_PROOF_DIR"), Options{Shards: proofShards, SegmentSize: 64 << 10}, e)
}

// childDeleted sends records to a stream that is deleted all the time, without
// ever opening anything anew, and notes what was acknowledged. It ends when it
// is told to.
func childDeleted() error {
	ctx := context.Background()
	d, err := childDriver()
	if err != nil {
		return err
	}
	journal, err := os.OpenFile(os.Getenv("FILE_PROOF_JOURNAL"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	p, err := d.Producer(ctx, driver.ProducerConfig{})
	if err != nil {
		return err
	}
	said := func(what string) bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(journal.Name()), what))
		return err == nil
	}
	writer := envNumber("FILE_PROOF_ID")
	var mu sync.Mutex
	var failed error
	note := func(err error) {
		if err != nil && (!errors.Is(err, driver.ErrNotFound) || !strings.Contains(err.Error(), "deleted")) {
			failed = err
		}
	}
	for n := uint64(0); !said("end"); {
		if said("last") {
			n |= lastPhase
		}
		for range 20 {
			at := n
			err := p.Produce(ctx, driver.Record{Stream: proofStream, Value: value(writer, n, 100)}, func(r driver.Receipt, err error) {
				mu.Lock()
				defer mu.Unlock()
				if note(err); err == nil {
					fmt.Fprintf(journal, "%d %d %d %d\n", r.Index, r.Seq.Lo, writer, at)
				}
			})
			mu.Lock()
			note(err)
			err = failed
			mu.Unlock()
			if err != nil {
				return err
			}
			n++
		}
		if err := p.Flush(ctx); err != nil {
			return err
		}
	}
	if failed != nil {
		return failed
	}
	return d.Close(ctx)
}

// childWatcher reads the stream, as often as it is deleted, and ends when it
// has read a record of the last phase from each shard that there is.
func childWatcher() error {
	ctx := context.Background()
	d, err := childDriver()
	if err != nil {
		return err
	}
	for {
		done, err := watchOnce(ctx, d)
		if done || err != nil && !errors.Is(err, driver.ErrNotFound) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func watchOnce(ctx context.Context, d *fileDriver) (bool, error) {
	c, err := d.Consumer(ctx, driver.ConsumerConfig{Streams: []string{proofStream}, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { return 1, nil, nil },
		Revoked:  func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		return false, err
	}
	defer c.Close(ctx)
	check := newChecker()
	last := make(map[int32]bool)
	check.each = func(shard int32, _, _, n uint64) { last[shard] = last[shard] || n >= lastPhase }
	for {
		bs, err := c.Fetch(ctx, nil)
		var gap *driver.GapError
		if errors.As(err, &gap) {
			if gap.Cause != driver.GapRecreated {
				return false, err
			}
			fresh := newChecker()
			fresh.each = check.each
			for shard, next := range check.next {
				if shard != gap.Shard.Index {
					fresh.next[shard] = next
				}
			}
			check = fresh
			continue
		}
		if err != nil {
			return false, err
		}
		for _, b := range bs {
			if err := check.see(b); err != nil {
				return false, err
			}
			b.Release()
		}
		if len(last) == proofShards+1 && last[proofShards] && last[0] && last[1] {
			return true, nil
		}
	}
}

// A stream that other processes write to and read is deleted over and over
// again: they go on with the one that has its name then, and nothing that was
// acknowledged after the last deletion is missing. Then it gets another shard,
// which they find.
func TestDeleteWhileInUse(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	p := &proof{t: t, dir: t.TempDir(), journals: t.TempDir(), children: make([]*exec.Cmd, 5), roles: make([]string, 5)}
	d, err := OpenDriver(t.Context(), p.dir, Options{Shards: proofShards})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(context.Background())
	admin := d.(*fileDriver)
	for i := range p.children {
		role := "deleted"
		if i >= 3 {
			role = "watcher"
		}
		p.start(i, role)
	}
	defer func() {
		for _, c := range p.children {
			c.Process.Kill() // where the test ends early
		}
	}()
	deleted := 0
	for began := time.Now(); time.Since(began) < 4*time.Second || (deleted < 10 || !p.noted("deleted")) && time.Since(began) < limit; {
		switch err := admin.DeleteStream(t.Context(), proofStream); {
		case err == nil:
			deleted++
		case !errors.Is(err, driver.ErrNotFound):
			t.Fatal(err)
		}
		time.Sleep(time.Duration(deleted%7) * 10 * time.Millisecond)
	}
	say := func(what string) {
		if err := os.WriteFile(filepath.Join(p.journals, what), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say("last")
	for {
		err := admin.AddShards(t.Context(), proofStream, proofShards+1)
		if err == nil {
			break
		}
		if !errors.Is(err, driver.ErrNotFound) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // the writers make it
		for i := range p.children {
			if p.dead(i) {
				p.end(i, false)
				t.Fatalf("a process failed: %q", p.failed)
			}
		}
	}
	// The watchers end by themselves, the writers when they are told to.
	ended := make(chan int)
	for i := 3; i < 5; i++ {
		go func() { p.children[i].Wait(); ended <- i }()
	}
	deadline := time.After(limit)
	for range 2 {
		select {
		case <-ended:
		case <-deadline:
			t.Error("a reader has not seen the last records of all shards")
			for i := 3; i < 5; i++ {
				p.children[i].Process.Signal(syscall.SIGQUIT)
			}
			for range 2 {
				<-ended
			}
		}
	}
	say("end")
	for i := range 3 {
		p.end(i, false)
	}
	for i := 3; i < 5; i++ {
		if text := p.children[i].Stderr.(*strings.Builder).String(); text != "" {
			p.failed = append(p.failed, text)
		}
	}
	for _, f := range p.failed {
		t.Errorf("a process failed: %.3000s", f)
	}
	got := p.readAll(d)
	acked, old := 0, 0
	files, _ := filepath.Glob(filepath.Join(p.journals, "deleted-*"))
	for _, name := range files {
		eachLine(t, name, func(line string) {
			var at spot
			var rec [2]uint64
			if n, _ := fmt.Sscan(line, &at.shard, &at.seq, &rec[0], &rec[1]); n != 4 {
				t.Errorf("line %q", line)
			}
			if rec[1] < lastPhase {
				old++
				return
			}
			acked++
			if got[at] != rec {
				t.Errorf("record %v was acknowledged at %v, where %v is", rec, at, got[at])
			}
		})
	}
	t.Logf("deleted %d times; %d records acknowledged before, %d after the last time", deleted, old, acked)
	if deleted < 10 || acked == 0 || old == 0 {
		t.Error("this run proves nothing")
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
