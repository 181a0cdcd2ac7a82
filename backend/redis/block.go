package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

const (
	// blockFor is the BLOCK of every command that waits at the server. It is
	// finite, so that a server which has forgotten that we wait (it was
	// resharded, it was replaced) is asked again soon.
	blockFor = 2 * time.Second
	// deadAfter is how much later than BLOCK an answer may come. Then nobody is
	// there, whatever the kernel thinks of the connection.
	deadAfter = 3 * time.Second
)

// waiter sends the commands of one goroutine that may wait at the server, over
// a connection that nothing else uses, to the node that has its key. It opens
// the connection when it needs it and opens another where that one has failed:
// because the server or the way to it is gone, because the key has moved to
// another node, or because the node is a master no more.
//
// do and close belong to one goroutine at a time; wake and cut may come from
// any at any time.
type waiter struct {
	c   *client
	key string // in a cluster it decides the node; all keys of a command are of its slot
	// name is what CLIENT LIST shows. Set it before the first do.
	name string

	// The rest of this block belongs to the goroutine that calls do.
	addr   string     // of the node, where a redirection has named it
	asking bool       // the node has the key and not yet its slot
	failed int        // attempts in a row
	after  time.Time  // not to try again before
	given  *dedicated // the last one that was given up under a command, see revoke

	kick chan struct{} // ends the pause between two attempts

	// losable says that a command may be cut off where the server does not let
	// go of it. Set it before the first do.
	losable bool

	mu    sync.Mutex
	conn  *dedicated // nil where there is none
	turn  uint64     // odd while a command is at the server
	woken bool       // a wake that no command has answered yet
}

// dedicated is one connection.
type dedicated struct {
	*wire
	addr string
	node rueidis.Client // the same node, for CLIENT UNBLOCK
	id   string         // the connection's id there; empty where the server does not tell
}

func (c *client) newWaiter(key string) *waiter {
	return &waiter{c: c, key: key, name: c.o.ClientName, kick: make(chan struct{}, 1)}
}

// errWoken is what do returns when wake came before its commands were sent.
var errWoken = errors.New("woken")

// do sends commands as build makes them, pipelined, and returns an answer for
// each. Build may be called again after a redirection; where it names keys they
// are of the waiter's slot. The server may take until within to answer; a
// command with BLOCK has blockFor of its own, so that it takes
// blockFor+deadAfter.
//
// It returns
//   - errWoken, where wake was called since the last do began;
//   - the context's error where that ended first; what was sent is then cut off,
//     which a group's read must not be (see wake);
//   - ErrUnavailable where the node could not be reached, did not answer in
//     time, or said that it cannot for now: nothing was read, and the next do
//     tries again, after a pause that grows. The first answer decides, or in
//     a transaction the first that is an error;
//   - another kind where the way to the server is closed or denied.
//
// Errors that are about the command, such as WRONGTYPE or NOGROUP, are in the
// answers.
func (w *waiter) do(ctx context.Context, within time.Duration, build func(b rueidis.Builder) []rueidis.Completed) ([]value, error) {
	for range 5 {
		answers, err := w.try(ctx, within, build)
		if err != nil || !w.redirected(decisive(answers)) {
			return answers, err
		}
	}
	return nil, w.broken(fmt.Errorf("nodes of the cluster send each other's clients to and fro: it may be moving slot %d", slot(w.key)))
}

// try is do without redirections.
func (w *waiter) try(ctx context.Context, within time.Duration, build func(b rueidis.Builder) []rueidis.Completed) ([]value, error) {
	if err := w.pause(ctx); err != nil {
		return nil, err
	}
	conn, err := w.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, w.broken(err)
	}
	cmds := build(conn.node.B())
	var asks []bool
	var b []byte
	inside := false
	for _, cmd := range cmds {
		words := cmd.Commands()
		if w.asking { // it is for one command, or from MULTI to EXEC
			if !inside {
				b, asks = appendCommand(b, "ASKING"), append(asks, true)
			}
			inside = words[0] == "MULTI" || inside && words[0] != "EXEC"
		}
		b, asks = appendCommand(b, words...), append(asks, false)
	}
	w.mu.Lock()
	if w.woken {
		w.woken = false
		w.mu.Unlock()
		return nil, errWoken
	}
	w.turn++
	w.mu.Unlock()
	answers, err := conn.ask(ctx, b, len(asks), within)
	w.mu.Lock()
	w.turn++
	w.woken = false
	ours := w.conn != conn // it was cut
	w.mu.Unlock()
	if err != nil {
		w.cut()
		switch {
		case ctx.Err() != nil:
			w.given = conn
			return nil, ctx.Err()
		case w.c.check() != nil:
			return nil, errClosed
		case !ours:
			w.c.suspect(true)
		}
		return nil, w.broken(err)
	}
	if w.asking {
		kept := answers[:0]
		for i := range answers {
			if !asks[i] {
				kept = append(kept, answers[i])
			}
		}
		answers = kept
	}
	switch err := decisive(answers); {
	case temporary(err) && !isRedirect(err):
		w.cut()
		return nil, w.broken(err)
	case !isRedirect(err): // else the pauses of a client that is sent in circles would not grow
		w.failed = 0
	}
	return answers, nil
}

