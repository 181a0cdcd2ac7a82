package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

var bytesCases = []Case{
	{
		Topic: "bytes", Name: "any byte",
		Sentence: "Everything it returns is read-only.",
		Run: func(t *T) {
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			roundTrip(t,
				driver.Record{Value: all},
				driver.Record{Value: []byte("\x00")},
				driver.Record{Value: []byte("\xff\xfe not UTF-8 \xc3")},
				driver.Record{Value: []byte("line\r\nline\n")},
				driver.Record{Value: []byte("\x1b]0;title\x07 \xe2\x80\xae \xef\xbb\xbf")},
			)
		},
	},
	{
		Topic: "bytes", Name: "no key and an empty key",
		Sentence: "records have keys, and a nil key differs from an empty one",
		Needs:    needsKeys,
		Run: func(t *T) {
			roundTrip(t,
				driver.Record{Key: nil, Value: []byte("none")},
				driver.Record{Key: []byte{}, Value: []byte("empty")},
				driver.Record{Key: []byte("k\x00\xff"), Value: []byte("binary")},
				driver.Record{Key: bytes.Repeat([]byte("k"), 5000), Value: []byte("long")},
			)
		},
	},
	{
		Topic: "bytes", Name: "empty value",
		Sentence: "nil and empty differ: a nil Value is a tombstone",
		Run: func(t *T) {
			roundTrip(t, driver.Record{Value: []byte{}}, driver.Record{Value: []byte("between")}, driver.Record{Value: []byte{}})
		},
	},
	{
		Topic: "bytes", Name: "tombstone",
		Sentence: "Tombstones: a nil value differs from an empty one.",
		Needs:    needsTombstones,
		Run: func(t *T) {
			roundTrip(t, driver.Record{Value: nil}, driver.Record{Value: []byte{}}, driver.Record{Value: nil})
		},
	},
	{
		Topic: "bytes", Name: "tombstone of a key",
		Sentence: "Tombstones: a nil value differs from an empty one.",
		Needs:    all(needsTombstones, needsKeys),
		Run: func(t *T) {
			roundTrip(t,
				driver.Record{Key: []byte("k"), Value: []byte("v")},
				driver.Record{Key: []byte("k"), Value: nil},
				driver.Record{Key: []byte{}, Value: nil},
			)
		},
	},
	{
		Topic: "bytes", Name: "headers",
		Sentence: "in order, duplicates kept",
		Needs:    needsHeaders,
		Run: func(t *T) {
			h := func(kv ...string) []driver.Header {
				var hs []driver.Header
				for i := 0; i < len(kv); i += 2 {
					hs = append(hs, driver.Header{Key: kv[i], Value: []byte(kv[i+1])})
				}
				return hs
			}
			roundTrip(t,
				driver.Record{Value: []byte("none")},
				driver.Record{Value: []byte("ordered"), Headers: h("z", "1", "a", "2", "m", "3")},
				driver.Record{Value: []byte("duplicate"), Headers: h("a", "1", "a", "2", "a", "1")},
				driver.Record{Value: []byte("bytes"), Headers: h("κλειδί", "\x00\xff", "", "no name", "empty", "")},
				driver.Record{Value: nil, Headers: h("op", "delete")},
			)
		},
	},
	{
		Topic: "bytes", Name: "many headers",
		Sentence: "A Header is one of a record's ordered key-value pairs. Keys may repeat.",
		Needs:    needsHeaders,
		Run: func(t *T) {
			r := driver.Record{Value: []byte("x")}
			for i := range 1000 {
				r.Headers = append(r.Headers, driver.Header{Key: fmt.Sprintf("h%d", i%10), Value: fmt.Appendf(nil, "%d", i)})
			}
			roundTrip(t, r)
		},
	},
	{
		Topic: "bytes", Name: "header without a value",
		Sentence: "A nil Value is distinct from an empty one where the backend keeps the difference.",
		Needs:    needsHeaders,
		Run: func(t *T) {
			s := t.Stream(1)
			t.Writer().Send(driver.Record{Stream: s, Value: []byte("x"), Headers: []driver.Header{{Key: "nil"}, {Key: "empty", Value: []byte{}}}})
			got := t.Consume(Streams(s)).Read(1)[0].Headers
			if len(got) != 2 || len(got[0].Value) != 0 || len(got[1].Value) != 0 || got[0].Key != "nil" || got[1].Key != "empty" {
				t.Fatalf("headers %+v, want one without a value and one with an empty one", got)
			}
			if got[1].Value == nil {
				t.Errorf("the empty value came back as none")
			}
		},
	},
	{
		Topic: "bytes", Name: "headers can be left early",
		Sentence: "Any number of goroutines may read it.",
		Needs:    needsHeaders,
		Run: func(t *T) {
			s := t.Stream(1)
			t.Writer().Send(driver.Record{Stream: s, Value: []byte("x"), Headers: []driver.Header{{Key: "a"}, {Key: "b"}}})
			b := fetch(t, t.Reader(nil, nil).Prepare(t.Driver(), Streams(s)))[0]
			for range 2 { // and begun again
				for k := range b.Headers(0) {
					Equal(t, "first header", k, "a")
					break
				}
			}
		},
	},
	{
		Topic: "bytes", Name: "no bytes at all",
		Sentence: "A Record is a message to be sent.",
		Run: func(t *T) {
			s := t.Stream(1)
			recs := make([]driver.Record, 1000)
			for i := range recs {
				recs[i] = driver.Record{Stream: s, Value: []byte{}}
			}
			t.Writer().Send(recs...)
			for _, m := range t.Consume(Streams(s)).Read(len(recs)) {
				if len(m.Key)+len(m.Value)+len(m.Headers) > 0 {
					t.Fatalf("an empty message came back as %+v", m)
				}
			}
		},
	},
	{
		Topic: "bytes", Name: "sizes",
		Sentence: "Its bytes are borrowed until the receipt (or the error) has been delivered, and for good if that never came.",
		Run: func(t *T) {
			s := t.Stream(1)
			w := t.Writer()
			sizes := []int{0, 1, 255, 256, 4095, 4096, 4097, 65535, 65536, 500_000}
			buffer := make([]byte, 500_000)
			for i, n := range sizes { // one buffer, used again after each receipt
				fill(buffer[:n], i)
				w.Send(driver.Record{Stream: s, Value: buffer[:n]})
			}
			for i, m := range t.Consume(Streams(s)).Read(len(sizes)) {
				want := make([]byte, sizes[i])
				fill(want, i)
				if !bytes.Equal(m.Value, want) {
					t.Errorf("a value of %d bytes came back as another of %d", sizes[i], len(m.Value))
				}
			}
		},
	},
	{
		Topic: "bytes", Name: "the largest record",
		Sentence: "MaxRecord is the largest record in bytes, key, value and headers together; zero is not known (the server decides).",
		Needs:    needsLimit,
		Run: func(t *T) {
			s := t.Stream(1)
			value := make([]byte, t.F.MaxRecord)
			fill(value, 1)
			t.Writer().Send(driver.Record{Stream: s, Value: value})
			if got := t.Consume(Streams(s)).Read(1)[0].Value; !bytes.Equal(got, value) {
				t.Errorf("a value of %d bytes came back as another of %d", len(value), len(got))
			}
		},
	},
	{
		Topic: "bytes", Name: "too large",
		Sentence: "MaxRecord is the largest record in bytes, key, value and headers together; zero is not known (the server decides).",
		Needs:    needsLimit,
		Run: func(t *T) {
			s := t.Stream(1)
			outcomes := t.Writer().Try(
				driver.Record{Stream: s, Value: []byte("before")},
				driver.Record{Stream: s, Value: make([]byte, t.F.MaxRecord+1)},
				driver.Record{Stream: s, Value: []byte("after")},
			)
			t.Is("a record that is too large", outcomes[1].Err, driver.ErrTooLarge)
			if outcomes[0].Err != nil || outcomes[2].Err != nil {
				t.Errorf("its neighbours: %v, %v", outcomes[0].Err, outcomes[2].Err)
			}
			t.Consume(Streams(s)).Wants("before", "after")
		},
	},
}

