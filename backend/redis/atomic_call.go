package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// maxMoved is how often a command follows a slot from node to node.
const maxMoved = 5

// An ownerAnswer is what a server said to one command.
type ownerAnswer struct {
	by      string   // the node
	words   []string // the elements of a list, or the one string
	refused string   // the error; the command was not carried out
	short   error    // it was, and is not as safe as asked
}

// call sends a command, in two parts, and returns the answer. Where it has
// failed maybe says whether the command may have been, or may still be, carried
// out. It follows the slot where that has moved: a command that was redirected
// was not carried out. It returns within ctx.
func (o *owner) call(ctx context.Context, head, body []byte) (said ownerAnswer, maybe bool, err error) {
	select {
	case o.line <- struct{}{}:
	case <-ctx.Done():
		return said, false, o.c.failure("", driver.Shard{}, context.Cause(ctx))
	}
	defer o.release()
	o.mu.Lock()
	closed := o.closed
	o.mu.Unlock()
	if closed {
		return said, false, errOwnerClosed
	}
	for range maxMoved {
		if err := o.reach(ctx); err != nil {
			return said, false, err
		}
		said, maybe, err = o.converse(ctx, head, body)
		if err != nil {
			o.hangUp()
			return said, maybe, o.c.failure("", driver.Shard{}, err)
		}
		switch word, _, _ := strings.Cut(said.refused, " "); word {
		case "MOVED":
			if o.hangUp(); !o.cluster {
				return said, false, nil
			}
			o.addr, _ = refusal(said.refused).redirects(word, o.addr)
		case "READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN":
			o.hangUp() // another node may do it by now
			o.addr = ""
			return said, false, nil
		default:
			return said, false, nil
		}
	}
	return said, false, nil
}

// release gives the connection back, or ends it where the owner was closed: a
// Close from now on finds that nobody has it.
func (o *owner) release() {
	o.mu.Lock()
	closed := o.closed
	if !closed {
		<-o.line
	}
	o.mu.Unlock()
	if closed {
		o.hangUp()
		<-o.line
	}
}

// reach connects where there is no connection: in a cluster to the node that
// has the slot as far as that is known, and else to any that answers, which
// will say. The holder of the line calls it.
func (o *owner) reach(ctx context.Context) error {
	if o.wire != nil {
		return nil
	}
	rc, err := o.c.connect(ctx)
	if err != nil {
		return err
	}
	dialer := &producer{c: o.c, o: &o.c.o, life: ctx}
	addrs := []string{""}
	if o.cluster {
		addrs = addrs[:0]
		if o.addr != "" {
			addrs = append(addrs, o.addr)
		}
		for a := range rc.Nodes() {
			if a != o.addr {
				addrs = append(addrs, a)
			}
		}
	}
	last := error(driver.Errorf(driver.ErrUnavailable, "", "no node of %s is known", o.c.where()))
	for _, a := range addrs {
		w, err := dialer.dial(a)
		if err == nil {
			o.wire, o.addr = w, a
			return nil
		}
		if last = o.c.failure("", driver.Shard{}, err); ctx.Err() != nil {
			break
		}
	}
	return last
}

func (o *owner) hangUp() {
	if o.wire != nil {
		_ = o.wire.Close()
		o.wire = nil
	}
}

// converse is one command and its answer. A command that was not written to
// its end was not carried out, since Redis looks only at whole ones.
func (o *owner) converse(ctx context.Context, head, body []byte) (said ownerAnswer, maybe bool, err error) {
	w, limit := o.wire, o.c.o.RequestTimeout
	if said.by = o.addr; said.by == "" {
		said.by = o.name()
	}
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer func() {
		if !stop() {
			o.hangUp()
			if err != nil {
				err = context.Cause(ctx)
			}
		}
	}()
	for _, b := range [][]byte{head, body} {
		if err := w.writeAll(b, limit); err != nil {
			return said, false, err
		}
	}
	if err := w.writeAll(o.rules.wait, limit); err != nil {
		return said, true, err
	}
	l := link{p: o.rules, addr: o.addr}
	l.expect(w)
	if err := said.read(w); err != nil {
		return said, true, err
	}
	if o.rules.wait != nil {
		r, err := w.next()
		if err == nil {
			_, err = l.enough(w, r)
		}
		if err != nil {
			return said, true, err
		}
		said.short = l.short
	}
	return said, false, nil
}

// read reads one answer.
func (a *ownerAnswer) read(w *wire) error {
	r, err := w.next()
	if err != nil {
		return err
	}
	switch r.kind {
	case '-':
		a.refused = scriptError(string(r.text))
	case '*':
		a.words = make([]string, r.num)
		for i := range a.words {
			r, err := w.next()
			if err != nil {
				return err
			}
			a.words[i] = string(r.text)
		}
	default:
		a.words = []string{string(r.text)}
	}
	return nil
}

// scriptError is what a command said that failed in a script. Servers before
// 7.0 say the place first: "ERR Error running script (…): @user_script:7:
// @user_script: 7: -OOM command not allowed".
func scriptError(text string) string {
	if i := strings.LastIndex(text, ": -"); i >= 0 && strings.Contains(text[:i], "@user_script") {
		return text[i+len(": -"):]
	}
	return text
}

// name is who was asked.
func (o *owner) name() string { return o.c.where() }

// refusal is what a server said that did not carry out a command.
func (o *owner) refusal(a ownerAnswer, keys string) error {
	kind, said := o.c.describeText(a.by, a.refused)
	switch word := firstWord(a.refused); {
	case word == "NOPERM" || strings.Contains(a.refused, "user executing the script can't"):
		kind = driver.ErrDenied
		said = fmt.Sprintf("%s does not allow %s to use %s: %s", a.by, o.c.who(), keys, otherWords(a.refused))
	case word == "MOVED" || word == "ASK" || word == "TRYAGAIN":
		said = fmt.Sprintf("%s: the slot of key %q is moving to another node (%s)", a.by, o.progress, printable(a.refused))
	}
	return &driver.Error{Kind: kind, Err: errors.New(said)}
}
