//go:build unix

package faultnet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seastreamer/seastreamer/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait() // the proxy is closed already, and its connections with it
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	return l.Addr().String()
}

func listen(t *testing.T, target string, o Options) *Proxy {
	t.Helper()
	p, err := Listen(target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); string(b) != want {
		t.Fatalf("got %q, %v, want %q", b[:n], err, want)
	}
}

func TestForwardsBothWaysAndHalfCloses(t *testing.T) {
	p := listen(t, echo(t), Options{})
	c := dial(t, p)
	big := strings.Repeat("0123456789", 200_000)
	go func() {
		_, _ = io.WriteString(c, big)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != big {
		t.Fatalf("%d bytes came back of %d, %v", len(got), len(big), err)
	}
	if n := p.Counts(); n.Connections != 1 || n.RequestBytes != int64(len(big)) || n.ReplyBytes != int64(len(big)) {
		t.Errorf("counts %+v", n)
	}
}

func TestDelayAndRate(t *testing.T) {
	p := listen(t, echo(t), Options{})
	c := dial(t, p)
	p.Set(ToServer, Link{Delay: 30 * time.Millisecond, Jitter: 10 * time.Millisecond})
	p.Set(ToClient, Link{Delay: 20 * time.Millisecond})
	begun := time.Now()
	send(t, c, "hello")
	expect(t, c, "hello")
	if took := time.Since(begun); took < 50*time.Millisecond {
		t.Errorf("there and back in %v, want at least 50 ms", took)
	}
	p.Set(ToServer, Link{})
	p.Set(ToClient, Link{Rate: 100_000})
	begun = time.Now()
	send(t, c, strings.Repeat("x", 20_000))
	expect(t, c, strings.Repeat("x", 20_000))
	// The last of fifty pieces a second is not waited for.
	if took := time.Since(begun); took < 180*time.Millisecond {
		t.Errorf("20 kB at 100 kB a second in %v", took)
	}
}

func TestFreezeOneDirection(t *testing.T) {
	p := listen(t, echo(t), Options{})
	c := dial(t, p)
	send(t, c, "one")
	expect(t, c, "one")
	p.Set(ToClient, Link{Frozen: true})
	send(t, c, "two")
	for p.Counts().ReplyBytes != 6 { // the server has answered
		time.Sleep(time.Millisecond)
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes through a frozen direction, %v", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	p.Set(ToClient, Link{})
	expect(t, c, "two")
}

func TestRefuseAndCutNow(t *testing.T) {
	p := listen(t, echo(t), Options{})
	c := dial(t, p)
	send(t, c, "one")
	expect(t, c, "one")
	p.Refuse(true)
	refused, err := net.Dial("tcp", p.Addr())
	if err == nil {
		_, err = refused.Read(make([]byte, 1))
		refused.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a refused connection: %v, want a reset", err)
	}
	p.Refuse(false)
	p.Cut(true)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a cut connection: %v, want a reset", err)
	}
	c = dial(t, p)
	send(t, c, "one")
	expect(t, c, "one")
	p.Cut(false)
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a cut connection: %v, want the end", err)
	}
	if n := p.Counts(); n.Cuts != 2 || n.Refused != 1 {
		t.Errorf("counts %+v", n)
	}
}

func TestCutAfterEachByte(t *testing.T) {
	p := listen(t, echo(t), Options{})
	const text = "hello, world"
	for n := 1; n <= len(text); n++ {
		p.CutAfter(int64(n))
		c := dial(t, p)
		send(t, c, text)
		got, err := io.ReadAll(c)
		if err != nil || string(got) != text[:n] {
			t.Fatalf("cut after byte %d: got %q, %v", n, got, err)
		}
		c.Close()
	}
	c := dial(t, p)
	send(t, c, text)
	expect(t, c, text)
}

func TestCorruptionIsTheSeeds(t *testing.T) {
	spoil := func(seed uint64) string {
		p := listen(t, echo(t), Options{Seed: seed})
		p.Set(ToServer, Link{Corrupt: 0.01})
		c := dial(t, p)
		send(t, c, strings.Repeat("x", 10_000))
		b := make([]byte, 10_000)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		if got, want := p.Counts().CorruptBytes, int64(10_000-bytes.Count(b, []byte("x"))); got != want || got < 50 || got > 200 {
			t.Errorf("%d bytes counted, %d changed, want the same and about 100", got, want)
		}
		return string(b)
	}
	first, again, other := spoil(1), spoil(1), spoil(2)
	if first != again {
		t.Error("the same seed changes different bytes")
	}
	if first == other {
		t.Error("two seeds change the same bytes")
	}
}

