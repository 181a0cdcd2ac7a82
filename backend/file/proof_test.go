//go:build linux

package file

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// The proof by processes: this test binary runs itself as many writers,
// readers and members of a group on one directory, kills them at random and at
// chosen instants of the protocol, and then compares what is in the log with
// what was acknowledged.

var (
	proofTime    = flag.Duration("proof.time", 10*time.Second, "how long the proof by processes runs")
	proofWriters = flag.Int("proof.writers", 4, "writer processes")
	proofReaders = flag.Int("proof.readers", 4, "reader processes, half of them members of a group")
)

const (
	proofStream  = "proof"
	proofShards  = 2
	proofSegment = 1 << 20
)

func TestMain(m *testing.M) {
	if role := os.Getenv("FILE_PROOF_ROLE"); role != "" {
		os.Exit(child(role))
	}
	os.Exit(m.Run())
}

// value is what record n of a writer holds: who and what it is, and bytes that
// cannot be mistaken for another's.
func value(writer uint64, n uint64, size int) []byte {
	b := make([]byte, 20+size)
	binary.BigEndian.PutUint64(b, writer)
	binary.BigEndian.PutUint64(b[8:], n)
	r := rand.New(rand.NewPCG(writer, n))
	for i := 20; i < len(b); i++ {
		b[i] = byte(r.Uint32())
	}
	binary.BigEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b[20:])^crc32.ChecksumIEEE(b[:16]))
	return b
}

func parseValue(b []byte) (writer, n uint64, err error) {
	if len(b) < 20 || binary.BigEndian.Uint32(b[16:]) != crc32.ChecksumIEEE(b[20:])^crc32.ChecksumIEEE(b[:16]) {
		return 0, 0, fmt.Errorf("torn message of %d bytes", len(b))
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), nil
}

// A checker watches what a reader sees: sequences without holes or repeats,
// whole values, and each writer's records of a shard in its order.
type checker struct {
	next map[int32]uint64
	last map[[2]uint64]uint64 // shard and writer: its last n, plus one
	n    int
	each func(shard int32, seq, writer, n uint64)
}

func newChecker() *checker {
	return &checker{next: make(map[int32]uint64), last: make(map[[2]uint64]uint64)}
}

func (c *checker) see(b driver.Batch) error {
	shard := b.Shard().Index
	for i := range b.Len() {
		seq := b.Seq(i).Lo
		if want, ok := c.next[shard]; ok && seq != want {
			return fmt.Errorf("shard %d: sequence %d came where %d was due", shard, seq, want)
		}
		c.next[shard] = seq + 1
		w, n, err := parseValue(b.Value(i))
		if err != nil {
			return fmt.Errorf("shard %d sequence %d: %w", shard, seq, err)
		}
		k := [2]uint64{uint64(shard), w}
		if n < c.last[k] {
			return fmt.Errorf("shard %d sequence %d: record %d of writer %d came after its record %d", shard, seq, n, w, c.last[k]-1)
		}
		c.last[k] = n + 1
		c.n++
		if c.each != nil {
			c.each(shard, seq, w, n)
		}
	}
	if len(c.next) > 0 && b.Next().Lo != c.next[shard] && b.Len() > 0 {
		return fmt.Errorf("shard %d: Next is %v behind sequence %d", shard, b.Next(), c.next[shard]-1)
	}
	return nil
}

func child(role string) int {
	err := errors.New("no such role")
	switch role {
	case "writer":
		err = childWriter()
	case "reader":
		err = childReader("")
	case "member":
		err = childReader("group")
	case "deleted":
		err = childDeleted()
	case "watcher":
		err = childWatcher()
	case "job":
		err = childJob()
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, role, os.Getpid(), err)
	return 3
}

func envNumber(name string) uint64 {
	n, _ := strconv.ParseUint(os.Getenv(name), 10, 64)
	return n
}

