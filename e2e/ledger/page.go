//go:build unix

package ledger

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/seastreamer/seastreamer"
)

// A Page is what a worker shows of itself: a file that is mapped into memory,
// so that it says what was the case at the instant of a kill -9.
type Page struct {
	mem []byte
}

// The words of a page. Then follow, for each shard of the input, the two of
// where its progress stands.
const (
	wordOpen     = iota // a unit is open
	wordUnits           // committed
	wordMessages        // of the units committed
	wordSessions        // times that shards were claimed
	wordAborts          // units that were not committed, and sessions that were given up
	wordReleased        // Task.Hold no longer counts; written by who has the place
	words
	pageSize  = 4096
	maxShards = (pageSize/8 - words) / 2
)

// OpenPage maps a page, which it makes if need be.
func OpenPage(path string) (*Page, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(pageSize); err != nil {
		return nil, err
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return &Page{mem}, nil
}

func (p *Page) word(i int) *uint64 { return (*uint64)(unsafe.Pointer(&p.mem[8*i])) }

func (p *Page) get(i int) uint64     { return atomic.LoadUint64(p.word(i)) }
func (p *Page) put(i int, v uint64)  { atomic.StoreUint64(p.word(i), v) }
func (p *Page) more(i int, n uint64) { atomic.AddUint64(p.word(i), n) }

// Open reports whether a unit is open.
func (p *Page) Open() bool { return p.get(wordOpen) != 0 }

// Units is how many were committed.
func (p *Page) Units() int64 { return int64(p.get(wordUnits)) }

// Messages is how many were committed in them.
func (p *Page) Messages() int64 { return int64(p.get(wordMessages)) }

// Aborts is how often something was not committed as it should have been.
func (p *Page) Aborts() int64 { return int64(p.get(wordAborts)) }

// at is where a shard of the input stands.
func (p *Page) at(shard int32) seastreamer.Seq {
	return seastreamer.Seq{Hi: p.get(words + 2*int(shard)), Lo: p.get(words + 2*int(shard) + 1)}
}

// moved notes where a shard stands. Readers may see half of it: they look again.
func (p *Page) moved(at []seastreamer.Position) {
	for _, a := range at {
		p.put(words+2*int(a.Shard.Index), a.Next.Hi)
		p.put(words+2*int(a.Shard.Index)+1, a.Next.Lo)
	}
}

// Close unmaps the page.
func (p *Page) Close() error { return syscall.Munmap(p.mem) }
