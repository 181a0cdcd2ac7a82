package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// How a group shares out the shards of a stream, in files of the group that
// its members lock:
//
//   - Lock i of the stream's lease file is the lease of shard i. Only who has
//     it reads the shard for the group and writes its progress, so there is
//     never more than one.
//   - Lock memberBase + k marks a member. The marks of the others can be
//     listed, so each knows how many members there are and which its rank is.
//     A newcomer takes the number above the highest, so that the ranks of the
//     others do not rise.
//   - Each member by itself works out how many shards it should have: all by
//     the number of members, and the first ranks one of the rest. Who has too
//     many gives some back, after Revoked; who has too few takes what is free.
//     So counts are even, and nobody loses a shard that need not move.
//   - Who comes, goes, or gives back writes to the lease file, which wakes all
//     members. The kernel frees the locks of one that died without a word; the
//     others see that within two seconds.
const memberBase = 1 << 40

// A member is a consumer's part in its group.
type member struct {
	c       *consumer
	id      uint64 // that nobody else has
	streams []*groupStream
	wake    chan struct{}
	done    chan struct{} // closed when serve has ended
}

// A groupStream is one stream of a member. What is not said to be under the
// consumer's mu belongs to serve.
type groupStream struct {
	name     string
	m        meta
	durable  bool // commits are synced
	leases   *leaseFile
	progress *os.File
	members  *os.File // who they are; see [memberSlot]
	number   int64    // of the member's mark
	w        watch
	held     map[int32]*lease // under mu
}

// A lease is a shard that the member holds.
type lease struct {
	last progressSlot // as stored
	some bool         // there is one
	log  uint64       // hash of the log's id
	// Where the stream was made anew: the hash of the new log's id, and how far
	// the old one was read. What is committed is of the old log until it must be
	// of the new one, which is then not read from its start.
	anew, was uint64
}

// recreated notes that the shard is read from another log.
func (k *lease) recreated(log, was uint64) {
	if k.anew != 0 {
		was = max(was, k.was)
	}
	k.anew, k.was = log, was
}

// moveOn has what is committed count in the new log.
func (k *lease) moveOn() {
	if k.anew != 0 {
		k.log, k.anew = k.anew, 0
	}
}