// killAt kills the process at the instant of the protocol that it was told.
func killAt() func(step) {
	at := os.Getenv("FILE_PROOF_STEP")
	if at == "" {
		return nil
	}
	var left atomic.Int64 // shards are written at the same time
	left.Store(int64(envNumber("FILE_PROOF_AFTER")))
	return func(s step) {
		if strconv.Itoa(int(s)) != at {
			return
		}
		if left.Add(-1) == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// childWriter sends records until it is killed, and notes what was
// acknowledged in a journal that survives it. Where it is told to, it kills
// itself at an instant of the protocol.
func childWriter() error {
	ctx := context.Background()
	boot, err := bootHash()
	if err != nil {
		return err
	}
	e := env{boot: boot, patience: limit, sync: datasync, at: killAt()}
	d, err := openDriver(os.Getenv("FILE_PROOF_DIR"), Options{Shards: proofShards, SegmentSize: proofSegment}, e)
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
	writer := envNumber("FILE_PROOF_ID")
	var failed error
	var mu sync.Mutex
	for n := uint64(0); ; {
		for range rand.IntN(200) + 1 {
			rec := driver.Record{Stream: proofStream, Shard: driver.On(int32(n % proofShards)), Value: value(writer, n, rand.IntN(1000))}
			at := n
			err := p.Produce(ctx, rec, func(r driver.Receipt, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
					return
				}
				fmt.Fprintf(journal, "%d %d %d %d\n", r.Index, r.Seq.Lo, writer, at)
			})
			if err != nil {
				return err
			}
			n++
		}
		if err := p.Flush(ctx); err != nil {
			return err
		}
		mu.Lock()
		if failed != nil {
			return failed
		}
		mu.Unlock()
	}
}

// childReader reads and checks until it is killed. As a member of a group it
// notes what it has read before it commits that.
func childReader(group string) error {
	ctx := context.Background()
	d, err := OpenDriver(ctx, os.Getenv("FILE_PROOF_DIR"), Options{})
	if err != nil {
		return err
	}
	journal, err := os.OpenFile(os.Getenv("FILE_PROOF_JOURNAL"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	check := newChecker()
	var mu sync.Mutex
	gens := uint64(0)
	c, err := d.Consumer(ctx, driver.ConsumerConfig{Streams: []string{proofStream}, Group: group, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(_ context.Context, at []driver.Position) (uint64, []driver.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, p := range at {
				delete(check.next, p.Index) // another member may have read further
				for k := range check.last {
					if k[0] == uint64(p.Index) {
						delete(check.last, k)
					}
				}
			}
			gens++
			return gens, nil, nil
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		return err
	}
	gen := make(map[int32]uint64)
	for {
		bs, err := c.Fetch(ctx, nil)
		if err != nil {
			return err
		}
		for _, b := range bs {
			mu.Lock()
			if b.Gen() < gen[b.Shard().Index] {
				mu.Unlock()
				continue
			}
			gen[b.Shard().Index] = b.Gen()
			err := check.see(b)
			mu.Unlock()
			if err != nil {
				return err
			}
			if group == "" || b.Len() == 0 {
				continue
			}
			fmt.Fprintf(journal, "%d %d %d\n", b.Shard().Index, b.Seq(0).Lo, b.Next().Lo)
			err = c.(driver.Committer).Commit(ctx, []driver.Position{{Shard: b.Shard(), Next: b.Next()}})
			if err != nil && !errors.Is(err, driver.ErrFenced) {
				return err
			}
			b.Release()
		}
	}
}

// A proof is one run, seen from the parent.
type proof struct {
	t        *testing.T
	dir      string
	journals string
	ids      uint64
	children []*exec.Cmd
	roles    []string
	steps    []string // at which each child was told to kill itself
	failed   []string
}

func (p *proof) start(i int, role string) {
	p.ids++
	cmd := exec.Command(os.Args[0])
	journal := filepath.Join(p.journals, fmt.Sprintf("%s-%d", role, p.ids))
	cmd.Env = append(os.Environ(), "FILE_PROOF_ROLE="+role, "FILE_PROOF_DIR="+p.dir, "FILE_PROOF_JOURNAL="+journal, fmt.Sprint("FILE_PROOF_ID=", p.ids))
	if p.steps != nil {
		p.steps[i] = ""
	}
	if (role == "writer" || role == "job") && rand.IntN(3) > 0 {
		s, after := rand.IntN(int(steps)), 1+rand.IntN(60)
		if role == "job" {
			s, after = rand.IntN(int(unitSteps)), 1+rand.IntN(20)
			p.steps[i] = strconv.Itoa(s)
		}
		if step(s) == stepCreated || step(s) == stepRolled {
			after = 1 + rand.IntN(2)
		}
		cmd.Env = append(cmd.Env, fmt.Sprint("FILE_PROOF_STEP=", s), fmt.Sprint("FILE_PROOF_AFTER=", after))
	}
	errs := new(strings.Builder)
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.children[i], p.roles[i] = cmd, role
}

// end waits for a child, killing it first where told, and takes down what it
// has to say.
func (p *proof) end(i int, kill bool) {
	cmd := p.children[i]
	if kill {
		cmd.Process.Signal(syscall.SIGKILL)
	}
	cmd.Wait()
	if text := strings.TrimSpace(cmd.Stderr.(*strings.Builder).String()); text != "" {
		p.failed = append(p.failed, text)
	}
}

// dead reports whether a child has ended and waits to be collected.
func (p *proof) dead(i int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.children[i].Process.Pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

// noted reports whether a child of that role has noted what was acknowledged.
func (p *proof) noted(role string) bool {
	files, _ := filepath.Glob(filepath.Join(p.journals, role+"-*"))
	for _, name := range files {
		// A job that was fenced notes a single word.
		if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(" ")) && bytes.Contains(b, []byte("\n")) {
			return true
		}
	}
	return false
}

// goesOn reports whether a run that began then is to go on: for its time, and
// where it was too slow to prove anything until each role has noted something.
// Nobody is killed then but those who kill themselves.
func (p *proof) goesOn(began time.Time, d time.Duration, roles ...string) bool {
	if over := time.Since(began) - d; over < 0 || over > 2*limit {
		return over < 0
	}
	return slices.ContainsFunc(roles, func(role string) bool { return !p.noted(role) })
}

func TestProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	p := &proof{t: t, dir: t.TempDir(), journals: t.TempDir()}
	p.children = make([]*exec.Cmd, *proofWriters+*proofReaders)
	p.roles = make([]string, len(p.children))
	role := func(i int) string {
		switch {
		case i < *proofWriters:
			return "writer"
		case i%2 == 0:
			return "reader"
		}
		return "member"
	}
	// Readers do not create streams.
	d, err := OpenDriver(t.Context(), p.dir, Options{Shards: proofShards, SegmentSize: proofSegment})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(context.Background())
	if _, err := d.(*fileDriver).writerOf(proofStream); err != nil {
		t.Fatal(err)
	}
	for i := range p.children {
		p.start(i, role(i))
	}
	kills := map[string]int{}
	for began := time.Now(); p.goesOn(began, *proofTime, "writer"); {
		time.Sleep(time.Duration(5+rand.IntN(30)) * time.Millisecond)
		for i := range p.children {
			if p.dead(i) {
				kills["itself, a writer"]++
				p.end(i, false)
				p.start(i, role(i))
			}
		}
		if rand.IntN(4) > 0 || time.Since(began) > *proofTime {
			continue // so that most writers live until the instant they are told
		}
		i := rand.IntN(len(p.children))
		kills["a "+p.roles[i]]++
		p.end(i, true)
		p.start(i, role(i))
	}
	// One more member lives, so that the group gets to the end.
	for i := range p.children {
		if p.roles[i] == "writer" {
			p.end(i, true)
		}
	}
	got := p.readAll(d)
	p.awaitGroup(d, got)
	for i := range p.children {
		if p.roles[i] != "writer" {
			p.end(i, true)
		}
	}
	for _, f := range p.failed {
		t.Errorf("a process failed: %s", f)
	}
	acked := p.compare(got)
	t.Logf("%d processes started, kills %v, %d messages in the log, %d acknowledged", p.ids, kills, len(got), acked)
	if acked == 0 {
		t.Error("nothing was acknowledged: this run proves nothing")
	}
}

// A spot is where a record is.
type spot struct {
	shard int32
	seq   uint64
}

// readAll reads the whole log with every check.
func (p *proof) readAll(d driver.Driver) map[spot][2]uint64 {
	got := make(map[spot][2]uint64)
	seen := make(map[[2]uint64]bool)
	check := newChecker()
	check.each = func(shard int32, seq, writer, n uint64) {
		got[spot{shard, seq}] = [2]uint64{writer, n}
		if k := [2]uint64{writer, n}; seen[k] {
			p.t.Errorf("record %d of writer %d is there twice", n, writer)
		} else {
			seen[k] = true
		}
	}
	if err := readStream(p.t, d, proofStream, check.see); err != nil {
		p.t.Error(err)
	}
	return got
}

// compare looks for every acknowledged record where its receipt said.
func (p *proof) compare(got map[spot][2]uint64) (acked int) {
	files, _ := filepath.Glob(filepath.Join(p.journals, "writer-*"))
	for _, name := range files {
		eachLine(p.t, name, func(line string) {
			var at spot
			var rec [2]uint64
			if n, _ := fmt.Sscan(line, &at.shard, &at.seq, &rec[0], &rec[1]); n != 4 {
				return // the journal's own last line, cut by the kill
			}
			acked++
			if g, ok := got[at]; !ok {
				p.t.Errorf("record %v was acknowledged at %v and is lost", rec, at)
			} else if g != rec {
				p.t.Errorf("record %v was acknowledged at %v, where record %v is", rec, at, g)
			}
		})
	}
	return acked
}

// awaitGroup waits until the members have read every message at least once.
func (p *proof) awaitGroup(d driver.Driver, got map[spot][2]uint64) {
	have := func() int {
		covered := make(map[spot]bool)
		files, _ := filepath.Glob(filepath.Join(p.journals, "member-*"))
		for _, name := range files {
			eachLine(p.t, name, func(line string) {
				var shard int32
				var from, to uint64
				if n, _ := fmt.Sscan(line, &shard, &from, &to); n == 3 {
					for s := from; s < to; s++ {
						covered[spot{shard, s}] = true
					}
				}
			})
		}
		n := 0
		for at := range got {
			if covered[at] {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(3 * limit)
	for have() < len(got) {
		if time.Now().After(deadline) {
			p.t.Errorf("the group has read %d of %d messages", have(), len(got))
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func eachLine(t *testing.T, name string, f func(string)) {
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for s := bufio.NewScanner(in); s.Scan(); {
		f(s.Text())
	}
}
