//go:build linux || darwin

package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A producer syncs the segment that it has written to while units of the same
// process go on: one of them may seal the segment and close its file.
func TestSyncWhileAUnitRolls(t *testing.T) {
	s := newSite(t, Options{SegmentSize: minSegment, Sync: SyncAlways})
	s.send("a")
	var first atomic.Bool
	entered, rolled := make(chan struct{}), make(chan struct{})
	s.env.sync = func(f *os.File) error {
		if strings.HasSuffix(f.Name(), ".log") && first.CompareAndSwap(false, true) {
			close(entered)
			<-rolled
		}
		return datasync(f)
	}
	d := s.open()
	o := newOwner(t, d, false)
	claim(t, o, at(0, 0))
	sent := make(chan error, 1)
	go func() { sent <- plain(d, out(0, "b")) }()
	<-entered
	if err := commit(t.Context(), o, []driver.Record{out(0, strings.Repeat("c", minSegment))}); err != nil {
		t.Error(err)
	}
	close(rolled)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if info, err := d.Cluster(t.Context()); err != nil || len(info.Problems) > 0 {
		t.Errorf("problems %v, %v", info.Problems, err)
	}
}

// poison has a driver of its own fail to sync; meanwhile happens before the log
// is marked.
func (s *site) poison(meanwhile func()) {
	s.t.Helper()
	e := s.env
	e.sync = func(f *os.File) error {
		if strings.HasSuffix(f.Name(), ".log") {
			meanwhile()
			return errors.New("the disk is on fire")
		}
		return datasync(f)
	}
	o := s.o
	o.Sync = SyncAlways
	d, err := openDriver(s.dir, o, e)
	if err != nil {
		s.t.Fatal(err)
	}
	defer d.Close(context.Background())
	if _, err := send(d, "poison"); !errors.Is(err, driver.ErrUnknown) {
		s.t.Fatal(err)
	}
}

// The copy that heals a log may have the name of the segment that another
// writer has open.
func TestHealedUnderAWriter(t *testing.T) {
	s := newSite(t, Options{})
	d := s.open()
	if _, err := send(d, "a"); err != nil {
		t.Fatal(err)
	}
	s.poison(func() {})
	s.send("c")
	if _, err := send(d, "d"); err != nil {
		t.Error(err)
	}
	wantText(t, "the log", s.read(), "0=a 1=poison 2=c 3=d")
}

// A reader stands in a segment that the repair of the log removes.
func TestHealedUnderAReader(t *testing.T) {
	s := newSite(t, Options{SegmentSize: minSegment})
	large := strings.Repeat("x", minSegment)
	s.send("a", large, "c")
	s.o.SegmentSize = 1 << 20 // so that the copy does not roll at once
	c := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.From(driver.SeqOf(2))})
	if got := c.next(); got != "s[0]:2=c" {
		t.Fatal(got)
	}
	s.poison(func() {})
	if got := c.next(); got != "s[0]:3=poison" {
		t.Fatal(got)
	}
	s.send("e")
	if got := c.next(); got != "s[0]:4=e" {
		t.Errorf("got %.100s", got)
	}
}

// A reader that sleeps while the log is repaired and goes on for some segments
// finds what the copy has of the segment that it stands in.
func TestHealedUnderASleepingReader(t *testing.T) {
	s := newSite(t, Options{SegmentSize: minSegment})
	d := s.open()
	if _, err := send(d, "a"); err != nil {
		t.Fatal(err)
	}
	if err := d.opened[0].w.syncTo(1, nil); err != nil { // and nobody syncs what follows
		t.Fatal(err)
	}
	if _, err := send(d, "b"); err != nil {
		t.Fatal(err)
	}
	c := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.From(driver.SeqOf(1))})
	if got := c.next(); got != "s[0]:1=b" {
		t.Fatal(got)
	}
	s.poison(func() {})
	s.send("d", strings.Repeat("x", minSegment), "f")
	for _, want := range []string{"s[0]:2=poison s[0]:3=d", "s[0]:4=x", "s[0]:5=f"} {
		if got := c.next(); !strings.HasPrefix(got, want) {
			t.Errorf("got %.100s, want %s", got, want)
		}
	}
}

