//go:build unix

package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/seastreamer/seastreamer"
)

// A Book is a writer's account of what it sent, in a file with a line for each
// event:
//
//	B FIRST COUNT   messages FIRST and up are about to be sent
//	A ID            acknowledged
//	N ID            not written, by the producer's word
//	U ID            nobody knows; as is what has no line but its B
//
// Every line is one write(2) to a file opened for appending: a kill -9 of the
// writer takes nothing from it, and at most the last line is torn.
type Book struct {
	mu  sync.Mutex
	f   *os.File
	buf []byte
	err error
}

// OpenBook opens the book of a writer in a folder, and returns the first
// number that it has not begun.
func OpenBook(dir string, writer int) (*Book, int64, error) {
	path := bookPath(dir, writer)
	next := int64(0)
	err := readBook(path, func(what byte, id, n int64) {
		if what == 'B' {
			next = max(next, id+n)
		}
	})
	if err != nil {
		return nil, 0, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, err
	}
	b := &Book{f: f}
	// What a writer that was killed left of a line must not spoil the next one.
	if end, err := f.Stat(); err == nil && end.Size() > 0 {
		b.line('\n')
	}
	return b, next, b.err
}

func bookPath(dir string, writer int) string {
	return filepath.Join(dir, fmt.Sprintf("writer-%d.book", writer))
}

func (b *Book) line(what byte, numbers ...int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf[:0], what)
	for _, n := range numbers {
		b.buf = strconv.AppendInt(append(b.buf, ' '), n, 10)
	}
	if len(numbers) > 0 {
		b.buf = append(b.buf, '\n')
	}
	if _, err := b.f.Write(b.buf); err != nil && b.err == nil {
		b.err = err
	}
}

// Begin is called before messages first and up are handed over.
func (b *Book) Begin(first, n int64) { b.line('B', first, n) }

// End is called with what became of a message.
func (b *Book) End(id int64, err error) {
	switch {
	case err == nil:
		b.line('A', id)
	case errors.Is(err, seastreamer.ErrUnknown):
		b.line('U', id)
	default:
		b.line('N', id)
	}
}

// Close closes the file; its error is the first that there was.
func (b *Book) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.err, b.f.Close())
}

func readBook(path string, line func(what byte, id, n int64)) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		what, rest, _ := strings.Cut(sc.Text(), " ")
		first, count, _ := strings.Cut(rest, " ")
		id, err := strconv.ParseInt(first, 10, 64)
		if err != nil || len(what) != 1 || (what == "B") != (count != "") {
			continue // torn by a kill: what it would have said is not known
		}
		n, _ := strconv.ParseInt(count, 10, 64)
		line(what[0], id, n)
	}
	return nil
}

// Books are what all writers of a plan say, a bit for each message and kind.
type Books struct {
	Plan Plan

	mu                    sync.Mutex // of Sent
	begun, acked, refused bits
}

// ReadBooks reads the books of a plan's writers, who should have ended.
func ReadBooks(dir string, p Plan) (*Books, error) {
	b := NewBooks(p)
	for w := range p.Writers {
		err := readBook(bookPath(dir, w), func(what byte, id, n int64) {
			if id < 0 || id >= p.Messages {
				return
			}
			switch what {
			case 'B':
				for i := id; i < min(id+n, p.Messages); i++ {
					b.begun.set(b.bit(w, i))
				}
			case 'A', 'N', 'U':
				b.end(w, id, what)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// NewBooks are empty books in memory, for writers that need not survive.
func NewBooks(p Plan) *Books {
	n := int64(p.Writers) * p.Messages
	return &Books{Plan: p, begun: newBits(n), acked: newBits(n), refused: newBits(n)}
}

func (b *Books) bit(w int, id int64) int64 { return int64(w)*b.Plan.Messages + id }

func (b *Books) end(w int, id int64, what byte) {
	b.begun.set(b.bit(w, id))
	switch what {
	case 'A':
		b.acked.set(b.bit(w, id))
	case 'N':
		b.refused.set(b.bit(w, id))
	}
}

// Sent notes a message and what became of it, without a file. Any number of
// goroutines may call it, before anything is checked.
func (b *Books) Sent(w int, id int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.end(w, id, 'A')
	case errors.Is(err, seastreamer.ErrUnknown):
		b.end(w, id, 'U')
	default:
		b.end(w, id, 'N')
	}
}

// Begun is how many messages were sent. Those neither acknowledged nor refused
// are of unknown outcome.
func (b *Books) Begun() int64 { return b.begun.count() }

// Acked is how many were acknowledged.
func (b *Books) Acked() int64 { return b.acked.count() }

// Refused is how many were not written, by the producer's word.
func (b *Books) Refused() int64 { return b.refused.count() }