// roundTrip sends records to a new stream of one shard and fails unless they
// come back as they are, as far as the backend claims to keep what they have.
func roundTrip(t *T, recs ...driver.Record) {
	t.Helper()
	s := t.Stream(1)
	for i := range recs {
		recs[i].Stream = s
		if !t.F.Tombstones && recs[i].Value == nil {
			recs[i].Value = []byte{}
		}
	}
	t.Writer().Send(recs...)
	for i, m := range t.Consume(Streams(s)).Read(len(recs)) {
		if got, want := show(m.Key, m.Value, m.Headers), show(recs[i].Key, recs[i].Value, recs[i].Headers); got != want {
			t.Errorf("record %d: got %s, want %s", i, got, want)
		}
	}
}

// show prints nil unlike empty.
func show(key, value []byte, headers []driver.Header) string {
	one := func(b []byte) string {
		if b == nil {
			return "nil"
		}
		if len(b) > 300 {
			return fmt.Sprintf("%d bytes %.20q…", len(b), b)
		}
		return fmt.Sprintf("%q", b)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "key %s value %s headers", one(key), one(value))
	for _, h := range headers {
		fmt.Fprintf(&b, " %q=%s", h.Key, one(h.Value))
	}
	return b.String()
}

// fill writes bytes that tell places and messages apart.
func fill(b []byte, n int) {
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i) ^ byte(n*37)
	}
}

