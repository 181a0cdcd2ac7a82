package file

import (
	"bytes"
	"iter"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seastreamer/seastreamer/driver"
)

func collect(it iter.Seq2[string, []byte]) (hs []driver.Header) {
	for k, v := range it {
		hs = append(hs, driver.Header{Key: k, Value: v})
	}
	return hs
}

func TestRecordRoundTrip(t *testing.T) {
	long := bytes.Repeat([]byte("v"), 20000)
	recs := []driver.Record{
		{},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("k"), Value: []byte("v"), Headers: []driver.Header{{Key: "h", Value: []byte("1")}, {Key: "h"}, {Key: "", Value: []byte{}}}},
		{Value: long, Time: time.UnixMicro(-5)},
		{Value: bytes.Repeat([]byte("w"), 127), Time: time.UnixMicro(math.MaxInt64 / 2)},
		{Key: long[:126], Value: long[:16382], Time: time.UnixMicro(12345678901)},
	}
	c := new(chunk)
	for i := range recs {
		c.add(&recs[i], recordSize(&recs[i]), pending{})
	}
	c.seal()
	c.place(7, 1000, 99)
	var got []driver.Record
	next := uint64(7)
	for off := 0; off < len(c.buf); {
		h, ok := decodeBatchHeader(c.buf[off:], 99)
		if !ok || h.base != next {
			t.Fatalf("batch at %d: %+v %v", off, h, ok)
		}
		if _, ok := decodeBatchHeader(c.buf[off:], 98); ok {
			t.Error("a batch passes for one of another log")
		}
		end := off + int(h.size())
		if checksum(c.buf[off+headerSize:end]) != h.payload {
			t.Error("payload CRC")
		}
		es, ok := decodeRecords(nil, c.buf, off+headerSize, end, h.count, h.time)
		if !ok {
			t.Fatalf("batch at %d is not read", off)
		}
		b := &batch{entries: es, b: &block{data: c.buf}, end: uint32(end)}
		for i := range es {
			if es[i].time > h.maxTime() {
				t.Errorf("time %d above the batch's maximum %d", es[i].time, h.maxTime())
			}
			got = append(got, driver.Record{Key: b.Key(i), Value: b.Value(i), Headers: collect(b.Headers(i)), Time: b.Time(i)})
		}
		next = h.next()
		off = end
	}
	for i := range recs {
		if recs[i].Time.IsZero() {
			recs[i].Time = got[i].Time // that of sending
		}
	}
	if d := cmp.Diff(recs, got); d != "" {
		t.Error(d)
	}
}

// A sender that gives no times gets those of writing, one for a batch.
func TestTimes(t *testing.T) {
	c := new(chunk)
	rec := driver.Record{Value: []byte("x")}
	c.add(&rec, 100, pending{})
	c.add(&rec, 100, pending{})
	c.seal()
	c.place(0, 4711, 1)
	if c.batches[0].time != 4711 || len(c.batches) != 1 {
		t.Errorf("batches %+v", c.batches)
	}
	c.reset()
	c.add(&rec, 100, pending{})
	at := driver.Record{Time: time.Now().Add(time.Hour * 2)} // more than a batch's span
	c.add(&at, 100, pending{})
	if len(c.batches) != 2 {
		t.Errorf("%d batches, want 2", len(c.batches))
	}
}

func TestFolderName(t *testing.T) {
	for name, want := range map[string]string{
		"orders": "orders", "Orders": "!orders", "a/b": "a%2fb", ".x": "%2ex", "groups": "%67roups", "units": "%75nits",
		"é": "%c3%a9", "a~": "a%7e", "!a": "%21a", "x.y_z-1": "x.y_z-1",
	} {
		if got := folderName(name); got != want {
			t.Errorf("folderName(%q) = %q, want %q", name, got, want)
		}
	}
	a, b := strings.Repeat("é", 120), strings.Repeat("é", 119)+"è"
	if x, y := folderName(a), folderName(b); x == y || len(x) > 200 {
		t.Errorf("long names: %q and %q", x, y)
	}
}