// A reader has read a whole segment when the copy gets its name, and holds what
// followed, too.
func TestHealedBehindAReader(t *testing.T) {
	for _, rolled := range []bool{false, true} {
		t.Run(fmt.Sprint(rolled), func(t *testing.T) {
			s := newSite(t, Options{SegmentSize: minSegment})
			large := strings.Repeat("x", minSegment)
			s.send("a", large, "c")
			c := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
			if got := c.next(); got != "s[0]:0=a" {
				t.Fatal(got)
			}
			if !rolled {
				s.o.SegmentSize = 1 << 20
			}
			s.poison(func() {})
			s.send("e")
			got := c.next()
			for strings.Contains(got, "=x") && !strings.Contains(got, "=e") {
				got += " " + c.next()
			}
			want := "s[0]:1=" + large + " s[0]:2=c s[0]:3=poison s[0]:4=e"
			if got != want {
				t.Errorf("got %.60s … %.60s", got, got[max(0, len(got)-60):])
			}
		})
	}
}

// A reader has the end of before a repair when it opens the copy: what lies
// behind the end of that is of a writer that died.
func TestHealedWhileAReaderOpens(t *testing.T) {
	s := newSite(t, Options{SegmentSize: minSegment})
	large := strings.Repeat("x", minSegment)
	s.send("a", large, "c")
	root, err := s.open().store.open(false)
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLog(root, driver.Shard{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(l, false)
	defer r.close()
	r.seek(4)
	if _, err := r.t.load(); err != nil {
		t.Fatal(err)
	}
	s.o.SegmentSize = 1 << 20
	s.poison(func() {})
	s.send("e")
	s.die(stepWritten, false, "ghost")
	seg, err := l.openSegment(0, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	r.enter(seg, headerSize, 0)
	b, err := r.read(1)
	if err != nil || b == nil || b.Len() != 1 || string(b.Value(0)) != "e" {
		t.Errorf("read %d messages, %v; want the last one", b.Len(), err)
	}
	if b, err = r.read(1); err != nil || b != nil {
		t.Errorf("and then %v, %v", b, err)
	}
}

// A writer dies while another one's sync fails. A reader that has the segment
// open which the repair replaces must not find what the dead one left there.
func TestHealedUnderAReaderOfLeftovers(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a")
	c := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
	if got := c.next(); got != "s[0]:0=a" {
		t.Fatal(got)
	}
	s.poison(func() { s.die(stepWritten, false, "ghost") })
	if got := c.next(); got != "s[0]:1=poison" {
		t.Fatal(got)
	}
	s.send("after")
	if got := c.next(); got != "s[0]:2=after" {
		t.Errorf("got %s", got)
	}
}

// A stream that is made anew while a member sleeps in Fetch wakes it.
func TestRecreatedUnderAMember(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a")
	c := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Earliest})
	if got := c.next(); got != "s[0]:0=a" {
		t.Fatal(got)
	}
	got := make(chan string)
	go func() { got <- c.next() }()
	con := c.Consumer.(*consumer)
	cur := con.at[0]
	await(t, "it sleeps", func() bool { return !con.watched || !cur.hot.Load() }) // or polls, which wakes it anyway
	if err := s.open().DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	s.send("b")
	if got := <-got; !strings.Contains(got, "recreated") {
		t.Errorf("got %q, want a gap", got)
	}
	if got := c.next(); got != "s[0]:0=b" {
		t.Errorf("got %q", got)
	}
}

// What a member has of a stream's old log it may commit when the look has found
// the new one. That is no position in the new one, which has it begin.
func TestCommitOfARecreatedStream(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a", "b", "c")
	d := s.open()
	c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Earliest})
	for !strings.HasSuffix(c.next(), "s[0]:2=c") {
	}
	if err := d.DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	s.send("x", "y", "z", "last")
	con := c.Consumer.(*consumer)
	await(t, "it looks", func() bool {
		con.mu.Lock()
		defer con.mu.Unlock()
		return con.at[0].r.lost != nil
	})
	commit := func(next uint64) string {
		t.Helper()
		if err := con.Commit(t.Context(), []driver.Position{{Shard: driver.Shard{Stream: "s"}, Next: driver.SeqOf(next)}}); err != nil {
			t.Fatal(err)
		}
		g := s.group(d, "g")
		return fmt.Sprintf("%v, %d behind", g.Positions[0].Next, g.Positions[0].Behind.N)
	}
	wantText(t, "the old log's", commit(2), "0, 4 behind")
	wantText(t, "the rest of it", commit(3), "0, 4 behind")
	wantText(t, "the new one's", commit(1), "1, 3 behind")
	wantText(t, "and its end", commit(4), "4, 0 behind")
}

