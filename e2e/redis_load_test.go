//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/redis"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A load sends numbered messages to many streams at a steady pace until it is
// told to stop, so that faults hit it wherever they fall.
type load struct {
	*accounts
	class   string // what it is called
	s       *seastreamer.Streamer
	p       *seastreamer.Producer
	halt    context.CancelFunc
	done    chan struct{}
	err     error                                         // of Enqueue; read after done
	classes [seastreamer.ClassReplicated + 1]atomic.Int64 // receipts
}

// startLoad begins to send rate messages a second, spread over all streams.
func startLoad(t *testing.T, s *redistest.Servers, l *accounts, class string, o redis.Options, rate int) *load {
	t.Helper()
	st, err := redis.Open(t.Context(), s.URL(), o)
	if err != nil {
		t.Fatal(err)
	}
	p, err := st.Producer(t.Context(), seastreamer.ProducerConfig{Stream: l.names[0]})
	if err != nil {
		t.Fatal(err)
	}
	ctx, halt := context.WithCancel(t.Context())
	ld := &load{accounts: l, class: class, s: st, p: p, halt: halt, done: make(chan struct{})}
	t.Cleanup(func() {
		halt()
		<-ld.done
		_ = st.Close(context.Background())
	})
	go func() {
		defer close(ld.done)
		ld.err = ld.send(ctx, rate)
	}()
	return ld
}

func (l *load) send(ctx context.Context, rate int) error {
	begun := time.Now()
	for sent := 0; ctx.Err() == nil; {
		for due := int(time.Since(begun).Seconds() * float64(rate)); sent < due && ctx.Err() == nil; sent++ {
			stream := l.names[sent%len(l.names)]
			body, done := l.next(stream)
			// Waits where the buffer is full, which the accounts see as a stall.
			err := l.p.Enqueue(context.WithoutCancel(ctx), seastreamer.Record{Stream: stream, Value: body}, func(r seastreamer.Receipt, err error) {
				if err == nil {
					l.classes[r.Class].Add(1)
				}
				done(r, err)
			})
			if err != nil {
				return err
			}
			// What could not be sent for a while is not made good in a burst.
			if late := int(time.Since(begun).Seconds()*float64(rate)) - sent; late > rate {
				begun = begun.Add(time.Duration(late) * time.Second / time.Duration(rate))
			}
		}
		time.Sleep(2 * time.Millisecond) // the pace
	}
	return nil
}

// finish stops sending and waits until every message has an outcome.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.halt()
	<-l.done
	if l.err != nil {
		t.Errorf("Enqueue: %v", l.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := l.p.Close(ctx); err != nil {
		t.Errorf("Close of the producer: %v", err)
	}
	if e := l.other.Load(); e != nil {
		t.Logf("the last message that was not written: %v", *e)
	}
}

// receipts are how many there were of each durability class.
func (l *load) receipts() string {
	var all []string
	for class := range l.classes {
		if n := l.classes[class].Load(); n > 0 {
			all = append(all, fmt.Sprintf("%d %v", n, seastreamer.Class(class)))
		}
	}
	return strings.Join(all, ", ")
}

// A live reading is that of a consumer which reads while the load sends.
type live struct {
	*reading
	stop context.CancelFunc
	done chan error
	gaps map[seastreamer.GapCause]int // read after done
}

// startLive begins to read the load's streams.
func (l *load) startLive(t *testing.T, s *redistest.Servers) *live {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	v := &live{reading: l.reading(), stop: stop, done: make(chan error, 1), gaps: map[seastreamer.GapCause]int{}}
	st, err := redis.Open(ctx, s.URL(), redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = st.Close(context.Background())
	})
	// A stream exists when its first message was acknowledged.
	waitFor(t, "every stream has a message", l.began)
	k, err := st.Consumer(ctx, seastreamer.ConsumerConfig{Streams: l.names, Start: seastreamer.Earliest})
	if err != nil {
		t.Fatal(err)
	}
	go func() { v.done <- v.read(ctx, k) }()
	return v
}

func (v *live) read(ctx context.Context, k *seastreamer.Consumer) error {
	for ctx.Err() == nil {
		for m, err := range k.Messages(ctx) {
			var gap *seastreamer.GapError
			switch {
			case errors.As(err, &gap):
				v.gaps[gap.Cause]++
				if gap.Cause != seastreamer.GapTrimmed {
					v.gap(gap.Shard.Stream)
				}
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			default:
				v.got(m.Shard().Stream, m.Value())
			}
		}
	}
	return nil
}

// finish waits until everything acknowledged was read, for a minute, and
// returns what was.
func (v *live) finish() (verdict, time.Duration, error) {
	begun := time.Now()
	for v.verdict().lost > 0 && time.Since(begun) < time.Minute {
		time.Sleep(20 * time.Millisecond)
	}
	took := time.Since(begun)
	v.stop()
	err := <-v.done
	return v.verdict(), took, err
}

// coldRead reads all streams of some accounts with a client that knows nothing yet.
func coldRead(t *testing.T, s *redistest.Servers, l *accounts) verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	st, err := redis.Open(ctx, s.URL(), redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close(context.Background())
	end, err := st.End(ctx, l.names...)
	if err != nil {
		t.Fatal(err)
	}
	k, err := st.Consumer(ctx, seastreamer.ConsumerConfig{Streams: l.names, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		t.Fatal(err)
	}
	r := l.reading()
	for m, err := range k.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		r.got(m.Shard().Stream, m.Value())
	}
	if err := k.Close(ctx); err != nil {
		t.Errorf("Close of the consumer: %v", err)
	}
	return r.verdict()
}

// witnessRead reads the same with redis-cli.
func witnessRead(t *testing.T, s *redistest.Servers, l *accounts) verdict {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr(masterOf(t, s, 0)))
	var in bytes.Buffer
	for _, name := range l.names {
		// ECHO marks where the entries of the next stream begin.
		fmt.Fprintf(&in, "ECHO stream:%s\nXRANGE %s - +\n", name, name)
	}
	cmd := exec.CommandContext(t.Context(), "redis-cli", "-c", "-h", host, "-p", port)
	cmd.Stdin = &in
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// An entry is three lines: its id, msg, and the body. Other lines are the
	// ends of replies and what -c says when it goes to another node.
	r := l.reading()
	stream, field := "", false
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		line := sc.Text()
		switch name, marked := strings.CutPrefix(line, "stream:"); {
		case marked:
			stream, field = name, false
		case field:
			r.got(stream, []byte(line))
			field = false
		default:
			field = line == "msg"
			if strings.HasPrefix(line, "ERR") || strings.HasPrefix(line, "(error)") || strings.HasPrefix(line, "CLUSTERDOWN") {
				t.Errorf("redis-cli says %q", line)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("redis-cli: %v", err)
	}
	return r.verdict()
}

// both reads cold and with the witness, at the same time.
func both(t *testing.T, s *redistest.Servers, l *accounts) (cold, witness verdict) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { witness = witnessRead(t, s, l) })
	cold = coldRead(t, s, l)
	wg.Wait()
	return cold, witness
}