func FuzzFolderName(f *testing.F) {
	for _, s := range []string{"a", "A", "..", "groups", "a%2f", "!", "~", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" {
			return
		}
		if name, ok := unfolder(s); ok && folderName(name) != s {
			t.Fatalf("unfolder(%q) = %q", s, name)
		}
		n := folderName(s)
		if n != strings.ToLower(n) || strings.ContainsAny(n, "/\\\x00:*?\"<>|") || n[0] == '.' || len(n) > 200 || n == "groups" || n == "units" {
			t.Fatalf("folderName(%q) = %q", s, n)
		}
		if back, ok := unfolder(n); ok == isCut(n) || ok && back != s {
			t.Fatalf("folderName(%q) = %q, which is that of %q", s, n, back)
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	rec := driver.Record{Key: []byte("k"), Value: []byte("v"), Headers: []driver.Header{{Key: "h"}}}
	f.Add(appendRecord(nil, &rec, -3), uint32(1))
	f.Add([]byte{0, 0, 0, 0, 0}, uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, count uint32) {
		if uint64(count) > uint64(len(b)) {
			return
		}
		// Junk behind the payload must not be looked at.
		data := append(bytes.Clone(b), 0xff, 0xff)
		es, ok := decodeRecords(nil, data, 0, len(b), count, 0)
		if !ok {
			return
		}
		if len(es) != int(count) {
			t.Fatalf("%d entries for %d records", len(es), count)
		}
		m := &batch{entries: es, b: &block{data: data}, end: uint32(len(b))}
		total := 0
		for i := range es {
			n := len(m.Key(i)) + len(m.Value(i))
			for _, h := range collect(m.Headers(i)) {
				n += len(h.Key) + len(h.Value)
			}
			total += n
			m.Size(i)
		}
		if total > len(b) {
			t.Fatalf("%d bytes of messages in %d", total, len(b))
		}
	})
}

func FuzzBatchHeader(f *testing.F) {
	var b [headerSize]byte
	(&batchHeader{length: 10, count: 2, base: 5, time: 6, maxDelta: 7}).encode(b[:], 3)
	f.Add(b[:], uint32(3))
	f.Fuzz(func(t *testing.T, b []byte, seed uint32) {
		h, ok := decodeBatchHeader(b, seed)
		if !ok {
			return
		}
		var again [headerSize]byte
		h.encode(again[:], seed)
		back, ok := decodeBatchHeader(again[:], seed)
		if !ok || back != h {
			t.Fatalf("%+v reads back as %+v", h, back)
		}
	})
}

func FuzzSlot(f *testing.F) {
	b := newCtl(logID{1}, 2)
	f.Add(b[ctlEnd : ctlEnd+pairSize])
	f.Add(b[ctlStart : ctlStart+pairSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < pairSize {
			return
		}
		s, ok, sure := chooseSlot(b)
		if sure && !ok || ok && (s.pos < headerSize || s.next < s.base) {
			t.Fatalf("%+v %v %v", s, ok, sure)
		}
		chooseStart(b)
		chooseProgress(b)
	})
}

func FuzzMeta(f *testing.F) {
	f.Add([]byte(`{"version":1,"name":"a","shards":1,"segment_size":4096,"sync":"never"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseMeta(b); err == nil && m.check() != nil {
			t.Fatalf("%+v was read and is bad", m)
		}
	})
}

func TestIndexEntries(t *testing.T) {
	for _, c := range []struct {
		pos, end int64
		want     bool
	}{{64, 65535, false}, {64, 65536, true}, {65536, 131071, false}, {100, 200000, true}} {
		if got := wantsEntry(c.pos, c.end); got != c.want {
			t.Errorf("wantsEntry(%d, %d) = %v", c.pos, c.end, got)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		e := indexEntry{r.Uint64(), r.Int64(), -r.Int64()}
		if got := decodeIndexEntry(e.append(nil)); got != e {
			t.Errorf("%+v reads back as %+v", e, got)
		}
	}
}
