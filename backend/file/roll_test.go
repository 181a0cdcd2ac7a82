package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

// A writer dies when it has made the next segment, which is none yet. What comes
// then may be smaller and still fit into the one before: it must be found there,
// from whatever sequence on somebody reads, also after power loss and the next roll.
func TestSegmentThatNobodyPublished(t *testing.T) {
	large := strings.Repeat("l", minSegment/2)
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		for _, loss := range []bool{false, true} {
			t.Run(fmt.Sprintf("sync %v, power loss %v", sync, loss), func(t *testing.T) {
				s := newSite(t, Options{SegmentSize: minSegment, Sync: sync})
				s.send(large, "b")
				s.die(stepCreated, false, large+"not written")
				s.send("c")
				s.die(stepCreated, false, large+"not written")
				s.send("d")
				s.wantFromEach(0, 1, 2, 3)
				next := uint64(4)
				if loss {
					s.env.boot++
					if sync != SyncAlways {
						next = jump
					}
				}
				s.send(large, "f")
				s.wantFromEach(0, 1, 2, 3, next, next+1)
				if n := len(s.files("*.log")); n != 2 {
					t.Errorf("%d segments, want the 2 that were published", n)
				}
			})
		}
	}
}

// wantFromEach has the stream read from each of these sequences on: it begins
// there.
func (s *site) wantFromEach(seqs ...uint64) {
	s.t.Helper()
	d := s.open()
	defer d.Close(context.Background())
	for _, seq := range seqs {
		c := consume(s.t, d, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.From(driver.SeqOf(seq))})
		if got := c.next(); !strings.HasPrefix(got, fmt.Sprintf("s[0]:%d=", seq)) {
			s.t.Errorf("from %d on: got %.60s", seq, got)
		}
		c.Close(context.Background())
	}
}

// What is synced is the segment that has it, whatever a dead writer has made.
func TestSyncBesideASegmentThatNobodyPublished(t *testing.T) {
	s := newSite(t, Options{SegmentSize: minSegment, Sync: SyncInterval})
	large := strings.Repeat("l", minSegment/2)
	s.send(large, "b")
	s.die(stepCreated, false, large+"not written")
	power := &disk{dir: s.dir, synced: map[string][]byte{}}
	s.env.sync = power.sync
	d := s.open()
	w, err := d.writerOf("s")
	if err != nil {
		t.Fatal(err)
	}
	l, err := w.lane(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.w.syncTo(2, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := send(d, "c"); err != nil {
		t.Fatal(err)
	}
	clear(power.synced)
	if err := l.w.syncTo(3, nil); err != nil {
		t.Fatal(err)
	}
	tail := filepath.Join("s", "0", segmentName(0))
	now, err := os.ReadFile(filepath.Join(s.dir, tail))
	if err != nil {
		t.Fatal(err)
	}
	if string(power.synced[tail]) != string(now) {
		t.Errorf("the segment that was written to was not synced; %d others were", len(power.synced))
	}
}
