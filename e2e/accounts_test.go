//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer"
)

// What became of a message, by its producer's word.
const (
	begun byte = iota
	acked
	unknown
	notWritten
)

// Accounts know every message that was sent and what became of it. Messages
// of a stream are numbered from 0.
type accounts struct {
	run     string
	streams map[string]*account
	names   []string

	inFlight atomic.Int64
	other    atomic.Pointer[error] // the last that was not written
}

// account is what is known of one stream.
type account struct {
	mu       sync.Mutex
	outcome  []byte
	lastAck  time.Time
	stall    time.Duration // the longest time without an acknowledgement
	stallEnd time.Time
}

func newAccounts(run uint64, prefix string, streams int) *accounts {
	l := &accounts{run: strconv.FormatUint(run, 16), streams: map[string]*account{}}
	for i := range streams {
		name := fmt.Sprintf("%s-%04d", prefix, i)
		l.names = append(l.names, name)
		l.streams[name] = &account{}
	}
	return l
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// body is message n of a stream: run, stream, number, filler of some length,
// and a checksum over all of it, as text, so that every client can show it.
func (l *accounts) body(stream string, n int) []byte {
	b := fmt.Appendf(nil, "%s %s %d %s", l.run, stream, n, strings.Repeat("x", n*7%97))
	return fmt.Appendf(b, " %08x", crc32.Checksum(b, castagnoli))
}

// send opens the next message of a stream and returns what to do with its
// outcome. One goroutine sends to a stream.
func (l *accounts) next(stream string) (body []byte, done func(seastreamer.Receipt, error)) {
	a := l.streams[stream]
	a.mu.Lock()
	n := len(a.outcome)
	a.outcome = append(a.outcome, begun)
	if a.lastAck.IsZero() {
		a.lastAck = time.Now()
	}
	a.mu.Unlock()
	l.inFlight.Add(1)
	return l.body(stream, n), func(_ seastreamer.Receipt, err error) {
		l.inFlight.Add(-1)
		a.mu.Lock()
		defer a.mu.Unlock()
		switch {
		case err == nil:
			a.outcome[n] = acked
			now := time.Now()
			if gap := now.Sub(a.lastAck); gap > a.stall {
				a.stall, a.stallEnd = gap, now
			}
			a.lastAck = now
		case errors.Is(err, seastreamer.ErrUnknown):
			a.outcome[n] = unknown
		default:
			a.outcome[n] = notWritten
			l.other.Store(&err)
		}
	}
}

// since is how many streams have had no acknowledgement since then.
func (l *accounts) since(then time.Time) (silent int) {
	for _, name := range l.names {
		a := l.streams[name]
		a.mu.Lock()
		if !a.lastAck.After(then) {
			silent++
		}
		a.mu.Unlock()
	}
	return silent
}

// began reports whether every stream has an acknowledged message.
func (l *accounts) began() bool {
	for _, name := range l.names {
		a := l.streams[name]
		a.mu.Lock()
		has := slices.Contains(a.outcome, acked)
		a.mu.Unlock()
		if !has {
			return false
		}
	}
	return true
}

// oneSince is one of these streams.
func (l *accounts) oneSince(then time.Time) string {
	for _, name := range l.names {
		a := l.streams[name]
		a.mu.Lock()
		silent := !a.lastAck.After(then)
		a.mu.Unlock()
		if silent {
			return name
		}
	}
	return ""
}

// sums are the accounts in numbers.
type sums struct {
	sent, acked, unknown, notWritten, unresolved int
	stall                                        time.Duration
	stallOf                                      string
}

func (l *accounts) sums() (s sums) {
	for _, name := range l.names {
		a := l.streams[name]
		a.mu.Lock()
		s.sent += len(a.outcome)
		for _, o := range a.outcome {
			switch o {
			case acked:
				s.acked++
			case unknown:
				s.unknown++
			case notWritten:
				s.notWritten++
			default:
				s.unresolved++
			}
		}
		if a.stall > s.stall {
			s.stall, s.stallOf = a.stall, name+" until "+a.stallEnd.Format("15:04:05.000")
		}
		a.mu.Unlock()
	}
	return s
}

// A reading is what somebody reads, held against the accounts, which may still
// grow. Several goroutines may use it.
type reading struct {
	l     *accounts
	mu    sync.Mutex
	seen  map[string][]byte // how often, by number
	last  map[string]int
	told  map[string]bool // the reader was told that this stream is not what it was
	first string          // example of what is wrong

	messages, corrupt, phantom, disorder int
}

func (l *accounts) reading() *reading {
	r := &reading{l: l, seen: map[string][]byte{}, last: map[string]int{}, told: map[string]bool{}}
	for _, name := range l.names {
		r.last[name] = -1
	}
	return r
}

// got takes one message of a stream, in the order of reading.
func (r *reading) got(stream string, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages++
	f := strings.Fields(string(body))
	n, err := -1, error(nil)
	if len(f) > 3 {
		n, err = strconv.Atoi(f[2])
	}
	switch {
	case err != nil || n < 0 || n >= r.l.sent(stream):
		r.phantom++
		r.example("%s has %.100q, which was never sent", stream, body)
		return
	case string(body) != string(r.l.body(stream, n)):
		r.corrupt++
		r.example("%s has %.100q in place of message %d", stream, body, n)
		return
	}
	for n >= len(r.seen[stream]) {
		r.seen[stream] = append(r.seen[stream], 0)
	}
	if seen := r.seen[stream]; seen[n] < 255 {
		seen[n]++
	}
	if n < r.last[stream] {
		r.disorder++
		r.example("%s has message %d behind %d", stream, n, r.last[stream])
	}
	r.last[stream] = n
}

// gap says that the reader was told that a stream has lost its end or was made
// anew: messages may come again.
func (r *reading) gap(stream string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told[stream] = true
	r.last[stream] = -1
}

// sent is how many messages were sent to a stream.
func (l *accounts) sent(stream string) int {
	a := l.streams[stream]
	if a == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.outcome)
}

