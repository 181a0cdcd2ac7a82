//go:build linux

package file

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// The proof of units by processes: two jobs of one name, which fence each
// other, turn an input into outputs in the shards that plain writers write to
// and readers read. Jobs are killed at every instant of the protocol and at
// random ones, stopped, and continued after others have claimed.

const (
	proofInputs = 3    // shards of the input
	proofJob    = 1000 // the writer's number in outputs of the input's shard 0
)

// outputs is what message n of an input's shard becomes: one to three records,
// spread over the shards.
func outputs(shard int32, n uint64) []driver.Record {
	recs := make([]driver.Record, 1+n%3)
	for k := range recs {
		id := n*4 + uint64(k)
		recs[k] = driver.Record{
			Stream: proofStream, Shard: driver.On(int32((n + uint64(k)) % proofShards)),
			Value: value(proofJob+uint64(shard), id, int(id%700)),
		}
	}
	return recs
}

// childJob commits units until it is killed or fenced. What was committed it
// notes in its journal.
func childJob() error {
	ctx := context.Background()
	boot, err := bootHash()
	if err != nil {
		return err
	}
	e := env{boot: boot, patience: 2 * time.Second, sync: datasync, at: killAt()}
	d, err := openDriver(os.Getenv("FILE_PROOF_DIR"), Options{Shards: proofShards, SegmentSize: proofSegment}, e)
	if err != nil {
		return err
	}
	journal, err := os.OpenFile(os.Getenv("FILE_PROOF_JOURNAL"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	o, err := d.Owner(ctx, driver.OwnerConfig{Name: "job"})
	if err != nil {
		return err
	}
	starts := make([]driver.Position, proofInputs)
	for i := range starts {
		starts[i] = at(int32(i), 0)
	}
	var pos []driver.Position
	for {
		pos, err = o.Claim(ctx, starts)
		if err == nil {
			break
		}
		if !errors.Is(err, driver.ErrUnavailable) {
			return err
		}
	}
	for {
		var recs []driver.Record
		var moves []driver.Move
		for i := range pos {
			m := uint64(rand.IntN(12))
			if m == 0 {
				continue
			}
			from := pos[i].Next.Lo
			for n := from; n < from+m; n++ {
				recs = append(recs, outputs(pos[i].Index, n)...)
			}
			moves = append(moves, move(pos[i].Index, from, from+m))
		}
		err := commit(ctx, o, recs, moves...)
		switch {
		case errors.Is(err, driver.ErrFenced):
			fmt.Fprintln(journal, "fenced")
			return nil
		case errors.Is(err, driver.ErrAborted):
			continue
		case err != nil:
			return err
		}
		for _, m := range moves {
			pos[m.Shard.Index].Next = m.To
			fmt.Fprintf(journal, "%d %d\n", m.Shard.Index, m.To.Lo)
		}
	}
}

func TestUnitProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		t.Run(string(sync), func(t *testing.T) { unitProcesses(t, sync) })
	}
}

func unitProcesses(t *testing.T, sync Sync) {
	roles := []string{"job", "job", "writer", "reader", "reader"}
	p := &proof{t: t, dir: t.TempDir(), journals: t.TempDir()}
	p.children, p.roles = make([]*exec.Cmd, len(roles)), make([]string, len(roles))
	p.steps = make([]string, len(roles))
	d, err := OpenDriver(t.Context(), p.dir, Options{Shards: proofShards, SegmentSize: proofSegment, Sync: sync})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(context.Background())
	if _, err := d.(*fileDriver).writerOf(proofStream); err != nil {
		t.Fatal(err)
	}
	for i, r := range roles {
		p.start(i, r)
	}
	kills, at := map[string]int{}, map[string]int{}
	stopped := -1
	for began := time.Now(); p.goesOn(began, *proofTime/2, "writer", "job"); {
		time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
		for i, r := range roles {
			// A job that was fenced comes back after a while.
			if i == stopped || !p.dead(i) || r == "job" && rand.IntN(3) > 0 {
				continue
			}
			if p.end(i, false); p.children[i].ProcessState.Success() {
				kills["fenced"]++
			} else {
				kills["itself, a "+r]++
				if r == "job" {
					at[p.steps[i]]++
				}
			}
			p.start(i, r)
		}
		over := time.Since(began) > *proofTime/2
		switch i := rand.IntN(len(roles)); {
		case stopped >= 0:
			if over || rand.IntN(4) == 0 {
				p.children[stopped].Process.Signal(syscall.SIGCONT)
				stopped = -1
			}
		case over:
		case roles[i] == "job" && rand.IntN(4) == 0 && !p.dead(i):
			p.children[i].Process.Signal(syscall.SIGSTOP)
			kills["stopped"]++
			stopped = i
		case rand.IntN(6) == 0:
			kills["a "+roles[i]]++
			p.end(i, true)
			p.start(i, roles[i])
		}
	}
	for i, r := range roles {
		if r != "reader" {
			p.end(i, true)
		}
	}
	// A successor finishes what the last one has left; then readers see it.
	o := newOwner(t, d.(*fileDriver), false)
	var starts []driver.Position
	for i := range int32(proofInputs) {
		starts = append(starts, driver.Position{Shard: in(i)})
	}
	pos, err := o.Claim(t.Context(), starts)
	if err != nil {
		t.Fatal(err)
	}
	got := p.readAll(d)
	for i, r := range roles {
		if r == "reader" {
			p.end(i, true)
		}
	}
	for _, f := range p.failed {
		t.Errorf("a process failed: %s", f)
	}
	acked := p.compare(got)
	units := p.compareUnits(got, pos)
	t.Logf("%d processes started, kills %v, of jobs at step %v, %d messages in the log, %d acknowledged of writers, %d units acknowledged, positions %v",
		p.ids, kills, at, len(got), acked, units, pos)
	if acked == 0 || units == 0 {
		t.Error("too little has happened: this run proves nothing")
	}
}

