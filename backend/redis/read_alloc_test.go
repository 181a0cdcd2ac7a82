package redis

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

// Reading costs a few allocations a reply and none a message, whatever is asked
// of a message without fields but its value; and an answer is not copied to
// find out that it is no redirect.
func TestReadAllocations(t *testing.T) {
	const n = 1000
	var reply bytes.Buffer
	fmt.Fprintf(&reply, "*1\r\n*2\r\n$1\r\ns\r\n*%d\r\n", n)
	for i := range n {
		fmt.Fprintf(&reply, "*2\r\n$%d\r\n%d-0\r\n*2\r\n$3\r\nmsg\r\n$5\r\nhello\r\n", len(fmt.Sprint(i+1))+2, i+1)
	}
	answers := []value{reply.Bytes()}
	// What tests before have left to end in its own time may allocate, too, once.
	least := func(f func()) float64 {
		got := testing.AllocsPerRun(10, f)
		for range 4 {
			got = min(got, testing.AllocsPerRun(10, f))
		}
		return got
	}
	if got := least(func() {
		if err := decisive(answers); err != nil {
			t.Error(err)
		}
	}); got > 0 {
		t.Errorf("%v allocations to look at an answer, want none", got)
	}
	header := func(k string, _ []byte) bool {
		t.Errorf("a header %q", k)
		return false
	}
	o := &Options{Field: "msg"}
	if got := least(func() {
		read := 0
		if err := answers[0].eachStream(func(_ string, entries value) error {
			b, _, err := newBatch(o, driver.Shard{Stream: "s"}, entries)
			if err != nil {
				return err
			}
			for i := range b.Len() {
				b.Headers(i)(header)
				if b.Key(i) == nil && len(b.Value(i)) == 5 && !b.Time(i).IsZero() {
					read++
				}
			}
			return nil
		}); err != nil || read != n {
			t.Errorf("read %d of %d messages: %v", read, n, err)
		}
	}); got > 20 {
		t.Errorf("%v allocations to read %d messages, want a few", got, n)
	}
}
