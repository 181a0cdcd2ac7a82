package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// produce sends one record and waits for its outcome.
func produce(t testing.TB, p *producer, rec driver.Record) (driver.Receipt, error) {
	t.Helper()
	type outcome struct {
		rc  driver.Receipt
		err error
	}
	ch := make(chan outcome, 1)
	if err := p.Produce(t.Context(), rec, func(rc driver.Receipt, err error) { ch <- outcome{rc, err} }); err != nil {
		return driver.Receipt{}, err
	}
	select {
	case o := <-ch:
		return o.rc, o.err
	case <-time.After(time.Minute):
		t.Fatal("no outcome")
	}
	panic("not reached")
}

// What XADD writes is what SeaStreamer for Rust writes, and all else travels
// in further fields.
func TestProduceFields(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	at := time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	for _, d := range []driver.Durability{driver.AtLeastOnce, driver.ExactlyOnce} {
		p := producerForTest(t, r.URL(), driver.ProducerConfig{Durability: d})
		for _, c := range []struct {
			rec  driver.Record
			want []string
		}{
			{driver.Record{Value: []byte("v")}, []string{"msg", "v"}},
			{driver.Record{Value: []byte{}}, []string{"msg", ""}},
			{driver.Record{}, []string{"", ""}},
			{driver.Record{Key: []byte("k")}, []string{"key", "k"}},
			{driver.Record{Key: []byte{}, Value: []byte("v")}, []string{"msg", "v", "key", ""}},
			{driver.Record{Value: []byte("v"), Time: at}, []string{"msg", "v", "ts", "-0.000001"}},
			{driver.Record{Value: []byte("v"), Headers: []driver.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "msg", Value: []byte("2")}, {Key: "h:x"}, {}}},
				[]string{"msg", "v", "a", "1", "a", "", "h:msg", "2", "h:h:x", "", "h:", ""}},
		} {
			c.rec.Stream = "s"
			rc, err := produce(t, p, c.rec)
			if err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprintf("%d-%d", rc.Seq.Hi, rc.Seq.Lo)
			got := strings.Split(r.Call(t, 1, "XRANGE", "s", id, id), "\n")
			if diff := cmp.Diff(append([]string{id}, c.want...), got); diff != "" {
				t.Errorf("%v, %+v (-want +got):\n%s", d, c.rec, diff)
			}
			want := time.UnixMilli(int64(rc.Seq.Hi))
			if !c.rec.Time.IsZero() {
				want = c.rec.Time
			}
			if !rc.Time.Equal(want) || rc.Class != driver.ClassMemory || rc.Shard != (driver.Shard{Stream: "s"}) {
				t.Errorf("receipt %+v, want time %v, class memory", rc, want)
			}
		}
	}
}

// Keys keep their shard for ever.
func TestHash(t *testing.T) {
	for key, want := range map[string]uint32{"": 0x811c9dc5, "a": 0xe40c292c, "foobar": 0xbf9cf968} { // FNV's own test vectors
		if got := hash([]byte(key)); got != want {
			t.Errorf("hash(%q) = %#x, want %#x", key, got, want)
		}
	}
}