// Every request that was sent is applied, and those whose reply was swallowed
// are counted, wherever in the pipeline the cut was.
func TestSwallowedRepliesAreCountedExactly(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	const pipeline, cuts = 50, 20
	sent, answered := 0, 0
	p := listen(t, s.Addr(1), Options{Seed: 7, Requests: RESP, Replies: RESP})
	p.OnReply(p.Share(0.02, "XADD", CutBefore))
	for i := 0; p.Counts().Cuts < cuts; i++ {
		c := dial(t, p)
		send(t, c, "*1\r\n$4\r\nPING\r\n"+strings.Repeat("*5\r\n$4\r\nXADD\r\n$4\r\nnews\r\n$1\r\n*\r\n$3\r\nmsg\r\n$2\r\n\r\n\r\n", pipeline))
		sent += pipeline
		r := bufio.NewReader(c)
		got := -1 // PING's
		for ; got < pipeline; got++ {
			line, err := r.ReadString('\n')
			if err != nil {
				break
			}
			if line[0] == '$' {
				_, err = io.CopyN(io.Discard, r, int64(len("\r\n"))+number(t, line))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		answered += got
		c.Close()
	}
	for p.Counts().Open > 0 {
		time.Sleep(time.Millisecond)
	}
	n := p.Counts()
	if got, want := n.Unanswered["XADD"], int64(sent-answered); got != want || want < cuts {
		t.Errorf("%d counted without an answer, want %d", got, want)
	}
	if got := s.Call(t, 1, "XLEN", "news"); got != strconv.Itoa(sent) {
		t.Errorf("%s entries, want %d", got, sent)
	}
	t.Logf("%d sent, %d answered, %d cuts", sent, answered, n.Cuts)
}

func number(t *testing.T, line string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(line[1:]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCutInsideAReply(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	p := listen(t, s.Addr(1), Options{Requests: RESP, Replies: RESP})
	p.OnReply(func(kind string, k int64) Fate {
		if kind == "ECHO" && k == 2 {
			return CutInside
		}
		return Pass
	})
	c := dial(t, p)
	send(t, c, strings.Repeat("*2\r\n$4\r\necho\r\n$4\r\nfour\r\n", 3))
	got, err := io.ReadAll(c)
	if want := "$4\r\nfour\r\n$4\r\nf"; string(got) != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestSwallowAll(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	p := listen(t, s.Addr(1), Options{Requests: RESP, Replies: RESP})
	c := dial(t, p)
	send(t, c, "PING\r\n")
	expect(t, c, "+PONG\r\n")
	p.Swallow(true)
	send(t, c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
	for s.Call(t, 1, "GET", "k") != "v" {
		time.Sleep(time.Millisecond)
	}
	p.Cut(false)
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
		t.Errorf("%q came, %v", b, err)
	}
	c.Close()
	for p.Counts().Open > 0 {
		time.Sleep(time.Millisecond)
	}
	if n := p.Counts(); n.Unanswered["SET"] != 1 || n.Unanswered["PING"] != 0 {
		t.Errorf("counts %+v", n)
	}
}

// frames feeds b to a framer in pieces and returns where frames end and their kinds.
func frames(f Framer, b []byte, piece int) (ends []string) {
	at := 0
	for at < len(b) {
		part := b[at:min(len(b), (at/piece+1)*piece)]
		n, kind, end := f.Next(part)
		if n <= 0 || n > len(part) {
			panic(fmt.Sprintf("%d of %d bytes consumed", n, len(part)))
		}
		at += n
		if end {
			ends = append(ends, fmt.Sprintf("%d %s", at, kind))
		}
	}
	return ends
}

func TestRESPFrames(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"+OK\r\n:1\r\n-ERR x\r\n", "5 |9 |17 "},
		{"$-1\r\n$0\r\n\r\n$5\r\nab\r\nc\r\n", "5 |11 |22 "},
		{"*0\r\n*-1\r\n*2\r\n*1\r\n:1\r\n$1\r\na\r\n", "4 |9 |28 A"},
		{"%1\r\n+a\r\n_\r\n~1\r\n#t\r\n", "11 |19 "},
		{">2\r\n+a\r\n+b\r\n+OK\r\n", "12 push|17 "},
		{"|1\r\n+a\r\n+b\r\n+OK\r\n", "17 "},
		{"*2\r\n$4\r\nxadd\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n", "21 XADD|35 PING"},
	} {
		for piece := 1; piece <= len(c.in); piece++ {
			if got := strings.Join(frames(RESP(), []byte(c.in), piece), "|"); got != c.want {
				t.Fatalf("%q in pieces of %d: %q, want %q", c.in, piece, got, c.want)
			}
		}
	}
}

func TestKafkaFrames(t *testing.T) {
	in := []byte("\x00\x00\x00\x04\x00\x12\x00\x03\x00\x00\x00\x02\x00\x00")
	for piece := 1; piece <= len(in); piece++ {
		if got, want := strings.Join(frames(Kafka(), in, piece), "|"), "8 18|14 0"; got != want {
			t.Fatalf("in pieces of %d: %q, want %q", piece, got, want)
		}
	}
}

// Whatever comes, frames end at the same places in whatever pieces it comes.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("*2\r\n$4\r\nXADD\r\n$1\r\na\r\n>1\r\n:1\r\n"), uint8(3))
	f.Add([]byte("\x00\x00\x00\x04\x00\x12\x00\x03"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		for _, framer := range []func() Framer{RESP, Kafka} {
			got := strings.Join(frames(framer(), b, int(piece)+1), "|")
			if want := strings.Join(frames(framer(), b, len(b)+1), "|"); got != want {
				t.Errorf("%q in pieces of %d: %q, want %q", b, int(piece)+1, got, want)
			}
		}
	})
}