// A member that is to take a shard over while its stream is gone waits for the
// stream, as it does with the shards that it has.
func TestRebalanceWithoutTheStream(t *testing.T) {
	s := newSite(t, Options{Shards: 2})
	s.send("a")
	gone := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g"})
	<-gone.assigned
	<-gone.assigned
	c := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g"})
	<-c.assigned
	if err := s.open().DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	con := c.Consumer.(*consumer)
	for range 3 { // with the third it has ended a look that came after all this
		await(t, "it looks around", func() bool {
			con.mu.Lock()
			defer con.mu.Unlock()
			if con.err != nil {
				t.Fatal(con.err)
			}
			select {
			case con.g.wake <- struct{}{}:
				return true
			default:
				return false
			}
		})
	}
	s.send("b")
	select {
	case <-c.assigned:
	case <-time.After(limit):
		t.Error("the new stream's other shard was not assigned")
	}
}

// A member that is to begin at a time takes a shard over just while its stream is
// deleted. That, too, is no end to it.
func TestPlaceWhileItIsDeleted(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a")
	c := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Since(time.Now().Add(-time.Hour))})
	<-c.assigned
	con := c.Consumer.(*consumer)
	_, m, err := con.d.meta("s")
	if err != nil {
		t.Fatal(err)
	}
	cur, err := con.cursor(driver.Shard{Stream: "s"}, m)
	if err != nil {
		t.Fatal(err)
	}
	defer cur.r.close()
	if err := s.open().DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "the place", con.g.place(cur, new(lease)), driver.ErrNotFound)
	s.send("b")
	wantErr(t, "the place, by the new stream's files", con.g.place(cur, new(lease)), driver.ErrNotFound)
}

