package memory

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// joined is a new member of group g on stream s.
func joined(t *testing.T, d *client) *member {
	t.Helper()
	c, err := d.Consumer(t.Context(), driver.ConsumerConfig{Group: "g", Streams: []string{"s"}, Start: driver.Earliest})
	if err != nil {
		t.Fatal(err)
	}
	return c.(*member)
}

// filled is a client whose groups keep verdicts, and on which stream s has so many
// messages.
func filled(t *testing.T, n int) *client {
	t.Helper()
	d := NewStore().Driver(Options{AckTimeout: time.Minute}).(*client)
	if err := d.CreateStream(t.Context(), driver.StreamSpec{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	send(t, d, n)
	return d
}

func send(t *testing.T, d *client, n int) {
	t.Helper()
	st, err := d.store.stream("s", d.o)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		st.shards[0].append(&driver.Record{Value: []byte("v")})
	}
}

// A Fetch has looked whether the member is closed, then Close gives back what the
// member holds, and only then the Fetch draws: it takes nothing that nobody would
// give back any more.
func TestAFetchThatCloseOvertakesTakesNothing(t *testing.T) {
	d := filled(t, 3)
	old, other := joined(t, d), joined(t, d)
	if got, err := old.Fetch(t.Context(), nil); err != nil || len(got) != 1 {
		t.Fatalf("%d batches, %v", len(got), err)
	}
	if err := old.check(t.Context(), "read"); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, _, err := old.draw(nil)
	if len(got) > 0 || !errors.Is(err, driver.ErrClosed) {
		t.Errorf("the closed member draws %d batches and gets error %v, want none and ErrClosed", len(got), err)
	}
	if got, _, err = other.draw(nil); err != nil || len(got) != 3 {
		t.Errorf("the other member draws %d batches, %v, want the three messages that came back", len(got), err)
	}
}

// A record that was on its way when its stream was deleted is stored in what is
// gone: a member that still reads that finds nothing, and its group does not know
// the stream any more.
func TestAMemberOfADeletedStream(t *testing.T) {
	d := filled(t, 1)
	m := joined(t, d)
	st, err := d.store.stream("s", d.o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	st.shards[0].append(&driver.Record{Value: []byte("late")})
	for range 2 {
		if got, _, err := m.draw(nil); len(got) > 0 || err != nil {
			t.Errorf("the member draws %d batches, %v, want nothing", len(got), err)
		}
	}
	if in := d.store.groupInfo("g"); len(in.Positions) > 0 {
		t.Errorf("the group knows %v", in.Positions)
	}
}

// A group may be made while a stream of it is being deleted: it does not get to
// know what nobody would have it forget any more.
func TestJoinWhileAStreamIsDeleted(t *testing.T) {
	d := NewStore().Driver(Options{AckTimeout: time.Minute}).(*client)
	if err := d.CreateStream(t.Context(), driver.StreamSpec{Name: "s", Shards: 2}); err != nil {
		t.Fatal(err)
	}
	shards, err := d.store.shards([]string{"s"})
	if err != nil {
		t.Fatal(err)
	}
	early := d.store.lockPool("early") // where the deletion stops in the middle
	ended := make(chan error, 1)
	go func() { ended <- d.DeleteStream(t.Context(), "s") }()
	for there := err; there == nil; _, there = d.store.shards([]string{"s"}) {
		runtime.Gosched()
	}
	d.joinPool(driver.ConsumerConfig{Group: "late", Streams: []string{"s"}}, shards)
	early.mu.Unlock()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if in := d.store.groupInfo("late"); len(in.Positions) > 0 {
		t.Errorf("the group knows %v", in.Positions)
	}
}

// A member that gets nothing is woken by each message that the others get.
func TestAFetchThatIsOftenWokenKeepsNothing(t *testing.T) {
	d := filled(t, 1)
	holder, idle := joined(t, d), joined(t, d)
	if got, err := holder.Fetch(t.Context(), nil); err != nil || len(got) != 1 {
		t.Fatalf("%d batches, %v", len(got), err)
	}
	ended := make(chan error)
	go func() {
		_, err := idle.Fetch(t.Context(), nil)
		ended <- err
	}()
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for range 50_000 {
		idle.wake <- struct{}{} // waits until the one before was taken
	}
	if more := heap() - before; more > 4<<20 {
		t.Errorf("a Fetch that was woken 50,000 times keeps %d bytes", more)
	}
	if err := idle.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Fetch: %v, want ErrClosed", err)
	}
}