// join makes the consumer a member of its group and begins to serve it.
func (c *consumer) join(ctx context.Context) error {
	g := &member{c: c, id: randomID(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	streams, unlock, err := c.d.openGroup(ctx, c.cfg.Group, c.cfg.Streams)
	g.streams = streams
	if err == nil {
		for _, s := range streams {
			s.w.wake = func() { signal(g.wake) }
			if err == nil {
				err = s.enter(g.id)
			}
		}
		unlock()
	}
	if err != nil {
		g.close()
		return wrap("join group "+c.cfg.Group, driver.Shard{}, err)
	}
	c.g = g
	go g.serve()
	return nil
}

// openGroup opens the files of a group for streams, making them where they are
// missing, and takes the lock of the group's folder: who has it and sees no
// member knows that there is none until it gives it back. So a group, or a part
// of one, is only ever removed with that lock, and while nobody works on it.
func (d *fileDriver) openGroup(ctx context.Context, group string, streams []string) ([]*groupStream, func(), error) {
	for try := 0; ; try++ {
		all, unlock, err := d.tryGroup(ctx, group, streams)
		if err == nil {
			return all, unlock, nil
		}
		for _, s := range all {
			s.closeFiles()
		}
		if !errors.Is(err, fs.ErrNotExist) || try > 100 {
			return nil, nil, err
		}
	}
}

// tryGroup is openGroup; fs.ErrNotExist says that somebody has removed the
// group, or a part of it, between two of its steps.
func (d *fileDriver) tryGroup(ctx context.Context, group string, streams []string) (all []*groupStream, unlock func(), err error) {
	dir := groupDir(group)
	var root *os.Root
	for _, name := range streams {
		var m meta
		if root, m, err = d.meta(name); err != nil {
			return all, nil, wrap("open stream "+name, driver.Shard{}, err)
		}
		s, err := makeGroup(root, dir, group, name)
		if err != nil {
			return all, nil, err
		}
		s.m, s.durable = m, m.with(d.opts).Sync == SyncAlways
		all = append(all, s)
	}
	if unlock, err = d.lockFolder(ctx, root, dir); err != nil {
		return all, nil, err
	}
	for _, s := range all {
		if !s.isAt(root, dir) {
			unlock()
			return all, nil, fs.ErrNotExist
		}
	}
	return all, unlock, nil
}

func groupDir(group string) string { return path.Join("groups", folderName(group)) }

// The files that a group has for a stream, each in a folder of that name.
const (
	leasesFolder   = "leases"
	progressFolder = "progress"
	membersFolder  = "members"
)

func makeGroup(root *os.Root, dir, group, stream string) (*groupStream, error) {
	for _, d := range []string{"groups", dir, path.Join(dir, leasesFolder), path.Join(dir, progressFolder), path.Join(dir, membersFolder)} {
		if err := makeDir(root, d); err != nil {
			return nil, err
		}
	}
	if isCut(dir) {
		// The name cannot be read from that of the folder.
		name := path.Join(dir, "name")
		if _, err := root.Lstat(name); err != nil {
			if err := writeFile(root, name, []byte(group)); err != nil {
				return nil, err
			}
		}
	}
	s := &groupStream{name: stream, held: make(map[int32]*lease)}
	var err error
	if s.leases, err = openLeases(root, path.Join(dir, leasesFolder, folderName(stream))); err != nil {
		return nil, err
	}
	s.progress, err = createFile(root, path.Join(dir, progressFolder, folderName(stream)), os.O_RDWR)
	if err == nil {
		s.members, err = createFile(root, path.Join(dir, membersFolder, folderName(stream)), os.O_RDWR)
	}
	if err != nil {
		s.closeFiles()
		return nil, err
	}
	return s, nil
}

// isAt reports whether the open files are those of the group in dir.
func (s *groupStream) isAt(root *os.Root, dir string) bool {
	f := folderName(s.name)
	return isAt(root, s.leases.file(), path.Join(dir, leasesFolder, f)) &&
		isAt(root, s.progress, path.Join(dir, progressFolder, f)) &&
		isAt(root, s.members, path.Join(dir, membersFolder, f))
}

// closeFiles frees the locks, too.
func (s *groupStream) closeFiles() {
	_ = s.leases.Close()
	for _, f := range []*os.File{s.progress, s.members} {
		if f != nil {
			f.Close()
		}
	}
}

// enter takes the mark above the highest of the others, and says whose it is.
func (s *groupStream) enter(id uint64) error {
	for {
		top := int64(-1)
		err := s.leases.others(memberBase, memberBase+1<<32, func(n int64) { top = max(top, n-memberBase) })
		if err != nil {
			return err
		}
		s.number = top + 1
		if ok, err := s.leases.try(memberBase + s.number); ok || err != nil {
			if ok {
				s.introduce(id)
			}
			return err
		}
	}
}

// ring wakes all members. What it writes means nothing.
func (s *groupStream) ring() {
	var b [8]byte
	le.PutUint64(b[:], uint64(now()))
	_, _ = s.leases.file().WriteAt(b[:], 0)
}

// share is how many shards the member should have.
func (s *groupStream) share() (int, error) {
	members, rank := 1, 0
	err := s.leases.others(memberBase, memberBase+1<<32, func(n int64) {
		members++
		if n-memberBase < s.number {
			rank++
		}
	})
	n := s.m.Shards / members
	if rank < s.m.Shards%members {
		n++
	}
	return n, err
}

// serve keeps the member's part of the group until the consumer is closed. It
// makes all calls of Events, so one at a time.
func (g *member) serve() {
	defer close(g.done)
	ctx := context.Background() // a rebalance belongs to no call of the application
	for _, s := range g.streams {
		s.ring()
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	look := time.Now()
	for {
		wait := g.c.d.env.tick
		for _, s := range g.streams {
			// Armed before the look: what changes after it rings.
			if !g.c.watched || watchers.arm(&s.w, s.leases.file()) != nil {
				wait = pollLast
			}
		}
		err := error(nil)
		if !time.Now().Before(look) {
			look = time.Now().Add(g.c.d.env.look)
			err = g.look()
		}
		if err == nil {
			err = g.balance(ctx)
		}
		if err != nil {
			g.c.fail(err)
			g.leave(ctx)
			<-g.c.closing
			g.c.letGo()
			return
		}
		timer.Reset(wait)
		select {
		case <-g.c.closing:
			g.leave(g.c.last)
			g.c.letGo()
			return
		case <-g.wake:
		case <-timer.C:
		}
	}
}

// leave gives everything back.
func (g *member) leave(ctx context.Context) {
	g.c.revoke(ctx, g.release, func(*cursor) bool { return true })
	g.close()
}

// close ends the membership. Closing a lease file frees its locks.
func (g *member) close() {
	for _, s := range g.streams {
		watchers.disarm(&s.w)
		_ = s.leases.unlock(memberBase + s.number)
		s.ring()
		s.closeFiles()
	}
	g.c.mu.Lock()
	g.streams = nil
	g.c.mu.Unlock()
}

// release gives leases back, after the core has been told.
func (g *member) release(shards []driver.Shard) {
	for _, s := range g.streams {
		n := 0
		g.c.mu.Lock()
		for _, sh := range shards {
			if sh.Stream == s.name {
				delete(s.held, sh.Index)
				n++
			}
		}
		g.c.mu.Unlock()
		for _, sh := range shards {
			if sh.Stream == s.name {
				_ = s.leases.unlock(int64(sh.Index))
			}
		}
		if n > 0 {
			s.ring()
		}
	}
}

// balance gives back what is too much and takes what is missing. Its error
// ends the consumer.
func (g *member) balance(ctx context.Context) error {
	lose := make(map[driver.Shard]bool)
	missing := make([]int, len(g.streams))
	for i, s := range g.streams {
		share, err := s.share()
		if err != nil {
			return err
		}
		held := s.shards()
		for _, index := range held[min(share, len(held)):] {
			lose[driver.Shard{Stream: s.name, Index: index}] = true
		}
		missing[i] = share - len(held)
	}
	if len(lose) > 0 {
		g.c.revoke(ctx, g.release, func(cur *cursor) bool { return lose[cur.shard] })
	}
	var gain []*cursor
	var failed error
	for i, s := range g.streams {
		for index := int32(0); missing[i] > 0 && index < int32(s.m.Shards) && failed == nil; index++ {
			// Members begin at different places, so that they get in each
			// other's way less.
			at := (index + int32(s.number)) % int32(s.m.Shards)
			if g.holds(s, at) {
				continue
			}
			ok, err := s.leases.try(int64(at))
			if err == nil && ok {
				var cur *cursor
				if cur, err = g.take(s, at); err == nil {
					gain = append(gain, cur)
					missing[i]--
					continue
				}
				_ = s.leases.unlock(int64(at))
			}
			if errors.Is(err, driver.ErrNotFound) {
				continue // the stream was deleted, and may come again
			}
			if err != nil {
				failed = wrap("take over", driver.Shard{Stream: s.name, Index: at}, err)
			}
		}
	}
	shards := make([]driver.Shard, len(gain))
	for i, cur := range gain {
		shards[i] = cur.shard
	}
	if failed != nil {
		closeCursors(gain)
		g.release(shards)
		return failed
	}
	if err := g.c.assign(ctx, gain); err != nil {
		g.release(shards)
		return err
	}
	return nil
}

// shards is what the member holds of a stream, ascending.
func (s *groupStream) shards() []int32 {
	var held []int32
	for i := range s.held { // only serve writes it
		held = append(held, i)
	}
	slices.Sort(held)
	return held
}

func (g *member) holds(s *groupStream, i int32) bool {
	_, ok := s.held[i] // only serve writes it
	return ok
}

// look finds shards that are new, and gives cursors whose stream was made anew
// its new log. A stream that is gone may come again.
func (g *member) look() error {
	for _, s := range g.streams {
		_, m, err := g.c.d.meta(s.name)
		if err != nil {
			continue
		}
		s.m = m
		if err := g.c.replaceDeleted(s.name, m); err != nil {
			return err
		}
		g.c.settlePending(s.name, m)
	}
	return nil
}

// take makes a shard whose lease was taken one that is held, with its reader
// where the group has come to.
func (g *member) take(s *groupStream, i int32) (*cursor, error) {
	shard := driver.Shard{Stream: s.name, Index: i}
	k := &lease{}
	if err := s.load(i, k); err != nil {
		return nil, err
	}
	cur, err := g.c.cursor(shard, s.m)
	if err != nil {
		return nil, err
	}
	k.log = cur.r.l.id.hash()
	if err := g.place(cur, k); err != nil {
		closeCursors([]*cursor{cur})
		return nil, err
	}
	g.c.mu.Lock()
	s.held[i] = k
	g.c.mu.Unlock()
	s.sign(i, g.id)
	return cur, nil
}

// place moves a reader to the group's progress, or to where the group starts.
func (g *member) place(cur *cursor, k *lease) error {
	switch end, ok := g.c.ends[cur.shard]; {
	case k.some && k.last.log == k.log:
		cur.r.seek(k.last.next)
	case k.some:
		first, err := cur.r.resolve(driver.Earliest)
		if err != nil {
			return err
		}
		cur.r.recreated(k.last.next, first)
	case !ok: // a shard that was not there when the consumer was opened
		first, err := cur.r.resolve(driver.Earliest)
		if err != nil {
			return err
		}
		cur.r.seek(first)
	case g.c.cfg.Start.At == driver.AtLatest:
		cur.r.seek(end)
	default:
		seq, err := cur.r.resolve(g.c.cfg.Start)
		if err != nil && cur.r.l.deleted() {
			return errDeleted // its segments are gone, or by their names another log's
		}
		if err != nil {
			return err
		}
		cur.r.seek(seq)
	}
	return nil
}

var errProgress = driver.Errorf(driver.ErrLost, "", "the group's progress is damaged: seek to where it should go on")

// load reads the progress of a shard. The lease is held, so nobody writes it.
func (s *groupStream) load(i int32, k *lease) error {
	var b [pairSize]byte
	n, err := s.progress.ReadAt(b[:], int64(i)*pairSize)
	if err != nil && err != io.EOF {
		return err
	}
	k.last, k.some, _ = chooseProgress(b[:])
	if n == 0 || k.some {
		return nil
	}
	if b != ([pairSize]byte{}) {
		return errProgress
	}
	return nil
}

// store writes the progress of a shard. The lease is held.
func (s *groupStream) store(i int32, k *lease, next uint64) error {
	if next > k.was || k.some && next < k.last.next {
		k.moveOn()
	}
	p := progressSlot{gen: k.last.gen + 1, epoch: k.last.epoch, next: next, time: now(), log: k.log}
	var b [slotSize]byte
	p.encode(b[:])
	if _, err := s.progress.WriteAt(b[:], int64(i)*pairSize+int64(p.gen&1)*slotSize); err != nil {
		return err
	}
	k.last, k.some = p, true
	return nil
}

// Commit implements [driver.Committer]. It does not block on anything but the
// disk, and on that only by the policy "always".
func (c *consumer) Commit(ctx context.Context, at []driver.Position) error {
	if c.cfg.Group == "" {
		return driver.Errorf(driver.ErrInvalid, "commit", "the consumer has no group")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range at {
		if c.leaseOf(p.Shard) == nil {
			return &driver.Error{Op: "commit", Shard: p.Shard, Kind: driver.ErrFenced}
		}
	}
	var failed error
	synced := make(map[*groupStream]bool)
	for _, p := range at {
		s := c.streamOf(p.Shard)
		if err := s.store(p.Index, s.held[p.Index], number(p.Next)); err != nil {
			failed = wrap("commit", p.Shard, err)
		}
		if s.durable {
			synced[s] = true
		}
	}
	for s := range synced {
		if err := c.d.env.sync(s.progress); err != nil {
			failed = wrap("commit stream "+s.name, driver.Shard{}, err)
		}
	}
	return failed
}

func (c *consumer) streamOf(shard driver.Shard) *groupStream {
	if c.g == nil {
		return nil
	}
	for _, s := range c.g.streams {
		if s.name == shard.Stream {
			return s
		}
	}
	return nil
}

func (c *consumer) leaseOf(shard driver.Shard) *lease {
	if s := c.streamOf(shard); s != nil {
		return s.held[shard.Index]
	}
	return nil
}
