//go:build linux || darwin

package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// dieInDelete deletes a stream and dies at an instant of it.
func (s *site) dieInDelete(when step) {
	s.t.Helper()
	e := s.env
	dead := false
	e.at = func(is step) {
		if is == when {
			dead = true
			runtime.Goexit()
		}
	}
	d, err := openDriver(s.dir, s.o, e)
	if err != nil {
		s.t.Fatal(err)
	}
	defer d.Close(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = d.DeleteStream(context.Background(), "s")
	}()
	<-done
	if !dead {
		s.t.Fatalf("it did not die at step %d: %v", when, err)
	}
}

// left is what there is in the directory besides what should be.
func (s *site) left() []string {
	left, _ := filepath.Glob(filepath.Join(s.dir, ".*"))
	return left
}

// Whoever comes after one that died while it deleted a stream finds the stream
// as it was, or none, and finishes the work by making it, writing to it, or
// deleting it.
func TestDeleteDeathAtEachStep(t *testing.T) {
	for when := stepDeleteLocked; when < deleteSteps; when++ {
		for _, finder := range []string{"create", "send", "delete", "open writer"} {
			t.Run(fmt.Sprintf("%d/%s", when, finder), func(t *testing.T) {
				s := newSite(t, Options{Shards: 2, SegmentSize: minSegment})
				s.send("a", "b", "c")
				writer := s.open()
				if _, err := send(writer, "d"); err != nil {
					t.Fatal(err)
				}
				s.dieInDelete(when)
				d := s.open()
				if when == stepDeleteLocked {
					if got := names(t, d.StreamNames(t.Context())); fmt.Sprint(got) != "[s]" {
						t.Errorf("streams %q", got)
					}
					if _, err := send(writer, "e"); err != nil {
						t.Error(err)
					}
					return
				}
				if got := names(t, d.StreamNames(t.Context())); len(got) != 0 {
					t.Errorf("streams %q", got)
				}
				if infos, err := d.DescribeStreams(t.Context(), []string{"s"}, 0); err != nil || !errors.Is(infos[0].Err, driver.ErrNotFound) {
					t.Errorf("described as %+v, %v", infos, err)
				}
				problems := 0
				if info, err := d.Cluster(t.Context()); err != nil {
					t.Error(err)
				} else {
					problems = len(info.Problems)
				}
				if want := when < stepDeleteRenamed; (problems > 0) != want {
					t.Errorf("%d problems, want some: %v", problems, want)
				}
				switch finder {
				case "create":
					if err := d.CreateStream(t.Context(), driver.StreamSpec{Name: "s", Shards: 1}); err != nil {
						t.Fatal(err)
					}
				case "send":
					if rs, err := send(d, "new"); err != nil || rs[0].Seq.Lo != 0 {
						t.Fatalf("%v, %v", rs, err)
					}
				case "delete":
					err := d.DeleteStream(t.Context(), "s")
					if when == stepDeleteRenamed {
						if !errors.Is(err, driver.ErrNotFound) {
							t.Errorf("deleted again: %v", err)
						}
						return // the next creation removes what is left
					}
					if err != nil {
						t.Fatal(err)
					}
					if err := d.DeleteStream(t.Context(), "s"); !errors.Is(err, driver.ErrNotFound) {
						t.Errorf("deleted again: %v", err)
					}
				case "open writer":
					// It has the log open and finds by itself that it is gone.
					deadline := time.Now().Add(limit)
					for {
						_, err := send(writer, "e")
						if errors.Is(err, driver.ErrNotFound) {
							break
						}
						if err != nil || time.Now().After(deadline) {
							t.Fatalf("a writer that has it open: %v", err)
						}
					}
					if rs, err := send(writer, "f"); err != nil || rs[0].Seq.Lo != 0 {
						t.Errorf("and then: %v, %v", rs, err)
					}
				}
				if left := s.left(); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}

// A stopped writer keeps a stream from being deleted, and nothing has happened.
func TestDeleteLocked(t *testing.T) {
	s := newSite(t, Options{})
	s.env.patience = 100 * time.Millisecond
	s.send("a")
	d := s.open()
	root, _ := d.store.open(false)
	l, err := openLog(root, driver.Shard{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	key := newFileLock(l.ctl)
	if ok, err := key.try(); !ok {
		t.Fatal(err)
	}
	if err := d.DeleteStream(t.Context(), "s"); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	if _, err := d.Trim(t.Context(), []driver.Position{{Shard: driver.Shard{Stream: "s"}, Next: driver.SeqOf(1)}}); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	key.unlock()
	wantText(t, "afterwards", s.read(), "0=a")
	if err := d.DeleteStream(t.Context(), "s"); err != nil {
		t.Error(err)
	}
}

// A stream whose files are damaged can be deleted.
func TestDeleteDamaged(t *testing.T) {
	s := newSite(t, Options{Shards: 4})
	s.send("a")
	for i, damage := range []func(dir string) error{
		func(dir string) error { return os.Remove(filepath.Join(dir, "ctl")) },
		func(dir string) error { return os.Truncate(filepath.Join(dir, "ctl"), 10) },
		func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, "ctl"), os.O_RDWR, 0)
			if err == nil {
				_, err = f.WriteAt(make([]byte, pairSize), ctlEnd)
				f.Close()
			}
			return err
		},
	} {
		if err := damage(filepath.Join(s.dir, "s", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	d := s.open()
	info, err := d.Cluster(t.Context())
	if err != nil || len(info.Problems) != 3 {
		t.Errorf("%+v, %v, want three problems", info.Problems, err)
	}
	if err := d.DeleteStream(t.Context(), "s"); err != nil {
		t.Error(err)
	}
	if es, _ := os.ReadDir(s.dir); len(es) != 0 {
		t.Errorf("left behind: %v", es)
	}
}

// What an owner has committed of a stream is not taken for progress in the next
// stream of that name, and the owner that is at work learns of it.
func TestDeleteForgets(t *testing.T) {
	for _, when := range []step{-1, stepDeleteBegun, stepDeleteMarked, stepDeleteForgotten} {
		t.Run(fmt.Sprint(when), func(t *testing.T) {
			s := newSite(t, Options{Shards: 2})
			s.send("a", "b")
			d := s.open()
			shard := driver.Shard{Stream: "s"}
			live := newOwner(t, d, false)
			claim(t, live, driver.Position{Shard: shard}, at(0, 5))
			if err := commit(t.Context(), live, []driver.Record{out(0, "x")}, driver.Move{Shard: shard, To: driver.SeqOf(2)}); err != nil {
				t.Fatal(err)
			}
			c := consume(t, d, driver.ConsumerConfig{Streams: []string{"s"}, Group: "g"})
			for range 2 {
				if err := c.Consumer.(driver.Committer).Commit(t.Context(), []driver.Position{<-c.assigned}); err != nil {
					t.Fatal(err)
				}
			}
			c.Close(t.Context())
			if when < 0 {
				if err := d.DeleteStream(t.Context(), "s"); err != nil {
					t.Fatal(err)
				}
				if got := names(t, d.GroupNames(t.Context(), []string{"s"})); len(got) != 0 {
					t.Errorf("groups of the stream: %q", got)
				}
			} else {
				s.dieInDelete(when)
			}
			if err := d.CreateStream(t.Context(), driver.StreamSpec{Name: "s"}); err != nil {
				t.Fatal(err)
			}
			err := commit(t.Context(), live, nil, driver.Move{Shard: shard, From: driver.SeqOf(2), To: driver.SeqOf(3)})
			if !errors.Is(err, driver.ErrLost) {
				t.Errorf("the owner that was at work: %v", err)
			}
			next := newOwner(t, s.open(), false)
			if got := claim(t, next, driver.Position{Shard: shard}, at(0, 0)); !strings.Contains(got, "0") || strings.Contains(got, "2") || !strings.Contains(got, "5") {
				t.Errorf("claimed %s, want the new stream from 0 and the other where it was", got)
			}
			groups, err := d.DescribeGroups(t.Context(), []string{"g"})
			if err != nil || len(groups[0].Positions) != 0 || groups[0].Err != nil {
				t.Errorf("%+v, %v, want a group without positions", groups, err)
			}
		})
	}
}