// A job that is stopped, and goes on after another has claimed and committed,
// changes nothing and finds itself fenced.
func TestUnitZombie(t *testing.T) {
	p := &proof{t: t, dir: t.TempDir(), journals: t.TempDir()}
	p.children, p.roles, p.steps = make([]*exec.Cmd, 1), make([]string, 1), make([]string, 1)
	d, err := openDriver(p.dir, Options{Shards: proofShards}, env{boot: first(bootHash()), patience: 20 * time.Millisecond, sync: datasync, look: lookEvery, tick: tickEvery})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(context.Background())
	if _, err := d.writerOf(proofStream); err != nil {
		t.Fatal(err)
	}
	var starts, pos []driver.Position
	for i := range int32(proofInputs) {
		starts = append(starts, at(i, 0))
	}
	p.start(0, "job")
	for p.steps[0] != "" { // one that does not kill itself
		p.end(0, true)
		p.start(0, "job")
	}
	zombie := p.children[0].Process
	defer zombie.Kill()
	journal := filepath.Join(p.journals, fmt.Sprintf("job-%d", p.ids))
	for deadline := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(journal); len(b) > 100 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the job does not commit")
		}
	}
	o := newOwner(t, d, false)
	for { // it may have been stopped while it commits: then let it
		zombie.Signal(syscall.SIGSTOP)
		if pos, err = o.Claim(t.Context(), starts); err == nil {
			break
		}
		wantErr(t, "claim", err, driver.ErrUnavailable)
		zombie.Signal(syscall.SIGCONT)
		time.Sleep(10 * time.Millisecond) // for it to get further
	}
	n := pos[0].Next.Lo
	if err := commit(t.Context(), o, outputs(0, n), move(0, n, n+1)); err != nil {
		t.Fatal(err)
	}
	pos[0].Next.Lo++
	zombie.Signal(syscall.SIGCONT)
	p.end(0, false)
	if b, _ := os.ReadFile(journal); !p.children[0].ProcessState.Success() || !strings.HasSuffix(string(b), "fenced\n") {
		t.Errorf("the zombie ended with %v, %v", p.children[0].ProcessState, p.failed)
	}
	n++
	if err := commit(t.Context(), o, outputs(0, n), move(0, n, n+1)); err != nil {
		t.Fatal(err)
	}
	pos[0].Next.Lo++
	if p.compareUnits(p.readAll(d), pos) == 0 {
		t.Error("nothing was acknowledged")
	}
}

func first[T any](v T, _ error) T { return v }

// compareUnits checks that exactly the outputs of what lies below the positions
// are there, each in its shard, and that no acknowledged unit is above them.
// That none is there twice, readAll has checked.
func (p *proof) compareUnits(got map[spot][2]uint64, pos []driver.Position) (units int) {
	there := make(map[[2]uint64]int32)
	for at, rec := range got {
		if rec[0] >= proofJob && rec[0] < proofJob+proofInputs {
			there[rec] = at.shard
		}
	}
	want := 0
	for _, at := range pos {
		for n := range at.Next.Lo {
			for k, rec := range outputs(at.Index, n) {
				want++
				shard, ok := there[[2]uint64{proofJob + uint64(at.Index), n*4 + uint64(k)}]
				if i, _ := rec.Shard.Index(); !ok || shard != i {
					p.t.Errorf("output %d of message %d of shard %d is missing (%v, in shard %d); the position is %v", k, n, at.Index, ok, shard, at.Next)
				}
			}
		}
	}
	if len(there) != want {
		p.t.Errorf("there are %d outputs, and the positions %v make %d", len(there), pos, want)
	}
	files, _ := filepath.Glob(filepath.Join(p.journals, "job-*"))
	for _, name := range files {
		eachLine(p.t, name, func(line string) {
			var shard int
			var to uint64
			if n, _ := fmt.Sscan(line, &shard, &to); n != 2 {
				return
			}
			units++
			if to > pos[shard].Next.Lo {
				p.t.Errorf("shard %d was acknowledged up to %d and is at %v", shard, to, pos[shard].Next)
			}
		})
	}
	return units
}