var gapCases = []Case{
	{
		Topic: "gap", Name: "trimmed under the reader",
		Sentence: "A *GapError says that messages are missing; the next Fetch goes on behind them.",
		Needs:    needsTrim,
		Run: func(t *T) {
			s := t.Stream(1)
			recs, want := numbered(s, 50)
			receipts := t.Writer().Send(recs...)
			shard := driver.Shard{Stream: s}
			r := t.Reader(nil, nil).Prepare(t.Driver(), Streams(s))
			t.H.Trim(t.TB, shard, receipts[40].Seq)
			var got []string
			var gap *driver.GapError
			for len(got) == 0 || got[len(got)-1] != want[49] {
				var batches []driver.Batch
				var err error
				t.Within("Fetch", func() { batches, err = r.Fetch(t.Ctx(), nil) })
				for _, b := range batches {
					got = append(got, values(Copy(b))...)
				}
				if err != nil && (!errors.As(err, &gap) || gap == nil) {
					t.Fatalf("Fetch: %v", err)
				}
			}
			checkGap(t, gap, driver.GapError{Shard: shard, From: receipts[0].Seq, To: receipts[40].Seq, Cause: driver.GapTrimmed})
			if !slices.Equal(got, want[40:]) {
				t.Errorf("read %q, want %q", short(got), short(want[40:]))
			}
		},
	},
	{
		Topic: "gap", Name: "trimmed under the group",
		Sentence: "A GapError says that the messages of Shard from From up to and without To cannot be delivered. Reading goes on at To. It is an ErrLost.",
		Needs:    all(needsTrim, needsGroups),
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b", "c", "d")
			r := t.Consume(Group(g, s))
			r.Shards(1)
			r.Commit(s, 0, receipts[1].Seq)
			r.Stop()
			t.H.Trim(t.TB, receipts[0].Shard, receipts[3].Seq)
			r = t.Consume(Group(g, s))
			gap := r.Gap()
			checkGap(t, gap, driver.GapError{Shard: receipts[0].Shard, From: receipts[1].Seq, To: receipts[3].Seq, Cause: driver.GapTrimmed})
			t.Is("a gap", gap, driver.ErrLost)
			r.Wants("d")
		},
	},
	{
		Topic: "gap", Name: "earliest is what is there",
		Sentence: "the first message there is",
		Needs:    needsTrim,
		Run: func(t *T) {
			s := t.Stream(1)
			receipts := t.Send(s, "a", "b", "c")
			t.H.Trim(t.TB, receipts[0].Shard, receipts[2].Seq)
			Equal(t, "First", t.Bound(s, 0).First, receipts[2].Seq)
			r := t.Consume(Streams(s))
			r.Wants("c")
			if g := r.Gaps(); len(g) > 0 {
				t.Errorf("gap %v", g[0])
			}
		},
	},
	{
		Topic: "gap", Name: "from is at or above",
		Sentence: "From starts at the first message whose sequence number is at or above s.",
		Needs:    all(needsTrim, needsSeekSeq),
		Run: func(t *T) {
			s := t.Stream(1)
			receipts := t.Send(s, "a", "b", "c")
			t.H.Trim(t.TB, receipts[0].Shard, receipts[2].Seq)
			c := Streams(s)
			c.Start = driver.From(receipts[0].Seq)
			r := t.Consume(c)
			r.Wants("c")
			if g := r.Gaps(); len(g) > 0 {
				t.Errorf("gap %v", g[0])
			}
		},
	},
	{
		Topic: "gap", Name: "everything is trimmed",
		Sentence: "First is the sequence number of its first message (or its Next when it has none)",
		Needs:    needsTrim,
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b")
			end := t.Bound(s, 0).Next
			t.H.Trim(t.TB, driver.Shard{Stream: s}, end)
			Equal(t, "bound", t.Bound(s, 0), driver.Bound{First: end, Next: end})
			r := t.Consume(Streams(s))
			Equal(t, "begin", r.Begin(s, 0), end)
			t.Send(s, "c")
			r.Wants("c")
		},
	},
}

func checkGap(t *T, got *driver.GapError, want driver.GapError) {
	t.Helper()
	if got == nil {
		t.Fatalf("there was no gap, want %v", &want)
	}
	if *got != want {
		t.Errorf("gap: got %v, want %v", got, &want)
	}
}