// decisive is the error of the first answer or, where the first command is
// MULTI, which any node takes, of the first that has one until EXEC: if the
// commands in between are refused, none of them is carried out.
func decisive(answers []value) error {
	if err := answers[0].err(); err != nil {
		return err
	}
	// Not by text: its error of an answer that is none quotes it, and this may be
	// one of many messages.
	if string(answers[0]) != "+OK\r\n" {
		return nil
	}
	for _, a := range answers {
		if err := a.err(); err != nil {
			return err
		}
	}
	return nil
}

// ask sends commands and reads the answers, within that time. The connection is
// of no use where it fails, or where ctx has ended.
func (d *dedicated) ask(ctx context.Context, cmds []byte, n int, within time.Duration) ([]value, error) {
	stop := context.AfterFunc(ctx, func() { _ = d.Close() })
	defer stop()
	if err := d.SetDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	if _, err := d.Write(cmds); err != nil {
		return nil, err
	}
	return d.answers(n)
}

func isRedirect(err error) bool {
	r, _ := answer(err)
	_, moved := r.redirects("MOVED", "")
	_, ask := r.redirects("ASK", "")
	return moved || ask
}

// redirected follows a redirection, if err is one: the next command goes to
// the node that it names.
func (w *waiter) redirected(err error) bool {
	w.mu.Lock()
	asked := ""
	if w.conn != nil {
		asked = w.conn.addr
	}
	w.mu.Unlock()
	r, _ := answer(err)
	if addr, ok := r.redirects("MOVED", asked); ok {
		w.addr, w.asking = addr, false
	} else if addr, ok := r.redirects("ASK", asked); ok {
		w.addr, w.asking = addr, true
	} else {
		return false
	}
	w.cut()
	return true
}

// broken notes that an attempt has failed.
func (w *waiter) broken(err error) error {
	w.addr, w.asking = "", false
	most := 20 * time.Millisecond << min(w.failed, 6) // up to about a second
	w.after = time.Now().Add(most/2 + rand.N(most/2)) //nolint:gosec // no secret
	w.failed++
	if errors.Is(err, errPanic) {
		return &driver.Error{Kind: driver.ErrUnavailable, Err: err}
	}
	return w.c.failure("", driver.Shard{}, err)
}

// pause waits until it is time for another attempt.
func (w *waiter) pause(ctx context.Context) error {
	d := time.Until(w.after)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.kick:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// wake makes a command that waits at the server return at once, as if its time
// had passed, and does not wait for that. Where no command waits, the next do
// returns errWoken. Nothing that the server has sent is lost: that is why a
// read is woken and not cancelled. An entry that a group's read has taken and
// that is on its way when the connection is cut stays with a consumer that
// never saw it.
func (w *waiter) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
	if w.woken {
		return
	}
	w.woken = true
	if conn := w.conn; conn != nil && w.turn%2 == 1 && conn.id != "" {
		turn := w.turn
		w.c.background(func() { w.unblock(conn, turn) })
	}
}

// unblock asks the server to let go of the command of a turn until that has
// returned. Once is not enough: the command may be on its way when we ask. That
// the last of several questions meets the next command does no harm: it returns
// empty.
func (w *waiter) unblock(conn *dedicated, turn uint64) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		w.mu.Lock()
		over := w.turn != turn
		w.mu.Unlock()
		if over {
			return
		}
		ctx, cancel := context.WithTimeout(w.c.life, deadAfter)
		n, err := conn.node.Do(ctx, conn.node.B().Arbitrary("CLIENT", "UNBLOCK", conn.id).Build()).AsInt64()
		cancel()
		if err != nil && w.losable {
			w.cutTurn(turn) // we may not ask, or nobody answers
		}
		if err != nil || n == 1 {
			return
		}
		time.Sleep(pause)
	}
}

// cutTurn is cut where the command of that turn still runs.
func (w *waiter) cutTurn(turn uint64) {
	w.mu.Lock()
	over := w.turn != turn
	w.mu.Unlock()
	if !over {
		w.cut()
	}
}

// cut ends the connection, and with it the command that runs. What it would
// have returned is lost.
func (w *waiter) cut() {
	w.mu.Lock()
	conn := w.conn
	w.conn = nil
	w.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}

// revoke has the server drop what was given up with its connection and is
// perhaps still on its way: else it would be carried out whenever it comes. It
// belongs to who calls do. The name says whether the number is still that of the
// connection: a server that was started again gives the same numbers to others.
func (w *waiter) revoke(ctx context.Context) error {
	conn := w.given
	if w.given = nil; conn == nil || conn.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, deadAfter)
	defer cancel()
	b := conn.node.B()
	answers, err := w.c.ask(ctx, conn.node, b.Arbitrary("CLIENT", "LIST", "ID", conn.id).Build())
	if err != nil {
		return err
	}
	if list, _ := answers[0].ToString(); strings.Contains(list, " name="+w.name+" ") {
		_, err = w.c.ask(ctx, conn.node, b.Arbitrary("CLIENT", "KILL", "ID", conn.id).Build())
	}
	return err
}

// close ends the connection. The waiter may be used again.
func (w *waiter) close() { w.cut() }

// background runs f in a goroutine that Close waits for, unless that has begun.
// It does not wait for f: the caller may hold locks that f takes.
func (c *client) background(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		go f()
		return
	}
	c.work.Go(f)
}