// A look that has found the stream, and comes to its logs when it is being
// deleted, or is gone, leaves the rest to the next one.
func TestLookWhileItIsDeleted(t *testing.T) {
	for _, when := range []step{stepDeleteMarked, stepDeleteRenamed} {
		t.Run(fmt.Sprint(when), func(t *testing.T) {
			s := newSite(t, Options{})
			s.send("a", "b")
			c := consume(t, s.open(), driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
			c.next()
			con := c.Consumer.(*consumer)
			_, m, err := con.d.meta("s")
			if err != nil {
				t.Fatal(err)
			}
			s.env.at = func(is step) {
				if is == when {
					if err := con.replaceDeleted("s", m); err != nil {
						t.Error(err)
					}
				}
			}
			if err := s.open().DeleteStream(t.Context(), "s"); err != nil {
				t.Fatal(err)
			}
			if got := c.next(); !strings.Contains(got, "not found: there is no such stream") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// What a look finds that goes on after the consumer was closed is not assigned
// any more.
func TestCloseWhileItLooks(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a")
	d := s.open()
	c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}})
	<-c.assigned
	if err := d.AddShards(t.Context(), "s", 2); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	con := c.Consumer.(*consumer)
	wantErr(t, "the look", con.look(t.Context()), driver.ErrClosed)
	if len(c.assigned) > 0 || len(con.at) > 0 {
		t.Errorf("%d shards were assigned to a consumer that is closed, and %d are open", len(c.assigned), len(con.at))
	}
}

// A look that is broken off, as by a seek, is begun again by the next Fetch.
func TestLookIsBrokenOff(t *testing.T) {
	s := newSite(t, Options{})
	s.send("a")
	d := s.open()
	ctx, breakOff := context.WithCancel(t.Context())
	calls := 0
	c, err := d.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"s"}, Events: driver.Events{
		Assigned: func(ctx context.Context, _ []driver.Position) (uint64, []driver.Position, error) {
			if calls++; calls == 2 {
				breakOff()
			}
			return uint64(calls), nil, ctx.Err()
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if err := d.AddShards(t.Context(), "s", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fetch(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := plain(s.open(), out(1, "new")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if bs, err := c.Fetch(ctx, nil); err != nil || string(bs[0].Value(0)) != "new" {
		t.Errorf("%v, %v", bs, err)
	}
}

// A sender that begins to wait for room when the producer has just been closed
// does not wait for a wake-up that has been.
func TestWaitOfAClosedProducer(t *testing.T) {
	p := newProducer(newSite(t, Options{}).open(), driver.ProducerConfig{MaxBytes: 100})
	p.reserve(100)
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	wantErr(t, "wait", p.wait(ctx, 1), driver.ErrClosed)
}

// Senders that give up leave none behind that waits though nothing is in flight.
func TestSendersGiveUp(t *testing.T) {
	p := newProducer(newSite(t, Options{}).open(), driver.ProducerConfig{MaxBytes: 100})
	end, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for range 3000 {
		p.reserve(50)
		ctx, giveUp := context.WithCancel(end)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				ctx, size := ctx, int64(60)
				if i == 0 {
					ctx, size = end, 55
				}
				err := p.wait(ctx, size)
				if err == nil {
					p.release(size)
				} else if i == 0 {
					t.Error(err)
				}
			})
		}
		wg.Go(giveUp)
		wg.Go(func() { p.release(50) })
		wg.Wait()
		giveUp()
		if t.Failed() {
			return
		}
	}
	if n := p.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are in flight", n)
	}
}

// A claim that finds the owner closed leaves the record to Close, which waits for
// the commit that is still at work on it.
func TestClaimOfAnOwnerThatIsClosed(t *testing.T) {
	s := newSite(t, Options{})
	o := newOwner(t, s.open(), false)
	claim(t, o, at(0, 0))
	if err := o.u.key.lock(t.Context(), limit); err != nil { // as a commit does
		t.Fatal(err)
	}
	defer o.u.key.unlock()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Close(ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	root, err := o.d.store.open(false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.lock(t.Context(), root, nil)
	wantErr(t, "the claim", err, driver.ErrClosed)
	if _, err := o.u.load(true); err != nil {
		t.Errorf("the record, under the commit's lock: %v", err)
	}
}

// A sync that Close has left behind, as its context had ended, finds that the
// directory is closed. That is no failure of the disk, and the log stays good.
func TestSyncThatCloseLeftBehind(t *testing.T) {
	s := newSite(t, Options{}) // so that it is synced by nothing else
	d := s.open()
	if _, err := send(d, "a"); err != nil {
		t.Fatal(err)
	}
	w := d.opened[0].w
	if err := d.store.close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "the sync", w.syncTo(1, nil), driver.ErrUnknown)
	if info, err := s.open().Cluster(t.Context()); err != nil || len(info.Problems) > 0 {
		t.Errorf("problems %v, %v", info.Problems, err)
	}
}

// A sender waits for somebody who is deleting its stream, to make it anew. What
// else the driver does does not wait for that.
func TestMakeAStreamThatIsBeingDeleted(t *testing.T) {
	s := newSite(t, Options{})
	s.env.patience = 5 * limit // the sender waits for longer than the look below
	s.send("a")
	d := s.open()
	if err := plain(d, driver.Record{Stream: "other"}); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	s.env.at = func(is step) {
		if is != stepDeleteMarked {
			return
		}
		go func() { sent <- plain(d, out(0, "b")) }()
		stacks := make([]byte, 1<<20)
		await(t, "the sender waits", func() bool {
			all := strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n")
			return slices.ContainsFunc(all, func(g string) bool {
				return strings.Contains(g, "createStream") && strings.Contains(g, "lockFolder")
			})
		})
		looked := make(chan error, 1)
		go func() {
			_, err := d.Bounds(context.Background(), []string{"other"})
			looked <- err
		}()
		select {
		case err := <-looked:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(limit):
			t.Error("a look at another stream waits for the deletion")
		}
	}
	if err := s.open().DeleteStream(t.Context(), "s"); err != nil {
		t.Error(err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	wantText(t, "the new stream", s.shards(), "b")
}

// A commit that Close has left behind wants its log synced when the appender is
// being closed, which does not wait for that any more.
func TestSyncLaterWhileItCloses(t *testing.T) {
	s := newSite(t, Options{Sync: SyncInterval})
	d := s.open()
	if _, err := send(d, "a"); err != nil {
		t.Fatal(err)
	}
	w := d.opened[0].w
	if err := w.lock(); err != nil { // as a commit does
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Close(ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	await(t, "it closes, and the sync that was due is stopped or has begun", func() bool {
		w.syncs.Lock()
		defer w.syncs.Unlock()
		return w.closing && w.pending == nil
	})
	w.syncLater(time.Hour)
	w.syncs.Lock()
	if w.pending != nil {
		t.Error("a sync is going to happen after the end")
	}
	w.syncs.Unlock()
	w.unlock()
}

// A unit whose commit finds that somebody died while deleting a stream that it
// writes to finishes that, though the deletion takes the lock of its own record.
func TestCommitFinishesADeletion(t *testing.T) {
	s := newSite(t, Options{})
	d := s.open()
	o := newOwner(t, d, false)
	claim(t, o, at(0, 0))
	if err := commit(t.Context(), o, []driver.Record{out(0, "a")}); err != nil {
		t.Fatal(err)
	}
	s.dieInDelete(stepDeleteMarked)
	d.env.patience = 100 * time.Millisecond // what it waits for, only itself could give back
	d.writers["s"].life.looked.Store(0)
	wantErr(t, "into a stream that is deleted", commit(t.Context(), o, []driver.Record{out(0, "b")}, move(0, 0, 1)), driver.ErrAborted)
	if _, err := os.Stat(filepath.Join(s.dir, "s")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stream's folder: %v, want that it is gone", err)
	}
	if err := commit(t.Context(), o, []driver.Record{out(0, "b")}, move(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	wantText(t, "the new stream", s.shards(), "b")
}
