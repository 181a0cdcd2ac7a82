//go:build linux || darwin

package file

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// FuzzSegment lets a reader and the recovery loose on a segment and an index
// of arbitrary bytes.
func FuzzSegment(f *testing.F) {
	c := new(chunk)
	for i := range 3 {
		rec := driver.Record{Value: []byte{byte(i)}}
		c.add(&rec, recordSize(&rec), pending{})
	}
	c.seal()
	c.place(0, 5, logID{}.seed())
	f.Add(c.buf, []byte{}, uint16(0), uint16(0))
	f.Add(c.buf, indexEntry{0, headerSize, minTime}.append(nil), uint16(70), uint16(3))
	f.Fuzz(func(t *testing.T, log, idx []byte, flip, boot uint16) {
		dir := t.TempDir()
		d, err := openDriver(dir, Options{}, env{boot: 1, patience: time.Second, sync: func(*os.File) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close(t.Context())
		if _, err := send(d, "first"); err != nil {
			t.Fatal(err)
		}
		log = bytes.Clone(log)
		if len(log) > 0 {
			log[int(flip)%len(log)] ^= 1 << (boot & 7)
		}
		path := dir + "/s/0/" + segmentName(0)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(old, log...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/s/0/"+indexName(0), idx, 0o600); err != nil {
			t.Fatal(err)
		}
		d2, err := openDriver(dir, Options{}, env{boot: uint64(boot % 3), patience: time.Second, sync: func(*os.File) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer d2.Close(t.Context())
		all, err := readAll(d2)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 || all[0].value != "first" {
			t.Fatalf("read %v", all)
		}
	})
}

// FuzzIndex: an index of arbitrary bytes never makes a search wrong.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{}, uint64(3))
	f.Add(indexEntry{2, 300, 5}.append(nil), uint64(4))
	f.Fuzz(func(t *testing.T, idx []byte, at uint64) {
		dir := t.TempDir()
		d, err := openDriver(dir, Options{}, env{boot: 1, patience: time.Second, sync: func(*os.File) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close(t.Context())
		const n = 6
		for i := range n {
			if _, err := send(d, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(dir+"/s/0/"+indexName(0), idx, 0o600); err != nil {
			t.Fatal(err)
		}
		root, err := d.store.open(false)
		if err != nil {
			t.Fatal(err)
		}
		l, err := openLog(root, driver.Shard{Stream: "s"})
		if err != nil {
			t.Fatal(err)
		}
		r := newReader(l, false)
		defer r.close()
		r.seek(at % n)
		b, err := r.read(1)
		if err != nil || b == nil || string(b.Value(0)) != fmt.Sprint(at%n) {
			t.Fatalf("from %d: %v %v", at%n, b, err)
		}
	})
}