// Where there are shards they are used, by key or in turn, and those that are
// added later are found.
func TestProduceLayout(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	makeEmpty(t, r, 1, "s:0")
	makeEmpty(t, r, 1, "s:1")
	p := producerForTest(t, r.URL()+"/?discover_every=100ms", driver.ProducerConfig{})
	for range 4 {
		if _, err := produce(t, p, driver.Record{Stream: "s", Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if got := []string{r.Call(t, 1, "XLEN", "s:0"), r.Call(t, 1, "XLEN", "s:1")}; got[0] != "2" || got[1] != "2" {
		t.Errorf("four records in turn: %v in the shards, want 2 in each", got)
	}
	for range 3 {
		rc, err := produce(t, p, driver.Record{Stream: "s", Key: []byte("a")})
		if err != nil || rc.Index != int32(hash([]byte("a"))%2) {
			t.Errorf("key a: %v, %v", rc, err)
		}
	}
	rc, err := produce(t, p, driver.Record{Stream: "s", Key: []byte("a"), Shard: driver.On(1)})
	if err != nil || rc.Index != 1 {
		t.Errorf("shard 1 by name: %v, %v", rc, err)
	}
	if _, err := produce(t, p, driver.Record{Stream: "s", Shard: driver.On(2)}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("shard 2: %v, want %v", err, driver.ErrNotFound)
	}
	if rc, err := produce(t, p, driver.Record{Stream: "s:1"}); err != nil || rc.Shard != (driver.Shard{Stream: "s:1"}) {
		t.Errorf("one key by its name: %v, %v", rc, err)
	}
	makeEmpty(t, r, 1, "s:2")
	deadline := time.Now().Add(time.Minute)
	for found := false; !found; {
		rc, err := produce(t, p, driver.Record{Stream: "s", Value: []byte("v")})
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("shard 2 is not found: %v", err)
		}
		found = rc.Index == 2
	}
	if _, err := produce(t, p, driver.Record{Stream: "new", Value: []byte("v")}); err != nil || r.Call(t, 1, "XLEN", "new") != "1" {
		t.Errorf("a new stream: %v", err)
	}
}

func TestProduceTrims(t *testing.T) {
	for _, d := range []driver.Durability{driver.AtLeastOnce, driver.ExactlyOnce} {
		for _, query := range []string{"max_len=100", "max_age=1h"} {
			r := redistest.ForTest(t, redistest.Options{Directives: []string{"stream-node-max-entries 10"}})
			if strings.HasPrefix(query, "max_age") {
				for i := range 1000 {
					r.Call(t, 1, "XADD", "s", strconv.Itoa(i+1)+"-0", "msg", "old")
					if i == 200 {
						break
					}
				}
			}
			p := producerForTest(t, r.URL()+"/?"+query, driver.ProducerConfig{Durability: d})
			for range 1000 {
				if err := p.Produce(t.Context(), driver.Record{Stream: "s", Value: []byte("v")}, func(_ driver.Receipt, err error) {
					if err != nil {
						t.Error(err)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			flush(t, p)
			n, _ := strconv.Atoi(r.Call(t, 1, "XLEN", "s"))
			if query == "max_len=100" && (n < 100 || n > 200) || query != "max_len=100" && (n < 1000 || n > 1020) {
				t.Errorf("%v, %s: %d entries are left", d, query, n)
			}
		}
	}
}

// A producer that has nothing to do has nothing that wakes it.
func TestProduceIdle(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	p := producerForTest(t, r.URL(), driver.ProducerConfig{})
	if _, err := produce(t, p, driver.Record{Stream: "s", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		p.mu.Lock()
		l := p.links[""]
		idle := l.waiting && len(l.flying) == 0 && !p.mending && !p.looking && l.timer == nil && len(p.due) == 0
		p.mu.Unlock()
		if idle {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not idle after its only record was written")
		}
		runtime.Gosched()
	}
}

// Linger waits for company, and for nothing else.
func TestProduceLinger(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	p := producerForTest(t, r.URL(), driver.ProducerConfig{Linger: 50 * time.Millisecond})
	if _, err := produce(t, p, driver.Record{Stream: "s", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	p = producerForTest(t, r.URL(), driver.ProducerConfig{Linger: time.Hour})
	for range 2 {
		var err error
		if e := p.Produce(t.Context(), driver.Record{Stream: "s", Value: []byte("v")}, func(_ driver.Receipt, e error) { err = e }); e != nil {
			t.Fatal(e)
		}
		flush(t, p)
		if err != nil {
			t.Error(err)
		}
	}
}

// A scripted server is what Redis 8.6 documents of itself, as far as the
// producer needs it: IDMP and WAITAOF cannot be run for real here.
type scriptedServer struct {
	mu      sync.Mutex
	seen    map[string]string // id by producer and number
	values  []string
	repeats int
	synced  int // what WAITAOF answers
	cut     func(n int) bool
	n       int    // adds
	refusal string // what it says to all adds but the first; empty where it takes them
}

// added is how many records it has.
func (s *scriptedServer) added() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

func (s *scriptedServer) talk(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		args, err := nextCommand(r)
		if err != nil {
			return
		}
		reply, cut := s.reply(args)
		if cut {
			c.Close()
			return
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

func nextCommand(r *bufio.Reader) ([]string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	args := make([]string, n)
	for i := range args {
		if line, err = r.ReadString('\n'); err != nil {
			return nil, err
		}
		size, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func (s *scriptedServer) reply(args []string) (reply string, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := func(t string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(t), t) }
	switch strings.ToUpper(args[0]) {
	case "HELLO":
		if len(args) > 1 && args[1] == "3" {
			return "%3\r\n+server\r\n+redis\r\n+version\r\n+8.6.0\r\n+proto\r\n:3\r\n", false
		}
		return "*2\r\n+proto\r\n:2\r\n", false
	case "INFO":
		return text("# Server\r\nredis_version:8.6.0\r\nredis_mode:standalone\r\n# Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:master\r\n"), false
	case "CONFIG":
		return "*2\r\n$11\r\nappendfsync\r\n$8\r\neverysec\r\n", false
	case "COMMAND":
		return "*2\r\n*1\r\n$7\r\nwaitaof\r\n*1\r\n$7\r\nxcfgset\r\n", false
	case "CLUSTER":
		return "-ERR This instance has cluster support disabled\r\n", false
	case "EXISTS":
		return ":0\r\n", false
	case "PING":
		return "+PONG\r\n", false
	case "WAITAOF":
		return fmt.Sprintf("*2\r\n:%d\r\n:0\r\n", s.synced), false
	case "XADD":
		s.n++
		cut = s.cut != nil && s.cut(s.n)
		if s.n > 1 && s.refusal != "" {
			return s.refusal, false
		}
		if len(args) > 5 && args[2] == "IDMP" {
			id, repeated := s.seen[args[3]+"/"+args[4]]
			if repeated {
				s.repeats++
				return text(id), cut
			}
			s.values = append(s.values, args[len(args)-1])
			id = fmt.Sprintf("1-%d", len(s.values))
			s.seen[args[3]+"/"+args[4]] = id
			return text(id), cut
		}
		s.values = append(s.values, args[len(args)-1])
		return text(fmt.Sprintf("1-%d", len(s.values))), cut
	}
	return "+OK\r\n", false
}

func TestProduceIDMPScripted(t *testing.T) {
	t.Parallel()
	s := &scriptedServer{seen: map[string]string{}, cut: func(n int) bool { return n%700 == 0 }}
	p := producerForTest(t, "redis://"+scripted(t, s.talk), driver.ProducerConfig{Durability: driver.ExactlyOnce})
	const n = 5000
	next := 0
	for i := range n {
		err := p.Produce(t.Context(), driver.Record{Stream: "s", Value: strconv.AppendInt(nil, int64(i), 10)}, func(rc driver.Receipt, err error) {
			if err != nil || next != i || rc.Seq != (driver.Seq{Hi: 1, Lo: uint64(i + 1)}) || rc.Class != driver.ClassProcess && rc.Class != driver.ClassMemory {
				t.Errorf("outcome %d: of record %d, %+v, %v", next, i, rc, err)
			}
			next++
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if next != n || len(s.values) != n || s.repeats == 0 {
		t.Errorf("%d outcomes and %d entries, want %d; %d repeats, want some", next, len(s.values), n, s.repeats)
	}
	for i, v := range s.values {
		if v != strconv.Itoa(i) {
			t.Fatalf("entry %d is record %s", i, v)
		}
	}
}

func TestProduceWaitAOFScripted(t *testing.T) {
	s := &scriptedServer{seen: map[string]string{}, synced: 1}
	p := producerForTest(t, "redis://"+scripted(t, s.talk)+"/?synced", driver.ProducerConfig{})
	rc, err := produce(t, p, driver.Record{Stream: "s", Value: []byte("v")})
	if err != nil || rc.Class != driver.ClassSynced {
		t.Errorf("got %+v, %v; want class synced", rc, err)
	}
	s.mu.Lock()
	s.synced = 0
	s.mu.Unlock()
	if _, err := produce(t, p, driver.Record{Stream: "s", Value: []byte("v")}); !errors.Is(err, driver.ErrUnknown) || !strings.Contains(err.Error(), "not on the disk") {
		t.Errorf("got %v, want %v", err, driver.ErrUnknown)
	}
}

// With appendfsync always a plain write is synced.
func TestProduceSynced(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "always"})
	p := producerForTest(t, r.URL()+"/?synced", driver.ProducerConfig{})
	rc, err := produce(t, p, driver.Record{Stream: "s", Value: []byte("v")})
	if err != nil || rc.Class != driver.ClassSynced {
		t.Errorf("got %+v, %v; want class synced", rc, err)
	}
}

func FuzzParseReply(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "-ERR x\r\n", ":12\r\n", ":-1\r\n", "$3\r\nabc\r\n", "$-1\r\n", "*2\r\n", "$0\r\n\r\n", "$9999999999999999999\r\n", "x\r\n", "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		n, err := parseReply(b, &r)
		if n < 0 || n > len(b) || n > 0 && err != nil {
			t.Fatalf("%d of %d, %v", n, len(b), err)
		}
		if n > 0 {
			// What is whole is so without what comes after it, and not without
			// its last byte.
			var o reply
			if m, err := parseReply(b[:n], &o); m != n || err != nil {
				t.Errorf("alone: %d, %v, want %d", m, err, n)
			}
			if m, _ := parseReply(b[:n-1], &o); m != 0 {
				t.Errorf("without its end: %d", m)
			}
			verdict(r)
		}
	})
}

// makeEmpty makes a stream without entries: a group that is destroyed again
// leaves one.
func makeEmpty(t testing.TB, s *redistest.Servers, node int, key string) {
	t.Helper()
	s.Call(t, node, "XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
	s.Call(t, node, "XGROUP", "DESTROY", key, "g")
}