func (r *reading) example(format string, args ...any) {
	if r.first == "" {
		r.first = fmt.Sprintf(format, args...)
	}
}

// verdict is a reading in numbers.
type verdict struct {
	messages, corrupt, phantom, disorder int
	lost                                 int // acknowledged and not there
	twice                                int // there more than once, and the reader was not told why
	again                                int // there more than once, and it was told
	denied                               int // there, although the producer said that they were not written
	arrived                              int // of the unknown ones
	first                                string
}

func (r *reading) verdict() verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.first // what is missing now may yet come
	v := verdict{messages: r.messages, corrupt: r.corrupt, phantom: r.phantom, disorder: r.disorder}
	for _, name := range r.l.names {
		a := r.l.streams[name]
		a.mu.Lock()
		for n, o := range a.outcome {
			seen := byte(0)
			if n < len(r.seen[name]) {
				seen = r.seen[name][n]
			}
			switch {
			case o == acked && seen == 0:
				v.lost++
				r.example("%s lacks message %d, which was acknowledged", name, n)
			case o == notWritten && seen > 0:
				v.denied++
				r.example("%s has message %d, of which the producer said that it was not written", name, n)
			case o == unknown && seen > 0:
				v.arrived++
			}
			switch {
			case seen > 1 && r.told[name]:
				v.again++
			case seen > 1:
				v.twice++
				r.example("%s has message %d %d times", name, n, seen)
			}
		}
		a.mu.Unlock()
	}
	v.first = r.first
	r.first = was
	return v
}

func (v verdict) String() string {
	s := fmt.Sprintf("%d messages: %d lost, %d twice, %d out of order, %d corrupt, %d never sent, %d denied, %d of unknown outcome there",
		v.messages, v.lost, v.twice, v.disorder, v.corrupt, v.phantom, v.denied, v.arrived)
	if v.first != "" {
		s += "; for instance " + v.first
	}
	return s
}

// sound: nothing is wrong but what the durability class may lose.
func (v verdict) sound() bool {
	return v.twice == 0 && v.disorder == 0 && v.corrupt == 0 && v.phantom == 0 && v.denied == 0
}
